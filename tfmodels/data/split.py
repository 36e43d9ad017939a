"""Parts of a source: the rows to train on, and those held out to measure on.

In: a `Source`. Out: two sources over its rows. The draw is stratified by label, and the same for
the same seed; see `Source.scan`.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from tfmodels.data.rows import Row, Scan, Source
from tfmodels.errors import InputError


class Subset(Source):
    """The rows of a source whose numbers are in a set (`inside`), or not.

    `scan` is that of the whole source.
    """

    def __init__(self, source: Source, numbers: frozenset[int], inside: bool, scan: Scan) -> None:
        super().__init__(source.name, source.columns)
        self._source, self._numbers, self._inside = source, numbers, inside
        rows = len(numbers) if inside else scan.rows - len(numbers)
        self._scan = dataclasses.replace(scan, rows=rows, held_out=frozenset())

    def scan(self, label_column: str | None = None, *_: Any, **__: Any) -> Scan:
        """Return the number of rows, and the label counts of the whole source."""
        return self._scan

    def stream(self, seed: int | None) -> Iterator[Row]:
        rows = self._source.stream(seed)
        return (row for row in rows if (row.number in self._numbers) is self._inside)

    def place(self, line: int) -> str:
        return self._source.place(line)

    def _contents(self) -> tuple:
        return self._source.fingerprint(), sorted(self._numbers), self._inside


def split(
    source: Source,
    fraction: float,
    label_column: str | None = None,
    maximum: int = 5000,
    seed: int = 0,
) -> tuple[Source, Source]:
    """Hold rows out of a source, which is read once.

    Args:
        source: the rows.
        fraction: `held_out_fraction` of `Source.scan`.
        label_column: see there.
        maximum: its `held_out_max`.
        seed: see there.

    Returns:
        `(train, held_out)`.

    Raises:
        InputError: a row cannot be read, or no row can be held out.
    """
    scan = source.scan(label_column, fraction, maximum, seed)
    if not scan.held_out:
        raise InputError(
            f"{source.name}: {scan.rows} rows are too few to hold some out; give rows to measure "
            "on (--eval_file FILE, or validation_data=)"
        )
    train, held_out = (Subset(source, scan.held_out, inside, scan) for inside in (False, True))
    return train, held_out
