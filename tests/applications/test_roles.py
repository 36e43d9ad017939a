"""`tfmodels roles`: every verb on real files, and what it answers to mistakes."""

import ast
import json
import shlex
import types

from applications.roles import APPLICATION, GIVEN, coloured
from tests.applications.conftest import TRAIN_FLAGS, write_frames
from tests.applications.verbs import printed, refused


def answers(capsys, *arguments):
    return printed(capsys, "roles", *arguments)


def test_learned(roles_dir):
    metrics = json.loads((roles_dir / "metrics.json").read_text())
    assert metrics["f1"] > 0.95 and metrics["predicates"]["f1"] > 0.95
    assert set(metrics["roles"]) == {"ARG0", "ARG1", "ARGM-LOC"}
    assert "Predicates are found with an F1 of" in (roles_dir / "README.md").read_text()


def test_evaluate(roles_dir, frames, tmp_path, capsys):
    flags = ["--model_dir", roles_dir, "--eval_file", frames]
    *_, metrics = answers(capsys, "evaluate", *flags, "--report_dir", tmp_path / "report")
    assert metrics["f1"] > 0.95 and metrics["found"]["f1"] > 0.9 and metrics["texts"] == 160
    assert "| ARG0 |" in (tmp_path / "report" / "roles.md").read_text()


def test_predict(roles_dir, capsys):
    text = "Bo found gold in Rome"
    (row,) = answers(capsys, "predict", "--model_dir", roles_dir, text)
    (frame,) = row["frames"]
    assert (row["text"], frame["predicate"]) == (text, "found")
    found = [(a["role"], text[a["start"] : a["end"]]) for a in frame["arguments"]]
    assert found == [("ARG0", "Bo"), ("ARG1", "gold"), ("ARGM-LOC", "in Rome")]
    (given,) = answers(capsys, "predict", "--model_dir", roles_dir, text, "--predicate", 1)
    assert [a["role"] for a in given["frames"][0]["arguments"]] == ["ARG0", "ARG1", "ARGM-LOC"]
    commas = "Bo found, gold in Rome."
    for number, word in ((1, "found"), (4, "Rome")):
        (given,) = answers(
            capsys, "predict", "--model_dir", roles_dir, commas, "--predicate", number
        )
        assert given["frames"][0]["predicate"] == word
    spaced = text.replace(" ", "  ")
    (given,) = answers(capsys, "predict", "--model_dir", roles_dir, spaced, "--predicate", 1)
    (frame,) = given["frames"]
    assert given["text"] == spaced and spaced[frame["start"] : frame["end"]] == "found"


def test_the_card_of_a_model_that_finds_no_predicates():
    task = types.SimpleNamespace(predicates=False)
    assert not APPLICATION.can_export(task)
    for text, (words, number) in zip(APPLICATION.kind.examples, GIVEN, strict=True):
        python, shell = APPLICATION.example(task, [text])
        assert ast.literal_eval(python) == (words, [number])
        assert shlex.split(shell) == [" ".join(words), "--predicate", str(number)]


def test_colours():
    frame = {"start": 3, "end": 7, "arguments": [{"role": "A0", "start": 0, "end": 2}]}
    assert coloured("Bo left", frame, ["A0", "V"]) == (
        "\x1b[36;1mBo\x1b[0m\x1b[36m/A0\x1b[0m \x1b[33;1mleft\x1b[0m\x1b[33m/V\x1b[0m"
    )
    frame["arguments"] = [{"role": "A0", "start": 0, "end": 7}]
    assert coloured("Bo left", frame, ["A0", "V"]) == "Bo \x1b[33;1mleft\x1b[0m\x1b[33m/V\x1b[0m"


class TestMistakes:
    def test_training_files(self, tmp_path, capsys):
        path = write_frames(tmp_path / "a.conll", 6)
        text = path.read_text()
        arguments = ["--train_file", path, "--output_dir", tmp_path / "model", *TRAIN_FLAGS]
        for changed, problem in (
            (text.replace("found\tX\t-\tfind.01\t(V*)", "found\tX\t-\tfind.01", 1), "columns"),
            (text.replace("find.01", "-", 1), "predicates in column 4"),
            (text.replace("(ARG1*)", "(ARG1*", 1), "(ARG1* is not closed"),
        ):
            path.write_text(changed)
            message = refused(capsys, "roles", "train", *arguments)
            assert problem in message and "a.conll:" in message
            assert [p.name for p in tmp_path.iterdir()] == ["a.conll"]

    def test_predict(self, roles_dir, capsys):
        common = ["roles", "predict", "--model_dir", roles_dir]
        line = refused(capsys, *common, "Bo left", "--predicate", 2)
        assert "--predicate 2: the text has the words 0 to 1, which are" in line
        assert "2 are given; give one" in refused(capsys, *common, "a", "b", "--predicate", 0)

    def test_a_model_of_another_application(self, ner_dir, capsys):
        line = refused(capsys, "roles", "predict", "--model_dir", ner_dir, "text")
        assert "roles" in line
