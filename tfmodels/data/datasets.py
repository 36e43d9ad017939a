"""`tf.data` datasets of the rows of a `Source`, and lists of texts for prediction.

Datasets have chunks of rows as elements, because one Python call per row would be slow and because
texts are tokenized in chunks.
"""

import contextlib
import io
import itertools
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import tensorflow as tf

from tfmodels.data.lines import LineFile, check_encoding
from tfmodels.data.rows import Row, Source
from tfmodels.data.tables import is_table, open_source
from tfmodels.errors import InputError

_CHUNK_ROWS = 256
_TEXT_FILE = "a file with one text per line"
_CHUNK_CHARACTERS = 4 << 20  # a chunk of this size gets no more rows


def chunk_dataset(
    source: Source,
    convert: Callable[[Row], tuple] = operator.attrgetter("values"),
    types: tuple[tf.DType | tf.TensorSpec, ...] | None = None,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Return a dataset of chunks of converted rows.

    Args:
        source: the rows.
        convert: function from a row to a tuple of scalars or lists. Defaults to the values of the
            row.
        types: type of each scalar, or spec of the values of a chunk `[C, ...]`. Defaults to a
            string for each column.
        seed: None reads in the order of the source; an integer shuffles. Each pass over the
            dataset has a different order; the n-th pass has the same order in every run.

    Returns:
        A dataset of tuples of vectors [C], C <= 256; chunks of very long texts, and the last one
        of a pass, have fewer rows. `tf.data` replaces errors of the source by its own;
        `source_errors` restores them.
    """
    types = types or (tf.string,) * len(source.columns)
    passes = itertools.count()

    def chunks():
        number = next(passes)
        order = None if seed is None else seed * 1_000_003 + number
        try:
            for group in _grouped(map(convert, source.stream(order)), _CHUNK_ROWS):
                yield tuple(map(list, zip(*group, strict=True)))
        except InputError as error:
            source.failure = error  # tf.data raises an error of its own
            raise

    signature = tuple(
        kind if isinstance(kind, tf.TensorSpec) else tf.TensorSpec([None], kind) for kind in types
    )
    return tf.data.Dataset.from_generator(chunks, output_signature=signature)


@contextlib.contextmanager
def source_errors(*sources: Any) -> Iterator[None]:
    """Raise the original `InputError` of a source whose dataset fails in the block.

    `tf.data` replaces exceptions of Python code by a TensorFlow error whose message is a traceback.

    Raises:
        InputError: the error of a source. Other errors are not changed.
    """
    for source in sources:
        source.failure = None
    try:
        yield
    except Exception as error:
        failure = next((source.failure for source in sources if source.failure), None)
        if failure is None or not isinstance(error, tf.errors.OpError):
            raise
        raise failure from None


def _grouped(items: Iterator[tuple], maximum: int) -> Iterator[list[tuple]]:
    """Yield groups of consecutive items with a limited number of items and of characters."""
    group: list[tuple] = []
    characters = 0
    for item in items:
        group.append(item)
        characters += sum(len(value) for value in item if isinstance(value, str))
        if len(group) == maximum or characters >= _CHUNK_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def text_chunks(
    texts: Sequence[str], file: str | None, column: str, encoding: str | None = None, **table: Any
) -> Iterator[list[str]]:
    """Yield texts for prediction: the given ones, else those of a file, else of standard input.

    Args:
        texts: texts of the command line.
        file: a table with the column `column`, or a file with one text per line.
        column: name of the column.
        encoding: of a file or of standard input; see `tables.open_source`.
        table: further options of `open_source`.

    Yields:
        Lists of strings: all of `texts`, up to 256 texts of the file, or one line of standard
        input.

    Raises:
        InputError: the file cannot be read or is empty, or a text is not UTF-8.
    """
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            # Python decodes bytes of a command line that are not UTF-8 to surrogates.
            raise InputError(
                f"text {number}: character {error.start + 1} is not UTF-8; give it as UTF-8"
            ) from None
    if texts:
        yield list(texts)
        return
    if file is not None and is_table(file):
        source = open_source(file, [column], encoding=encoding, **table)
        rows: Iterable[str] = (values[0] for _, values in source.rows())
    else:
        lines = _Texts(file, ("text",), _TEXT_FILE, encoding) if file else _Input(encoding)
        rows = lines.texts()
    # A process that writes to standard input may wait for the answer to each line.
    for group in _grouped(((row,) for row in rows), _CHUNK_ROWS if file else 1):
        yield [row for (row,) in group]


class _Texts(LineFile):
    """The lines of a file as texts."""

    def texts(self) -> Iterator[str]:
        text = None
        with self._open() as (stream, offset):
            for *_, text in self._lines(stream, offset, 1):
                yield text.rstrip("\r\n")
        if text is None and not isinstance(self, _Input):
            raise InputError(f"{self.name}: the file is empty; give {_TEXT_FILE}")


class _Input(_Texts):
    """The lines of standard input."""

    def __init__(self, encoding: str | None) -> None:
        Source.__init__(self, "standard input", ("text",))
        self._encoding, self._packed = check_encoding(encoding), False

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, int]]:
        stream: Any = sys.stdin.buffer
        yield self._after_mark(stream if hasattr(stream, "peek") else io.BufferedReader(stream))
