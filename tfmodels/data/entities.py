"""Texts with named entities: the one form that taggers train on and are measured with.

In goes a source by name (`open_entities`), or what a script has (`as_entities`):

    train.txt  .conll  .bio  .tsv ...    a token and its tag a line (CoNLL); see `conll`
    train.jsonl                          {"text": ..., "entities": [{"type", "start", "end"}]}
    tfds:conll2003  tfds:wikiann/en      TensorFlow Datasets of tokens and tags
    texts, spans                         lists of texts and of their entities
    words, tags                          lists of the words of each sentence and of their tags

(files also `.gz`). Out comes an `EntitySource`: texts and their entities `(type, start, end)`,
characters as Python counts them, the end exclusive, in order and without overlap.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from tfmodels.data.conll import KINDS, ColumnFile, TfdsTokens, joined
from tfmodels.data.memory import MemorySource, as_list, check_text
from tfmodels.data.rows import Row, Source
from tfmodels.data.spans import COLUMNS, EntitySource, JsonSpans, checked_entities
from tfmodels.errors import InputError
from tfmodels.text.tags import TagError, check_scheme, detect_scheme, labels_of

_OTHER_TABLES = (".csv", ".json")
_RIGHT = (
    "give fit(texts, spans), where spans[i] is a list of {'type', 'start', 'end'}, or "
    "fit(words, tags), where words[i] and tags[i] are lists of strings"
)


def open_entities(
    spec: str | os.PathLike,
    *,
    scheme: str | None = None,
    token_column: int = 0,
    tag_column: int = -1,
    join: str | None = None,
) -> EntitySource:
    """Open a source and check that it has rows.

    Args:
        spec: path or name, see the top of this module.
        scheme: of the tags, one of `tags.SCHEMES`; None finds the one that the fewest tags of
            the whole source contradict.
        token_column: of a file of columns, counted from 0, or from -1 at the end.
        tag_column: likewise.
        join: what stands between two tokens; None decides for each pair, see `conll`.

    Raises:
        InputError: the source is missing, unreadable or empty, or lacks a column; a tag is none;
            the columns are other ones than they are taken for.
    """
    spec = os.fspath(spec)
    if scheme is not None:
        check_scheme(scheme)
    if spec.startswith("tfds:"):
        return TfdsTokens(spec, scheme, join)
    name = spec.lower().removesuffix(".gz")
    if name.endswith(_OTHER_TABLES):
        raise InputError(f"{spec}: unknown kind of source; give {KINDS}")
    if name.endswith(".jsonl"):
        return JsonSpans(spec)
    return ColumnFile(spec, scheme, token_column, tag_column, join)


class _EntityRows(EntitySource, MemorySource):
    """Rows of lists."""


def as_entities(x: Any, y: Any = None) -> Source:
    """Return the rows of what `fit` or `evaluate` of a tagger was given.

    Args:
        x: an `EntitySource`; a list of texts; or a list of the words of each sentence.
        y: for each text its entities: dicts of `type`, `start` and `end`, or
            `(type, start, end)`; for words their tags, in any scheme.

    Raises:
        InputError: something else, or a row does not fit; the message says the right form.
    """
    if isinstance(x, Source):
        if x.columns != COLUMNS:
            raise InputError(
                f"{x.name}: rows of {', '.join(x.columns)}, not of texts with entities; give "
                "tfmodels.data.open_entities(file)"
            )
        if y is not None:
            raise InputError(f"{x.name} has its entities: leave y out")
        return x
    if hasattr(x, "element_spec"):
        raise InputError(f"a tf.data.Dataset cannot hold entities here; {_RIGHT}")
    if y is None:
        raise InputError(f"entities are missing; {_RIGHT}")
    x, y = as_list(x, _RIGHT), as_list(y, _RIGHT)
    if len(x) != len(y):
        raise InputError(f"x has {len(x)} rows and y {len(y)}; give as many of each")
    of_words = bool(x) and not isinstance(x[0], str | bytes)
    rows = list(_of_words(x, y) if of_words else _of_spans(x, y))
    columns = zip(*rows, strict=True) if rows else ((), ())
    return _EntityRows(dict(zip(COLUMNS, columns, strict=True)))


def _of_spans(texts: list, spans: list) -> Iterator[tuple]:
    for number, (text, items) in enumerate(zip(texts, spans, strict=True)):
        text = check_text(text, number)
        if isinstance(items, str | dict) or any(isinstance(item, str) for item in items):
            raise InputError(
                f"row {number}: a text with {str(items)[:60]}, which is no list of entities; "
                f"{_RIGHT}"
            )
        try:
            yield text, checked_entities(items, text)
        except TypeError as error:
            raise InputError(f"row {number}: {error}") from None


def _of_words(sentences: list, tags: list) -> Iterator[tuple]:
    rows = []
    for number, pair in enumerate(zip(sentences, tags, strict=True)):
        try:
            words, names = (as_list(part, _RIGHT) for part in pair)
        except InputError as error:
            raise InputError(f"row {number}: {error}") from None
        if len(words) != len(names):
            raise InputError(
                f"row {number}: {len(words)} words and {len(names)} tags; give a tag for each word"
            )
        for word, name in zip(words, names, strict=True):
            if not isinstance(word, str) or not word.strip() or not isinstance(name, str):
                raise InputError(
                    f"row {number}: the word {word!r} with the tag {name!r}; give strings such as "
                    "'Ann' with 'B-PER', and no empty word"
                )
        rows.append((words, names))
    scheme = detect_scheme(names for _, names in rows)
    for number, (words, names) in enumerate(rows):
        try:
            yield joined(words, names, scheme, None)
        except TagError as error:
            raise InputError(f"row {number}: {error}") from None


def entity_dataset(source: Source, types: Sequence[str], *, seed: int | None = None) -> Any:
    """Make a dataset of chunks of texts with their entities; see `datasets.chunk_dataset`.

    Args:
        source: of `open_entities` or `as_entities`.
        types: the entity types; a type's position is its id.

    Returns:
        A `tf.data.Dataset` of `(text, types, starts, ends)`: string [C] and int32 [C, (E)] each,
        the E entities of a text in order, ends exclusive.

    Raises:
        InputError: `types` are none; while reading, a row cannot be read or has an entity of
            another type.
    """
    import tensorflow as tf

    from tfmodels.data.datasets import chunk_dataset

    labels_of(types)  # checks them
    ids = {kind: str(index) for index, kind in enumerate(types)}

    def convert(row: Row) -> tuple:
        text, entities = row.values
        for kind, start, end in entities:
            if kind not in ids:
                raise InputError(
                    f"{source.place(row.line)}: {text[start:end][:60]!r} is a {kind!r}, which is "
                    f"none of the types {', '.join(list(types)[:30])}; correct it or train on it"
                )
        columns = ([ids[e[0]] for e in entities], *([str(e[i]) for e in entities] for i in (1, 2)))
        return text, *map(" ".join, columns)

    def numbers(text, *columns):
        split = map(tf.strings.split, columns)
        return text, *(tf.ragged.map_flat_values(tf.strings.to_number, c, tf.int32) for c in split)

    # Numbers travel as text: a tensor of strings can hold any number of them a row.
    return chunk_dataset(source, convert, (tf.string,) * 4, seed).map(numbers)
