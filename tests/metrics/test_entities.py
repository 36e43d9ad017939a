"""Metrics of entities, by hand and against `seqeval`."""

import random

import pytest
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from tfmodels.metrics.entities import confusions, entity_metrics
from tfmodels.text.tags import to_spans

TAGS = ["O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC", "ORG") for prefix in "BI")]


def random_tags(rng, length, noise):
    """Two rows of tags in IOB2 that have much in common."""
    tags, other = [], []
    for row, share in ((tags, 0.0), (other, noise)):
        for at in range(length):
            tag = rng.choice(TAGS) if row is tags or rng.random() < share else tags[at]
            if tag[0] == "I" and (not row or row[-1][1:] != tag[1:]):
                tag = f"B{tag[1:]}"
            row.append(tag)
    return tags, other


@pytest.mark.filterwarnings("ignore")  # of scores without a denominator
@pytest.mark.parametrize("seed", range(10))
def test_equal_to_seqeval(seed):
    """To the last digit."""
    rng = random.Random(seed)
    lengths = rng.choices(range(1, 12), k=rng.randint(1, 12))
    gold, predicted = zip(*(random_tags(rng, n, seed / 10) for n in lengths), strict=True)
    report = classification_report(
        gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0
    )
    expected = {
        name: {"f1" if key == "f1-score" else key: value for key, value in row.items()}
        for name, row in report.items()
    }
    del expected["weighted avg"]
    found = entity_metrics(*([to_spans(row, "iob2") for row in rows] for rows in (gold, predicted)))
    assert found.pop("macro") == expected.pop("macro avg")
    assert found.pop("types") == {
        name: expected.pop(name) for name in sorted(set(expected) - {"micro avg"})
    }
    assert found == expected.pop("micro avg")
    assert seed == 0 or 0 < found["f1"] < 1  # so the cases are about something


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
    assert len(confusions(gold, predicted, maximum=2)) == 2
    assert confusions(gold, gold) == []


def test_mistakes_of_the_caller_are_named():
    for function in (entity_metrics, confusions):
        with pytest.raises(ValueError, match="gold has 2 texts and predicted has 1"):
            function([[], []], [[]])
