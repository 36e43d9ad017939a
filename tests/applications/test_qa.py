"""`tfmodels qa`: every verb on real files, an export in a fresh process, and mistakes."""

import io
import json
import random

import numpy as np
import pytest

import tfmodels
from applications.__main__ import main
from tests.applications.conftest import TRAIN_FLAGS, write_questions
from tests.applications.verbs import printed, refused
from tests.serving.fresh import ask

CONTEXT = "yesterday Ada Lovelace flew to Paris and found two horses there."
PIECES = ["Ada", "北京", "👩\u200d👧", "e\u0301", "Ｐａｒｉｓ", "עדה", "بيروت", "\t", "."]
PIECES += ["in", " ", "\u3000", "Zoë", "\u200f", "flew", "12.5", "ﬁ", "\U0001f600"]


def answers(capsys, *arguments):
    return printed(capsys, "qa", *arguments)


def random_contexts(number, seed=0):
    rng = random.Random(seed)
    joined = (
        rng.choice(["", " "]).join(rng.choices(PIECES, k=rng.randint(1, 30))) for _ in range(number)
    )
    return [text for text in joined if text.strip()]


def test_learned(qa_dir):
    metrics = json.loads((qa_dir / "metrics.json").read_text())
    assert metrics["questions"] == 240 and metrics["metric"] == "squad"
    assert metrics["has_answer"]["f1"] > 60 and 0 < metrics["threshold"] < 1
    assert "as the script of SQuAD counts" in (qa_dir / "README.md").read_text()


def test_evaluate(qa_dir, questions, capsys):
    *mistakes, metrics = answers(
        capsys, "evaluate", "--model_dir", qa_dir, "--eval_file", questions
    )
    wanted = json.loads((qa_dir / "metrics.json").read_text())
    assert metrics["f1"] == pytest.approx(wanted["f1"], abs=1.5)
    assert metrics["has_answer"]["questions"] + metrics["no_answer"]["questions"] == 240
    assert all({"question", "gold", "predicted"} <= row["mistake"].keys() for row in mistakes)


def test_predict(qa_dir, questions, tmp_path, capsys, monkeypatch):
    common = ["predict", "--model_dir", qa_dir]
    (row,) = answers(capsys, *common, "who flew to Paris?", "--context", CONTEXT, "--n_best", 3)
    assert CONTEXT[row["start"] : row["end"]] == row["answer"] and len(row["n_best"]) == 3
    scores = [best["score"] for best in row["n_best"]]
    assert scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1.001
    found = answers(
        capsys, *common, "--input_file", questions, "--prediction_file", tmp_path / "found.json"
    )
    predictions = json.loads((tmp_path / "found.json").read_text())
    assert predictions == {row["id"]: row["answer"] for row in found} and len(found) == 240
    table = tmp_path / "asked.csv"
    table.write_text(f"question,context\nwho flew to Paris?,{CONTEXT}\n")
    assert answers(capsys, *common, "--input_file", table)[0]["answer"] == row["answer"]
    lines = tmp_path / "asked.jsonl"
    asked = {"id": "q7", "question": "who flew to Paris?", "context": CONTEXT}
    lines.write_text(json.dumps(asked) + "\n")
    new = tmp_path / "new" / "found.json"
    answers(capsys, *common, "--input_file", lines, "--prediction_file", new)
    assert json.loads(new.read_text()) == {"q7": row["answer"]}
    line = f"who flew to Paris?\t{CONTEXT}\n".encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line)))
    assert answers(capsys, *common)[0]["answer"] == row["answer"]


@pytest.fixture(scope="module")
def asked(qa_dir, tmp_path_factory):
    """A version, and its answers in a process without our code."""
    root = tmp_path_factory.mktemp("served") / "qa"
    assert main(["qa", "export", "--model_dir", str(qa_dir), "--export_dir", str(root)]) == 0
    contexts = [CONTEXT, *random_contexts(300), "", CONTEXT + " nobody said more." * 60]
    pairs = {
        "question": ("string", ["who flew to Paris?"] * len(contexts)),
        "context": ("string", contexts),
    }
    none = {"question": ("string", []), "context": ("string", [])}
    _, found = ask(
        root / "1", ("serving_default", pairs), ("n_best", pairs), ("serving_default", none)
    )
    return contexts, found


def test_export_answers_as_predict_does(asked, qa_dir):
    contexts, (found, several, none) = asked
    task = tfmodels.load(qa_dir)
    filled = [(n, text) for n, text in enumerate(contexts) if text]
    answers = task.predict([("who flew to Paris?", text) for _, text in filled])
    for (n, _), answer in zip(filled, answers, strict=True):
        assert {name: found[name][n] for name in ("answer", "start", "end")} == {
            name: answer[name] for name in ("answer", "start", "end")
        }
        assert found["score"][n] == pytest.approx(answer["score"], abs=1e-4)
        assert found["null_score"][n] == pytest.approx(answer["null_score"], abs=1e-4)
    empty = contexts.index("")
    assert (found["answer"][empty], found["start"][empty], found["score"][empty]) == ("", -1, 0)
    assert all(value == [] for value in none.values())
    assert np.shape(several["answer"]) == (len(contexts), 5)


def test_every_answer_is_a_slice_of_its_context(asked):
    contexts, (_, several, _) = asked
    number = 0
    names = ("answer", "start", "end")
    for text, *row in zip(contexts, *(several[name] for name in names), strict=True):
        for answer, start, end in zip(*row, strict=True):
            if start < 0:
                assert (answer, end) == ("", -1)
            else:
                number += 1
                assert text[start:end] == answer != ""
    assert number > 1000


class TestMistakes:
    def train(self, capsys, path, *flags):
        arguments = ["--train_file", path, "--output_dir", path.parent / "model", *TRAIN_FLAGS]
        message = refused(capsys, "qa", "train", *arguments, *flags)
        assert [p.name for p in path.parent.iterdir()] == [path.name]
        return message

    def test_training_files(self, tmp_path, capsys):
        path = write_questions(tmp_path / "train.json", 4)
        text = path.read_text()
        for changed, problem in (
            (text[:-20], "not valid JSON"),
            (text.replace('"id": "1-0", ', ""), "no 'id'"),
            (text.replace("yesterday", "", 1).replace(" found", "", 1), "does not have the answer"),
        ):
            if problem.startswith("does"):
                changed = text.replace('"text": "', '"text": "not ', 1)
            path.write_text(changed)
            message = self.train(capsys, path)
            assert problem in message and str(path) in message

    def test_flags(self, tmp_path, capsys):
        path = write_questions(tmp_path / "train.json", 20)
        rows = path.with_suffix(".jsonl")
        assert "--context_column" in refused(
            capsys, "qa", "evaluate", "--model_dir", "a", "--eval_file", rows,
            "--context_column", "passage",
        )  # fmt: skip
        assert "no room for a context" in self.train(capsys, path, "--max_question_length", "13")
        assert "--max_answer_length 0: give 1" in self.train(
            capsys, path, "--max_answer_length", "0"
        )

    def test_predict(self, qa_dir, capsys):
        common = ["qa", "predict", "--model_dir", qa_dir]
        assert "0 contexts for 1" in refused(capsys, *common, "who?")
        assert "the context is empty" in refused(capsys, *common, "who?", "--context", " ")
        assert "the question is empty" in refused(capsys, *common, "", "--context", "a")

    def test_predict_files(self, qa_dir, tmp_path, capsys):
        common = ["qa", "predict", "--model_dir", qa_dir, "--input_file"]
        lines = tmp_path / "asked.txt"
        lines.write_text("who?\tAda.\nwhat? Ada.\n")
        assert f"{lines}:2: 'what? Ada.' is no question" in refused(capsys, *common, lines)
        lines.write_text("who?\tAda.\n \tAda.\n")
        assert f"{lines}:2: the question is empty" in refused(capsys, *common, lines)
        twice = tmp_path / "asked.jsonl"
        row = {"id": "a", "question": "who?", "context": "Ada."}
        twice.write_text((json.dumps(row) + "\n") * 2)
        out = ["--prediction_file", tmp_path / "found.json"]
        assert "2 questions have the id 'a'" in refused(capsys, *common, twice, *out)
        out = ["--prediction_file", twice / "found.json"]
        assert "cannot be written in" in refused(capsys, *common, lines, *out)
        assert "already exists" in refused(capsys, *common, lines, "--prediction_file", tmp_path)
