"""The documents: their Python runs, their commands parse, their links lead somewhere."""

import ast
import re
import shlex
import tarfile
from pathlib import Path

import pytest

from tfmodels.training.distribution import choose_strategy

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-CN.md")
PAGES = (*READMES, *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md"))))
OLD = ROOT / "tests" / "golden" / "written_0_1" / "sentiment_mean"
# `tfmodels` commands of each page; that a block is not found would pass unseen.
COMMANDS = {"README.md": 3, "docs/command_line.md": 29, "docs/serving.md": 5}
TRANSLATED = {"README.md": "README.zh-CN.md", "docs/command_line.md": "docs/zh/command_line.md",
              "docs/scripts.md": "docs/zh/scripts.md"}  # fmt: skip
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


def test_python_about_serving(tmp_path, capsys):
    from tests.serving.server import serving

    with tarfile.open(OLD / "1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (version,) = {path.parent for path in tmp_path.rglob("saved_model.pb")}
    (code,) = blocks("docs/serving.md", "python")
    with serving(version, "sentiment") as server:
        assert "grpc://localhost:8500/sentiment" in code
        run("docs/serving.md", 1, code.replace("grpc://localhost:8500/sentiment", server.grpc), {})
    assert re.search(r"(neg|pos)\w* \[", capsys.readouterr().out)


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


@pytest.mark.parametrize("page", PAGES)
def test_flags_and_verbs_exist(page):
    """Every `tfmodels` command of a page parses."""
    from applications.__main__ import parse

    found = 0
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("tfmodels "):
                parse(shlex.split(line, comments=True)[1:])
                found += 1
    assert found == COMMANDS.get(page, 0)


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
