"""Texts with named entities from files and TensorFlow Datasets, streamed.

In goes a source by name:

    train.txt  .conll  .bio  .tsv ...    columns: a token and its tag a line, sentences apart by
                                         blank lines (CoNLL); tags in any scheme of `text/tags.py`
    train.jsonl                          {"text": ..., "entities": [{"type", "start", "end"}]}
    tfds:conll2003  tfds:wikiann/en      TensorFlow Datasets of tokens and tags

(also `.gz` of a file). Out come texts and their entities `(type, start, end)`: characters of the
text, as Python counts them, the end exclusive. They are in order and do not overlap.

Tokens of columns become a text with one blank between two of them, and none between two that
meet in Chinese or Japanese characters.

Nothing here holds a whole source, and every mistake in a file is an `InputError` of one line that
starts with `file:line`; see `sources`, which reads the files.
"""

import collections
import dataclasses
import functools
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from tfmodels.data import datasets
from tfmodels.data.memory import MemorySource
from tfmodels.data.sources import FileSource, LineFile, Row, Scan, Source, TfdsSource
from tfmodels.errors import InputError
from tfmodels.text.tags import TagError, check_scheme, detect_scheme, labels_of, split_tag, to_spans
from tfmodels.text.wordpiece import EITHER_PUNCTUATION

Entity = tuple[str, int, int]  # type, start, end

_SENTENCE_BYTES = 16 << 20  # a file without blank lines must not be read in one piece
_DOCUMENT_START = "-DOCSTART-"
_OTHER_TABLES = (".csv", ".json")
_KINDS = "a CoNLL file of columns, a .jsonl file (or .gz of one) or tfds:NAME"
_TFDS_TOKENS, _TFDS_TAGS = "tokens", ("ner", "ner_tags", "tags")
# Written without blanks: ideographs, kana, and the punctuation that goes with them.
_CJK = re.compile(
    r"[\u2e80-\u312f\u3190-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)


def open_entities(
    spec: str | os.PathLike,
    *,
    scheme: str | None = None,
    token_column: int = 0,
    tag_column: int = -1,
    join: str | None = None,
    data_dir: str | os.PathLike | None = None,
) -> "EntitySource":
    """Opens a source and checks that it has rows.

    Args:
        spec: path or name, see the top of this module.
        scheme: of the tags, one of `tags.SCHEMES`; None finds the one that the fewest tags of
            the whole source contradict.
        token_column, tag_column: of a file of columns, counted from 0, or from -1 at the end.
        join: what stands between two tokens; None decides for each pair, see above.
        data_dir: where TFDS sets are prepared, see `sources.open_source`.

    Raises:
        InputError: the source is missing, unreadable or empty, or lacks a column; a tag is none.
    """
    spec = os.fspath(spec)
    if scheme is not None:
        check_scheme(scheme)
    if spec.startswith("tfds:"):
        return EntitySource(_TfdsEntities(spec, scheme, join, data_dir))
    name = spec.lower().removesuffix(".gz")
    if name.endswith(_OTHER_TABLES):
        raise InputError(f"{spec}: unknown kind of source; give {_KINDS}")
    if name.endswith(".jsonl"):
        return EntitySource(_JsonEntities(spec))
    return EntitySource(_ColumnEntities(spec, scheme, token_column, tag_column, join))


class EntitySource(Source):
    """Texts and their entities: a `Source` whose rows have the values `(text, entities)`."""

    def __init__(self, source: Source):
        super().__init__(source.name, ("text", "entities"))
        self._source = source

    def scan(
        self, label_column: str | None = None, held_out_fraction: float = 0.0,
        held_out_max: int = 5000, seed: int = 0,
    ) -> Scan:  # fmt: skip
        """Read the source once; count texts and entities, and choose rows for evaluation.

        Args:
            label_column: not looked at: rows are drawn by whether they have entities.
            held_out_fraction, held_out_max, seed: see `Source.scan`.

        Returns:
            `Scan` whose `label_counts` are the entities of each type, sorted by type.

        Raises:
            InputError: a row cannot be read, or no text has any entity.
        """
        counted = _Counted(self._source)
        scan = counted.scan("holds", held_out_fraction, held_out_max, seed)
        if not counted.types:
            raise InputError(
                f"{self.name}: no entity in {scan.rows} texts; give texts with entities marked"
            )
        return dataclasses.replace(scan, label_counts=dict(sorted(counted.types.items())))

    def fingerprint(self) -> str:
        return self._source.fingerprint()

    def place(self, line: int) -> str:
        return self._source.place(line)

    def stream(self, seed: int | None) -> Iterator[Row]:
        return self._source.stream(seed)

    def _in_order(self) -> Iterator[Row]:
        return self._source._in_order()

    def _in_block_order(self, rng) -> Iterator[Row]:
        return self._source._in_block_order(rng)


def as_entities(x, y=None) -> Source:
    """Return the rows of what a verb of a tagger was given.

    Args:
        x: an `EntitySource`, or a list of texts, or of lists of words.
        y: for texts: of each a list of `{"type": "PER", "start": 0, "end": 3}` or
            `(type, start, end)` in characters; for words: of each a list of tags.

    Raises:
        InputError: something else; the message says the right form.
    """
    if isinstance(x, Source):
        if "entities" not in x.columns:
            raise InputError(
                f"{x.name} has the columns {', '.join(x.columns)}; open it with "
                "tfmodels.data.open_entities(...)"
            )
        return x
    if y is None:
        raise InputError(
            "entities are missing: give fit(texts, entities), fit(words, tags) or rows of "
            "tfmodels.data.open_entities(...)"
        )
    x, y = list(x), list(y)
    if len(x) != len(y):
        raise InputError(f"{len(x)} texts and {len(y)} lists of entities or tags; give one each")
    if not x:
        raise InputError("no texts: give one or more")
    rows = _of_words(x, y) if not isinstance(x[0], str) else [_of_spans(*row) for row in zip(
        range(len(x)), x, y, strict=True)]  # fmt: skip
    texts, entities = zip(*rows, strict=True)
    return EntitySource(MemorySource({"text": texts, "entities": entities}))


def _of_spans(number: int, text: str, spans) -> tuple[str, tuple[Entity, ...]]:
    try:
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is no text; give strings")
        spans = [[s[1], s[2], s[0]] if isinstance(s, tuple) else s for s in spans]
        return text, _spans(spans, text)
    except TypeError as error:
        raise InputError(f"row {number}: {error}") from None


def _of_words(words: list, tags: list) -> list[tuple[str, tuple[Entity, ...]]]:
    tags = [list(map(str, row)) for row in tags]
    words = [list(map(str, row)) for row in words]
    for number, (some, marked) in enumerate(zip(words, tags, strict=True)):
        if len(some) != len(marked):
            raise InputError(
                f"row {number}: {len(some)} words and {len(marked)} tags; give one for each word"
            )
        if not all(word.strip() for word in some):
            raise InputError(f"row {number}: a word of nothing; leave it out, with its tag")
    scheme = detect_scheme(tags)
    rows = []
    for number, (some, marked) in enumerate(zip(words, tags, strict=True)):
        try:
            rows.append(_joined(some, marked, scheme, None))
        except TagError as error:
            raise InputError(f"row {number}: {error}") from None
    return rows


def entity_dataset(
    source: Source,
    types: Sequence[str],
    *,
    rows: str = "all",
    held_out: Collection[int] = frozenset(),
    seed: int | None = None,
    chunk: int = 256,
) -> tf.data.Dataset:
    """Makes a dataset of chunks of texts with their entities.

    Args:
        source: of `open_entities`.
        types: the entity types; a type's position is its id.
        rows, held_out, seed, chunk: as of `datasets.text_label_dataset`.

    Returns:
        A dataset of `(text, types, starts, ends)`: string [C] and int32 [C, (E)] each, the E
        entities of a text in order, ends exclusive. Errors met while it is read come out of
        tf.data changed; `datasets.source_errors` gives the original.

    Raises:
        InputError: an argument does not fit; while reading, a row cannot be read or has an
            entity that is not of one of `types`.
    """
    labels_of(types)  # checks them
    ids = {kind: str(index) for index, kind in enumerate(types)}

    def convert(row: Row) -> tuple[str, str, str, str]:
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
    chunks = datasets.chunk_dataset(source, convert, (tf.string,) * 4, seed, rows, held_out, chunk)
    return chunks.map(numbers)


class _Counted(Source):
    """A source as `Source.scan` reads it, the types of its entities counted on the way."""

    def __init__(self, source: Source):
        super().__init__(source.name, ("holds",))
        self.types: collections.Counter[str] = collections.Counter()
        self._source = source

    def _in_order(self) -> Iterator[Row]:
        return self._counted(self._source._in_order())

    def _in_block_order(self, rng) -> Iterator[Row]:
        return self._counted(self._source._in_block_order(rng))

    def _counted(self, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            entities = row.values[1]
            self.types.update(kind for kind, _, _ in entities)
            yield row._replace(values=("entities" if entities else "none",))


class _Sentence(NamedTuple):
    offset: int  # byte it starts at
    line: int  # its first line
    tokens: list[str]
    tags: list[str]
    lines: list[int]  # of each token


class _ColumnEntities(LineFile):
    """A file of columns in UTF-8, apart by tabs or blanks: rows are sentences."""

    def __init__(self, path, scheme, token_column, tag_column, join):
        super().__init__(path, ("text", "entities"), _KINDS)
        self._columns, self._join, self._widths = (token_column, tag_column), join, None
        with self._open() as (stream, offset):
            lines = self._lines(stream, offset, 1)
            first = next(self._sentences(lines), None)
            if first is None:
                raise InputError(f"{path}:1: no token in the file; give a file with sentences")
        self._start = first
        if scheme is None:
            with self._open() as (stream, offset):
                sentences = self._sentences(self._lines(stream, offset, 1))
                scheme = detect_scheme(sentence.tags for sentence in sentences)
        self._scheme = scheme

    def _records(self, stream, block):
        for sentence in self._sentences(self._lines(stream, block.offset, block.line)):
            try:
                values = _joined(sentence.tokens, sentence.tags, self._scheme, self._join)
            except TagError as error:
                line = sentence.lines[error.position]
                raise InputError(f"{self.place(line)}: {error.reason}") from None
            yield sentence.offset, sentence.line, values

    def _sentences(self, lines) -> Iterator[_Sentence]:
        sentence = None
        for offset, line, text in lines:
            fields = _fields(text)
            if not fields or fields[0] == _DOCUMENT_START:
                if sentence:
                    yield sentence
                sentence = None
                continue
            token, tag = self._token_and_tag(fields, line)
            sentence = sentence or _Sentence(offset, line, [], [], [])
            if offset - sentence.offset > _SENTENCE_BYTES:
                raise InputError(
                    f"{self.place(sentence.line)}: the sentence that starts here is longer than "
                    f"{_SENTENCE_BYTES >> 20} MiB; put blank lines between sentences"
                )
            for values, value in zip(sentence[2:], (token, tag, line), strict=True):
                values.append(value)
        if sentence:
            yield sentence

    def _token_and_tag(self, fields: list[str], line: int) -> tuple[str, str]:
        if len(fields) != self._widths:
            self._check_width(len(fields), line)
        token, tag = (fields[column] for column in self._columns)
        if not token.strip():
            raise InputError(f"{self.place(line)}: the token is blank; remove the line")
        try:
            split_tag(tag)
        except TagError as error:
            raise InputError(f"{self.place(line)}: {error.reason}") from None
        return token, tag

    def _check_width(self, width: int, line: int) -> None:
        """Takes the first row's number of columns, and refuses another one."""
        if self._widths is not None:
            raise InputError(
                f"{self.place(line)}: {width} columns where the rows above have {self._widths}; "
                "correct the row"
            )
        if any(not -width <= column < width for column in self._columns):
            raise InputError(
                f"{self.place(line)}: {width} columns; token_column {self._columns[0]} or "
                f"tag_column {self._columns[1]} is none of them, counted from 0 (or back from -1)"
            )
        if len({column % width for column in self._columns}) == 1:
            raise InputError(
                f"{self.place(line)}: token and tag are read from one column (of {width}); give a "
                "file with a token and a tag a line, or name token_column and tag_column"
            )
        self._widths = width


class _JsonEntities(FileSource):
    """A JSONL file of texts and character spans, under the key `entities` or `spans`."""

    def __init__(self, path):
        super().__init__(path, ("text",))

    def _json_values(self, row, line):
        (text,) = super()._json_values(row, line)
        keys = [key for key in ("entities", "spans") if key in row]
        try:
            if len(keys) != 1 or not isinstance(row[keys[0]], list):
                raise TypeError('give one list, under "entities" or "spans"')
            entities = _spans(row[keys[0]], text)
        except (TypeError, UnicodeEncodeError) as error:
            raise InputError(f"{self.place(line)}: {error}") from None
        return text, entities


class _TfdsEntities(TfdsSource):
    """A TFDS split with a feature of tokens and one of named tags."""

    def __init__(self, spec, scheme, join, data_dir):
        super().__init__(spec, (_TFDS_TOKENS,), data_dir)
        column = next((name for name in _TFDS_TAGS if name in self._features), None)
        names = getattr(self._inner(column), "names", None)
        if names is None:
            raise InputError(
                f"{spec}: no column {' or '.join(_TFDS_TAGS)} of named tags; the columns are "
                f"{sorted(self._features)}"
            )
        self.columns, self._names, self._join = (_TFDS_TOKENS, column), names, join
        for tag in names:
            try:
                split_tag(tag)
            except TagError as error:
                raise InputError(f"{spec}: column {column!r}: {error.reason}") from None
        self._scheme = scheme or detect_scheme(tags for _, _, tags in self._everything())

    def _inner(self, column):
        """The feature of one element of a sequence; None where the column is no sequence."""
        return getattr(dict(self._features.items()).get(column), "feature", None)

    def _check_column(self, column):
        if self._inner(column) is None:
            raise InputError(
                f"{self.name}: no column {column!r} of tokens; the columns are "
                f"{sorted(self._features)}"
            )

    def _everything(self):
        for part in self._parts:
            yield from self._read_tags(*part)

    def _read(self, number, split, first, end):
        for row, tokens, tags in self._read_tags(number, split, first, end):
            try:
                yield Row(row, row, _joined(tokens, tags, self._scheme, self._join))
            except TagError as error:
                raise InputError(f"{self.place(row)}: {error}") from None

    def _read_tags(self, number, split, first, end):
        """Yields `(number, tokens, tags)` of a stretch of rows."""
        token_column, tag_column = self.columns
        try:
            for row in self._dataset(split, first, end).as_numpy_iterator():
                tokens = [token.decode(errors="replace") for token in row[token_column]]
                tags = row[tag_column].tolist()
                if len(tokens) != len(tags) or not all(0 <= t < len(self._names) for t in tags):
                    raise InputError(
                        f"{self.place(number)}: a token without a tag; use a split that has tags"
                    )
                yield number, tokens, [self._names[tag] for tag in tags]
                number += 1
        except tf.errors.OpError as error:
            raise self._damaged(number, error) from None


def _fields(line: str) -> list[str]:
    """The columns of a line; none of a blank one."""
    if line.isspace():
        return []
    line = line.rstrip("\r\n")
    # Not `split()`: a token may be, or hold, a blank of another kind.
    return line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))


def _joined(
    tokens: Sequence[str], tags: Sequence[str], scheme: str, join: str | None
) -> tuple[str, tuple[Entity, ...]]:
    """The text of tokens and the entities that their tags mark.

    Raises:
        TagError: a tag contradicts the scheme.
    """
    pieces, starts, ends, length = [], [], [], 0
    for before, token in zip(["", *tokens], tokens, strict=False):
        blank = join
        if not before:
            blank = ""
        elif join is None:
            blank = _blank_between(before[-1], token[0])
        starts.append(length + len(blank))
        length = starts[-1] + len(token)
        ends.append(length)
        pieces += (blank, token)
    spans = to_spans(tags, scheme)
    entities = tuple((kind, starts[first], ends[end - 1]) for kind, first, end in spans)
    return "".join(pieces), entities


@functools.lru_cache(10_000)
def _blank_between(left: str, right: str) -> str:
    """What stands between two tokens, by the characters that meet."""
    wide = [bool(_CJK.match(side)) for side in (left, right)]
    close = all(w or side in EITHER_PUNCTUATION for w, side in zip(wide, left + right, strict=True))
    return "" if any(wide) and close else " "


def _spans(items, text: str) -> tuple[Entity, ...]:
    """Return the entities of a JSON list, in order; `TypeError` says what is wrong."""
    entities = sorted((_span(item, text) for item in items), key=lambda e: e[1:])
    for left, right in zip(entities, entities[1:], strict=False):
        if right[1] < left[2]:
            raise TypeError(
                f"{_described(left, text)} and {_described(right, text)} overlap; keep one"
            )
    for kind, _, _ in entities:
        kind.encode()
    return tuple(entities)


def _span(item, text: str) -> Entity:
    """The entity that an item of a JSON list stands for; `TypeError` says why it is none."""
    if isinstance(item, dict):
        values = [item.get("type", item.get("label")), item.get("start"), item.get("end")]
    elif isinstance(item, list) and len(item) == 3:
        values = [item[2], item[0], item[1]]
    else:
        values = []
    kind, start, end = values or (None,) * 3
    places = all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end))
    if not isinstance(kind, str) or not kind.strip() or not places:
        raise TypeError(
            f'{str(item)[:60]} is no entity; write {{"type": "PER", "start": 0, "end": 3}} '
            'or [0, 3, "PER"]'
        )
    if not 0 <= start < end <= len(text):
        raise TypeError(
            f"{kind} from character {start} to {end} is empty or outside of the text, which has "
            f"{len(text)} characters; the end is exclusive"
        )
    if not text[start:end].strip():
        raise TypeError(f"{kind} from character {start} to {end} is blank; remove it")
    return kind.strip(), start, end


def _described(entity: Entity, text: str) -> str:
    kind, start, end = entity
    return f"{kind} {text[start:end][:30]!r} ({start} to {end})"
