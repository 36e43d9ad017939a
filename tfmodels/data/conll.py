"""Texts with entities from tokens and tags: CoNLL files and TensorFlow Datasets.

A CoNLL file has columns with one token and its tag per line, and sentences separated by empty
lines. Tags can have any scheme of `text/tags.py`. The text of a sentence has a space between two
tokens, except between Chinese or Japanese characters.
"""

import functools
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tfmodels.data.lines import Block, LineFile
from tfmodels.data.spans import COLUMNS, Entity, EntitySource
from tfmodels.data.tfds import TfdsSource
from tfmodels.errors import InputError
from tfmodels.text.tags import TagError, detect_scheme, split_tag, to_spans

KINDS = "a CoNLL file, a .jsonl file (or .gz of one) or tfds:NAME"
_SENTENCE_BYTES = 16 << 20  # maximum size, for files without empty lines
_DOCUMENT_START = "-DOCSTART-"
_SAMPLE_LINES = 2000  # number of lines for the check of the columns
_SAMPLE_TOKENS = 20  # minimum number of tokens for the check
# Types of phrases (chunks) in a column of CoNLL-2000 and CoNLL-2003.
_CHUNKS = {"ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"}
_TFDS_TOKENS, _TFDS_TAGS = "tokens", ("ner", "ner_tags", "tags")
# Written without spaces: ideographs, kana and their punctuation.
_CJK = re.compile(
    r"[\u2e80-\u312f\u3190-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)


class _Sentence(NamedTuple):
    offset: int  # byte at which it starts
    line: int  # first line
    tokens: list[str]
    tags: list[str]
    lines: list[int]  # line of each token


class ColumnFile(EntitySource, LineFile):
    """The sentences of a CoNLL file in UTF-8, with columns separated by tabs or spaces."""

    def __init__(
        self, path: str | os.PathLike, scheme: str | None, token_column: int, tag_column: int,
        join: str | None, encoding: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(path, COLUMNS, KINDS, encoding)
        self._columns, self._join, self._widths = (token_column, tag_column), join, 0
        with self._open() as (stream, offset):
            lines = self._lines(stream, offset, 1)
            first = next(self._sentences(lines), None)
            if first is None:
                raise InputError(f"{path}:1: the file has no tokens; give a file with sentences")
        self._start = Block(first.offset, first.line, 0)
        self._check_columns()
        if scheme is None:
            with self._open() as (stream, offset):
                sentences = self._sentences(self._lines(stream, offset, 1))
                scheme = detect_scheme(sentence.tags for sentence in sentences)
        self._scheme = scheme

    def _contents(self):
        return (*super()._contents(), self._scheme, self._columns, self._join)

    def _check_columns(self) -> None:
        """Check the contents of the columns in the first lines."""
        with self._open() as (stream, offset):
            lines = itertools.islice(self._lines(stream, offset, 1), _SAMPLE_LINES)
            rows = [row for row in (_fields(text) for *_, text in lines) if row[1:]]
        rows = [row for row in rows if len(row) == self._widths and row[0] != _DOCUMENT_START]
        columns = [list(column) for column in zip(*rows, strict=True)]
        token, tag = (column % self._widths for column in self._columns)
        others = [column for column in range(self._widths) if column not in (token, tag)]
        hint = "give the columns, counted from 0, as --token_column and --tag_column"
        contents = _not_tokens(columns[token], [columns[column] for column in others])
        if contents:
            raise InputError(
                f"{self.name}: column {token} is read as tokens but has {contents}; {hint}"
            )
        if self._columns[1] != -1 or (_types(columns[tag]) or set()) - _CHUNKS:
            return
        for column in others:
            types = (_types(columns[column]) or set()) - _CHUNKS
            if types:
                raise InputError(
                    f"{self.name}: column {tag} is read as tags but column {column} has the "
                    f"entities ({', '.join(sorted(types)[:5])}); {hint}"
                )

    def _records(self, stream, block):
        for sentence in self._sentences(self._lines(stream, block.offset, block.line)):
            try:
                values = joined(sentence.tokens, sentence.tags, self._scheme, self._join)
            except TagError as error:
                line = sentence.lines[error.position]
                raise InputError(f"{self.place(line)}: {error.reason}") from None
            yield sentence.offset, sentence.line, values

    def _sentences(self, lines: Iterable[tuple[int, int, str]]) -> Iterator[_Sentence]:
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
                    f"{_SENTENCE_BYTES >> 20} MiB; put empty lines between sentences"
                )
            sentence.tokens.append(token)
            sentence.tags.append(tag)
            sentence.lines.append(line)
        if sentence:
            yield sentence

    def _token_and_tag(self, fields: list[str], line: int) -> tuple[str, str]:
        if len(fields) != self._widths:
            self._check_width(len(fields), line)
        token, tag = (fields[column] for column in self._columns)
        if not token.strip():
            raise InputError(f"{self.place(line)}: the token is only whitespace; remove the line")
        try:
            split_tag(tag)
        except TagError as error:
            raise InputError(f"{self.place(line)}: {error.reason}") from None
        return token, tag

    def _check_width(self, width: int, line: int) -> None:
        """Set the number of columns by the first row, and check it in the other rows."""
        if self._widths:
            raise InputError(
                f"{self.place(line)}: {width} columns, but {self._widths} in the rows above; "
                "correct the row"
            )
        if any(not -width <= column < width for column in self._columns):
            raise InputError(
                f"{self.place(line)}: no token_column {self._columns[0]} or tag_column "
                f"{self._columns[1]}; give columns from 0 to {width - 1} or -{width} to -1"
            )
        if len({column % width for column in self._columns}) == 1:
            raise InputError(
                f"{self.place(line)}: token and tag are read from the same column (of {width}); "
                "give a file with two columns, or other values of token_column and tag_column"
            )
        self._widths = width


class TfdsTokens(EntitySource, TfdsSource):
    """A split of a TFDS data set with a feature of tokens and one of named tags."""

    def __init__(self, spec: str, scheme: str | None, join: str | None) -> None:
        super().__init__(spec, (_TFDS_TOKENS,))
        self.columns = COLUMNS
        column = next((name for name in _TFDS_TAGS if name in self._features), None)
        names = getattr(self._inner(column), "names", None)
        if names is None:
            raise InputError(
                f"{spec}: no column {' or '.join(_TFDS_TAGS)} of named tags, only "
                f"{sorted(self._features)}; give another data set"
            )
        self._tag_column, self._names, self._join = column, names, join
        for tag in names:
            try:
                split_tag(tag)
            except TagError as error:
                raise InputError(f"{spec}: column {column!r}: {error.reason}") from None
        self._scheme = scheme or detect_scheme(
            self._tags(values, row) for part in self._parts for row, values in self._values(*part)
        )

    def _inner(self, column):
        """Return the feature of the elements of a sequence, or None if it is not a sequence."""
        return getattr(dict(self._features.items()).get(column), "feature", None)

    def _check_column(self, column):
        if self._inner(column) is None:
            raise InputError(
                f"{self.name}: no column {column!r} of tokens, only {sorted(self._features)}; give "
                "another data set"
            )

    def _columns_of_set(self):
        return _TFDS_TOKENS, self._tag_column

    def _texts(self, values, number):
        tokens = [token.decode(errors="replace") for token in values[0]]
        try:
            return joined(tokens, self._tags(values, number), self._scheme, self._join)
        except TagError as error:
            raise InputError(f"{self.place(number)}: {error}") from None

    def _tags(self, values, number):
        tokens, tags = values
        if len(tokens) != len(tags) or not all(0 <= tag < len(self._names) for tag in tags):
            raise InputError(
                f"{self.place(number)}: a token without a tag; use a split that has tags"
            )
        return [self._names[tag] for tag in tags]


def _types(column: Sequence[str]) -> set[str] | None:
    """Return the entity types in a column, or None if it does not have tags."""
    try:
        return {kind for _, kind in map(split_tag, column) if kind}
    except TagError:
        return None


def _not_tokens(tokens: list[str], others: list[list[str]]) -> str | None:
    """Return a description of the column if it does not have tokens, else None."""
    if len(tokens) < _SAMPLE_TOKENS:
        return None
    if _types(tokens):
        return "tags"
    steps = zip(["0", *tokens], tokens, strict=False)
    if all(
        b.isdecimal() and (int(b) <= 1 or a.isdecimal() and int(b) == int(a) + 1) for a, b in steps
    ):
        return "numbers of tokens"
    kinds = set(tokens)
    if any(map(str.isalpha, kinds)) and all(t.isascii() and t == t.upper() for t in kinds):
        words = next(
            (c for c in others if any(map(str.islower, c)) and len(set(c)) > 2 * len(kinds)), None
        )
        return (
            f"labels such as {sorted(kinds)[-1]}, and another column has words" if words else None
        )
    return None


def _fields(line: str) -> list[str]:
    """Return the columns of a line, or an empty list for an empty line."""
    if line.isspace():
        return []
    line = line.rstrip("\r\n")
    # Not `split()`, because a token may have other whitespace characters.
    return line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))


def joined(
    tokens: Sequence[str], tags: Sequence[str], scheme: str, join: str | None
) -> tuple[str, tuple[Entity, ...]]:
    """Return the text and the entities of tokens and their tags.

    Raises:
        TagError: a tag violates the scheme.
    """
    pieces: list[str] = []
    starts, ends, length = [], [], 0
    for before, token in zip(["", *tokens], tokens, strict=False):
        if not before:
            space = ""
        elif join is None:
            space = _space_between(before[-1], token[0])
        else:
            space = join
        starts.append(length + len(space))
        length = starts[-1] + len(token)
        ends.append(length)
        pieces += (space, token)
    spans = to_spans(tags, scheme)
    entities = tuple((kind, starts[first], ends[end - 1]) for kind, first, end in spans)
    return "".join(pieces), entities


@functools.lru_cache(10_000)
def _space_between(left: str, right: str) -> str:
    """Return the separator of two tokens by their adjacent characters."""
    from tfmodels.text.wordpiece import EITHER_PUNCTUATION

    wide = [bool(_CJK.match(side)) for side in (left, right)]
    close = all(w or side in EITHER_PUNCTUATION for w, side in zip(wide, left + right, strict=True))
    return "" if any(wide) and close else " "
