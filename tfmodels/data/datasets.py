"""From rows to `tf.data`: the one shape that every application's pipeline starts from.

In: a `Source`, or texts to answer. Out: datasets of chunks of rows,
`(string [C], int32 [C])` or a string `[C]` for each column; or plain lists of texts.
Chunks, because one Python call a row would be slow, and because the pipeline tokenizes
whole chunks. Texts leave here uncut or cut to a number of characters; everything else
is done in the graph.
"""

import contextlib
import itertools
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tfmodels.data.rows import Row, Source
from tfmodels.data.tables import open_source
from tfmodels.errors import InputError

_CHUNK_ROWS = 256
_CHUNK_CHARACTERS = 4 << 20  # a chunk closes here even when it has room for more rows
_TABLES = (".tsv", ".csv", ".jsonl", ".gz")


def chunk_dataset(
    source: Source,
    convert: Callable[[Row], tuple] = operator.attrgetter("values"),
    types: tuple[tf.DType, ...] | None = None,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Make a dataset of chunks of converted rows: one Python call a row would be slow.

    Args:
        source: the rows.
        convert: function from a row to a tuple of scalars; its values if not given.
        types: their types; strings, one for each column, if not given.
        seed: None reads in the order of the source; a number shuffles. Every pass over the
            dataset has another order: the n-th pass has the same one in every run.

    Returns:
        A dataset of tuples of vectors [C], C <= 256. Chunks of very long texts have fewer rows, and
        the last one of a pass has what is left. Errors met while it is read come out of
        tf.data changed; `source_errors` gives the original.
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
            source.failure = error  # tf.data turns it into an error of its own
            raise

    signature = tuple(tf.TensorSpec([None], dtype) for dtype in types)
    return tf.data.Dataset.from_generator(chunks, output_signature=signature)


@contextlib.contextmanager
def source_errors(*sources: Any) -> Iterator[None]:
    """Let mistakes in the data reach the caller as the `InputError` they are.

    tf.data reports an exception of its Python code as a TensorFlow error with a traceback for a
    message. Around the code that reads datasets made of the sources, this raises the original.

    Raises:
        InputError: what stopped a dataset of one of the sources. Other errors pass through.
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


def _grouped(items: Iterator[tuple], most: int) -> Iterator[list[tuple]]:
    """Group neighbours, by number and by length: 256 texts of a megabyte are too many."""
    group: list[tuple] = []
    characters = 0
    for item in items:
        group.append(item)
        characters += sum(len(value) for value in item if isinstance(value, str))
        if len(group) == most or characters >= _CHUNK_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def text_chunks(texts: Sequence[str], file: str | None, column: str) -> Iterator[list[str]]:
    """Yield texts to answer: the ones given, else those of a file, else of standard input.

    Args:
        texts: texts of the command line.
        file: a table with the column `column`, or one text a line.
        column: name of the column.

    Yields:
        Lists of str: of all given, or of 1 to 256; from standard input every line is one.

    Raises:
        InputError: the file cannot be read or is empty, or a line or text is not UTF-8.
    """
    for number, text in enumerate(texts, start=1):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            # Python hands over bytes of a command line that are not UTF-8 as such characters.
            raise InputError(
                f"text {number}: character {error.start + 1} is not UTF-8; give it as UTF-8"
            ) from None
    if texts:
        yield list(texts)
        return
    if file is not None and file.lower().endswith(_TABLES):
        rows: Iterable[str] = (values[0] for _, values in open_source(file, [column]).rows())
    else:
        rows = _lines(file)
    # Whoever writes to our standard input may wait for an answer to each line.
    for group in _grouped(((row,) for row in rows), _CHUNK_ROWS if file else 1):
        yield [row for (row,) in group]


def _lines(file: str | None) -> Iterator[str]:
    """Yield the lines of a file, or of standard input."""
    name = "standard input" if file is None else file
    try:
        stream = sys.stdin.buffer if file is None else open(file, "rb")
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}; give a file of one text a line") from None
    number = 0
    with contextlib.nullcontext() if file is None else stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{name}:{number}: byte {error.start + 1} of the line is not UTF-8; "
                    "save it as UTF-8"
                ) from None
    if file is not None and number == 0:
        raise InputError(f"{name}: the file is empty; give a file of one text a line")
