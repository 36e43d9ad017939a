"""The command line: its help, names that are almost right, mistakes that are answered at once."""

import importlib
import shlex
import subprocess
import sys
import typing

import pytest

import tfmodels
from applications import comparison, deployment, server
from applications.__main__ import APPLICATIONS, main, parse
from applications.settings import GROUPS
from tests.applications.verbs import refused

VERBS = [
    *((name, verb) for name in APPLICATIONS
      for verb in importlib.import_module(f"applications.{name}").VERBS),
    *((verb,) for verb in (*comparison.VERBS, *deployment.VERBS, *server.VERBS)),
]  # fmt: skip
EVALUATE = ["sentiment", "evaluate", "--model_dir", "m", "--eval_file"]
TAGGED = ["ner", "evaluate", "--model_dir", "m", "--eval_file"]
TRAIN = ["sentiment", "train", "--train_file", "rows.tsv", "--output_dir", "out"]


def printed(capsys, *words):
    """The lines that a command prints; it must succeed."""
    assert main([*words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("columns", ["80", "120"])
@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_help(words, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    lines = printed(capsys, *words, "--help")
    assert len(lines) < 60 and max(map(len, lines)) <= 120
    assert any(line.rstrip(":") in GROUPS for line in lines)
    text, everything = "\n".join(lines), "\n".join(printed(capsys, *words, "--help-all"))
    room = importlib.import_module(f"applications.{words[0]}") if len(words) > 1 else None
    verbs = {**comparison.VERBS, **deployment.VERBS, **server.VERBS} if room is None else room.VERBS
    kind, _ = verbs[words[-1]]
    for name in kind.__dataclass_fields__:
        flag = f"--{name}" if f"--{name}" in text else name.upper()
        assert flag in text and f"  {flag}" in everything, name
    for noise in ("type:", "null", "None", "Union", "<class"):
        assert noise not in everything


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_examples_parse(words, capsys):
    lines = printed(capsys, *words, "--help")
    (example,) = [line for line in lines if line.startswith("  tfmodels ")]
    program, *arguments = shlex.split(example)
    assert tuple(arguments[: len(words)]) == words
    settings, _ = parse(arguments)
    assert not isinstance(settings, str)


@pytest.mark.parametrize("words", [(), ("--help",), *((name, "--help") for name in APPLICATIONS)])
def test_overview(words, capsys):
    """Every verb and application with what it does, and an example."""
    lines = printed(capsys, *words)
    verbs = {name for name, *_ in VERBS} if len(words) < 2 else {
        verb for name, *rest in VERBS if name == words[0] for verb in rest
    }  # fmt: skip
    rows = [line.split(None, 1) for line in lines if line.startswith("  ")]
    described = {name: about for name, about in rows if len(about) > 15 and name != "tfmodels"}
    assert described.keys() == verbs
    assert len(lines) <= 26 and any(line.startswith("  tfmodels ") for line in lines)


def test_version(capsys):
    assert printed(capsys, "--version") == [f"tfmodels {tfmodels.__version__}"]


def test_dashes_stand_for_underscores():
    settings, _ = parse([*TRAIN, "--learning-rate", "1e-3", "--class-weights=balanced"])
    assert settings.learning_rate == 1e-3 and settings.class_weights == "balanced"
    settings, _ = parse(["ner", "predict", "--model-dir", "m", "a b", "--", "--not-a-flag"])
    assert settings.text == ["a b", "--not-a-flag"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["sentimant", "train"], "sentimant: unknown application or verb; did you mean sentiment?"),
        (["qery", "http://host/m"], "qery: unknown application or verb; did you mean query?"),
        (["gpt", "fine-tune"], "fine-tune: unknown verb; did you mean finetune?"),
        (["gpt", "train"], "train: unknown verb; did you mean pretrain?"),
        ([*TRAIN, "--lerning_rate", "1"],
         "--lerning_rate: unknown flag; did you mean --learning_rate?"),
        ([*TRAIN, "--lerning-rate=1"],
         "--lerning_rate: unknown flag; did you mean --learning_rate?"),
        ([*TRAIN, "--colour", "red"],
         "--colour: unknown flag; see tfmodels sentiment train --help-all"),
        ([*TRAIN, "--epochs", "two"], "--epochs two: give a whole number"),
        ([*TRAIN, "--epochs", "1.5"], "--epochs 1.5: give a whole number"),
        ([*TRAIN, "--epochs"], "--epochs: give a value"),
        ([*TRAIN, "--epochs", "--seed", "1"], "--epochs: give a value"),
        ([*TRAIN, "--ema", "nan"], "--ema nan: give a number"),
        ([*TRAIN, "--lowercase", "maybe"], "--lowercase maybe: give true or false"),
        ([*TRAIN, "--xla", "yes"], "--xla yes: give auto, on or off"),
        ([*TRAIN, "--size", "huge"],
         "--size huge: give tiny, mini, small, medium, base or large"),
        ([*TRAIN, "--labels", "good"], "--labels good: give a list such as '[a, b]'"),
        ([*TRAIN, "x.tsv"], "x.tsv: no flag before it; put values with spaces or * in quotes"),
        (["sentiment", "train"],
         "--output_dir, --train_file: missing; see tfmodels sentiment train --help"),
        (["smoke", "http://host/m"], "DIRECTORY: missing; see tfmodels smoke --help"),
        (["gpt", "predict", "--model_dir", "m", "--sample", "false", "--top_p", "0.9", "x"],
         "--top_p 0.9: has no effect here: without --sample true the most likely token is taken; "
         "leave it out"),
        (["sentiment", "predict", "--model_dir", "m", "--missing", "skip", "x"],
         "--missing skip: has no effect here: texts are given, and only these are answered; leave "
         "it out"),
        ([*EVALUATE, "tfds:a", "--encoding", "cp1252"],
         "--encoding cp1252: has no effect here: the data set has its own; leave it out"),
        ([*EVALUATE, "a.jsonl", "--delimiter", ";"],
         "--delimiter ;: has no effect here: it is of .tsv and .csv; leave it out"),
        (["gpt", "predict", "--model_dir", "m", "--missing", "skip"],
         "--missing skip: has no effect here: it is of tables: .tsv, .csv and .jsonl; leave it "
         "out"),
        ([*TAGGED, "a.csv.gz", "--token_column", "2"],
         "--token_column 2: has no effect here: it is of CoNLL files; these data name their "
         "columns; leave it out"),
        ([*TAGGED, "a.jsonl", "--scheme", "io"],
         "--scheme io: has no effect here: entities are given in characters; leave it out"),
        (["bert", "predict", "--model_dir", "m", "--top_k", "0", "x"], "--top_k 0: give 1 or more"),
    ],
)  # fmt: skip
def test_mistakes_in_words(words, line, capsys):
    assert refused(capsys, *words) == f"tfmodels: {line}"


def test_null_and_no():
    settings, _ = parse([*TRAIN, "--learning_rate", "null", "--lowercase", "no"])
    assert settings.learning_rate is None and settings.lowercase is False


def test_flags_that_have_an_effect_on_one_of_the_files():
    files = ["--train_file", "a.csv", "--eval_file", "a.jsonl"]
    settings, _ = parse(["sentiment", "train", "--output_dir", "out", "--delimiter", ";", *files])
    assert settings.delimiter == ";"


class TestConfig:
    """Settings in a YAML file mean what they mean as flags."""

    def test_values_and_flags(self, tmp_path):
        (tmp_path / "a.yaml").write_text(
            "learning_rate: 1e-3\nxla: on\nlabels: [no, 'yes']\nlowercase: false\nepochs: 7\n"
        )
        (tmp_path / "b.yaml").write_text("seed: 5\nepochs: 8\n")
        files = ["--config", str(tmp_path / "a.yaml"), "--config", str(tmp_path / "b.yaml")]
        settings, _ = parse([*TRAIN, "--seed", "6", *files])
        assert (settings.learning_rate, settings.xla, settings.lowercase) == (1e-3, "on", False)
        assert settings.labels == ["no", "yes"]
        assert settings.epochs == 8 and settings.seed == 6  # the last file, and flags before files

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("epoch: 3\n", "epoch: unknown setting; did you mean epochs?"),
            ("epochs: [1]\n", "--epochs ['1']: give a whole number"),
            ("epochs: {", "give lines of `name: value`"),
            ("- epochs\n", "no settings; give lines of"),
            (None, "No such file"),
        ],
    )
    def test_mistakes(self, content, message, tmp_path, capsys):
        if content is not None:
            (tmp_path / "s.yaml").write_text(content)
        line = refused(capsys, *TRAIN, "--config", tmp_path / "s.yaml")
        assert f"--config {tmp_path / 's.yaml'}: " in line and message in line


def test_files(tmp_path, capsys):
    rows, there = tmp_path / "rows.tsv", tmp_path / "there"
    rows.write_text("text\tlabel\n")
    there.mkdir()
    (there / "file").write_text("")
    missing = tmp_path / "missing"
    train = ["sentiment", "train", "--output_dir", tmp_path / "new", "--train_file"]
    evaluate = ["sentiment", "evaluate", "--model_dir", there, "--eval_file", rows]
    for words, message in (
        ([*train, missing], f"--train_file {missing}: no such file"),
        ([*train, rows, "--eval_file", missing], f"--eval_file {missing}: no such file"),
        ([*train, rows, "--checkpoint", missing], f"--checkpoint {missing}: no such file"),
        ([*train, rows, "--output_dir", there], "already exists; give another --output_dir"),
        ([*evaluate, "--report_dir", there], "already exists; give another --report_dir"),
        ([*evaluate, "--model_dir", missing], f"--model_dir {missing}: no such directory"),
        (["gpt", "pretrain", "--output_dir", missing, "--text_files", tmp_path / "*.txt"],
         f"--text_files {tmp_path}/*.txt: no such file"),
        (["check", missing], f"directory {missing}: no such directory"),
    ):  # fmt: skip
        assert message in refused(capsys, *words)


WRONG_USE = {
    "train": ["--epochs", "two"], "pretrain": ["--epochs", "two"], "finetune": ["--epochs", "two"],
    "prepare": ["--shards", "0", "--text_files", "t", "--output_dir", "o"],
    "evaluate": ["--batch_sise", "4"], "predict": ["--model_dir", "nowhere", "a text"],
    "export": ["--model_dir", "nowhere"], "check": ["nowhere"], "query": ["--timeout", "soon"],
    "preset": ["--model_dir", "nowhere", "--preset_dir", "p"],
    "baseline": ["--train_file", "nowhere.tsv", "--output_dir", "o"],
    "compare": ["--epochs", "two"],
    "back_translate": ["--model_dir", "nowhere", "--output_file", "o.jsonl", "a text"],
    "smoke": ["http://host:8501/v1/models/m", "nowhere"],
    "serve": ["nowhere"], "serving_config": ["nowhere", "--config_dir", "d"],
}  # fmt: skip


def test_mistakes_are_answered_without_tensorflow(tmp_path):
    """One a verb, in one fresh process: what it imports, it has imported for a mistake."""
    commands = [[*words, *WRONG_USE[words[-1]]] for words in VERBS]
    code = (
        "import sys; from applications.__main__ import main\n"
        f"for words in {commands!r}: assert main(words) == 2, words\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'yaml', 'matplotlib'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(VERBS) and all(line.startswith("tfmodels: ") for line in lines)


def test_sizes_are_those_of_the_models():
    from applications import bert, gpt, summarization
    from tfmodels.models import bert as of_bert
    from tfmodels.models import gpt as of_gpt
    from tfmodels.models import transformer

    for kind, sizes in ((bert.Pretrain, of_bert.SIZES), (gpt.Pretrain, of_gpt.SIZES),
                        (summarization.Train, transformer.SIZES)):  # fmt: skip
        assert typing.get_args(kind.__dataclass_fields__["size"].type) == tuple(sizes)
