"""How well entities were found: the numbers of the CoNLL tasks.

In: for each text the spans that are right and those that were found. Out: precision, recall and
F1 of whole entities, an entity being right if its type and both its ends are; equal to those of
`seqeval` with `mode="strict"`. No tensors.
"""

import collections
from collections.abc import Iterable

import numpy as np


def entity_metrics(gold: Iterable[Iterable], predicted: Iterable[Iterable]) -> dict:
    """Return precision, recall and F1 of whole entities. What has no denominator is 0.

    Args:
        gold: for each text a set or list of `(type, first, last)`.
        predicted: likewise.

    Returns:
        dict of `precision`, `recall`, `f1` (all entities alike: micro average) and
        `support` (entities in `gold`); `macro`: a dict of the same four, the first three
        as means over the types; `types`: such a dict for each type, by its name.

    Raises:
        ValueError: if the two are not of the same number of texts.
    """
    texts = [(set(g), set(p)) for g, p in _pairs(gold, predicted)]
    counts: dict[str, np.ndarray] = collections.defaultdict(
        lambda: np.zeros(3, int)
    )  # right, predicted, in gold
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
    gold: Iterable[Iterable], predicted: Iterable[Iterable], most: int = 20
) -> list[dict]:
    """Return what goes wrong, the commonest first.

    An entity that was not found is set against a predicted one that is wrong: against that
    of the same words, else one of the same type, else one of any type that shares a word.

    Args:
        gold: for each text a set or list of `(type, first, last)`.
        predicted: likewise.
        most: how many kinds of mistake to name.

    Returns:
        list of dicts: `error` (`"type"`: the same words under another type; `"boundary"`:
        the type with other words; `"type and boundary"`; `"missed"`; `"invented"`), `gold`
        and `predicted` (types, `None` where there is no entity), `count`.

    Raises:
        ValueError: if the two are not of the same number of texts.
    """
    counts: collections.Counter = collections.Counter()
    for in_gold, found in _pairs(gold, predicted):
        missed = sorted(set(in_gold) - set(found), key=lambda span: span[1:])
        wrong = sorted(set(found) - set(in_gold), key=lambda span: span[1:])
        for error, alike in _MISTAKES.items():
            for span in list(missed):
                other = next((other for other in wrong if alike(span, other)), None)
                if other is not None:
                    missed.remove(span)
                    wrong.remove(other)
                    counts[error, span[0], other[0]] += 1
        counts.update(("missed", kind, None) for kind, _, _ in missed)
        counts.update(("invented", None, kind) for kind, _, _ in wrong)
    order = sorted(counts.items(), key=lambda item: (-item[1], *map(str, item[0])))
    return [
        {"error": error, "gold": kind, "predicted": other, "count": count}
        for (error, kind, other), count in order[:most]
    ]


def _share_a_word(one, other):
    return one[1] < other[2] and other[1] < one[2]


# In the order in which a wrong entity is set against a right one.
_MISTAKES = {
    "type": lambda one, other: one[1:] == other[1:],
    "boundary": lambda one, other: one[0] == other[0] and _share_a_word(one, other),
    "type and boundary": _share_a_word,
}


def _pairs(gold, predicted):
    gold, predicted = list(gold), list(predicted)
    if len(gold) != len(predicted):
        raise ValueError(f"gold is of {len(gold)} texts and predicted of {len(predicted)}")
    return zip(gold, predicted, strict=True)


def _scores(right, predicted, in_gold):
    precision = float(right / predicted) if predicted else 0.0
    recall = float(right / in_gold) if in_gold else 0.0
    f1 = 2 * precision * recall / ((precision + recall) or 1.0)
    return {"precision": precision, "recall": recall, "f1": f1, "support": int(in_gold)}
