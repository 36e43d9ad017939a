"""Splits of a source into rows for training and rows held out for evaluation."""

import dataclasses
import itertools
from collections.abc import Iterator

from tfmodels.data.rows import Row, Scan, Source
from tfmodels.errors import InputError

_COMPARED = 1000  # rows of two passes, to see whether their order is the same


class Subset(Source):
    """The rows of a source whose numbers are in a set, or those that are not.

    Args:
        source: the rows.
        numbers: row numbers.
        inside: whether to yield the rows in `numbers` or the other ones.
        scan: scan of the source.
    """

    def __init__(self, source: Source, numbers: frozenset[int], inside: bool, scan: Scan) -> None:
        super().__init__(source.name, source.columns)
        self._source, self._numbers, self._inside = source, numbers, inside
        self.several = source.several
        rows = len(numbers) if inside else scan.rows - len(numbers)
        self._scan = dataclasses.replace(scan, rows=rows, held_out=frozenset())

    @property
    def whole(self) -> Source:
        return self._source.whole

    def scan(
        self, label_column: str | None = None, held_out_fraction: float = 0.0,
        held_out_max: int = 5000, seed: int = 0,
    ) -> Scan:  # fmt: skip
        """Return the number of rows, with the label counts of the whole source.

        If rows are held out of these rows once more, they are read, as by `Source.scan`.
        """
        if held_out_fraction:
            return super().scan(label_column, held_out_fraction, held_out_max, seed)
        return self._scan

    def stream(self, seed: int | None) -> Iterator[Row]:
        rows = self._source.stream(seed)
        return (row for row in rows if (row.number in self._numbers) is self._inside)

    def place(self, line: int) -> str:
        return self._source.place(line)

    def _contents(self) -> tuple:
        return self._source.fingerprint(), sorted(self._numbers), self._inside


def split(
    source: Source, fraction: float, label_column: str | None = None, maximum: int = 5000,
    seed: int = 0,
) -> tuple[Source, Source]:  # fmt: skip
    """Split a source into two, stratified by label; reads it once.

    Args:
        source: the rows.
        fraction: fraction of each label's rows to hold out, 0 to 0.5.
        label_column: name of the label column; None splits regardless of labels.
        maximum: maximum number of rows to hold out.
        seed: seed of the random choice; see `Source.scan`.

    Returns:
        `(train, held_out)`.

    Raises:
        InputError: a row cannot be read, or no row can be held out.
    """
    if not source.whole.ordered:
        one, other = ([row.values for row in itertools.islice(source.stream(None), _COMPARED)]
                      for _ in range(2))  # fmt: skip
        if one != other:
            raise InputError(
                f"{source.name} has another order in every pass, so that rows held out of one are "
                "trained on in the next; give validation_data=, or "
                "shuffle(..., reshuffle_each_iteration=False)"
            )
    scan = source.scan(label_column, fraction, maximum, seed)
    if not scan.held_out:
        raise InputError(
            f"{source.name}: too few rows ({scan.rows}) to hold some out; give "
            "evaluation data (--eval_file FILE, or validation_data=)"
        )
    train, held_out = (Subset(source, scan.held_out, inside, scan) for inside in (False, True))
    return train, held_out
