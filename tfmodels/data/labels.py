"""Several labels of a text: columns of 0 and 1, or one column with a separator, as one column.

In: rows with labels in the form of a file. Out: the same rows with one column whose values are
tuples of labels, named in `Source.several`. JSON lists and lists in memory are such values already.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tfmodels.data.rows import Row, Source, canonical_label
from tfmodels.errors import InputError

INDICATORS = {"0": False, "1": True, "false": False, "true": True}


class Converted(Source):
    """The rows of a source, each converted.

    Args:
        source: the rows.
        columns: names of the columns of the converted rows.
        convert: function from a row to its new values; `None` leaves the row out.
        several: see `Source`.
        options: what `convert` depends on, for the fingerprint.
    """

    def __init__(
        self, source: Source, columns: Sequence[str], convert: Callable[[Row], tuple | None],
        several: Iterable[str] = (), options: tuple = (),
    ) -> None:  # fmt: skip
        super().__init__(source.name, columns)
        self.several, self.endless = frozenset(several), source.endless
        self._source, self._convert, self._options = source, convert, options

    @property
    def whole(self) -> Source:
        return self._source.whole

    def place(self, line: int) -> str:
        return self._source.place(line)

    def _contents(self) -> tuple:
        return self._source.fingerprint(), self._options

    def stream(self, seed: int | None) -> Iterator[Row]:
        return self._converted(self._source.stream(seed))

    def _in_order(self) -> Iterator[Row]:
        return self.stream(None)

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        return self.stream(rng.getrandbits(32))

    def _converted(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            values: Any = self._convert(row)
            if values is not None:
                yield Row(row.number, row.line, values)


def joined_columns(source: Source, names: Sequence[str]) -> Source:
    """Return rows with one column `labels` in place of columns of 0 and 1.

    Args:
        source: the rows.
        names: of the columns, which are the names of the labels.

    Raises:
        InputError: while it is read: another value than 0, 1, true or false.
    """
    places = [source.columns.index(name) for name in names]
    others = [place for place in range(len(source.columns)) if place not in places]
    first = min(places)
    before = [place for place in others if place < first]
    after = [place for place in others if place > first]

    def convert(row):
        labels = []
        for name, place in zip(names, places, strict=True):
            there = INDICATORS.get(canonical_label(row.values[place]).lower())
            if there is None:
                raise InputError(
                    f"{source.place(row.line)}: column {name!r} has {row.values[place][:40]!r}; "
                    "several label columns have 0 or 1 for each label"
                )
            if there:
                labels.append(name)
        values = row.values
        return *(values[i] for i in before), tuple(labels), *(values[i] for i in after)

    columns = [*(source.columns[i] for i in before), "labels", *(source.columns[i] for i in after)]
    return Converted(source, columns, convert, ["labels"], tuple(names))


def separated(source: Source, column: str, separator: str) -> Source:
    """Return rows in which a column has tuples of labels instead of labels with a separator.

    Args:
        source: the rows.
        column: its name.
        separator: between two labels; an empty text has no labels.
    """
    place = source.columns.index(column)

    def convert(row):
        labels = tuple(filter(None, map(canonical_label, row.values[place].split(separator))))
        return *row.values[:place], labels, *row.values[place + 1 :]

    return Converted(source, source.columns, convert, [column], (column, separator))
