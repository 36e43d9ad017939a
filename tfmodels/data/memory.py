"""Data in memory as a `Source`: lists, arrays and `tf.data` datasets, the arguments of `fit`.

All values of a row are strings, as in a file.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfmodels.data.rows import Row, Source, canonical_label, text_of
from tfmodels.errors import InputError

WEIGHT = "weight"  # name of the column of sample weights
# What pandas makes of missing values with astype(str); None and "" may be meant.
_MISSING_WORDS = ("nan", "NaN", "<NA>", "NaT")
_TEXTS = "give a list of strings, a tf.data.Dataset or rows of tfmodels.data"


class MemorySource(Source):
    """Rows of lists of the same length.

    Args:
        columns: the values of each column by name.
    """

    def __init__(self, columns: Mapping[str, Sequence]) -> None:
        super().__init__("the rows", tuple(columns))
        lengths = {len(values) for values in columns.values()}
        if lengths == {0}:
            raise InputError("no rows; give one or more")
        self._values = columns

    def place(self, line: int) -> str:
        return f"row {line}"

    def _in_order(self) -> Iterator[Row]:
        rows = zip(*self._values.values(), strict=True)
        return (Row(number, number, values) for number, values in enumerate(rows))

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        rows = list(self._in_order())
        rng.shuffle(rows)
        return iter(rows)


class DatasetSource(Source):
    """Rows of a `tf.data.Dataset`, batched or not.

    Args:
        dataset: a dataset of texts, or of tuples of a text, a label and optionally a weight.
        columns: names of the parts of an element; with one name only the texts are read.
    """

    def __init__(self, dataset: Any, columns: Sequence[str]) -> None:
        import tensorflow as tf

        if not isinstance(dataset, tf.data.Dataset):
            raise InputError("distributed data: give the dataset itself, fit distributes it")
        spec = dataset.element_spec
        parts = spec if isinstance(spec, tuple) else (spec,)
        remedy = f"give a dataset of ({', '.join(columns)})" if columns[1:] else "give one of texts"
        if isinstance(spec, dict):
            keys = ", ".join(f"row[{key!r}]" for key in list(spec)[: len(columns)])
            raise InputError(
                f"the dataset has dicts of {', '.join(map(str, spec))}; {remedy}, such as "
                f"dataset.map(lambda row: ({keys}))"
            )
        if not all(isinstance(part, tf.TensorSpec) and part.shape.rank in (0, 1) for part in parts):
            raise InputError(f"the dataset has elements {spec}; {remedy}, batched or not")
        if parts[0].dtype != tf.string:
            raise InputError(
                f"the dataset has {parts[0].dtype.name} instead of texts; {remedy} with the texts "
                "as strings, which fit tokenizes"
            )
        if len({part.shape.rank for part in parts}) > 1:
            raise InputError(
                f"the dataset has elements {spec}; {remedy}, all parts with the same batch size"
            )
        if not len(columns) <= len(parts) <= max(3, len(columns) + 1):
            raise InputError(f"the dataset has elements of {len(parts)} parts; {remedy}")
        columns = (*columns, WEIGHT)[: len(parts)] if columns[1:] else columns
        super().__init__("the dataset", columns)
        self.endless = int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
        self._dataset = dataset if parts[0].shape.rank else dataset.batch(256)

    def place(self, line: int) -> str:
        return f"row {line} of the dataset"

    def _in_order(self) -> Iterator[Row]:
        number = 0
        for batch in self._dataset.as_numpy_iterator():
            batch = batch if isinstance(batch, tuple) else (batch,)
            for values in zip(*(part.tolist() for part in batch[: len(self.columns)]), strict=True):
                named = zip(values[1:], self.columns[1:], strict=True)
                others = (_value(value, number, column) for value, column in named)
                yield Row(number, number, (check_text(values[0], number), *others))
                number += 1

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        return self._in_order()


def as_source(
    x: Any, y: Any = None, sample_weight: Any = None, columns: Sequence[str] = ("text", "label")
) -> Source:
    """Return the arguments of `fit`, `evaluate` or `predict` as rows.

    Args:
        x: rows of `tfmodels.data`, a list or array of texts, or a `tf.data.Dataset`.
        y: the second column, if `x` is a list or array.
        sample_weight: weights of the rows, which become a column `weight`.
        columns: names of the columns; with one name, `y` is not used.

    Raises:
        InputError: an argument has another type, or a value is invalid.
    """
    if isinstance(x, Source) or hasattr(x, "element_spec"):
        name = x.name if isinstance(x, Source) else "the dataset"
        arguments = (y, "y", "labels"), (sample_weight, "sample_weight", "weights")
        for given, argument, kind in arguments:
            if given is not None:
                raise InputError(
                    f"{argument}: {kind} are a column of {name} already; remove {argument}"
                )
        return _with_columns(x, columns) if isinstance(x, Source) else DatasetSource(x, columns)
    if isinstance(x, tuple) and len(x) == 2 and not any(isinstance(part, str) for part in x):
        raise InputError("a tuple (x, y); give texts and labels as two arguments, fit(x, y)")
    texts = as_list(x, _TEXTS)
    values = {columns[0]: [check_text(text, number) for number, text in enumerate(texts)]}
    if len(columns) == 1:
        return MemorySource(values)
    if y is None:
        raise InputError(
            f"{columns[1]}s are missing: give fit(texts, {columns[1]}s), or rows that have them"
        )
    given = {columns[1]: y, **({} if sample_weight is None else {WEIGHT: sample_weight})}
    for column, values_given in given.items():
        remedy = f"give a list of {column}s, one for each text"
        items = as_list(values_given, remedy)
        if len(items) != len(texts):
            name = "y" if column != WEIGHT else "sample_weight"
            raise InputError(f"x has {len(texts)} rows and {name} {len(items)}; {remedy}")
        values[column] = [_value(value, number, column) for number, value in enumerate(items)]
    return MemorySource(values)


def _with_columns(source: Source, columns: Sequence[str]) -> Source:
    """Return the source after checking the number of its columns."""
    names = source.columns
    extra = names[len(columns) :] if columns[1:] else ()
    if len(names) < len(columns) or extra not in ((), (WEIGHT,)):
        raise InputError(
            f"{source.name}: opened with the columns {', '.join(names)}; open it with columns "
            f"for {' and '.join(columns)}, and optionally {WEIGHT}"
        )
    return source


def as_list(x: Any, remedy: str) -> list:
    """Return a list, array or other iterable as a list; messages name the `remedy`."""
    if isinstance(x, str | bytes):
        raise InputError(f"one string, {x[:30]!r}; {remedy}, such as [{x[:30]!r}]")
    if isinstance(x, dict) or hasattr(x, "iloc") and hasattr(x, "columns"):
        names = ", ".join(f"x[{key!r}]" for key in list(x)[:4])
        raise InputError(f"a {type(x).__name__}; {remedy}, such as one of {names}")
    if hasattr(x, "numpy"):
        x = x.numpy()
    try:
        return x.tolist() if hasattr(x, "tolist") else list(x)
    except TypeError:
        raise InputError(f"{x!r:.60} ({type(x).__name__}); {remedy}") from None


def check_text(value: Any, number: int) -> str:
    """Return the text in row `number` of a list as str."""
    try:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str):
            value.encode()
            return value
    except UnicodeError:
        raise InputError(f"row {number}: the text is not UTF-8; give str or UTF-8 bytes") from None
    if isinstance(value, list | tuple) and value and not isinstance(value[0], str | bytes):
        raise InputError(
            f"row {number}: {str(value)[:60]} instead of a text; give strings, which fit tokenizes "
            "(task.model accepts token ids)"
        )
    raise InputError(
        f"row {number}: {value!r:.60} ({type(value).__name__}) instead of a text; give a string, "
        "'' if the text is missing"
    )


def _value(value: Any, number: int, column: str) -> str:
    """Return a label, a target or a weight as text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bytes):
        value = check_text(value, number)
    place = f"row {number}: the {column}"
    if isinstance(value, list | tuple):
        raise InputError(
            f"{place} {str(value)[:60]} is a list; give one for each text (y.argmax(-1) of one-hot "
            "labels)"
        )
    if _is_missing(value):
        raise InputError(f"{place} is {value}; give one for each text, or remove the row")
    try:
        if column == WEIGHT and not 0 <= float(value) < math.inf:
            raise ValueError
        if isinstance(value, str):
            return check_text(value, number)
        return canonical_label(text_of(value))
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        expected = "a number of 0 or more" if column == WEIGHT else "a string or an integer"
        raise InputError(f"{place} is {value!r:.60}; give {expected}") from None


def _is_missing(value: Any) -> bool:
    """Return whether a label, a target or a weight is None, NaN or pandas' NA."""
    if isinstance(value, str):
        return value in _MISSING_WORDS
    try:
        return value is None or bool(value != value)
    except TypeError:  # of pandas.NA
        return True
