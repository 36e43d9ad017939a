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
        several: see `Source`.
    """

    def __init__(self, columns: Mapping[str, Sequence], several: Sequence[str] = ()) -> None:
        super().__init__("the rows", tuple(columns))
        self.several = frozenset(several)
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
        columns: names of the parts of an element; with names of texts only these are read.
        texts: how many of the columns, from the first on, are texts.
    """

    def __init__(self, dataset: Any, columns: Sequence[str], texts: int = 1) -> None:
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
        columns = (*columns, WEIGHT)[: len(parts)] if columns[texts:] else columns
        super().__init__("the dataset", columns)
        self.endless = int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY
        self._texts = texts
        self._dataset = dataset if parts[0].shape.rank else dataset.batch(256)

    def place(self, line: int) -> str:
        return f"row {line} of the dataset"

    ordered = False  # it may be shuffled anew in every pass

    def _in_order(self) -> Iterator[Row]:
        number = 0
        for batch in self._dataset.as_numpy_iterator():
            batch = batch if isinstance(batch, tuple) else (batch,)
            for values in zip(*(part.tolist() for part in batch[: len(self.columns)]), strict=True):
                read = (check_text(value, number) for value in values[: self._texts])
                named = zip(values[self._texts :], self.columns[self._texts :], strict=True)
                others = (_value(value, number, column) for value, column in named)
                yield Row(number, number, (*read, *others))
                number += 1

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        return self._in_order()


def rows_or_lists(
    x: Any, y: Any, columns: Sequence[str], what: str, expected: str, opened_by: str
) -> Source | tuple[list, list]:
    """Return the arguments of `fit` or `evaluate`: rows, or two lists of the same length.

    Args:
        x, y: as given.
        columns: of rows.
        what: the name of what `y` has, for messages.
        expected: what to give, likewise.
        opened_by: the function of `tfmodels.data` that opens such rows.

    Raises:
        InputError: an argument has another type, or the lists differ in length.
    """
    if isinstance(x, Source):
        if x.columns != tuple(columns):
            raise InputError(
                f"{x.name}: rows of {', '.join(x.columns)}, not of {', '.join(columns)}; give "
                f"tfmodels.data.{opened_by}(file)"
            )
        if y is not None:
            raise InputError(f"y: {what} are a column of {x.name} already; remove y")
        return x
    if hasattr(x, "element_spec"):
        raise InputError(f"a tf.data.Dataset is not supported for {what}; {expected}")
    if y is None:
        raise InputError(f"{what} are missing; {expected}")
    x, y = as_list(x, expected), as_list(y, expected)
    if len(x) != len(y):
        raise InputError(f"x has {len(x)} rows and y {len(y)}; give the same number")
    return x, y


def as_source(
    x: Any, y: Any = None, sample_weight: Any = None, columns: Sequence[str] = ("text", "label"),
    texts: int = 1, several: bool = False,
) -> Source:  # fmt: skip
    """Return the arguments of `fit`, `evaluate` or `predict` as rows.

    Args:
        x: rows of `tfmodels.data`, a list or array of texts (or of pairs of texts), or a
            `tf.data.Dataset`.
        y: the column after the texts, if `x` is a list or array.
        sample_weight: weights of the rows, which become a column `weight`.
        columns: names of the columns; with names of texts only, `y` is not used.
        texts: how many of the columns are texts: 2 for pairs.
        several: whether a label may be a list of labels, or an array of 0 and 1 `[labels]`.

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
        if isinstance(x, Source):
            return _with_columns(x, columns, texts, several)
        return DatasetSource(x, columns, texts)
    if isinstance(x, tuple) and len(x) == 2 and not any(isinstance(part, str) for part in x):
        raise InputError("a tuple (x, y); give texts and labels as two arguments, fit(x, y)")
    items = as_list(x, _TEXTS)
    values = _texts_of(items, columns[:texts])
    if len(columns) == texts:
        return MemorySource(values)
    label = columns[texts]
    if y is None:
        raise InputError(f"{label}s are missing: give fit(texts, {label}s), or rows that have them")
    given = {label: y, **({} if sample_weight is None else {WEIGHT: sample_weight})}
    lists = []
    for column, values_given in given.items():
        remedy = f"give a list of {column}s, one for each text"
        found = as_list(values_given, remedy)
        if len(found) != len(items):
            name = "y" if column != WEIGHT else "sample_weight"
            raise InputError(f"x has {len(items)} rows and {name} {len(found)}; {remedy}")
        if getattr(values_given, "shape", ())[1:] == (1,):  # a column of an array
            found = [row[0] for row in found]
        if several and column == label:
            found = [row.tolist() if getattr(row, "ndim", 0) and hasattr(row, "tolist") else row
                     for row in found]  # fmt: skip
        if several and column == label and found and isinstance(found[0], list | tuple):
            values[column] = _label_lists(found, column)
            lists.append(column)
        else:
            values[column] = [_value(value, number, column) for number, value in enumerate(found)]
    return MemorySource(values, lists)


def as_corpus(texts: Any, columns: Sequence[str], remedy: str) -> Source | list | Iterator:
    """Return texts to learn a vocabulary from: rows, a list, or an iterator as it is.

    Args:
        texts: rows of `tfmodels.data`, a `tf.data.Dataset`, or an iterable.
        columns: names of the parts of an element of a dataset, all of them texts.
        remedy: what to give, for messages.

    Raises:
        InputError: it is none of these, such as a path.
    """
    if hasattr(texts, "element_spec"):
        return as_source(texts, columns=columns, texts=len(columns))
    return texts if isinstance(texts, Source | Iterator) else as_list(texts, remedy)


def _texts_of(items: list, columns: Sequence[str]) -> dict[str, list]:
    """Return texts, or pairs of texts, as columns."""
    if len(columns) == 1:
        return {columns[0]: [check_text(text, number) for number, text in enumerate(items)]}
    for number, item in enumerate(items):
        if not isinstance(item, list | tuple) or len(item) != len(columns):
            raise InputError(
                f"row {number}: {item!r:.60} instead of a pair of texts; give (text, pair) for each"
            )
    sides = zip(*items, strict=True) if items else ([] for _ in columns)
    return {
        column: [check_text(text, number) for number, text in enumerate(side)]
        for column, side in zip(columns, sides, strict=True)
    }


def _label_lists(items: list, column: str) -> list[tuple[str, ...]]:
    """Return lists of labels, or of 0 and 1, as tuples of labels."""
    for number, item in enumerate(items):
        if not isinstance(item, list | tuple):
            raise InputError(
                f"row {number}: the {column} is {item!r:.60}, no list as in row 0; give a list "
                "of labels for each text"
            )
    widths = {len(item) for item in items}
    numbers = all(type(value) in (int, float, bool) for item in items for value in item)
    if numbers and widths != {1} and len(widths) == 1 and {v for i in items for v in i} <= {0, 1}:
        if all(sum(item) == 1 for item in items):
            _value(items[0], 0, column)  # one-hot: refused with the remedy
        return [tuple(str(n) for n, value in enumerate(item) if value) for item in items]
    for number, item in enumerate(items):
        if any(isinstance(value, float) and value % 1 for value in item):
            raise InputError(
                f"row {number}: the {column} {item!r:.60} has fractions; give the labels of each "
                "text, 0 and 1 for each label, or y.argmax(-1) for one label a text"
            )
    return [
        tuple(canonical_label(_value(value, number, column)) for value in item)
        for number, item in enumerate(items)
    ]


def _with_columns(source: Source, columns: Sequence[str], texts: int, several: bool) -> Source:
    """Return the source after checking its columns."""
    names = source.columns
    extra = names[len(columns) :] if columns[texts:] else ()
    if len(names) < len(columns) or extra not in ((), (WEIGHT,)):
        raise InputError(
            f"{source.name}: opened with the columns {', '.join(names)}; open it with columns "
            f"for {' and '.join(columns)}, and optionally {WEIGHT}"
        )
    lists = source.several - ({names[texts]} if several and columns[texts:] else set())
    if lists and columns[texts:]:
        raise InputError(
            f"{source.name}: column {min(lists)!r} has lists; give a column of single values"
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
