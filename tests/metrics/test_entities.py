"""Entities and their metrics, by hand and against the numbers of `seqeval` in `golden/`."""

import json
from pathlib import Path

import pytest

from tfmodels.metrics.entities import confusions, entity_metrics, spans_of

GOLDEN = Path(__file__).parents[1] / "golden" / "seqeval.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_spans_by_hand():
    tags = ["B-PER", "I-PER", "I-LOC", "O", "I-PER", "B-LOC", "B-LOC", "I-LOC", "I-LOC"]
    assert spans_of(tags) == [("PER", 0, 2), ("LOC", 5, 6), ("LOC", 6, 9)]
    assert spans_of([]) == spans_of(["O", "I-PER"]) == []


def of_seqeval(row):
    """Its row of a report under our names."""
    names = {"precision": "precision", "recall": "recall", "f1": "f1-score", "support": "support"}
    return {ours: row[theirs] for ours, theirs in names.items()}


@pytest.mark.parametrize("number", range(len(CASES)))
def test_equal_to_seqeval(number):
    """To the last digit."""
    case = CASES[number]
    gold, predicted = (
        [spans_of(row.split()) for row in case[name]] for name in ("gold", "predicted")
    )
    assert predicted == [[tuple(span) for span in row] for row in case["spans"]]
    expected = {name: of_seqeval(row) for name, row in case["report"].items()}
    found = entity_metrics(gold, predicted)
    assert found["macro"] == expected.pop("macro avg")
    overall = {name: value for name, value in found.items() if name not in ("macro", "types")}
    assert overall == expected.pop("micro avg")
    del expected["weighted avg"]
    assert found["types"] == expected


def test_golden_cases_are_about_something():
    scores = [case["report"]["micro avg"]["f1-score"] for case in CASES]
    assert min(scores) == 0.0 and 0.2 < sum(scores) / len(scores) < 0.8
    broken = [row for case in CASES for row in case["predicted"] if "O I-" in row]
    assert len(broken) > 20


def test_metrics_by_hand():
    gold = [[("PER", 0, 2), ("LOC", 3, 4)], [("PER", 0, 1)]]
    predicted = [{("PER", 0, 2), ("LOC", 3, 5)}, set()]
    found = entity_metrics(gold, predicted)
    assert found["precision"] == 0.5
    assert found["recall"] == 1 / 3
    assert found["f1"] == pytest.approx(0.4)
    assert found["support"] == 3
    assert found["types"]["PER"] == {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 2}
    assert found["macro"] == {"precision": 0.5, "recall": 0.25, "f1": 1 / 3, "support": 3}


def test_no_entities():
    nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0}
    for texts in ([], [[], []]):
        assert entity_metrics(texts, texts) == {**nothing, "macro": nothing, "types": {}}
        assert confusions(texts, texts) == []


def test_confusions_by_hand():
    gold = [
        [("PER", 0, 2), ("LOC", 3, 4), ("ORG", 5, 8), ("MISC", 9, 10), ("PER", 11, 12)],
        [("PER", 0, 2), ("LOC", 4, 6)],
    ]
    predicted = [
        # Another type; a word too many; another type and a word too few; none; right; one
        # where there is nothing.
        [("ORG", 0, 2), ("LOC", 3, 5), ("LOC", 6, 8), ("PER", 11, 12), ("PER", 20, 21)],
        # Another type; an entity cut in two, of which one half is too much.
        [("ORG", 0, 2), ("LOC", 4, 5), ("LOC", 5, 6)],
    ]
    found = [tuple(row.values()) for row in confusions(gold, predicted)]
    assert found == [
        ("boundary", "LOC", "LOC", 2),
        ("type", "PER", "ORG", 2),
        ("invented", None, "LOC", 1),
        ("invented", None, "PER", 1),
        ("missed", "MISC", None, 1),
        ("type and boundary", "ORG", "LOC", 1),
    ]
    assert list(confusions(gold, predicted)[0]) == ["error", "gold", "predicted", "count"]
    assert len(confusions(gold, predicted, most=2)) == 2
    assert confusions(gold, gold) == []


def test_mistakes_of_the_caller_are_named():
    with pytest.raises(ValueError, match="tag 1 must be O, B-TYPE or I-TYPE, got 'E-PER'"):
        spans_of(["O", "E-PER"])
    with pytest.raises(ValueError, match="got 'B-'"):
        spans_of(["B-"])
    with pytest.raises(ValueError, match="scheme must be one of iob2, got 'bilou'"):
        spans_of(["O"], "bilou")
    for function in (entity_metrics, confusions):
        with pytest.raises(ValueError, match="gold is of 2 texts and predicted of 1"):
            function([[], []], [[]])
