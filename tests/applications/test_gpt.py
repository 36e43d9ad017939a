"""`tfmodels gpt`: every verb on real files, killed and going on, and mistakes."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tfmodels
from applications.__main__ import main
from tests.applications.conftest import GPT_FLAGS
from tests.applications.verbs import printed, refused

PROMPTS = ["the old king", "", "my sister saw a", "<|endoftext|>", "每个孩子"]


def answers(capsys, *arguments):
    """What a verb of ours prints, parsed line by line."""
    return printed(capsys, "gpt", *arguments)


def mistake(capsys, *arguments):
    return refused(capsys, "gpt", *arguments)


class TestModelDirectory:
    def test_learned(self, gpt_dir):
        history = json.loads((gpt_dir / "metrics.json").read_text())["history"]
        tokens = len(json.loads((gpt_dir / "vocab.json").read_text()))
        first, last = history["val_crossentropy"]
        # All tokens alike would be log V, about 5.7.
        assert last < first < np.log(tokens) - 1
        np.testing.assert_allclose(history["val_perplexity"], np.exp([first, last]), rtol=1e-6)


class TestEvaluate:
    def test_numbers_fit_together(self, gpt_dir, documents, capsys):
        *worst, metrics = answers(
            capsys, "evaluate", "--model_dir", gpt_dir, "--text_files", documents
        )
        text = documents.read_text(encoding="utf-8")
        assert metrics["bytes"] == len(text.encode()) and metrics["words"] == len(text.split())
        total = metrics["crossentropy"] * metrics["tokens"]
        assert metrics["perplexity"] == pytest.approx(np.exp(metrics["crossentropy"]))
        assert metrics["word_perplexity"] == pytest.approx(np.exp(total / metrics["words"]))
        assert metrics["bits_per_byte"] == pytest.approx(total / np.log(2) / metrics["bytes"])
        assert worst and all(0 < row["mistake"]["probability"] < 1 for row in worst)

    def test_one_window_is_the_sum_of_its_parts(self, gpt_dir, tmp_path, capsys):
        """A short text, whose loss is known without windows."""
        (tmp_path / "text").write_text("the old king saw the moon.")
        metrics = answers(
            capsys, "evaluate", "--model_dir", gpt_dir, "--text_files", tmp_path / "text"
        )[-1]
        task = tfmodels.load(gpt_dir)
        model, tokenizer = task.model, task.tokenizer
        end = tokenizer.end_id
        ids = [end, *tokenizer.tokenize(["the old king saw the moon."]).numpy()[0], end]
        logits = model({"token_ids": np.array([ids[:-1]])}).numpy()[0].astype(float)
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected = -log_probs[np.arange(len(ids) - 1), ids[1:]].mean()
        assert metrics["tokens"] == len(ids) - 1
        assert metrics["crossentropy"] == pytest.approx(expected, abs=1e-5)

    def test_more_context_is_better(self, gpt_dir, documents, tmp_path, capsys):
        (tmp_path / "text").write_text(documents.read_text(encoding="utf-8")[:3000])
        flags = ["evaluate", "--model_dir", gpt_dir, "--text_files", tmp_path / "text"]
        near = answers(capsys, *flags, "--stride", 2, "--max_length", 16)[-1]
        far = answers(capsys, *flags, "--stride", 16, "--max_length", 16)[-1]
        assert near["tokens"] == far["tokens"] and near["perplexity"] < far["perplexity"]


class TestPredict:
    FLAGS = ("--max_new_tokens", 12)

    @pytest.mark.parametrize(
        "flags", [[], ["--sample", "true", "--seed", "5"], ["--num_beams", "3"]]
    )
    def test_a_prompt_alone_and_beside_others(self, gpt_dir, capsys, flags):
        command = ["predict", "--model_dir", gpt_dir, *self.FLAGS, *flags]
        together = answers(capsys, *command, *PROMPTS)
        alone = answers(capsys, *command, "--batch_size", 1, *PROMPTS)
        assert [row["text"] for row in together] == [row["text"] for row in alone]

    def test_seeds(self, gpt_dir, capsys):
        command = ["predict", "--model_dir", gpt_dir, *self.FLAGS, "--sample", "true", "--seed"]
        one, two, again = (answers(capsys, *command, s, *PROMPTS) for s in (1, 2, 1))
        assert one == again and one != two

    @pytest.mark.parametrize(("sample", "stop"), [(False, []), (True, ["king", "a"])])
    def test_streams_what_it_predicts(self, gpt_dir, sample, stop):
        task = tfmodels.load(gpt_dir)
        task.configure(max_new_tokens=24, sample=sample, stop=stop, seed=3)
        for prompt in PROMPTS[:3]:
            (expected,) = task.generate([prompt])
            pieces = list(task.stream(prompt))
            assert "".join(pieces) == expected
            assert not any(string in expected for string in stop)
            if not stop:
                assert sum(map(bool, pieces)) > 3

    def test_prompts_share_one_trace(self, gpt_dir):
        """A trace takes a second, a prompt a hundredth of one."""
        task, traced = tfmodels.load(gpt_dir), []
        task.configure(max_new_tokens=4)
        tokenize = task.tokenizer.tokenize
        task.tokenizer.tokenize = lambda text: traced.append(text) or tokenize(text)
        for prompt in ("the", "the old king", "my sister saw a"):
            "".join(task.stream(prompt))
        graphs = [text for text in traced if tf.is_symbolic_tensor(text)]
        assert len(graphs) == 1

    def test_stop(self, gpt_dir, capsys):
        flags = ["predict", "--model_dir", gpt_dir, *self.FLAGS, "the old king"]
        (whole,) = answers(capsys, *flags)
        stop = whole["text"][4:6]
        (cut,) = answers(capsys, *flags[:-1], "--stop", json.dumps([stop]), flags[-1])
        assert cut["text"] == whole["text"][: whole["text"].index(stop)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Path of 120 prompts with one of three responses."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    pairs = [("the old king", "red"), ("a small dog", "blue"), ("my sister", "green")] * 40
    lines = [json.dumps({"prompt": p, "response": r}) + "\n" for p, r in pairs]
    path.write_text("".join(lines))
    return path


class TestFinetune:
    def test_learns_responses(self, gpt_dir, rows, tmp_path, capsys):
        model = tmp_path / "model"
        answers(
            capsys, "finetune", "--checkpoint", gpt_dir, "--train_file", rows, "--output_dir",
            model, "--steps", 60, "--save_steps", 30, "--batch_size", 12, "--learning_rate",
            "2e-3", "--precision", "float32", "--sample_prompt", "my sister",
        )  # fmt: skip
        prompts = ["my sister", "the old king", "a small dog"]
        found = answers(capsys, "predict", "--model_dir", model, "--max_new_tokens", 8, *prompts)
        assert [row["text"] for row in found] == ["green", "red", "blue"]

    def test_prompts_of_all_kinds(self, gpt_dir, tmp_path, capsys):
        """Each another one, one longer than a label may be, one empty."""
        prompts = [f"question {number}" for number in range(38)] + ["why " * 60, ""]
        path = tmp_path / "rows.jsonl"
        lines = [json.dumps({"prompt": p, "response": "yes"}) + "\n" for p in prompts]
        path.write_text("".join(lines))
        flags = ["--checkpoint", gpt_dir, "--train_file", path, "--steps", 4, "--batch_size", 12]
        flags += ["--save_steps", 4, "--precision", "float32", "--sample_tokens", 0]
        (said,) = answers(capsys, "finetune", *flags, "--output_dir", tmp_path / "model")
        assert said["crossentropy"] > 0

    def test_a_pass_is_all_rows(self, rows, gpt_dir, tmp_path, capsys):
        """120 rows in batches of 50, 10 % held out: 3 steps, the last one of 8 rows."""
        flags = ["--checkpoint", gpt_dir, "--train_file", rows, "--batch_size", 50]
        flags += ["--epochs", 2, "--sample_tokens", 0, "--held_out", 0.1]
        assert main(["gpt", "finetune", *map(str, flags), "--output_dir", str(tmp_path / "m")]) == 0
        assert "step 6 of 6" in capsys.readouterr().err

    @pytest.mark.parametrize(("data", "flag"), [("--train_file", "--eval_files"),
                                                ("--text_files", "--eval_file")])  # fmt: skip
    def test_files_that_are_not_read_are_refused(self, data, flag, gpt_dir, rows, tmp_path, capsys):
        line = mistake(capsys, "finetune", "--checkpoint", gpt_dir, data, rows, flag, "nowhere",
                       "--output_dir", tmp_path / "model")  # fmt: skip
        assert f"{flag} nowhere: has no effect here" in line

    @pytest.mark.parametrize("flag", ["--eval_file", "--eval_files"])
    def test_text_to_measure_on_is_broken(self, flag, gpt_dir, rows, documents, tmp_path, capsys):
        (tmp_path / "broken.jsonl").write_text('{"prompt": "a", "response": "b"}\n{"prompt"\n')
        (tmp_path / "broken.txt").write_bytes(b"fine\nbroken \xff\n")
        on_rows = flag == "--eval_file"
        broken = tmp_path / ("broken.jsonl" if on_rows else "broken.txt")
        data = ["--train_file", rows] if on_rows else ["--text_files", documents]
        line = mistake(
            capsys, "finetune", "--checkpoint", gpt_dir, *data, flag, broken,
            "--output_dir", tmp_path / "model", "--steps", 2, "--batch_size", 4,
        )  # fmt: skip
        assert f"{broken}:2" in line
        assert not (tmp_path / "model").exists()

    def test_mistakes(self, gpt_dir, rows, tmp_path, capsys):
        flags = ["finetune", "--output_dir", tmp_path / "model"]
        assert "--checkpoint" in mistake(capsys, *flags, "--train_file", rows)
        flags += ["--checkpoint", gpt_dir]
        assert "--text_files or --train_file" in mistake(capsys, *flags)
        line = mistake(capsys, *flags, "--train_file", rows, "--response_column", "answer")
        assert "answer" in line and "response" in line
        line = mistake(capsys, *flags, "--train_file", rows, "--max_length", 4000)
        assert "positions for 32 tokens" in line
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_characters(documents, tmp_path, capsys):
    model = tmp_path / "model"
    answers(
        capsys, "pretrain", "--text_files", documents, "--output_dir", model, "--tokenizer",
        "characters", "--eval_files", documents, *GPT_FLAGS, "--num_layers", 1, "--num_heads", 2,
        "--hidden_dim", 32, "--steps", 2, "--sample_tokens", 4,
    )  # fmt: skip
    config = json.loads((model / "config.json").read_text())
    assert (config["n_layer"], config["n_head"], config["n_embd"]) == (1, 2, 32)
    (found,) = answers(capsys, "predict", "--model_dir", model, "--max_new_tokens", 5, "the")
    assert len(found["text"]) <= 5
    # The same tokenizer for another model.
    other = tmp_path / "other"
    flags = ["--tokenizer", model, *GPT_FLAGS, "--steps", 1, "--sample_tokens", 0]
    flags += ["--held_out", 0, "--eval_files", documents]
    answers(capsys, "pretrain", "--text_files", documents, "--output_dir", other, *flags)
    assert (other / "characters.json").read_bytes() == (model / "characters.json").read_bytes()


class TestMistakes:
    def test_prompt_longer_than_the_context(self, gpt_dir, capsys):
        line = mistake(capsys, "predict", "--model_dir", gpt_dir, "--max_new_tokens", 8, "x " * 50)
        assert "there is room for 24" in line

    @pytest.mark.parametrize(
        ("flag", "value", "said"),
        [
            ("max_new_tokens", 32, "positions for 32 tokens"),
            ("temperature", 0, "temperature 0.0"),
            ("stop", '[""]', "stop: an empty string"),
        ],
    )
    def test_settings_of_generation(self, gpt_dir, capsys, flag, value, said):
        flags = ["predict", "--model_dir", gpt_dir, "--sample", "true", f"--{flag}", value, "x"]
        if flag != "max_new_tokens":
            flags += ["--max_new_tokens", "4"]
        assert said in mistake(capsys, *flags)

    def test_a_bert(self, bert_dir, capsys):
        assert "model_type is 'bert'" in mistake(capsys, "predict", "--model_dir", bert_dir, "x")

    def test_text_too_short(self, tmp_path, capsys):
        (tmp_path / "text").write_text("ab ab ab ab")
        flags = ["--text_files", tmp_path / "text", "--output_dir", tmp_path / "model"]
        line = mistake(capsys, "pretrain", *flags, *GPT_FLAGS, "--held_out", 0, "--steps", 2)
        assert "no block of 32 tokens" in line
        assert [p.name for p in tmp_path.iterdir()] == ["text"]

    def test_heads(self, documents, tmp_path, capsys):
        flags = ["pretrain", "--text_files", documents, "--output_dir", tmp_path / "model"]
        line = mistake(capsys, *flags, "--size", "tiny", "--num_heads", 3, "--steps", 1)
        assert "--num_heads 3" in line

    def test_stride(self, gpt_dir, documents, capsys):
        flags = ["evaluate", "--model_dir", gpt_dir, "--text_files", documents, "--stride", 33]
        assert "--stride 33" in mistake(capsys, *flags)
