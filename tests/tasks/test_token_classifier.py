"""`TokenClassifier` in a script: entities that cut words, in training and in measuring."""

import numpy as np
import pytest

import tfmodels
from tfmodels.data.entities import as_entities
from tfmodels.data.split import split
from tfmodels.errors import InputError

TEXTS = ["Bo ate 10kg in Rome", "kg kg 9kg"]
ENTITIES = [
    [("PER", 0, 3), ("NUM", 7, 9), ("UNIT", 9, 11), ("LOC", 15, 19)],
    [("NUM", 6, 7)],
]
WORDS = [[(0, 2), (3, 6), (7, 11), (12, 14), (15, 19)], [(0, 2), (3, 5), (6, 9)]]
WHOLE = [[("PER", 0, 2), ("NUM", 7, 11), ("LOC", 15, 19)], [("NUM", 6, 9)]]
SAID = (
    "the rows: 3 of 5 entities begin or end inside a word and are read as whole words, first row 0 "
    "'10'; 1 have no word of their own and are left out; offsets are Unicode characters; --split "
    'characters (in Python split="characters") keeps them as they are\n'
)


def new_task(kind="words"):
    return tfmodels.TokenClassifier.from_scratch(
        TEXTS * 5, size="tiny", vocabulary_size=60, max_length=32, split=kind,
        labels=tfmodels.text.tags.labels_of(["LOC", "NUM", "PER", "UNIT"]),
    )  # fmt: skip


def answers(entities):
    """What `find` gives for entities of the two texts."""
    spans = [[{"type": k, "start": a, "end": b, "score": 1.0} for k, a, b in row]
             for row in entities]  # fmt: skip
    ends = [np.array(row).T for row in WORDS]
    return [(row, a, b, np.zeros_like(a)) for row, (a, b) in zip(spans, ends, strict=True)]


def test_a_tagger_of_words_that_is_perfect_has_an_f1_of_1(monkeypatch, capsys):
    task = new_task()
    capsys.readouterr()
    monkeypatch.setattr(task, "find", lambda texts, size: answers(WHOLE))
    metrics = task.evaluate(TEXTS, ENTITIES)
    assert metrics["f1"] == 1 and metrics["support"] == 4
    assert capsys.readouterr().err == SAID
    monkeypatch.setattr(task, "find", lambda texts, size: answers([WHOLE[0], [("PER", 6, 9)]]))
    assert task.evaluate(TEXTS, ENTITIES)["f1"] == 0.75


def test_a_source_is_counted_once_and_whole(capsys):
    task = new_task()
    for part in split(as_entities(TEXTS * 4, ENTITIES * 4), 0.25):
        task.dataset(part)
    said = capsys.readouterr().err
    assert said.count("inside a word") == 1 and "the rows: 12 of 20 entities" in said


def test_characters_keep_every_entity(monkeypatch, capsys, tmp_path):
    task = new_task("characters")
    task.save(tmp_path / "model")
    for again in (task, tfmodels.load(tmp_path / "model")):
        ((_, labels),) = again.dataset(TEXTS, ENTITIES)
        rows = [[again.labels[label] for label in row if label >= 0] for row in labels.numpy()]
        assert [" ".join(row) for row in rows] == [
            "B-PER I-PER O O O B-NUM I-NUM B-UNIT I-UNIT O O B-LOC I-LOC I-LOC I-LOC",
            "O O O O B-NUM O O",
        ]
        right = [[("PER", 0, 2), *ENTITIES[0][1:]], ENTITIES[1]]
        found = answers(right)
        monkeypatch.setattr(again, "find", lambda texts, size, found=found: found)
        assert again.evaluate(TEXTS, ENTITIES)["f1"] == 1
        assert not capsys.readouterr().err


def test_labels_without_o():
    task = tfmodels.TokenClassifier.from_scratch(
        ["Ann left"], ["PER", "LOC"], size="tiny", vocabulary_size=60, max_length=16
    )
    with pytest.raises(InputError, match="labels: no 'O', for words outside, is among them"):
        task.fit([["Ann", "left"]], [["B-PER", "O"]], epochs=1)


def test_a_split_that_is_none():
    with pytest.raises(InputError, match='split \'letters\': give "words" or "characters"'):
        new_task("letters")
