"""`tfmodels sentiment`: every verb on real files, and what it answers to mistakes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from applications.__main__ import main
from tests.applications.conftest import TRAIN_FLAGS
from tests.applications.verbs import printed, refused

TEXTS = ["I loved every minute", "a dull and empty film", "很好看的电影", "", "cinema " * 300]


def predicted(capsys, *arguments):
    """What `predict` prints for the arguments, parsed."""
    return printed(capsys, "sentiment", "predict", *arguments)


def test_learned(model_dir):
    metrics = json.loads((model_dir / "metrics.json").read_text())
    assert metrics["examples"] == 24 and metrics["accuracy"] > 0.9  # a tenth of 240
    assert {name: row["examples"] for name, row in metrics["classes"].items()} == {
        "neg": 12, "pos": 12,
    }  # fmt: skip


def test_standard_output_has_json_lines_only(model_dir, reviews, tmp_path, capfd):
    """Of every verb; what people read is on standard error, without rewriting lines in a file."""
    model, flags = tmp_path / "model", ["--model_dir", model_dir]
    data = ["--train_file", reviews, "--output_dir", model, *TRAIN_FLAGS, "--epochs", "1"]
    for verb, *arguments in (
        ("train", *data),
        ("evaluate", *flags, "--eval_file", reviews),
        ("predict", *flags, *TEXTS),
        ("export", *flags, "--export_dir", tmp_path / "served"),
    ):
        assert main(["sentiment", verb, *map(str, arguments)]) == 0
        shown = capfd.readouterr()
        lines = shown.out.splitlines()
        assert lines and all(isinstance(json.loads(line), dict) for line in lines), verb
        assert "\r" not in shown.err and "\x1b" not in shown.err, verb
        assert verb != "train" or ", step 14 of 14, loss " in shown.err


class TestEvaluate:
    def test_last_line_is_the_metrics(self, model_dir, reviews, tmp_path, capsys, monkeypatch):
        arguments = ["--model_dir", str(model_dir), "--eval_file", str(reviews)]
        report = tmp_path / "report"
        assert main(["sentiment", "evaluate", *arguments, "--report_dir", str(report)]) == 0
        metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert metrics["examples"] == 240
        assert metrics["accuracy"] > 0.9
        assert sorted(p.name for p in report.iterdir()) == ["confusion.png", "mistakes.jsonl"]
        # Said before the work is done again, not after.
        monkeypatch.setattr("applications.flow.Application.load", None)
        line = refused(capsys, "sentiment", "evaluate", *arguments, "--report_dir", report)
        assert "another --report_dir" in line

    def test_mistakes_are_those_with_the_label_turned(self, model_dir, tmp_path, capsys):
        path = tmp_path / "turned.jsonl"
        path.write_text('{"text": "I loved every minute", "label": "neg"}\n')
        command = ["sentiment", "evaluate", "--model_dir", model_dir, "--eval_file", path]
        mistake, metrics = printed(capsys, *command)
        assert mistake["mistake"]["true"] == "neg"
        assert mistake["mistake"]["predicted"] == "pos"
        assert metrics["accuracy"] == 0


class TestPredict:
    def test_arguments(self, model_dir, capsys):
        answers = predicted(capsys, "--model_dir", model_dir, *TEXTS)
        assert [answer["text"] for answer in answers] == TEXTS
        assert [answer["label"] for answer in answers[:3]] == ["pos", "neg", "pos"]
        for answer in answers:
            assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)

    def test_lines_of_a_file_and_a_table_are_answered_alike(self, model_dir, tmp_path, capsys):
        texts = [text for text in TEXTS if text]
        lines, table = tmp_path / "texts.txt", tmp_path / "texts.jsonl"
        lines.write_text("\n".join(texts) + "\n", encoding="utf-8")
        table.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        marked, chinese = tmp_path / "marked.txt", tmp_path / "chinese.csv"
        marked.write_text("\n".join(texts) + "\n", encoding="utf-16")
        chinese.write_bytes("".join(f'"{text}"\n' for text in ["text", *texts]).encode("gb18030"))
        by_argument = predicted(capsys, "--model_dir", model_dir, *texts)
        assert predicted(capsys, "--model_dir", model_dir, "--input_file", lines) == by_argument
        assert predicted(capsys, "--model_dir", model_dir, "--input_file", table) == by_argument
        assert predicted(capsys, "--model_dir", model_dir, "--input_file", marked) == by_argument
        flags = ["--model_dir", model_dir, "--input_file", chinese, "--encoding", "gb18030"]
        assert predicted(capsys, *flags) == by_argument

    def test_standard_input(self, model_dir):
        done = run_cli("predict", "--model_dir", model_dir, input=b"a joy\na bore\n")
        assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["pos", "neg"]


class TestTrain:
    @pytest.mark.slow
    def test_goes_on_from_a_model_directory(self, model_dir, reviews, tmp_path, capsys):
        """A trained model is a checkpoint like a published one; settings from a file mix in."""
        (tmp_path / "settings.yaml").write_text(
            "freeze_layers: 1\nclass_weights: balanced\npooling: first\nepochs: 7\n"
        )
        path = tmp_path / "model"
        arguments = ["--config", str(tmp_path / "settings.yaml"), "--train_file", str(reviews)]
        arguments += ["--output_dir", str(path), "--checkpoint", str(model_dir)]
        assert main(["sentiment", "train", *arguments, *TRAIN_FLAGS, "--epochs", "1"]) == 0
        from tfmodels.checkpoints.files import TensorFiles

        before, after = TensorFiles(model_dir), TensorFiles(path)
        same = {
            name: np.array_equal(before.read(name), after.read(name))
            for name in before.shapes
            if "encoder.layer" in name or "embeddings" in name
        }
        for name, equal in same.items():
            # The key biases have no gradient: softmax does not see what is added to all keys.
            if "self.key.bias" not in name:
                assert equal == ("layer.1." not in name), name


BAD_FILES = {
    "one_class.tsv": (b"text\tlabel\na\tneg\nb\tneg\n", "has one class only"),
    "nan.jsonl": (
        b'{"text": "a", "label": 1}\n{"text": "a", "label": NaN}\n',
        "nan.jsonl:2: 'label' is missing (NaN); correct the row, give --missing skip",
    ),
    "broken.tsv": (b"text\tlabel\na\tneg\n\xff\tpos\n", "broken.tsv:3: byte 1 of the line is not"),
}


class TestMistakes:
    @pytest.mark.parametrize("name", BAD_FILES)
    def test_training_file(self, name, tmp_path, capsys):
        content, message = BAD_FILES[name]
        (tmp_path / name).write_bytes(content)
        arguments = ["--train_file", tmp_path / name, "--output_dir", tmp_path / "model"]
        assert message in refused(capsys, "sentiment", "train", *arguments)
        assert [p.name for p in tmp_path.iterdir()] == [name]

    def test_output_directory_exists(self, model_dir, reviews, capsys):
        arguments = ["--train_file", reviews, "--output_dir", model_dir]
        assert "already exists" in refused(capsys, "sentiment", "train", *arguments)

    def test_output_directory_cannot_be_made(self, reviews, capsys):
        # A file in the way: root may write into every directory.
        arguments = ["--train_file", reviews, "--output_dir", reviews / "model"]
        assert "cannot be written" in refused(capsys, "sentiment", "train", *arguments)

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--size", "huge"], "--size huge"),
            (["--epochs", "0"], "--epochs 0"),
            (["--epochs", "many"], "--epochs many: give a whole number"),
            (["--pooling", "last"], "--pooling last: give first, mean or max"),
            (["--held_out", "0.9"], "--held_out 0.9"),
            (["--xla", "on", "--strategy", "mirrored"], "--xla on: works on one device"),
            (["--seed", str(2**32)], f"--seed {2**32}: give a number from 0 to"),
            (["--freeze_layers", "9"], "--freeze_layers 9: the encoder has 2 blocks"),
            (["--checkpoint", "runs/bert"], "--size tiny: has no effect here: the checkpoint"),
            (["--revision", "main"], "--revision main: has no effect here: there is no checkpoint"),
            (["--colour", "red"], "--colour"),
        ],
    )
    def test_settings(self, flags, message, reviews, tmp_path, capsys):
        arguments = ["--train_file", reviews, "--output_dir", tmp_path / "model", *TRAIN_FLAGS]
        line = refused(capsys, "sentiment", "train", *arguments, *flags)
        assert message in line
        assert not list(tmp_path.iterdir())

    def test_unknown_label_at_evaluation(self, model_dir, tmp_path, capsys):
        (tmp_path / "rows.tsv").write_text("text\tlabel\na joy\tpos\na bore\tawful\n")
        arguments = ["--model_dir", model_dir, "--eval_file", tmp_path / "rows.tsv"]
        line = refused(capsys, "sentiment", "evaluate", *arguments)
        assert "rows.tsv:3: unknown label 'awful'" in line
        assert "neg" in line

    def test_no_model_there(self, tmp_path, capsys):
        line = refused(capsys, "sentiment", "predict", "--model_dir", tmp_path / "no", "text")
        assert "no such directory" in line

    @pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
    def test_model_directory_with_a_file_missing(self, name, model_dir, tmp_path, capsys):
        copy = shutil.copytree(model_dir, tmp_path / "copy")
        (copy / name).unlink()
        assert name in refused(capsys, "sentiment", "predict", "--model_dir", copy, "text")

    def test_broken_utf8_in_the_input_file(self, model_dir, tmp_path, capsys):
        (tmp_path / "texts.txt").write_bytes(b"fine\nbroken \xff\n")
        arguments = ["--model_dir", model_dir, "--input_file", tmp_path / "texts.txt"]
        assert "texts.txt:2: byte 8" in refused(capsys, "sentiment", "predict", *arguments)


@pytest.mark.parametrize(
    "flags",
    [
        ["--precision", "float16"],
        pytest.param(["--accumulate_steps", "2", "--epochs", "12"], marks=pytest.mark.slow),
        pytest.param(["--xla", "on"], marks=pytest.mark.slow),
    ],
)
def test_ways_to_take_a_step(flags, reviews, tmp_path, capsys):
    arguments = ["--train_file", reviews, "--output_dir", tmp_path / "model", *TRAIN_FLAGS]
    assert main(["sentiment", "train", *map(str, arguments), *flags]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["accuracy"] >= 0.9


def test_an_export_that_is_killed(model_dir, tmp_path):
    """It leaves no version; the second run cleans up and succeeds."""
    arguments = ["--model_dir", model_dir, "--export_dir", tmp_path]
    process = subprocess.Popen(cli("export", *arguments), stderr=subprocess.DEVNULL)
    while not list(tmp_path.rglob(".partial-*/variables")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "1").exists()
    assert main(["sentiment", "export", *map(str, arguments)]) == 0
    assert not list(tmp_path.rglob(".partial-*")) and (tmp_path / "1/saved_model.pb").exists()


def cli(verb, *arguments):
    return [sys.executable, "-m", "applications", "sentiment", verb, *map(str, arguments)]


def run_cli(verb, *arguments, **options):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        cli(verb, *arguments), capture_output=True, env=environment, timeout=300, **options
    )


class TestExplain:
    def test_words_as_json_and_as_a_page(self, model_dir, tmp_path, capsys):
        page = tmp_path / "why.html"
        flags = ["--model_dir", model_dir, "--explain", "true", "--html_file", page]
        answers = predicted(capsys, *flags, "I loved every minute", "<i>很难看的电影</i>")
        assert [answer["label"] for answer in answers] == ["pos", "neg"]
        for answer in answers:
            explained = answer["explanation"]
            total = sum(word["part"] for word in explained["words"])
            assert total == pytest.approx(explained["score"] - explained["baseline"], rel=0.02)
            assert "probabilities" in answer
        text = page.read_text(encoding="utf-8")
        assert ">loved</span>" in text and "<i>" not in text and ">难</span>" in text

    def test_refused(self, model_dir, tmp_path, capsys):
        page = tmp_path / "why.html"
        flags = ["sentiment", "predict", "--model_dir", model_dir, "a film", "--html_file", page]
        assert "without --explain true" in refused(capsys, *flags)
        page.write_text("mine")
        assert "another --html_file" in refused(capsys, *flags, "--explain", "true")
