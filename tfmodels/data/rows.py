"""Rows of text in named columns, streamed: the one form that all data takes.

In: a subclass of `Source` for each kind of place that rows come from: files (`tables`), TensorFlow
Datasets (`tfds`), lists and `tf.data` (`memory`), texts with entities (`entities`). Out: rows in
order or shuffled (`Source.rows`), and a counting pass that can also hold rows out (`Source.scan`).

Nothing here holds a whole source: memory is bounded by the largest row and a few fixed buffers,
whatever the size of the data. Shuffling therefore happens in two steps: blocks of neighbouring
rows are visited in random order, and their rows pass through a buffer that mixes them.
"""

import collections
import hashlib
import json
import random
import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfmodels.errors import InputError

_MIX_ROWS = 65_536  # maximum number of rows in the shuffle buffer
_MIX_CHARACTERS = 8 << 20  # maximum number of characters in it
_MAX_LABELS = 10_000  # with more different labels, a text column was taken for labels
_LABEL_CHARACTERS = 200  # and with a longer label
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)(\.0+)?", re.ASCII)

brief = reprlib.Repr()  # values quoted in messages stay short and on one line
brief.maxstring, brief.maxlist, brief.maxtuple = 60, 30, 30


@dataclass(frozen=True)
class Scan:
    """What one pass over a source found.

    Attributes:
        rows: number of rows.
        label_counts: rows of each label, sorted by label: by value when every label is an
            integer, else by spelling. Empty without a label column; of texts with entities, the
            entities of each type.
        held_out: numbers of the rows chosen for evaluation; empty unless asked for.
    """

    rows: int
    label_counts: dict[str, int]
    held_out: frozenset[int]


class Row(NamedTuple):
    number: int  # counted from 0 in the order of the source, the same in every pass
    line: int  # line of the file it starts on, from 1; in a TFDS set the row number
    values: tuple[Any, ...]  # one for each of the source's columns


def canonical_label(value: str) -> str:
    """Return the one spelling of a label: no space around it, and 1.0 is 1."""
    value = value.strip()
    whole = _WHOLE_NUMBER.fullmatch(value)
    return whole[1] if whole else value


def text_of(value: Any) -> str:
    """Return a scalar as text, spelled as JSON spells it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise TypeError(f"{brief.repr(value)} is not text, a number or true/false")


class Source:
    """Rows of text in named columns, read anew in every pass.

    A subclass has `_in_order` and `_in_block_order`, or `stream`; and `_contents` if its rows can
    be told from others without reading them.

    Attributes:
        name: what messages call the source.
        columns: names of the columns, in the order of a row's values.
        failure: the error that ended a dataset made of this source; see `source_errors`.
        endless: whether the rows never end, so that they cannot be counted.
    """

    endless = False

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self.name = name
        self.columns = tuple(columns)
        self.failure: InputError | None = None
        self._fingerprint: str | None = None

    def rows(self, *, seed: int | None = None) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Read every row once.

        Args:
            seed: None reads in the order of the source. A number reads in a random order that
                depends on nothing else. Compressed files have no cheap way to jump, so their
                rows are only mixed within a buffer of neighbours (65,536 rows or 8 M characters):
                unpack a large compressed file that is sorted by label before training on it.

        Yields:
            `(row number, values)`; the number of a row is the same in every order.

        Raises:
            InputError: a row cannot be read.
        """
        return ((row.number, row.values) for row in self.stream(seed))

    def scan(
        self,
        label_column: str | None = None,
        held_out_fraction: float = 0.0,
        held_out_max: int = 5000,
        seed: int = 0,
    ) -> Scan:
        """Read the source once, count rows and labels and choose rows for evaluation.

        Args:
            label_column: the column with the labels; None counts rows only and holds out
                without regard to labels.
            held_out_fraction: share of each label's rows to hold out, 0 to 0.5.
            held_out_max: rows held out in all; the share shrinks to fit. A label with two rows or
                more gives at least one row even so, and never more than half of its rows.
            seed: of the choice; the same seed chooses the same rows.

        Raises:
            InputError: the rows never end, a row cannot be read, a label is empty, or the column
                holds no labels (more than 10,000 different ones, or one of more than 200
                characters).
        """
        if label_column is not None and label_column not in self.columns:
            raise InputError(
                f"{self.name}: opened with columns {list(self.columns)}, "
                f"not with the label column {label_column!r}"
            )
        self._check_end("counted")
        draw = HeldOutDraw(held_out_fraction, held_out_max, seed)
        label_counts = self._count(draw, label_column)
        return Scan(draw.counts.total(), label_counts, draw.choose())

    def _count(self, draw: "HeldOutDraw", label_column: str | None) -> dict[str, int]:
        """Offer every row with its label to a draw; return the rows of each label."""
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
        """Check a label met for the first time and add it to `spellings`."""
        label = canonical_label(raw)
        if not label:
            raise InputError(
                f"{self.place(line)}: the label in column {column!r} is empty; "
                "every row needs a label"
            )
        if len(label) > _LABEL_CHARACTERS or len(spellings) >= _MAX_LABELS:
            raise InputError(
                f"{self.place(line)}: column {column!r} does not look like labels "
                f"({len(spellings) + 1} different values, here {brief.repr(label)}); "
                "name the column that holds the labels"
            )
        spellings[raw] = label
        return label

    def fingerprint(self) -> str:
        """Return what tells the rows from others: a hash of the contents and the columns.

        Raises:
            InputError: the rows never end, or cannot be read.
        """
        if self._fingerprint is None:
            self._fingerprint = fingerprint_of(self._contents(), self.columns)
        return self._fingerprint

    def _contents(self) -> tuple:
        """Return what the fingerprint is made of: here the sum of the hashes of all rows."""
        self._check_end("hashed")
        rows = (repr(row.values).encode() for row in self.stream(None))
        hashes = (hashlib.sha256(row).digest()[:16] for row in rows)
        return (sum(int.from_bytes(digest, "big") for digest in hashes),)

    def _check_end(self, done: str) -> None:
        if self.endless:
            raise InputError(f"{self.name}: never ends, so its rows cannot be {done}; use take(n)")

    def place(self, line: int) -> str:
        """Return where a row stands, for messages."""
        return f"{self.name}:{line}"

    def stream(self, seed: int | None) -> Iterator[Row]:
        """Yield every row once; `seed`: see `rows`."""
        if seed is None:
            return self._in_order()
        rng = random.Random(seed)
        return _mixed(self._in_block_order(rng), rng)

    def _in_order(self) -> Iterator[Row]:
        """Yield every row in the order of the source."""
        raise NotImplementedError

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        """Yield every row, block by block, the blocks in random order."""
        raise NotImplementedError


def fingerprint_of(*parts: Any) -> str:
    """Return the hash of what tells data from other data."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class HeldOutDraw:
    """Counts labels, and draws rows of every label at random, in one pass.

    Every row draws a number from 0 to 1; the rows with a label's smallest draws are chosen. How
    many is known only at the end, so rows below a bar stay candidates, and the bar is halved
    whenever they become too many. Each label's smallest draw is kept besides, for rare labels.

    Args:
        fraction: `held_out_fraction` of `Source.scan`.
        maximum: its `held_out_max`.
        seed: its `seed`.

    Attributes:
        counts: rows of each label so far.
    """

    def __init__(self, fraction: float, maximum: int, seed: int) -> None:
        if not 0 <= fraction <= 0.5 or maximum < 1:
            raise InputError(
                f"held_out_fraction {fraction} and held_out_max {maximum}: "
                "give a share from 0 to 0.5 and at least one row"
            )
        self.counts: collections.Counter = collections.Counter()
        self._fraction, self._maximum = fraction, maximum
        self._rng, self._bar = random.Random(seed), 1.0
        self._candidates: list[tuple[float, int, Any]] = []
        self._smallest: dict[Any, tuple[float, int, Any]] = {}

    def offer(self, number: int, label: Any) -> None:
        """Take a row of a label into account."""
        self.counts[label] += 1
        if not self._fraction:
            return
        candidate = (self._rng.random(), number, label)
        if label not in self._smallest or candidate < self._smallest[label]:
            self._smallest[label] = candidate
        if candidate[0] < self._bar:
            self._candidates.append(candidate)
            # With eight times the rows wanted, few labels ever have too few candidates.
            if len(self._candidates) > 8 * self._maximum:
                self._bar /= 2
                self._candidates = [c for c in self._candidates if c[0] < self._bar]

    def choose(self) -> frozenset[int]:
        """Return the numbers of the rows chosen."""
        if not self._fraction:
            return frozenset()
        share = min(self._fraction, self._maximum / self.counts.total())
        counts = self.counts.items()
        quota = {label: min(count // 2, max(1, round(share * count))) for label, count in counts}
        chosen = set()
        for _, number, label in sorted({*self._candidates, *self._smallest.values()}):
            if quota[label]:
                quota[label] -= 1
                chosen.add(number)
        return frozenset(chosen)


def _mixed(rows: Iterator[Row], rng: random.Random) -> Iterator[Row]:
    """Yield the rows in a random order of neighbours, through a buffer of bounded size."""
    held: list[Row] = []
    characters = 0
    for row in rows:
        held.append(row)
        characters += sum(map(len, row.values))
        while len(held) > _MIX_ROWS or characters > _MIX_CHARACTERS:
            at = int(rng.random() * len(held))
            held[at], held[-1] = held[-1], held[at]
            leaving = held.pop()
            characters -= sum(map(len, leaving.values))
            yield leaving
    rng.shuffle(held)
    yield from held
