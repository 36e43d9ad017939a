"""Metrics of semantic roles, as the script of the CoNLL-2005 shared task counts.

In: for each text its frames, `(predicate start, predicate end, ((role, start, end), ...))`. Out:
precision, recall and F1 of arguments, without the predicate itself. An argument is right if its
predicate, its role and all its parts are: what is called C-X continues the last X before it, and is
X where there is none (Carreras and Marquez 2005).
"""

from collections.abc import Iterable, Sequence

from tfmodels.metrics.entities import confusions, entity_metrics

EXCLUDED = ("V",)


def arguments_of(spans: Iterable[tuple]) -> set[tuple[str, tuple]]:
    """Return the arguments of one predicate: role and the `(start, end)` of each part."""
    found: list[tuple[str, list]] = []
    latest: dict[str, list] = {}
    for role, start, end in sorted(spans, key=lambda span: span[1:]):
        kind = role.removeprefix("C-")
        if role != kind and kind in latest:
            latest[kind].append((start, end))
            continue
        latest[kind] = [(start, end)]
        found.append((kind, latest[kind]))
    return {(role, tuple(parts)) for role, parts in found if role not in EXCLUDED}


def role_metrics(gold: Sequence[Sequence], predicted: Sequence[Sequence]) -> dict:
    """Return precision, recall and F1 of arguments and of predicates.

    Args:
        gold: for each text a list of frames.
        predicted: likewise.

    Returns:
        dict: as `entity_metrics`, with `roles` in place of `types`; `predicates`: `precision`,
        `recall`, `f1` and `support` of the predicates; `confusions` of roles and ends.

    Raises:
        ValueError: `gold` and `predicted` differ in the number of texts.
    """
    both = [[_arguments(frames) for frames in texts] for texts in (gold, predicted)]
    metrics = entity_metrics(*both)
    metrics["roles"] = metrics.pop("types")
    places = [[[("V", *frame[:2]) for frame in frames] for frames in t] for t in (gold, predicted)]
    found = entity_metrics(*places)
    metrics["predicates"] = {name: found[name] for name in ("precision", "recall", "f1", "support")}
    pairs = [
        pair for frames in zip(gold, predicted, strict=True) for pair in _by_predicate(*frames)
    ]
    metrics["confusions"] = confusions([one for one, _ in pairs], [other for _, other in pairs])
    return metrics


def _arguments(frames):
    """Return role, predicate and parts of all arguments of a text."""
    return [
        (role, frame[:2], parts)
        for frame in (tuple(frame) for frame in frames) for role, parts in arguments_of(frame[2])
    ]  # fmt: skip


def _by_predicate(gold, predicted):
    """Return pairs of the spans of the same predicate, empty where one has it alone."""
    both = [{tuple(frame[:2]): frame[2] for frame in frames} for frames in (gold, predicted)]
    return [
        [list(side.get(place, ())) for side in both]
        for place in dict.fromkeys([*both[0], *both[1]])
    ]
