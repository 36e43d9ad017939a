"""`tfmodels summarization`: every verb on real files, and what it answers to mistakes."""

import json

import pytest

import tfmodels
from tests.applications.conftest import PAIR_FLAGS
from tests.applications.verbs import printed, refused
from tests.checkpoints.test_google import GoogleCheckpoint

TEXTS = [
    "the old king saw the river. a small dog found some bread.",
    "my sister sold two horses. the captain painted the moon. every child saw an old book.",
    "a small dog",
    "",
    " \u3000\t",
]
SEARCH = ["--max_new_tokens", "12", "--num_beams", "2"]


def answers(capsys, *arguments):
    """What a verb of ours prints, parsed line by line."""
    return printed(capsys, "summarization", *arguments)


class TestModelDirectory:
    def test_learned(self, writer_dir):
        metrics = json.loads((writer_dir / "metrics.json").read_text())
        assert metrics["examples"] == 16
        assert len(metrics["history"]["val_rougeL"]) >= 1
        # Random weights write nothing that is right.
        assert metrics["rouge1"] > 80 and metrics["lead"]["rouge1"] > 10
        card = (writer_dir / "README.md").read_text()
        assert "| this model |" in card and "| lead 3 |" in card

    def test_the_search_stays_with_the_model(self, writer_dir):
        found = json.loads((writer_dir / "generation_config.json").read_text())
        assert found["num_beams"] == 4 and found["no_repeat_ngram_size"] == 3
        assert found["max_length"] == 13  # with the start token

    def test_new_weights_are_as_large_as_the_model_is_narrow(self, writer_dir):
        config = json.loads((writer_dir / "config.json").read_text())
        assert config["hidden_dim"] == 128
        assert config["initializer_range"] == pytest.approx(128**-0.5)


def test_evaluate(writer_dir, pairs, tmp_path, capsys):
    report, part = tmp_path / "report", tmp_path / "part.jsonl"
    part.write_text("".join(pairs.read_text().splitlines(keepends=True)[:40]))
    arguments = ["--model_dir", writer_dir, "--eval_file", part, "--report_dir", report]
    *mistakes, metrics = answers(capsys, "evaluate", *arguments, *SEARCH, "--lead_k", 1)
    assert metrics["examples"] == 40 and metrics["lead"]["k"] == 1
    assert metrics["rouge1"] >= metrics["rouge2"] > 60
    assert metrics["length"]["output"] > 1 and 0 <= metrics["novel"]["2"] <= 1
    assert len(mistakes) == 10
    assert len((report / "examples.md").read_text().splitlines()) == 22
    assert len((report / "mistakes.jsonl").read_text().splitlines()) == 10


class TestPredict:
    def test_each_text_by_itself_and_together(self, writer_dir, capsys):
        together = answers(capsys, "predict", "--model_dir", writer_dir, *SEARCH, *TEXTS)
        assert [row["text"] for row in together] == TEXTS
        assert [row["summary"] for row in together[3:]] == ["", ""]
        assert all(row["summary"] for row in together[:3])
        assert [row["score"] < 0 for row in together] == [True] * 3 + [False] * 2
        assert [row["truncated"] for row in together] == [False] * len(TEXTS)
        alone = answers(capsys, "predict", "--model_dir", writer_dir, *SEARCH, TEXTS[2])
        assert alone[0]["summary"] == together[2]["summary"]
        assert alone[0]["score"] == pytest.approx(together[2]["score"], abs=1e-4)

    def test_long_texts(self, writer_dir, capsys):
        """50,000 words: what was not read is said, or all of it is read in parts."""
        long = " ".join(["the captain saw the moon."] * 10_000)
        arguments = ["predict", "--model_dir", writer_dir, "--num_beams", 1, "--max_new_tokens", 3]
        (cut,) = answers(capsys, *arguments, long)
        assert (cut["parts"], cut["truncated"]) == (1, True)
        (whole,) = answers(
            capsys, *arguments, "--long_texts", "parts", " ".join(long.split()[:3000])
        )
        assert whole["parts"] > 64 and not whole["truncated"]
        assert len(whole["summary"]) > len(cut["summary"])


class TestStart:
    def test_from_a_bert(self, bert_dir, pairs, tmp_path, capsys):
        """Its encoder starts ours, and a decoder of another depth."""
        flags = ["--train_file", pairs, "--checkpoint", bert_dir, "--output_dir", tmp_path / "m"]
        flags += [*PAIR_FLAGS[4:], "--epochs", 1, "--max_length", 32, "--num_decoder_layers", 1]
        flags += ["--schedule", "inverse_sqrt", "--num_beams", 1]
        (found,) = answers(capsys, "train", *flags)
        assert found["examples"] == 16
        config = json.loads((tmp_path / "m" / "config.json").read_text())
        assert (config["num_encoder_layers"], config["num_decoder_layers"]) == (2, 1)
        assert (tmp_path / "m" / "vocab.txt").read_bytes() == (bert_dir / "vocab.txt").read_bytes()

    def test_from_a_bert_of_google(self, tmp_path):
        """Its configuration does not say what kind of model it is."""
        google = GoogleCheckpoint(tmp_path / "google")
        task = tfmodels.Seq2SeqLM.from_preset(google.directory, max_length=16, max_target_length=8)
        assert "37 tensors loaded" in task.started and "output_bias" in task.started
        assert task.tokenizer.vocabulary_size <= task.model.config.vocabulary_size

    def test_positions_for_the_longest_answer(self):
        task = tfmodels.Seq2SeqLM.from_scratch(
            ["a small dog"] * 9, size="tiny", max_length=8, max_target_length=8, max_new_tokens=20
        )
        assert task.model.config.max_length == 21


class TestRefusals:
    def write(self, path, *rows):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    @pytest.mark.parametrize(
        "flags, message",
        [
            (
                ["--min_new_tokens", "9", "--max_new_tokens", "8"],
                "--min_new_tokens 9: give at most max_new_tokens=8",
            ),
            (["--max_new_tokens", "100"], "max_new_tokens 100: the model has positions for"),
        ],
    )
    def test_search(self, flags, message, writer_dir, capsys):
        line = refused(
            capsys, "summarization", "predict", "--model_dir", writer_dir, *flags, TEXTS[0]
        )
        assert message in line

    def test_empty_target_of_an_evaluation(self, writer_dir, tmp_path, capsys):
        rows = [{"text": "a", "summary": "b"}] * 300 + [{"text": "a", "summary": ""}]
        file = self.write(tmp_path / "pairs.jsonl", *rows)
        flags = ["--model_dir", writer_dir, "--eval_file", file]
        line = refused(capsys, "summarization", "evaluate", *flags)
        assert f"{file}:301" in line and "'summary' is missing (empty)" in line

    @pytest.mark.parametrize(
        "flags, message",
        [
            (["--max_length", 400], "--max_length 400: the model has positions for 32"),
            (
                ["--max_length", 32, "--max_target_length", 32],
                "--max_target_length 32: the model has positions for 31 tokens after",
            ),
            (
                ["--max_length", 32, "--max_target_length", 12, "--max_new_tokens", 40],
                "--max_new_tokens 40: the model has positions for 32",
            ),
        ],
    )
    def test_longer_than_the_checkpoint(self, flags, message, writer_dir, pairs, tmp_path, capsys):
        flags = ["--train_file", pairs, "--checkpoint", writer_dir, *flags]
        line = refused(capsys, "summarization", "train", *flags, "--output_dir", tmp_path / "m")
        assert message in line

    def test_a_text_that_is_not_utf8(self, writer_dir, capsys):
        """As Python hands over such bytes of a command line."""
        texts = ["a text", "caf\udce9"]
        line = refused(capsys, "summarization", "predict", "--model_dir", writer_dir, *texts)
        assert "text 2: character 4 is not UTF-8" in line
