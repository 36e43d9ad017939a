"""Tag schemes of named entities in plain Python: tags of words to spans of words, and labels.

A tag is `O` (no entity) or a prefix and a type, `B-PER`; the type may contain any characters. The
scheme is how the prefixes are used:

    words   Ann  Lee  met  Bo    and then Paris  Rome
    iob2    B-P  I-P  O    B-P   O   O    B-L    B-L     B- begins, I- continues
    iob1    I-P  I-P  O    I-P   O   O    I-L    B-L     B- only where two of a type touch
    iobes   B-P  E-P  O    S-P   O   O    S-L    S-L     E- ends, S- is a single word
    bilou   B-P  L-P  O    U-P   O   O    U-L    U-L     the same with other letters
    bmes    B-P  E-P  O    S-P   O   O    S-L    S-L     M- in the middle

`iob` is never detected: B- begins an entity, and so does an I- that continues none, as for the
scorer of CoNLL, so it reads files that mix `iob1` and `iob2`.

Models use `iob2` over `labels_of(types)`: label 0 is `O`, 1 + 2t is `B-` and 2 + 2t is `I-` of
type t.
"""

import collections
import functools
from collections.abc import Iterable, Sequence

from tfmodels.errors import InputError

OUTSIDE = "O"
# Prefixes of each scheme: of the first word, an inner word, the last word, a single word.
_PREFIXES = {
    "iob2": ("B", "I", "", ""),
    "iob1": ("B", "I", "", ""),
    "iobes": ("B", "I", "E", "S"),
    "bilou": ("B", "I", "L", "U"),
    "bmes": ("B", "M", "E", "S"),
    "iob": ("B", "I", "", ""),
}
SCHEMES = tuple(_PREFIXES)
_DETECTED = SCHEMES[:-1]


class TagError(InputError):
    """A malformed tag, or one that its scheme does not allow in its place.

    Attributes:
        reason: what is wrong and what to do, without the place.
        position: number of the tag in the sequence, from 0; None for a single tag.
    """

    def __init__(self, reason: str, position: int | None = None):
        super().__init__(reason if position is None else f"tag {position + 1}: {reason}")
        self.reason, self.position = reason, position


@functools.lru_cache(10_000)
def split_tag(tag: str) -> tuple[str, str]:
    """Return the prefix and the type of a tag: `("B", "PER")`; `("O", "")` for `O`.

    Raises:
        TagError: it is malformed.
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag[:1], tag[1:2], tag[2:]
    if not prefix or prefix not in "BIMELSU" or dash != "-" or not kind.strip():
        raise TagError(
            f"{tag[:60]!r} is no tag; write O, or B-TYPE, I-TYPE and so on (or name its column)"
        )
    return prefix, kind


def detect_scheme(tag_sequences: Iterable[Sequence[str]]) -> str:
    """Return the scheme with the smallest number of contradictions; for ties, "iob2" first.

    Args:
        tag_sequences: tags of each sentence. They are read once and not kept.

    Raises:
        TagError: a tag is malformed.
    """
    # Schemes differ in the neighbours that they forbid, of which there are few kinds.
    neighbours: collections.Counter[tuple[str, str]] = collections.Counter()
    for tags in tag_sequences:
        neighbours.update(zip([OUTSIDE, *tags], [*tags, OUTSIDE], strict=True))

    def contradictions(scheme):
        return sum(n for pair, n in neighbours.items() if _contradiction(*pair, scheme))

    return min(_DETECTED, key=contradictions)


def to_spans(tags: Sequence[str], scheme: str) -> list[tuple[str, int, int]]:
    """Return the entities of one sentence.

    Args:
        tags: the tags of its words.
        scheme: one of `SCHEMES`.

    Returns:
        `(type, first word, word after the last)` of each, in order.

    Raises:
        TagError: a tag is malformed or contradicts the scheme.
        InputError: no such scheme.
    """
    check_scheme(scheme)
    spans, first, before = [], None, OUTSIDE
    for position, tag in enumerate([*tags, OUTSIDE]):
        reason = _contradiction(before, tag, scheme)
        if reason:
            hint = "correct the tags, or name their scheme"
            if scheme in ("iob1", "iob2"):
                hint += " (in iob both B- and I- may begin an entity)"
            raise TagError(f"{reason}; {hint}", min(position, len(tags) - 1))
        if not _continues(before, tag, scheme):
            if first is not None:
                spans.append((split_tag(before)[1], first, position))
            first = None if tag == OUTSIDE else position
        before = tag
    return spans


def labels_of(types: Sequence[str]) -> list[str]:
    """Return the labels of a model: `["O", "B-LOC", "I-LOC", ...]` for types `["LOC", ...]`.

    Raises:
        InputError: no types, an empty one, or one twice.
    """
    if not types or len(set(types)) != len(types) or not all(kind.strip() for kind in types):
        raise InputError(
            f"entity types {list(types)[:30]}: give one or more, each once and none of them empty"
        )
    return [OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]


def types_of(labels: Sequence[str]) -> list[str]:
    """Return the types of the labels of a model, in their order: the inverse of `labels_of`."""
    return list(dict.fromkeys(kind for _, kind in map(split_label, labels) if kind))


def split_label(label: str) -> tuple[str, str]:
    """Return the prefix and the type of a label of a model, in any scheme.

    `("B", "PER")` of `B-PER`; `("I", "PER")` of `PER` alone; `("O", "")` of `O`, and of what
    published models have for tokens that are no words, such as `[PAD]`.
    """
    if label == OUTSIDE or (label.startswith("[") and label.endswith("]")):
        return OUTSIDE, ""
    marked = label[:1] in tuple("BIMELSU") and label[1:2] == "-" and label[2:].strip()
    return (label[0], label[2:]) if marked else ("I", label)


def check_scheme(scheme: str) -> None:
    """Raise `InputError` unless `scheme` is one of `SCHEMES`."""
    if scheme not in SCHEMES:
        raise InputError(f"tag scheme {scheme!r} is unknown; give one of {', '.join(SCHEMES)}")


@functools.lru_cache(10_000)
def _continues(before: str, tag: str, scheme: str) -> bool:
    """Return whether `tag` belongs to the entity of the tag before it."""
    _, inside, end, _ = _PREFIXES[scheme]
    return split_tag(tag)[0] in (inside, end) and _touches(before, tag, scheme)


def _touches(before: str, tag: str, scheme: str) -> bool:
    """Return whether an entity of the type of `tag` may continue after `before`."""
    (left, left_type), (_, right_type) = split_tag(before), split_tag(tag)
    return left in _PREFIXES[scheme][:2] and left_type == right_type


@functools.lru_cache(10_000)  # called for every word, with few different arguments
def _contradiction(before: str, tag: str, scheme: str) -> str | None:
    """Return why `tag` may not follow `before`, None if it may; `O` is both ends too."""
    begin, inside, end, single = _PREFIXES[scheme]
    left, right = split_tag(before)[0], split_tag(tag)[0]
    continued = _continues(before, tag, scheme)
    if right not in (OUTSIDE, begin, inside, end, single):
        return f"{tag}, but the scheme {scheme} has no {right}-"
    if end and left in (begin, inside) and not continued:
        return f"{tag} (or the end) after {before}, but in {scheme} an entity ends with {end}-"
    if scheme not in ("iob", "iob1") and right in (inside, end) and not continued:
        return f"{tag} after {before}, but in {scheme} an entity begins with {begin}-"
    if scheme == "iob1" and right == begin and not _touches(before, tag, scheme):
        return f"{tag} after {before}, but in iob1 B- only separates two entities of one type"
    return None
