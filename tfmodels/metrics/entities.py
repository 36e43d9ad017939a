"""Metrics of named entity recognition, as in the CoNLL tasks.

A predicted entity is correct if its type and both its ends are correct. Precision, recall and F1
equal those of `seqeval` with `mode="strict"`.
"""

import collections
from collections.abc import Iterable

import numpy as np


def entity_metrics(gold: Iterable[Iterable], predicted: Iterable[Iterable]) -> dict:
    """Return precision, recall and F1 of whole entities; a ratio with denominator 0 is 0.

    Args:
        gold: for each text a set or list of `(type, start, end)`.
        predicted: likewise.

    Returns:
        dict: `precision`, `recall` and `f1` over all entities (micro average) and `support`, the
        number of entities in `gold`; `macro`: the same keys, with means over the types; `types`:
        the same keys for each type.

    Raises:
        ValueError: `gold` and `predicted` differ in the number of texts.
    """
    texts = [(set(g), set(p)) for g, p in _pairs(gold, predicted)]
    # By type: correct, predicted, in gold.
    counts: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros(3, int))
    for column, parts in enumerate(zip(*((g & p, p, g) for g, p in texts), strict=True)):
        for kind, _, _ in (span for part in parts for span in part):
            counts[kind][column] += 1
    types = {kind: _scores(*counts[kind]) for kind in sorted(counts)}
    overall = _scores(*sum(counts.values(), np.zeros(3, int)))
    macro = {
        name: float(np.mean([scores[name] for scores in types.values()])) if types else 0.0
        for name in ("precision", "recall", "f1")
    }
    return {**overall, "macro": {**macro, "support": overall["support"]}, "types": types}


def confusions(
    gold: Iterable[Iterable], predicted: Iterable[Iterable], maximum: int = 20
) -> list[dict]:
    """Return the kinds of errors with their counts, the highest count first.

    Each entity of `gold` that is not predicted is paired with a wrong prediction: one with the
    same ends, else one of the same type that overlaps, else any one that overlaps.

    Args:
        gold: for each text a set or list of `(type, start, end)`.
        predicted: likewise.
        maximum: maximum number of kinds to return.

    Returns:
        list of dicts: `error` (`"type"`: same ends, different type; `"boundary"`: same type,
        different ends; `"type and boundary"`; `"missed"`: no prediction; `"invented"`: no entity
        in `gold`), `gold` and `predicted` (types; None if there is no entity) and `count`.

    Raises:
        ValueError: `gold` and `predicted` differ in the number of texts.
    """
    counts: collections.Counter = collections.Counter()
    for in_gold, in_predicted in _pairs(gold, predicted):
        missed = sorted(set(in_gold) - set(in_predicted), key=lambda span: span[1:])
        wrong = sorted(set(in_predicted) - set(in_gold), key=lambda span: span[1:])
        for error, match in _ERRORS.items():
            for span in list(missed):
                other = next((other for other in wrong if match(span, other)), None)
                if other is not None:
                    missed.remove(span)
                    wrong.remove(other)
                    counts[error, span[0], other[0]] += 1
        counts.update(("missed", kind, None) for kind, _, _ in missed)
        counts.update(("invented", None, kind) for kind, _, _ in wrong)
    order = sorted(counts.items(), key=lambda item: (-item[1], *map(str, item[0])))
    return [
        {"error": error, "gold": kind, "predicted": other, "count": count}
        for (error, kind, other), count in order[:maximum]
    ]


def _overlap(one, other):
    return one[1] < other[2] and other[1] < one[2]


# In the order in which wrong predictions are paired with missed entities.
_ERRORS = {
    "type": lambda one, other: one[1:] == other[1:],
    "boundary": lambda one, other: one[0] == other[0] and _overlap(one, other),
    "type and boundary": _overlap,
}


def _pairs(gold, predicted):
    gold, predicted = list(gold), list(predicted)
    if len(gold) != len(predicted):
        raise ValueError(f"gold has {len(gold)} texts and predicted has {len(predicted)}")
    return zip(gold, predicted, strict=True)


def _scores(correct, predicted, in_gold):
    precision = float(correct / predicted) if predicted else 0.0
    recall = float(correct / in_gold) if in_gold else 0.0
    f1 = 2 * precision * recall / ((precision + recall) or 1.0)
    return {"precision": precision, "recall": recall, "f1": f1, "support": int(in_gold)}
