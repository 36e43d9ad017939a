"""Tag schemes of named entities in plain Python: tags of words to spans of words, and labels.

A tag is `O` (no entity) or a prefix and a type, `B-PER`; the type may contain any characters. The
scheme is how the prefixes are used:

    words   Ann  Lee  met  Bo    and then Paris  Rome
    iob2    B-P  I-P  O    B-P   O   O    B-L    B-L     B- begins, I- continues
    iob1    I-P  I-P  O    I-P   O   O    I-L    B-L     B- only where two of a type touch
    iobes   B-P  E-P  O    S-P   O   O    S-L    S-L     E- ends, S- is a single word
    bilou   B-P  L-P  O    U-P   O   O    U-L    U-L     the same with other letters
    bmes    B-P  E-P  O    S-P   O   O    S-L    S-L     M- in the middle
    io      P    P    O    P     O   O    L      L       types alone: two that touch are one

`iob` is never detected: B- begins an entity, and so does an I- that continues none, as for the
scorer of CoNLL, so it reads files that mix `iob1` and `iob2`.

Models use `iob2` over `labels_of(types)`: label 0 is `O`, 1 + 2t is `B-` and 2 + 2t is `I-` of
type t.
"""

import collections
import functools
import re
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
_DETECTED = tuple(_PREFIXES)[:-1]
SCHEMES = (*_PREFIXES, "io")
# No types of `io`, unless it is given: a prefix or suffix in another notation, another "O".
_ODD_TYPE = re.compile(r"[bimelsu][-_:./|].*|.*[-_:./|][bimelsu]|[0o_-]?", re.IGNORECASE)


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
    prefix, dash, kind = tag[:1], tag[1:2], tag[2:].strip()
    if not prefix or prefix not in "BIMELSU" or dash != "-" or not kind:
        raise TagError(
            f"{tag[:60]!r} is no tag; write O, or B-TYPE, I-TYPE and so on (or name its column; "
            "--scheme io for types without a prefix)"
        )
    return prefix, kind


def detect_scheme(tag_sequences: Iterable[Sequence[str]]) -> tuple[str, int]:
    """Return the scheme with the smallest number of contradictions, and that number.

    For ties, "iob2" comes first. "io" is the scheme of tags without a prefix, of which "O" is the
    most frequent. Malformed tags are left to `to_spans`.

    Args:
        tag_sequences: tags of each sentence. They are read once and not kept.
    """
    # Schemes differ in the neighbours that they forbid, of which there are few kinds.
    neighbours: collections.Counter[tuple[str, str]] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for tags in tag_sequences:
        counts.update(tags)
        neighbours.update(zip([OUTSIDE, *tags], [*tags, OUTSIDE], strict=True))
    types = counts.keys() - {OUTSIDE}
    plain = types and not any(map(_ODD_TYPE.fullmatch, types))
    if plain and counts[OUTSIDE] == max(counts.values()):
        return "io", 0

    def contradictions(scheme):
        pairs = (pair for pair in neighbours if all(map(is_tag, pair)))
        return sum(neighbours[pair] for pair in pairs if _contradiction(*pair, scheme))

    scheme = min(_DETECTED, key=contradictions)
    return scheme, contradictions(scheme)


def to_spans(tags: Sequence[str], scheme: str, mend: bool = False) -> list[tuple[str, int, int]]:
    """Return the entities of one sentence.

    Args:
        tags: the tags of its words.
        scheme: one of `SCHEMES`.
        mend: whether a tag that contradicts the scheme is read as the scorer of CoNLL does: it
            begins an entity if it continues none, and an entity that is not continued ends.

    Returns:
        `(type, first word, word after the last)` of each, in order.

    Raises:
        TagError: a tag is malformed, or contradicts the scheme and is not mended.
        InputError: no such scheme.
    """
    check_scheme(scheme)
    if scheme == "io":
        tags, scheme = [tag if tag == OUTSIDE else f"I-{tag}" for tag in tags], "iob"
    spans, first, before = [], None, OUTSIDE
    for position, tag in enumerate([*tags, OUTSIDE]):
        try:
            reason = _contradiction(before, tag, scheme)
        except TagError as error:
            raise TagError(error.reason, position) from None
        if reason and not mend:
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


def is_tag(tag: str) -> bool:
    """Return whether a tag is well-formed."""
    try:
        return bool(split_tag(tag))
    except TagError:
        return False


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
