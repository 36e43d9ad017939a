"""Rows that a script has in memory: lists, arrays and `tf.data`, as a `Source` like any file.

In: what `fit` is given. Out: a `Source`; for what cannot be used, one sentence that says the
right form.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence

from tfmodels.data.sources import Row, Source, canonical_label
from tfmodels.errors import InputError

WEIGHT = "weight"  # column of sample weights


class MemorySource(Source):
    """Rows of lists of the same length.

    Args:
        columns: dict from column name to its values.
        name: what messages call the rows.
    """

    def __init__(self, columns: dict[str, Sequence], name: str = "the rows"):
        super().__init__(name, tuple(columns))
        lengths = {column: len(values) for column, values in columns.items()}
        if len(set(lengths.values())) > 1:
            found = " and ".join(f"{number} in {column}" for column, number in lengths.items())
            raise InputError(f"{name}: {found}; give as many of each")
        if not next(iter(lengths.values())):
            raise InputError(f"{name}: empty; give one row or more")
        self._values = columns

    def place(self, line: int) -> str:
        return f"row {line}"

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.columns).encode())
        for row in self._in_order():
            digest.update(repr(row.values).encode())
        return digest.hexdigest()[:16]

    def _in_order(self) -> Iterator[Row]:
        rows = zip(*self._values.values(), strict=True)
        return (Row(number, number, values) for number, values in enumerate(rows))

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        rows = list(self._in_order())
        rng.shuffle(rows)
        return iter(rows)


class DatasetSource(Source):
    """Rows of a `tf.data.Dataset` of `(text, label)`, row by row or in batches.

    Args:
        dataset: its elements are a text, or a tuple of a text, a label and perhaps a weight.
        columns: names for the parts of an element.
    """

    def __init__(self, dataset, columns: Sequence[str]):
        import tensorflow as tf

        spec = dataset.element_spec
        parts = spec if isinstance(spec, tuple) else (spec,)
        columns = (*columns, WEIGHT) if len(columns) > 1 else tuple(columns)
        right = f"give a dataset of ({', '.join(columns[: len(parts)])})"
        if not 0 < len(parts) <= len(columns) or not all(
            isinstance(part, tf.TensorSpec) and part.shape.rank in (0, 1) for part in parts
        ):
            raise InputError(
                f"the dataset has elements of {spec}; {right}, rows or batches of them"
            )
        if parts[0].dtype != tf.string:
            raise InputError(
                f"the dataset has texts of {parts[0].dtype.name}; {right} with the texts as "
                "strings, which are tokenized here"
            )
        if len({part.shape.rank for part in parts}) > 1:
            raise InputError(f"the dataset has elements of {spec}; batch all parts alike")
        super().__init__("the dataset", columns[: len(parts)])
        self.endless = int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
        self._dataset = dataset if parts[0].shape.rank else dataset.batch(256)

    def place(self, line: int) -> str:
        return f"row {line} of the dataset"

    def fingerprint(self) -> str:
        raise InputError("a dataset cannot be told from another one; give rows of tfmodels.data")

    def _in_order(self) -> Iterator[Row]:
        number = 0
        for batch in self._dataset.as_numpy_iterator():
            batch = batch if isinstance(batch, tuple) else (batch,)
            for values in zip(*(part.tolist() for part in batch), strict=True):
                yield Row(number, number, (_text(values[0], number), *_others(values[1:])))
                number += 1

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        return self._in_order()


def as_source(x, y=None, sample_weight=None, columns: Sequence[str] = ("text", "label")) -> Source:
    """Return the rows of what a verb of a task was given.

    Args:
        x: rows of `tfmodels.data`, a list or array of texts, or a `tf.data.Dataset`.
        y: the second column, where `x` is a list or array.
        sample_weight: weights of the rows.
        columns: names of the columns; one without `y`.

    Raises:
        InputError: something else; the message says the right form.
    """
    if hasattr(x, "element_spec"):
        if y is not None:
            raise InputError("a dataset has its labels: give fit(dataset), without y")
        return DatasetSource(x, columns)
    if isinstance(x, Source):
        if y is not None:
            raise InputError(f"{x.name} has its labels: leave y out")
        if len(x.columns) < len(columns):
            raise InputError(
                f"{x.name} has the columns {', '.join(x.columns)}, and {', '.join(columns)} are "
                "needed"
            )
        return x
    texts = _texts(x)
    if len(columns) == 1:
        return MemorySource({columns[0]: texts}, "the texts")
    if y is None:
        raise InputError(
            f"{columns[1]}s are missing: give fit(texts, {columns[1]}s), or rows that have them"
        )
    values = {columns[0]: texts, columns[1]: _labels(y)}
    if sample_weight is not None:
        values[WEIGHT] = [float(weight) for weight in sample_weight]
    return MemorySource(values)


def _texts(x) -> list[str]:
    """Return a list of texts, or say what was given instead."""
    if isinstance(x, str | bytes):
        raise InputError(f"one text: give a list, [{x[:30]!r}]")
    if x is None:
        raise InputError("no texts: give a list of strings, a dataset or rows of tfmodels.data")
    if isinstance(x, dict):
        raise InputError(
            f"a dict of {', '.join(map(str, x))}: give the texts themselves, as a list of strings; "
            "token ids go to task.model"
        )
    if isinstance(x, tuple) and len(x) == 2 and not any(isinstance(part, str) for part in x):
        raise InputError("a tuple (x, y): give both as two arguments, fit(x, y)")
    values = x.tolist() if hasattr(x, "tolist") else list(x)
    return [_text(value, number) for number, value in enumerate(values)]


def _text(value, number: int) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise InputError(f"text {number} is not UTF-8; give strings") from None
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        raise InputError(f"text {number} is a list, {str(value)[:60]}; give one string a text")
    raise InputError(
        f"text {number} is {value!r}, a {type(value).__name__}; give a string, '' for a missing one"
    )


def _labels(y) -> list[str]:
    values = y.tolist() if hasattr(y, "tolist") else list(y)
    return _others(values)


def _others(values) -> list[str]:
    return [
        value.decode() if isinstance(value, bytes)
        else value if isinstance(value, str)
        else canonical_label(str(value))
        for value in values
    ]  # fmt: skip
