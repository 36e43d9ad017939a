"""`tfmodels bert`: every verb on real files, killed and going on, and mistakes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tfmodels
from applications.__main__ import main
from tests.applications.conftest import PRETRAIN_FLAGS, TRAIN_FLAGS, write_documents
from tests.applications.verbs import printed, refused


def answers(capsys, *arguments):
    """What a verb of ours prints, parsed line by line."""
    return printed(capsys, "bert", *arguments)


def test_learned(bert_dir):
    history = json.loads((bert_dir / "metrics.json").read_text())["history"]
    tokens = len((bert_dir / "vocab.txt").read_text(encoding="utf-8").splitlines())
    # All tokens alike would be log V, about 4.7.
    assert history["val_masked_lm_crossentropy"][-1] < np.log(tokens) - 1
    assert len(history["val_next_sentence_accuracy"]) == 2
    assert history["tokens_per_second"][-1] > 0


def test_evaluate_hides_what_the_training_hid(bert_dir):
    """What a model directory says of masks and examples is what `evaluate` is told."""
    written = json.loads((bert_dir / "config.json").read_text())["tfmodels"]
    told = {"short_share": 0.1, "mask_rate": 0.15, "whole_words": True, "segmented": False}
    assert {name: written[name] for name in told} == told
    task = tfmodels.load(bert_dir)
    assert {name: getattr(task, name) for name in told} == told and task.task == "nsp"


def test_evaluate(bert_dir, documents, capsys):
    *mistakes, metrics = answers(
        capsys, "evaluate", "--model_dir", bert_dir, "--text_files", documents
    )
    assert 0 < metrics["masked_lm_accuracy"] <= 1
    assert metrics["masked_lm_perplexity"] == pytest.approx(
        np.exp(metrics["masked_lm_crossentropy"])
    )
    assert 0.3 < metrics["next_sentence_accuracy"] <= 1
    assert mistakes and all(row["mistake"]["true"] for row in mistakes)


def test_predict_fills_masks(bert_dir, capsys):
    texts = ["the old king [MASK] the [MASK].", "no mask here", "[MASK]", ""]
    found = answers(capsys, "predict", "--model_dir", bert_dir, "--top_k", 3, *texts)
    assert [row["text"] for row in found] == texts
    assert [len(row["masks"]) for row in found] == [2, 0, 1, 0]
    for row in found:
        for mask in row["masks"]:
            scores = [answer["score"] for answer in mask]
            assert len(mask) == 3 and scores == sorted(scores, reverse=True) and scores[0] < 1


def test_records_give_what_the_text_gives(documents, tmp_path, capsys):
    """Prepared once, in two processes, and trained on: the same task, with other shards."""
    records, model = tmp_path / "records", tmp_path / "model"
    flags = ["--vocabulary_size", 200, "--max_length", 32, "--shards", 3, "--held_out", 0.1]
    (said,) = answers(capsys, "prepare", "--text_files", documents, "--output_dir", records, *flags)
    assert said["splits"]["train"]["documents"] + said["splits"]["validation"]["documents"] == 300
    flags = ["--size", "tiny", "--batch_size", 16, "--epochs", 1, "--precision", "float32"]
    (said,) = answers(capsys, "pretrain", "--records_dir", records, "--output_dir", model, *flags)
    assert said["masked_lm_accuracy"] > 0
    vocabulary = (records / "vocab.txt").read_bytes()
    assert (model / "vocab.txt").read_bytes() == vocabulary


@pytest.mark.slow
@pytest.mark.parametrize("task", ["sop", "mlm"])
def test_other_tasks_and_going_on_from_a_checkpoint(task, bert_dir, documents, tmp_path, capsys):
    arguments = ["--text_files", documents, "--output_dir", tmp_path / "model", "--task", task]
    flags = ["--steps", 4, "--batch_size", 16, "--max_length", 32, "--precision", "float32"]
    (said,) = answers(
        capsys, "pretrain", *arguments, "--checkpoint", bert_dir, *flags, "--held_out", 0.1
    )
    metrics = set(said) - {"model_dir", "loss"}
    heads = ["masked_lm", "next_sentence"][: 1 + (task == "sop")]
    assert metrics == {f"{head}_{name}" for head in heads for name in ("accuracy", "crossentropy")}
    arguments = ["--model_dir", tmp_path / "model", "--text_files", documents]
    assert answers(capsys, "evaluate", *arguments)[-1]["masked_lm_perplexity"] > 1


def test_fine_tuning_from_it_is_one_flag(bert_dir, reviews, tmp_path, capsys):
    arguments = ["--train_file", str(reviews), "--output_dir", str(tmp_path / "model")]
    flags = [*TRAIN_FLAGS[4:], "--checkpoint", str(bert_dir), "--epochs", "1"]
    assert main(["sentiment", "train", *arguments, *flags]) == 0
    assert f"{bert_dir}: " in capsys.readouterr().err


class TestStopped:
    FLAGS = [*PRETRAIN_FLAGS, "--steps", "40", "--save_steps", "5", "--held_out", "0.1"]

    def test_killed_and_going_on(self, documents, tmp_path, capsys):
        """Killed in mid-epoch: the same command ends where the one that was left alone ends.

        A training that was killed before its first state is no hindrance, and other settings do
        not go on with what this one left.
        """
        losses, folder = {}, tmp_path / "killed.unfinished"
        folder.mkdir()
        (folder / "settings.json").write_text(json.dumps({"batch_size": 32}))
        (folder / "vocab.txt").write_text("half a vocabu")
        for name in ("alone", "killed"):
            path = tmp_path / name
            arguments = ["--text_files", documents, "--output_dir", path, *self.FLAGS]
            if name == "killed":
                process = subprocess.Popen(cli(*arguments), stderr=subprocess.DEVNULL,
                                           stdout=subprocess.DEVNULL)  # fmt: skip
                state = folder / "states" / "step-000000010"
                while not state.exists():
                    assert process.poll() is None
                    time.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                process.wait()
                assert not path.exists()
                self.refused_with_other_settings(arguments, tmp_path, capsys)
            assert main(["bert", "pretrain", *map(str, arguments)]) == 0
            losses[name] = json.loads((path / "metrics.json").read_text())["history"]
        assert "resuming at step" in capsys.readouterr().err
        assert not folder.exists()
        for name in ("loss", "val_loss"):
            assert len(losses["killed"][name]) == len(losses["alone"][name]) == 8
            np.testing.assert_allclose(losses["killed"][name], losses["alone"][name], rtol=0.01)

    @pytest.mark.slow
    def test_prepare_that_was_killed(self, documents, tmp_path, capsys):
        """Its processes end with it, and what they left is removed by the next run."""
        text = tmp_path / "text" / "long.txt"
        text.parent.mkdir()
        text.write_text(documents.read_text() * 50)
        arguments = ["--text_files", text, "--output_dir", tmp_path / "out" / "records"]
        arguments += ["--vocabulary_size", 200, "--max_length", 32]
        process = subprocess.Popen(cli(*arguments, verb="prepare"), stderr=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)  # fmt: skip
        while len(list(tmp_path.glob("out/.partial-*/train-*"))) < 8:
            assert process.poll() is None
            time.sleep(0.01)
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            children = file.read().split()
        process.send_signal(signal.SIGKILL)
        process.wait()
        until = time.monotonic() + 60
        while any(map(is_running, children)):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert list((tmp_path / "out").iterdir())
        text.write_text(documents.read_text())
        answers(capsys, "prepare", *arguments, "--processes", 1)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["records"]

    def refused_with_other_settings(self, arguments, tmp_path, capsys):
        line = refused(capsys, "bert", "pretrain", *arguments, "--mask_rate", "0.2")
        assert "an unfinished training with --mask_rate 0.15, and now it is 0.2" in line
        other = write_documents(tmp_path / "other.txt", 20)
        line = refused(capsys, "bert", "pretrain", *arguments, "--text_files", other)
        assert "with --text_files of other contents" in line


class TestMistakes:
    def test_no_text_in_the_files(self, tmp_path, capsys):
        (tmp_path / "empty.txt").write_text("\n \n\n")
        arguments = ["--text_files", tmp_path / "empty.txt", "--output_dir", tmp_path / "out"]
        assert "empty.txt: no text" in refused(capsys, "bert", "pretrain", *arguments)
        assert "empty.txt: no text" in refused(capsys, "bert", "prepare", *arguments)

    def test_a_vocabulary_without_mask(self, documents, tmp_path, capsys):
        (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n")
        arguments = ["--text_files", documents, "--output_dir", tmp_path / "out", *PRETRAIN_FLAGS]
        line = refused(capsys, "bert", "pretrain", *arguments, "--vocabulary",
                       tmp_path / "vocab.txt")  # fmt: skip
        assert "no [MASK]" in line and "give a vocabulary that has it" in line

    def test_a_checkpoint_with_more_tokens_than_embeddings(
        self, bert_dir, documents, tmp_path, capsys
    ):
        checkpoint = shutil.copytree(bert_dir, tmp_path / "checkpoint")
        with open(checkpoint / "vocab.txt", "a", encoding="utf-8") as file:
            file.write("onemore\n")
        arguments = ["--output_dir", tmp_path / "out", "--checkpoint", checkpoint, "--steps", 9]
        line = refused(capsys, "bert", "pretrain", "--text_files", documents, *arguments)
        assert "give the tokenizer that the model was trained with" in line

    def test_records_of_another_vocabulary(self, bert_dir, tmp_path, capsys):
        from tfmodels.text.records import read_summary, vocabulary_fingerprint
        from tfmodels.text.wordpiece import WordPieceTokenizer

        text = write_documents(tmp_path / "other.txt", 40, seed=9)
        records = tmp_path / "records"
        flags = ["--vocabulary_size", 60, "--max_length", 32, "--processes", 1, "--held_out", 0]
        answers(capsys, "prepare", "--text_files", text, "--output_dir", records, *flags)
        arguments = ["--records_dir", records, "--output_dir", tmp_path / "out"]
        line = refused(capsys, "bert", "pretrain", *arguments, "--checkpoint", bert_dir)
        ours = vocabulary_fingerprint(WordPieceTokenizer.from_file(bert_dir / "vocab.txt"))
        assert ours in line and read_summary(records)["vocabulary"] in line

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--records_dir", "x"], "give --text_files or --records_dir, and not both"),
            (["--steps", "0"], "--steps 0"),
            (["--mask_rate", "1"], "--mask_rate 1"),
            (["--checkpoint", "no/such-model"], "--size tiny: has no effect here"),
            (["--max_length", "4"], "max_length=4"),
        ],
    )
    def test_settings(self, flags, message, documents, tmp_path, capsys):
        arguments = ["--text_files", documents, "--output_dir", tmp_path / "m", *PRETRAIN_FLAGS]
        assert message in refused(capsys, "bert", "pretrain", *arguments, "--steps", 9, *flags)
        assert not list(tmp_path.iterdir())

    def test_a_model_without_the_head(self, model_dir, documents, capsys):
        """A sentiment model is a BERT, and cannot fill masks."""
        arguments = ["--model_dir", model_dir, "--text_files", documents]
        line = refused(capsys, "bert", "evaluate", *arguments)
        assert "no masked-LM head" in line


def test_embeddings_that_start_from_counts(documents, tmp_path, capsys):
    out, flags = tmp_path / "counts", [*PRETRAIN_FLAGS, "--text_files", documents]
    # What is measured is the start: the learning rate moves nothing.
    flags += ["--steps", 1, "--learning_rate", "1e-9", "--initial_embeddings", "counts"]
    (said,) = answers(capsys, "pretrain", *flags, "--output_dir", out)
    tokens = len((out / "vocab.txt").read_text(encoding="utf-8").splitlines())
    # The frequencies alone are better than all tokens alike, which would be log V.
    assert said["masked_lm_crossentropy"] < np.log(tokens) - 0.3
    again = ["--output_dir", tmp_path / "more", "--checkpoint", out]
    assert "leave it out" in refused(capsys, "bert", "pretrain", *flags, *again)


def cli(*arguments, verb="pretrain"):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return [sys.executable, "-m", "applications", "bert", verb, *map(str, arguments)]


def is_running(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
