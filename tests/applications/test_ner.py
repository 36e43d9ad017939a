"""`tfmodels ner`: every verb on real files, and what it answers to mistakes."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tfmodels
from applications.report import coloured
from tests.applications.conftest import TRAIN_FLAGS, write_conll
from tests.applications.verbs import printed, refused

TEXTS = [
    "Ada Lovelace flew to New York .",
    "在 北京 , 李小龙 wrote a letter.",
    "\tZoe\u0308 Müller  met 👩\u200d👧 in Ｐａｒｉｓ\u00a0!",
    "عدا لافليس في Paris",
    "",
    "  ",
    "nobody was there .",
]


def answers(capsys, *arguments):
    """What a verb of ours prints, parsed line by line."""
    return printed(capsys, "ner", *arguments)


def test_learned(ner_dir):
    metrics = json.loads((ner_dir / "metrics.json").read_text())
    assert metrics["texts"] == 30 and set(metrics["types"]) == {"PER", "LOC"}
    assert metrics["f1"] == max(metrics["history"]["val_f1"]) > 0.9


def test_evaluate(ner_dir, tagged, tmp_path, capsys):
    report = tmp_path / "report"
    *mistakes, metrics = answers(
        capsys, "evaluate", "--model_dir", ner_dir, "--eval_file", tagged, "--report_dir", report
    )
    assert metrics["texts"] == 300 and metrics["f1"] > 0.9 and metrics["token_accuracy"] > 0.95
    assert len(mistakes) <= 10
    assert "| PER |" in (report / "types.md").read_text()


def test_evaluate_counts_what_is_wrong(ner_dir, tmp_path, capsys):
    """Gold that names another type: nothing found is right, and the confusion says so."""
    path = tmp_path / "turned.jsonl"
    row = {"text": TEXTS[0], "entities": [{"type": "LOC", "start": 0, "end": 12}]}
    path.write_text(json.dumps(row) + "\n")
    mistake, metrics = answers(capsys, "evaluate", "--model_dir", ner_dir, "--eval_file", path)
    assert metrics["recall"] == 0
    assert {"error": "type", "gold": "LOC", "predicted": "PER", "count": 1} in metrics["confusions"]
    assert mistake["mistake"]["gold"][0]["entity"] == "Ada Lovelace"


def test_predict(ner_dir, capsys):
    found = answers(capsys, "predict", "--model_dir", ner_dir, *TEXTS)
    assert [row["text"] for row in found] == TEXTS
    first = [(e["entity"], e["type"]) for e in found[0]["entities"]]
    assert first == [("Ada Lovelace", "PER"), ("New York", "LOC")]
    assert [row["entities"] for row in found[4:]] == [[], [], []]
    for row in found:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]] == entity["entity"]
            assert 0 < entity["score"] <= 1


@pytest.fixture(scope="module")
def find(ner_dir):
    task = tfmodels.load(ner_dir)
    return lambda texts: task.find(texts, 8)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_entities_are_slices_of_any_text(find, texts):
    for text, (entities, *_) in zip(texts, find([t.encode("utf-8", "replace") for t in texts])):  # noqa: B905
        text = text.encode("utf-8", "replace").decode()
        for entity in entities:
            assert text[entity["start"] : entity["end"]] == entity["entity"] != ""


def test_colours():
    entities = [{"type": "LOC", "start": 3, "end": 8}]
    assert coloured("in Paris!", entities, ["LOC"]) == (
        "in \x1b[36;1mParis\x1b[0m\x1b[36m/LOC\x1b[0m!"
    )


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--crf", "false"], ["--class_weights", "balanced"]])
def test_softmax_and_weights(flags, tagged, ner_dir, tmp_path, capsys):
    """Starting from a trained tagger, whose head fits: it knows the answers at once."""
    path = tmp_path / "model"
    arguments = ["--train_file", tagged, "--output_dir", path, "--checkpoint", ner_dir]
    (said,) = answers(capsys, "train", *arguments, *TRAIN_FLAGS[4:], "--epochs", "1", *flags)
    assert said["f1"] > 0.9
    for label in answers(capsys, "predict", "--model_dir", path, TEXTS[0])[0]["entities"]:
        assert label["type"] in ("PER", "LOC")


BAD_FILES = {
    "ragged.txt": (b"Ada X B-PER\nwrote O\n", "ragged.txt:2"),
    "nothing.txt": (b"Ada O\nwrote O\n\n" * 20, "no entity"),
}


class TestMistakes:
    @pytest.mark.parametrize("name", BAD_FILES)
    def test_training_file(self, name, tmp_path, capsys):
        content, message = BAD_FILES[name]
        (tmp_path / name).write_bytes(content)
        arguments = ["--train_file", tmp_path / name, "--output_dir", tmp_path / "model"]
        assert message in refused(capsys, "ner", "train", *arguments)
        assert [p.name for p in tmp_path.iterdir()] == [name]

    def test_unknown_type_at_evaluation(self, ner_dir, tmp_path, capsys):
        (tmp_path / "other.txt").write_text("Acme B-ORG\nsells O\n\nAda B-PER\n\n")
        arguments = ["--model_dir", ner_dir, "--eval_file", tmp_path / "other.txt"]
        line = refused(capsys, "ner", "evaluate", *arguments)
        assert "'ORG'" in line and "LOC, PER" in line

    def test_a_model_of_another_application(self, model_dir, capsys):
        line = refused(capsys, "ner", "predict", "--model_dir", model_dir, "text")
        assert "a model of `sentiment`, not of `ner`" in line

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--stride", "16"], "stride=16"),
            (["--token_column", "7"], "column 7"),
        ],
    )
    def test_settings(self, flags, message, tmp_path, capsys):
        file = write_conll(tmp_path / "few.txt", 20)
        arguments = ["--train_file", file, "--output_dir", tmp_path / "model", *TRAIN_FLAGS]
        assert message in refused(capsys, "ner", "train", *arguments, *flags)
        assert [p.name for p in tmp_path.iterdir()] == ["few.txt"]
