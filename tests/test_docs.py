"""The documents: their code runs, their commands parse, their links lead somewhere."""

import ast
import configparser
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from applications.__main__ import parse
from tfmodels.training.distribution import choose_strategy

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
PAGES = (
    *READMES, "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md"))),
)  # fmt: skip
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
# Languages of the blocks of a page: those that are run here, in `test_jobs` or `test_coming_from`.
LANGUAGES = {"python": {*READMES, "docs/distributed.md", "docs/serving.md", "docs/scripts.md",
                        "docs/zh/serving.md",
                        "docs/zh/scripts.md", "docs/kerashub.md", "docs/zh/kerashub.md",
                        "docs/from_transformers.md", "docs/zh/from_transformers.md"},
             "js": {"docs/serving.md", "docs/zh/serving.md"},
             "json": {"docs/distributed.md"}}  # fmt: skip
OUTSIDE = {"cd", "curl", "sleep", "docker", "kubectl"}  # programs that the tests do not start
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
OLD = ROOT / "tests" / "golden" / "written_0_1" / "sentiment_mean"
# `tfmodels` commands of each page; that a block is not found would pass unseen.
COMMANDS = {
    "README.md": 4,
    "docs/command_line.md": 57,
    "docs/serving.md": 11,
    "docs/kerashub.md": 2,
}
TRANSLATED = {"README.md": "README.zh-CN.md", "docs/command_line.md": "docs/zh/command_line.md",
              "docs/serving.md": "docs/zh/serving.md",
              "docs/scripts.md": "docs/zh/scripts.md", "docs/kerashub.md": "docs/zh/kerashub.md",
              "docs/from_transformers.md": "docs/zh/from_transformers.md"}  # fmt: skip
COMMANDS |= {TRANSLATED[page]: COMMANDS[page] for page in TRANSLATED if page in COMMANDS}


def blocks(page, language):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(page, number, code, names):
    """Run a block as a user would who goes through the page from above.

    The strategy is the one of this process: TensorFlow numbers the collective operations of a
    second one as those of the first, and tests of either may then fail.
    """
    names["choose_strategy"] = choose_strategy
    code = code.replace("tf.distribute.MirroredStrategy()", 'choose_strategy("mirrored")')
    exec(compile(code, f"{page}, Python block {number}", "exec"), names)  # noqa: S102


@pytest.mark.parametrize("page", READMES)
def test_python_of_a_readme(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(page, "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    run(page, 1, code, {})
    assert "'probabilities': {" in capsys.readouterr().out
    assert (tmp_path / "saved_models" / "mine" / "1" / "saved_model.pb").exists()
    assert (tmp_path / "runs" / "mine" / "model.safetensors").exists()


def test_python_about_distribution(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "reviews").symlink_to(OLD / "model")
    lines = [f"a {'joy' if label == 'pos' else 'bore'} {i},{label}" for i, label in
             enumerate(["pos", "neg"] * 20)]  # fmt: skip
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    names = {}
    for number, code in enumerate(blocks("docs/distributed.md", "python"), 1):
        run("docs/distributed.md", number, code, names)
    assert names["task"].model.distribute_strategy.num_replicas_in_sync == 2
    assert list((tmp_path / "run" / "states").glob("step-*"))
    assert names["history"].ended


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    from tfmodels.serving.server import Server

    folder = tmp_path_factory.mktemp("served")
    with tarfile.open(OLD / "1.tar.xz") as archive:
        archive.extractall(folder / "sentiment", filter="data")
    with Server([folder], port=0, grpc_port=0) as server:
        server.folder = folder
        yield server


def test_python_about_serving(served, capsys):
    _, code, _ = blocks("docs/serving.md", "python")
    assert "grpc://localhost:8500/sentiment" in code
    run(
        "docs/serving.md",
        1,
        code.replace("grpc://localhost:8500/sentiment", served.url("sentiment", True)),
        {},
    )
    assert re.search(r"(neg|pos)\w* \[", capsys.readouterr().out)


def test_a_server_in_a_script(served, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("saved_models").symlink_to(served.folder)
    code, _, _ = blocks("docs/serving.md", "python")
    run("docs/serving.md", 1, code, {})
    assert "'label': array([b'" in capsys.readouterr().out


def in_node(code, folder):
    (folder / "code.mjs").write_text(code, encoding="utf-8")
    command = ["node", "code.mjs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.stdout.strip() in ("neg", "pos"), done.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_javascript(served, tmp_path):
    code, _ = blocks("docs/serving.md", "js")
    code = code.replace("http://localhost:8501/v1/models/sentiment", served.url("sentiment"))
    in_node(code, tmp_path)


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm")
def test_grpc_in_javascript(served, tmp_path, monkeypatch):
    """The descriptors that the page has written, and Node's own gRPC."""
    monkeypatch.chdir(tmp_path)
    (packages,) = re.findall(r"`npm install (.*?)`", (ROOT / "docs/serving.md").read_text("utf-8"))
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", *packages.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot install {packages}: {done.stderr[-200:]}")
    *_, code = blocks("docs/serving.md", "python")
    run("docs/serving.md", 3, code, {})
    _, code = blocks("docs/serving.md", "js")
    in_node(code.replace("localhost:8500", f"127.0.0.1:{served.grpc_port}"), tmp_path)


def test_json():
    (cluster,) = blocks("docs/distributed.md", "json")
    assert json.loads(cluster).keys() == {"cluster", "task"}


def test_python_of_the_workflow(tmp_path, monkeypatch):
    """What hosted CI trains with the core install runs without the packages of all extras."""
    (code,) = [step["run"] for step in steps() if step.get("shell") == "python"]
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    assert "safetensors" in metadata["options"]["install_requires"]
    hidden = ["tokenizers", "huggingface_hub", "tensorflow_serving", "matplotlib", "jsonargparse",
              "scipy", "rouge_score", "tensorflow_datasets", "keras_hub", "sacrebleu",
              "sentencepiece"]  # fmt: skip
    code = f"import sys\nsys.modules.update(dict.fromkeys({hidden}))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "steps were taken" in done.stdout, done.stderr


def steps():
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_has_a_language_that_is_checked(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    found = set(re.findall(r"^```(\w*)\n", text, re.M)) - {"", "sh"}
    assert found == {language for language, pages in LANGUAGES.items() if page in pages}


def without_words(code):
    """Return what a block does, whatever its strings and comments say."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        if isinstance(node, ast.List):  # sentences have other numbers of words
            node.elts = node.elts[:1]
    return ast.dump(tree)


@pytest.mark.parametrize("page", TRANSLATED)
def test_chinese_page_has_the_same_code(page):
    def commands(name):
        return [re.sub(r" *#.*", "", block) for block in blocks(name, "sh")]

    def code(name):
        return list(map(without_words, blocks(name, "python")))

    assert commands(TRANSLATED[page]) == commands(page)
    assert code(TRANSLATED[page]) == code(page)
    assert commands(page) or code(page)


def commands_of(code):
    """Return the commands of a shell script, as lists of words."""
    subprocess.run(["bash", "-n"], input=code, text=True, check=True)
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check(words, folder=ROOT):
    """Assert that a command can be given: that its verbs, flags, targets and files exist."""
    program, *rest = words
    if program == "tfmodels":
        parse(rest)
    elif program == "make":
        assert {word for word in rest if "=" not in word} <= TARGETS, words
    elif program.endswith("pip"):
        assert rest[0] in ("install", "wheel"), words
        metadata = configparser.ConfigParser()
        metadata.read(ROOT / "setup.cfg")
        for extra in re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*?)\]", " ".join(rest)))):
            assert extra in metadata["options.extras_require"], words
    elif program.endswith("python") and rest[0] != "-m":
        assert (folder / rest[0]).is_file(), words
    elif program.endswith(("python", "pytest")):
        module, *arguments = rest[1:] if program.endswith("python") else ["pytest", *rest]
        assert importlib.util.find_spec(module), words
        source = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("benchmarks/*.py"))
        for word in arguments:
            if word.startswith("tests/"):
                assert (ROOT / word).exists(), words
            elif word.startswith("--"):
                assert f'"{word}"' in source, words
    else:
        known = {*OUTSIDE, ".venv/bin/ruff", ".venv/bin/mypy", ".venv/bin/pre-commit"}
        assert program in known, words


@pytest.mark.parametrize("page", PAGES)
def test_commands(page):
    """Every command of a page's blocks, and of those that are tools in its text, can be given."""
    found = [words for block in blocks(page, "sh") for words in commands_of(block)]
    for words in found:
        check(words, (ROOT / page).parent)
    assert len([words for words in found if words[0] == "tfmodels"]) == COMMANDS.get(page, 0)
    text = (ROOT / page).read_text(encoding="utf-8")
    for code in re.findall(r"`((?:python -m|pytest|make) [^`]+)`", text):
        check(shlex.split(code))


def test_commands_of_the_workflow():
    for step in steps():
        if step.get("shell") != "python":
            for words in commands_of(step.get("run", "")):
                check(words)


@pytest.mark.parametrize("page", PAGES)
def test_files_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for path in re.findall(r"(?:tests|tfmodels|applications|benchmarks|tools)/[\w/]+\.\w+", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), target
