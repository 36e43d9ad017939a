"""Texts with named entities, for training and evaluating taggers.

`open_entities` opens files (also `.gz`) and data sets by name:

    train.txt  .conll  .bio  .tsv ...    one token and its tag per line (CoNLL); see `conll`
    ner_dataset.csv                      Kaggle's table of sentences, words and tags
    train.jsonl                          {"text": ..., "entities": [{"type", "start", "end"}]}, or
                                         doccano's export
    train.json                           an array of such objects, or Label Studio's export
    tfds:conll2003  tfds:wikiann/en      TensorFlow Datasets of tokens and tags

`as_entities` accepts data in memory:

    texts, spans                         lists of texts and of their entities
    words, tags                          lists of the words of each sentence and of their tags

Both return an `EntitySource`: texts with their entities `(type, start, end)`. Offsets are indices
into the Python string, the end exclusive; entities are in order and do not overlap.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from tfmodels.data.conll import (
    ColumnFile,
    TfdsTokens,
    TokenTable,
    agreed_scheme,
    joined,
    separator,
)
from tfmodels.data.memory import MemorySource, as_list, check_text, rows_or_lists
from tfmodels.data.rows import Row, Source, visible
from tfmodels.data.spans import COLUMNS, EntitySource, JsonArray, JsonSpans, checked_entities
from tfmodels.errors import InputError
from tfmodels.text.tags import TagError, check_scheme, labels_of

_EXPECTED = (
    "give fit(texts, spans), where spans[i] is a list of {'type', 'start', 'end'}, or "
    "fit(words, tags), where words[i] and tags[i] are lists of strings"
)


def open_entities(
    spec: str | os.PathLike, *, scheme: str | None = None, token_column: int = 0,
    tag_column: int = -1, join: str | None = None, encoding: str | None = None,
) -> EntitySource:  # fmt: skip
    """Open texts with entities and check that there are any.

    Args:
        spec: path or name; see the top of this module.
        scheme: scheme of the tags, one of `tags.SCHEMES`; None selects the scheme with the minimum
            number of violations in the whole source, and mends and counts these.
        token_column: column of a CoNLL file, counted from 0, or from -1 at the end.
        tag_column: likewise.
        join: separator of two tokens; None uses a space, or none in Chinese and Japanese text.
        encoding: of a file without a byte order mark; UTF-8 if not given.

    Raises:
        InputError: the source is missing, unreadable or empty, or lacks a column; a tag is
            invalid; or the columns do not seem to have tokens and tags.
    """
    spec = os.fspath(spec)
    if scheme is not None:
        check_scheme(scheme)
    if spec.startswith("tfds:"):
        return TfdsTokens(spec, scheme, join)
    name = spec.lower().removesuffix(".gz")
    if name.endswith(".jsonl"):
        return JsonSpans(spec, encoding)
    if name.endswith(".json"):
        return JsonArray(spec, encoding)
    kind = TokenTable if name.endswith(".csv") else ColumnFile
    return kind(spec, scheme, token_column, tag_column, join, encoding)


class _EntityRows(EntitySource, MemorySource):
    """Texts with entities in memory."""


def as_entities(x: Any, y: Any = None) -> Source:
    """Return the arguments of `fit` or `evaluate` of a tagger as rows.

    Args:
        x: an `EntitySource`; a list of texts; or a list of the words of each sentence.
        y: for each text a list of entities: dicts of `type`, `start` and `end`, or
            `(type, start, end)`; for each sentence a list of tags, in any scheme.

    Raises:
        InputError: an argument has another type, or a row is invalid.
    """
    given = rows_or_lists(x, y, COLUMNS, "entities", _EXPECTED, "open_entities")
    if isinstance(given, Source):
        return given
    x, y = given
    of_words = bool(x) and not isinstance(x[0], str | bytes)
    rows = list(_of_words(x, y) if of_words else _of_spans(x, y))
    columns = zip(*rows, strict=True) if rows else ((), ())
    return _EntityRows(dict(zip(COLUMNS, columns, strict=True)))


def _of_spans(texts: list, spans: list) -> Iterator[tuple]:
    for number, (text, items) in enumerate(zip(texts, spans, strict=True)):
        text = check_text(text, number)
        if isinstance(items, str | dict) or any(isinstance(item, str) for item in items):
            raise InputError(
                f"row {number}: a text with {str(items)[:60]}, which is not a list of entities; "
                f"{_EXPECTED}"
            )
        try:
            yield text, checked_entities(items, text)
        except TypeError as error:
            raise InputError(f"row {number}: {error}") from None


def _of_words(sentences: list, tags: list) -> Iterator[tuple]:
    rows = []
    for number, pair in enumerate(zip(sentences, tags, strict=True)):
        try:
            words, names = (as_list(part, _EXPECTED) for part in pair)
        except InputError as error:
            raise InputError(f"row {number}: {error}") from None
        if len(words) != len(names):
            raise InputError(
                f"row {number}: {len(words)} words and {len(names)} tags; give a tag for each word"
            )
        for word, name in zip(words, names, strict=True):
            if not isinstance(word, str) or not isinstance(name, str):
                raise InputError(
                    f"row {number}: the word {word!r} with the tag {name!r}; give strings such as "
                    "'Ann' with 'B-PER'"
                )
        rows.append((words, list(map(visible, names))))

    scheme = agreed_scheme(
        "the rows",
        lambda number: f"row {number}",
        lambda: ((names, [number] * len(names)) for number, (_, names) in enumerate(rows)),
    )
    join = separator(word for words, _ in rows for word in words)
    for number, (words, names) in enumerate(rows):
        try:
            yield joined(words, names, scheme, join, mend=True)
        except TagError as error:
            raise InputError(f"row {number}: {error}") from None


def entity_dataset(source: Source, types: Sequence[str], *, seed: int | None = None) -> Any:
    """Return a dataset of chunks of texts with entities; see `datasets.chunk_dataset`.

    Args:
        source: rows of `open_entities` or `as_entities`.
        types: entity types; the index of a type is its id.
        seed: see `datasets.chunk_dataset`.

    Returns:
        A `tf.data.Dataset` of `(text, types, starts, ends)`: string [C], and three int32
        [C, (E)] of the E entities of each text, the ends exclusive.

    Raises:
        InputError: `types` is invalid; or, while reading, a row cannot be read or has an entity
            of another type.
    """
    import tensorflow as tf

    from tfmodels.data.datasets import chunk_dataset

    labels_of(types)  # checks the types
    ids = {kind: str(index) for index, kind in enumerate(types)}

    def convert(row: Row) -> tuple:
        text, entities = row.values
        for kind, start, end in entities:
            if kind not in ids:
                raise InputError(
                    f"{source.place(row.line)}: {text[start:end][:60]!r} is a {kind!r}, which is "
                    f"not one of the types {', '.join(list(types)[:30])}; correct it, or train "
                    "with this type"
                )
        columns = ([ids[e[0]] for e in entities], *([str(e[i]) for e in entities] for i in (1, 2)))
        return text, *map(" ".join, columns)

    def numbers(text, *columns):
        split = map(tf.strings.split, columns)
        return text, *(tf.ragged.map_flat_values(tf.strings.to_number, c, tf.int32) for c in split)

    # Numbers are passed as text, because the number of entities varies by row.
    return chunk_dataset(source, convert, (tf.string,) * 4, seed).map(numbers)
