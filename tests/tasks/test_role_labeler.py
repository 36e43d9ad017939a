"""`RoleLabeler` in a script: frames of texts and of given predicates, and an export without us."""

import random

import pytest

import tfmodels
from tests.serving.fresh import ask
from tfmodels.errors import InputError
from tfmodels.metrics.roles import role_metrics
from tfmodels.models.bert import Bert, BertConfig

WORDS = [["Ada", "left", "Rome", "today"], ["today", "Bo", "saw", "Ada", "."],
         ["nobody", "was", "there"]]  # fmt: skip
FRAMES = [
    [{"predicate": 1, "arguments": [("ARG0", 0, 1), ("ARG1", 2, 3), ("ARGM-TMP", 3, 4)]}],
    [{"predicate": 2, "arguments": [("ARGM-TMP", 0, 1), ("ARG0", 1, 2), ("ARG1", 3, 4)]}],
    [],
]
PIECES = [
    "Ada",
    "left",
    "北京",
    "👩\u200d👧",
    "e\u0301",
    "Ｂｏ",
    "עדה",
    "\t",
    "today",
    " ",
    " ",
    "saw",
]


@pytest.fixture(scope="module")
def task():
    texts = [" ".join(row) for row in WORDS]
    task = tfmodels.RoleLabeler.from_scratch(
        texts, size="tiny", vocabulary_size=120, max_length=24, dropout=0.0
    )
    task.compile(learning_rate=2e-3)
    task.fit(WORDS * 12, FRAMES * 12, batch_size=16, epochs=14, verbose=0)
    return task


def test_frames_of_texts(task):
    frames, none, two = task.predict(
        ["Ada left Rome today", "", "Ada left Rome today\n\ntoday Bo saw Ada ."]
    )
    (frame,) = frames
    assert (frame["predicate"], frame["start"], frame["end"]) == ("left", 4, 8)
    assert {name: frame["arguments"][0][name] for name in ("role", "argument", "start", "end")} == {
        "role": "ARG0",
        "argument": "Ada",
        "start": 0,
        "end": 3,
    }
    assert none == [] and [frame["start"] for frame in two] == [4, 30]
    assert all(0 < argument["score"] <= 1 for argument in frame["arguments"])


def test_given_predicates(task):
    of_words, of_text = task.predict([(WORDS[0], [1]), ("Ada left Rome today", [(4, 8)])])
    assert of_words == of_text and of_words[0]["predicate"] == "left"
    (found,) = task.predict(["Ada left Rome today"])
    names = [[(a["role"], a["start"]) for a in row[0]["arguments"]] for row in (of_words, found)]
    assert names[0] == names[1] == [("ARG0", 0), ("ARG1", 9), ("ARGM-TMP", 14)]


def test_evaluate(task):
    metrics = task.evaluate(WORDS, FRAMES, mistakes=3)
    assert metrics["f1"] == metrics["found"]["f1"] == metrics["predicates"]["f1"] == 1
    assert metrics["worst_mistakes"] == [] and metrics["texts"] == 3
    wrong = [[{"predicate": 1, "arguments": [("ARG1", 0, 1)]}, {"predicate": 3, "arguments": []}]]
    found = task.evaluate(WORDS[:1], wrong, mistakes=3, predicates="found")
    (mistake,) = found["worst_mistakes"]
    assert mistake["predicate"] == "left" and mistake["gold"][0]["role"] == "ARG1"
    other = [[{"predicate": 0, "arguments": [("ARG1", 2, 3)]}]]  # one missed, one found beside it
    found = task.evaluate(WORDS[:1], other, mistakes=3, predicates="found")
    assert [(m["predicate"], len(m["gold"])) for m in found["worst_mistakes"]] == [
        ("left", 0), ("Ada", 1)
    ]  # fmt: skip
    metrics = task.evaluate(WORDS[:1], wrong, mistakes=3, predicates="given")
    assert metrics["f1"] == 0 and "found" not in metrics
    assert metrics["worst_mistakes"][0]["gold"][0]["argument"] == "Ada"


def test_saved(task, tmp_path):
    task.save(tmp_path / "model")
    again = tfmodels.load(tmp_path / "model")
    assert isinstance(again, tfmodels.RoleLabeler) and again.marker == "tokens"
    assert again.predict(["Bo saw Ada"]) == task.predict(["Bo saw Ada"])


def test_export_answers_as_predict_does(task, tmp_path):
    rng = random.Random(0)
    texts = ["".join(rng.choices(PIECES, k=rng.randint(0, 14))) for _ in range(60)]
    texts += ["Ada left Rome today", "Ada left Rome today " * 40, ""]
    version = task.export(tmp_path / "served")
    calls = [("serving_default", {"text": ("string", part)}) for part in (texts, [], ["", " "])]
    _, (found, none, blank) = ask(version, *calls)
    answers, number = task.predict(texts), 0
    for row, (text, frames) in enumerate(zip(texts, answers, strict=True)):
        starts = [start for start in found["predicate_start"][row] if start >= 0]
        assert starts == [frame["start"] for frame in frames]
        for place, frame in enumerate(frames):
            assert text[frame["start"] : frame["end"]] == frame["predicate"] != ""
            there = [n for n, start in enumerate(found["start"][row][place]) if start >= 0]
            for name in ("argument", "role", "start", "end"):
                given = [found[name][row][place][n] for n in there]
                assert given == [argument[name] for argument in frame["arguments"]]
            for argument in frame["arguments"]:
                number += 1
                assert text[argument["start"] : argument["end"]] == argument["argument"] != ""
    assert number > 40
    assert all(value == [] for value in none.values())
    assert blank["predicate"] == [[], []]


def test_segments(task):
    """The other mark: the same rows, with no token more."""
    other = tfmodels.RoleLabeler(
        task.model, task.tokenizer, task.labels, max_length=24, marker="segments"
    )
    (batch, labels), (longer, same) = (
        next(iter(t.dataset(WORDS[:1], FRAMES[:1], batch_size=1))) for t in (other, task)
    )
    assert longer["token_ids"].shape[1] == batch["token_ids"].shape[1] + 2
    assert labels.numpy().tolist() == same.numpy().tolist()


def test_roles_that_only_the_held_out_rows_have(capsys):
    task = tfmodels.RoleLabeler.from_scratch(
        [" ".join(row) for row in WORDS], size="tiny", vocabulary_size=120, max_length=24
    )
    other = [[{"predicate": 1, "arguments": [("ARG0", 0, 1), ("ARG4", 2, 3)]}]]
    held_out = (WORDS[:1], other)
    history = task.fit(WORDS, FRAMES, validation_data=held_out, batch_size=4, epochs=1, verbose=0)
    assert "1 arguments have roles that the training rows do not have (ARG4)" in (
        capsys.readouterr().err
    )
    assert len(history.history["val_f1"]) == 1
    assert task.evaluate(*held_out)["roles"]["ARG4"]["support"] == 1


def test_only_given_predicates(task, tmp_path):
    other = tfmodels.RoleLabeler(
        task.model, task.tokenizer, task.labels, max_length=24, predicates=False
    )
    with pytest.raises(InputError, match="to find no predicates; give them"):
        other.predict(["Ada left"])
    with pytest.raises(InputError, match="predicates found: this model was trained to find none"):
        other.evaluate(WORDS, FRAMES, predicates="found")
    with pytest.raises(InputError, match="a SavedModel reads texts alone"):
        other.export(tmp_path / "served")
    assert not list(tmp_path.rglob("*.pb"))
    assert other.evaluate(WORDS, FRAMES)["f1"] == task.evaluate(WORDS, FRAMES)["f1"]


def test_mistakes_of_the_caller(task):
    with pytest.raises(InputError, match="frames are missing"):
        task.evaluate(WORDS)
    with pytest.raises(InputError, match="row 0: the predicate is word 9"):
        task.predict([(["Ada", "left"], [9])])
    with pytest.raises(InputError, match="marker 'x'"):
        tfmodels.RoleLabeler(task.model, task.tokenizer, task.labels, marker="x")
    with pytest.raises(InputError, match="the encoder has one segment; give one with num_"):
        config = BertConfig.of_size("tiny", vocabulary_size=task.tokenizer.vocabulary_size,
                                    num_segments=1)  # fmt: skip
        tfmodels.RoleLabeler(Bert(config), task.tokenizer, task.labels)
    with pytest.raises(InputError, match="the first type is V"):
        tfmodels.RoleLabeler(task.backbone, task.tokenizer, ["O", "B-A", "I-A"])
    assert role_metrics([[]], [[]])["support"] == 0
