"""Streams of rows of text in named columns, the base of all data.

Subclasses of `Source` read files (`tables`), TensorFlow Datasets (`tfds`), lists and `tf.data`
(`memory`), and texts with entities (`entities`). `Source.rows` yields rows in order or shuffled;
`Source.scan` counts rows and labels and can hold rows out.

Memory is bounded by the largest row and a few buffers of fixed size, for data of any size.
Shuffling therefore has two steps: blocks of consecutive rows are read in random order, and their
rows pass through a shuffle buffer.
"""

import collections
import hashlib
import json
import math
import random
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfmodels.errors import InputError, brief

_BUFFER_ROWS = 65_536  # maximum number of rows in the shuffle buffer
_BUFFER_CHARACTERS = 8 << 20  # maximum number of characters in it
# A column with more distinct labels, or a longer one, is text.
_MAX_LABELS = 10_000
_LABEL_CHARACTERS = 200
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)(\.0+)?", re.ASCII)
# What is wrong with a text of JSON that cannot be written as UTF-8.
SURROGATE = "an unpaired surrogate (\\ud800 to \\udfff), which is not a character"
# Characters that nobody sees: controls, soft hyphen, zero-width space, marks of direction, byte
# order mark. Joiners shape Persian, Indic and emoji, and stay between such characters.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e"
    r"\u2060-\u206f\ufeff]|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


@dataclass(frozen=True)
class Scan:
    """The result of one pass over a source.

    Attributes:
        rows: number of rows.
        label_counts: number of rows of each label, sorted by value if all labels are integers,
            else alphabetically. Empty without a label column. For texts with entities: number of
            entities of each type.
        held_out: numbers of the rows held out for evaluation.
    """

    rows: int
    label_counts: dict[str, int]
    held_out: frozenset[int]


class Row(NamedTuple):
    number: int  # from 0, in the order of the source; the same in every pass
    line: int  # first line in the file, from 1; the row number if the source is no file
    values: tuple[Any, ...]  # one for each column of the source


def visible(value: str) -> str:
    """Return a label or a tag as it is seen, so that two that look the same are equal.

    Invisible characters are removed, runs of white space are one space with none at the ends, and
    accents are composed with their letter (NFC).
    """
    if value.isascii() and value.isprintable() and "  " not in value:
        return value.strip()
    return " ".join(unicodedata.normalize("NFC", _INVISIBLE.sub("", value)).split())


def canonical_label(value: str) -> str:
    """Return a label in canonical form: as it is seen (`visible`), and 1 for 1.0."""
    value = visible(value)
    whole = _WHOLE_NUMBER.fullmatch(value)
    return whole[1] if whole else value


def text_of(value: Any) -> str:
    """Return a scalar as text, in JSON notation."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return json.dumps(value)
    raise TypeError(f"{brief.repr(value)} is not text, a number or true/false")


def first_of(value: str | tuple[str, ...]) -> str:
    """Return the value of a column, the first of several (`Source.several`); "" of none."""
    return next(iter(value), "") if isinstance(value, tuple) else value


class Source:
    """Rows of text in named columns, read again in every pass.

    Subclasses implement `_in_order` and `_in_block_order`, or `stream`; and `_contents` if a
    fingerprint can be computed without reading the rows.

    Attributes:
        name: name of the source in messages.
        columns: names of the columns, in the order of a row's values.
        failure: the error that ended a dataset of this source; see `datasets.source_errors`.
        endless: whether the number of rows is infinite.
        ordered: whether every pass has the rows in the same order, of which their numbers are.
        several: names of the columns whose values are tuples of labels, not texts.
    """

    endless = False
    ordered = True
    several: frozenset[str] = frozenset()

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self.name = name
        self.columns = tuple(columns)
        self.failure: InputError | None = None
        self._fingerprint: str | None = None

    @property
    def whole(self) -> "Source":
        """The source that this one is a part of, or itself."""
        return self

    def rows(self, *, seed: int | None = None) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Read every row once.

        Args:
            seed: None reads in the order of the source. An integer shuffles, with the same order
                for the same seed. Compressed files allow no random access, so their rows are only
                shuffled in a buffer (65,536 rows or 8 M characters): decompress a large file that
                is sorted by label before training on it.

        Yields:
            `(row number, values)`; the number of a row is the same in every order.

        Raises:
            InputError: a row cannot be read.
        """
        return ((row.number, row.values) for row in self.stream(seed))

    def scan(
        self, label_column: str | None = None, held_out_fraction: float = 0.0,
        held_out_max: int = 5000, seed: int = 0,
    ) -> Scan:  # fmt: skip
        """Read the source once, count rows and labels, and hold rows out for evaluation.

        Args:
            label_column: name of the label column; None counts rows only and holds rows out
                regardless of labels.
            held_out_fraction: fraction of each label's rows to hold out, 0 to 0.5.
            held_out_max: maximum number of rows to hold out, which lowers the fraction. Every
                label with two or more rows still gives at least one row and at most half of them.
            seed: seed of the random choice.

        Raises:
            InputError: the source is endless, a row cannot be read, a label is empty, or the
                column holds text (more than 10,000 distinct values, or one of more than 200
                characters).
        """
        if label_column is not None and label_column not in self.columns:
            raise InputError(
                f"{self.name}: opened with columns {list(self.columns)}, "
                f"not with the label column {label_column!r}; add it"
            )
        self._check_end("counted")
        draw = HeldOutDraw(held_out_fraction, held_out_max, seed)
        label_counts = self._count(draw, label_column)
        return Scan(draw.counts.total(), label_counts, draw.choose())

    def _count(self, draw: "HeldOutDraw", label_column: str | None) -> dict[str, int]:
        """Offer all rows with their labels to a draw; return the number of rows of each label."""
        if label_column is None:
            for row in self.stream(None):
                draw.offer(row.number, "")
            return {}
        at = self.columns.index(label_column)
        spellings: dict[str, str] = {}
        for number, line, values in self.stream(None):
            known = spellings.get(values[at])
            draw.offer(number, known or self._new_label(values[at], line, label_column, spellings))
        whole = all(map(_WHOLE_NUMBER.fullmatch, draw.counts))
        order = sorted(draw.counts, key=lambda label: (int(label) if whole else 0, label))
        return {label: draw.counts[label] for label in order}

    def _new_label(self, raw: str, line: int, column: str, spellings: dict[str, str]) -> str:
        """Check a value that occurs for the first time and add its label to `spellings`."""
        label = canonical_label(raw)
        if not label:
            raise InputError(
                f"{self.place(line)}: the label in column {column!r} is empty; "
                "give a label, or remove the row"
            )
        if len(label) > _LABEL_CHARACTERS or len(spellings) >= _MAX_LABELS:
            raise InputError(
                f"{self.place(line)}: column {column!r} does not look like labels "
                f"({len(spellings) + 1} distinct values, here {brief.repr(label)}); "
                "give the label column, or --target score if these are numbers to predict"
            )
        spellings[raw] = label
        return label

    def fingerprint(self) -> str:
        """Return a hash of the contents and the names of the columns.

        Raises:
            InputError: the source is endless or cannot be read.
        """
        if self._fingerprint is None:
            self._fingerprint = fingerprint_of(self._contents(), self.columns)
        return self._fingerprint

    def _contents(self) -> tuple:
        """Return the input of the fingerprint; by default the sum of the hashes of all rows."""
        self._check_end("hashed")
        rows = (repr(row.values).encode() for row in self.stream(None))
        hashes = (hashlib.sha256(row).digest()[:16] for row in rows)
        return (sum(int.from_bytes(digest, "big") for digest in hashes),)

    def _check_end(self, done: str) -> None:
        if self.endless:
            raise InputError(f"{self.name}: is infinite and cannot be {done}; use take(n)")

    def place(self, line: int) -> str:
        """Return the place of a row for messages."""
        return f"{self.name}:{line}"

    def stream(self, seed: int | None) -> Iterator[Row]:
        """Yield every row once, in the order that `rows` describes."""
        if seed is None:
            return self._in_order()
        rng = random.Random(seed)
        return _shuffled(self._in_block_order(rng), rng)

    def _in_order(self) -> Iterator[Row]:
        """Yield every row in the order of the source."""
        raise NotImplementedError

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        """Yield every row, in blocks that are in random order."""
        raise NotImplementedError


def fingerprint_of(*parts: Any) -> str:
    """Return a hash of the parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class HeldOutDraw:
    """A stratified random choice of rows in one pass, which counts the labels.

    Each row draws a number from 0 to 1; the rows with the smallest draws of each label are chosen.
    Their number is only known at the end, so all rows below a threshold are kept as candidates,
    and the threshold is halved when there are too many. The smallest draw of each label is always
    kept, for rare labels.

    Args:
        fraction: `held_out_fraction` of `Source.scan`.
        maximum: its `held_out_max`.
        seed: its `seed`.

    Attributes:
        counts: number of rows of each label so far.
    """

    def __init__(self, fraction: float, maximum: int, seed: int) -> None:
        if not 0 <= fraction <= 0.5 or maximum < 1:
            raise InputError(
                f"held_out_fraction {fraction} and held_out_max {maximum}: "
                "give a fraction from 0 to 0.5 and a maximum of 1 or more"
            )
        self.counts: collections.Counter = collections.Counter()
        self._fraction, self._maximum = fraction, maximum
        self._rng, self._threshold = random.Random(seed), 1.0
        self._candidates: list[tuple[float, int, Any]] = []
        self._smallest: dict[Any, tuple[float, int, Any]] = {}

    def offer(self, number: int, label: Any) -> None:
        """Count a row and draw a number for it."""
        self.counts[label] += 1
        if not self._fraction:
            return
        candidate = (self._rng.random(), number, label)
        if label not in self._smallest or candidate < self._smallest[label]:
            self._smallest[label] = candidate
        if candidate[0] < self._threshold:
            self._candidates.append(candidate)
            # Eight times the maximum, so that hardly any label has too few candidates.
            if len(self._candidates) > 8 * self._maximum:
                self._threshold /= 2
                self._candidates = [c for c in self._candidates if c[0] < self._threshold]

    def choose(self) -> frozenset[int]:
        """Return the numbers of the chosen rows."""
        if not self._fraction:
            return frozenset()
        fraction = min(self._fraction, self._maximum / self.counts.total())
        counts = self.counts.items()
        quota = {label: min(count // 2, max(1, round(fraction * count))) for label, count in counts}
        chosen = set()
        for _, number, label in sorted({*self._candidates, *self._smallest.values()}):
            if quota[label]:
                quota[label] -= 1
                chosen.add(number)
        return frozenset(chosen)


def _shuffled(rows: Iterator[Row], rng: random.Random) -> Iterator[Row]:
    """Shuffle rows in a buffer of bounded size."""
    buffer: list[Row] = []
    characters = 0
    for row in rows:
        buffer.append(row)
        characters += sum(map(len, row.values))
        while len(buffer) > _BUFFER_ROWS or characters > _BUFFER_CHARACTERS:
            at = int(rng.random() * len(buffer))
            buffer[at], buffer[-1] = buffer[-1], buffer[at]
            drawn = buffer.pop()
            characters -= sum(map(len, drawn.values))
            yield drawn
    rng.shuffle(buffer)
    yield from buffer
