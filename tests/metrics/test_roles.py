"""Arguments counted as the script of CoNLL-2005 does: continuations, V, predicates."""

import random

from tfmodels.metrics.entities import entity_metrics
from tfmodels.metrics.roles import arguments_of, role_metrics


def test_continuations():
    spans = [("A0", 0, 1), ("V", 1, 2), ("A1", 2, 3), ("C-A1", 5, 6), ("C-V", 6, 7)]
    assert arguments_of(spans) == {
        ("A0", ((0, 1),)), ("A1", ((2, 3), (5, 6))),
    }  # fmt: skip
    # It continues the last one before it, wherever other roles stand, and is one where none is.
    assert arguments_of([("C-A1", 0, 1), ("R-A1", 1, 2), ("C-A1", 3, 4)]) == {
        ("A1", ((0, 1), (3, 4))), ("R-A1", ((1, 2),)),
    }  # fmt: skip
    assert arguments_of([("A1", 0, 1), ("A1", 2, 3), ("C-A1", 4, 5)]) == {
        ("A1", ((0, 1),)), ("A1", ((2, 3), (4, 5))),
    }  # fmt: skip


def test_by_hand():
    gold = [[(1, 2, (("A0", 0, 1), ("A1", 2, 4), ("C-A1", 6, 7)))], []]
    predicted = [[(1, 2, (("A0", 0, 1), ("A1", 2, 4), ("AM", 6, 7)))], [(0, 1, ())]]
    metrics = role_metrics(gold, predicted)
    # Of two gold arguments one is right, of three predicted ones: half of a part is wrong.
    assert (metrics["precision"], metrics["recall"], metrics["support"]) == (1 / 3, 1 / 2, 2)
    assert metrics["predicates"] == {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1}
    assert metrics["roles"]["A0"]["f1"] == 1 and metrics["roles"]["A1"]["recall"] == 0
    assert {"error": "type", "gold": "C-A1", "predicted": "AM", "count": 1} in metrics["confusions"]


def test_arguments_of_another_predicate_are_wrong():
    frame = (("A0", 0, 1),)
    assert role_metrics([[(1, 2, frame)]], [[(2, 3, frame)]])["f1"] == 0
    assert role_metrics([[(1, 2, frame)]], [[(1, 2, frame)]])["f1"] == 1
    assert role_metrics([[]], [[]])["f1"] == 0


def test_without_continuations_it_is_the_metric_of_entities():
    """One predicate a text: spans are those of a tagger."""
    rng = random.Random(0)

    def spans():
        cuts = sorted(rng.sample(range(20), 6))
        return [(rng.choice("ABC"), a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]

    gold, predicted = ([spans() for _ in range(60)] for _ in range(2))
    predicted = [one if rng.random() < 0.5 else other for one, other in zip(gold, predicted)]  # noqa: B905
    expected = entity_metrics(gold, predicted)
    metrics = role_metrics(*([[(0, 1, row)] for row in side] for side in (gold, predicted)))
    assert {n: metrics[n] for n in ("precision", "recall", "f1")} == {
        n: expected[n] for n in ("precision", "recall", "f1")
    }
    assert metrics["roles"] == expected["types"] and 0.3 < metrics["f1"] < 0.9
