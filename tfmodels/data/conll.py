"""Texts with entities from tokens and tags: CoNLL files, CSV tables, TensorFlow Datasets.

A CoNLL file has columns with one token and its tag per line, and sentences separated by empty
lines; lines of comments begin with "#". Tags can have any scheme of `text/tags.py`. The text of a
sentence has a space between two tokens, except between Chinese or Japanese characters. Tokens of
white space are left out, except where all tokens are characters: these make up the text.
"""

import csv
import functools
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from tfmodels.data.lines import Block, LineFile
from tfmodels.data.rows import visible
from tfmodels.data.spans import COLUMNS, KINDS, Entity, EntitySource, trimmed
from tfmodels.data.tfds import TfdsSource
from tfmodels.errors import InputError, brief
from tfmodels.text.tags import TagError, detect_scheme, is_tag, split_tag, to_spans

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
        self._read_head()
        first = next(self._all_sentences(), None)
        if first is None:
            raise InputError(f"{path}:1: the file has no tokens; give a file with sentences")
        self._start = Block(first.offset, first.line, 0)
        self._check_columns()
        self._mend = scheme is None
        self._scheme = scheme or agreed_scheme(
            self.name, self.place, lambda: ((s.tags, s.lines) for s in self._all_sentences())
        )

    def _read_head(self) -> None:
        """Find the number of columns: that of the first row that cannot be a comment."""
        with self._open() as (stream, offset):
            rows = ((line, fields_of(text)) for _, line, text in self._lines(stream, offset, 1))
            rows = ((line, row) for line, row in rows if row and row[0] != _DOCUMENT_START)
            first = other = None
            for line, row in rows:
                first = first or (line, row)
                if not row[0].startswith("#"):
                    other = line, row
                    break
        if first is not None:
            line, row = other or first
            self._check_width(len(row), line)

    def _all_sentences(self) -> Iterator[_Sentence]:
        with self._open() as (stream, offset):
            yield from self._sentences(self._lines(stream, offset, 1))

    def _contents(self):
        return (*super()._contents(), self._scheme, self._columns, self._join)

    def _check_columns(self) -> None:
        """Check the contents of the columns in the first lines."""
        with self._open() as (stream, offset):
            lines = itertools.islice(self._lines(stream, offset, 1), _SAMPLE_LINES)
            rows = [fields for *_, fields in self._rows(lines) if len(fields) == self._widths]
        columns = [list(column) for column in zip(*rows, strict=True)]
        token, tag = (column % self._widths for column in self._columns)
        others = [column for column in range(self._widths) if column not in (token, tag)]
        hint = "give the columns, counted from 0, as --token_column and --tag_column"
        if self._join is None:
            self._join = separator(columns[token])
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
                values = joined(
                    sentence.tokens, sentence.tags, self._scheme, self._join, self._mend
                )
            except TagError as error:
                line = sentence.lines[error.position]
                raise InputError(f"{self.place(line)}: {error.reason}") from None
            yield sentence.offset, sentence.line, values

    def _rows(self, lines: Iterable[tuple[int, int, str]]) -> Iterator[tuple[int, int, list[str]]]:
        """Yield `(offset, line, fields)`: no fields between two sentences; comments are left out.

        A comment begins with "#", and has another number of fields than the rows or something else
        than a tag in its place; inside of a sentence and among fields it has white space after "#".
        """
        between = True
        for offset, line, text in lines:
            fields = fields_of(text)
            if fields and fields[0] == _DOCUMENT_START:
                fields = []
            if text.startswith("#"):
                marked = re.match(r"#+(\s|$)", text)
                if len(fields) != self._widths and (between or marked):
                    continue
                if marked and not is_tag(visible(fields[self._columns[1]])):
                    continue
            between = not fields
            yield offset, line, fields

    def _sentences(self, lines: Iterable[tuple[int, int, str]]) -> Iterator[_Sentence]:
        sentence = None
        for offset, line, fields in self._rows(lines):
            if not fields:
                if sentence:
                    yield sentence
                sentence = None
                continue
            if len(fields) != self._widths:
                self._check_width(len(fields), line)
            sentence = sentence or _Sentence(offset, line, [], [], [])
            if offset - sentence.offset > _SENTENCE_BYTES:
                raise InputError(
                    f"{self.place(sentence.line)}: the sentence that starts here is longer than "
                    f"{_SENTENCE_BYTES >> 20} MiB; put empty lines between sentences"
                )
            token, tag = (fields[column] for column in self._columns)
            sentence.tokens.append(token)
            sentence.tags.append(visible(tag))
            sentence.lines.append(line)
        if sentence:
            yield sentence

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


class TokenTable(ColumnFile):
    """The sentences of a CSV table with a token a row, such as Kaggle's `ner_dataset.csv`.

    A value in the column of sentences that differs from the one before it begins a sentence.
    """

    _names = (("word", "token"), ("tag", "ner", "ner_tag"), ("sentence #", "sentence_id"))

    def _read_head(self) -> None:
        with self._open() as (stream, offset):
            *_, names = next(self._split(self._lines(stream, offset, 1)), (0, 1, []))
        plain = [visible(name).lower() for name in names]
        found = [next((plain.index(n) for n in names if n in plain), -1) for names in self._names]
        if -1 in found:
            raise InputError(
                f"{self.name}:1: a table with the columns {brief.repr(names)}; give one with the "
                f"columns Sentence #, Word and Tag, or {KINDS}"
            )
        self._columns, self._of_sentence, self._widths = (found[0], found[1]), found[2], len(names)

    def _split(self, lines: Iterable) -> Iterator[tuple[int, int, list[str]]]:
        """Yield `(offset, line, fields)` of each row."""
        at: list[tuple[int, int]] = [(0, 1)]  # of the line that was read last

        def feed():
            for offset, line, text in lines:
                at[0] = offset, line
                yield text

        try:
            for fields in csv.reader(feed()):
                yield *at[0], fields
        except csv.Error as error:
            raise InputError(f"{self.place(at[0][1])}: invalid CSV ({error})") from None

    def _rows(self, lines):
        current = None
        for offset, line, fields in self._split(lines):
            if line > 1 and len(fields) == self._widths:
                sentence = fields[self._of_sentence].strip()
                if sentence and sentence != current:
                    current = sentence
                    yield offset, line, []
            if line > 1 and any(fields):
                yield offset, line, fields


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
        self._tag_column, self._names, self._join = column, list(map(visible, names)), join
        self._mend = scheme is None
        self._scheme = scheme or agreed_scheme(spec, self.place, self._all_tags)

    def _all_tags(self):
        for part in self._parts:
            for row, values in self._values(*part):
                tags = self._tags(values, row)
                yield tags, [row] * len(tags)

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
            return joined(tokens, self._tags(values, number), self._scheme, self._join, self._mend)
        except TagError as error:
            raise InputError(f"{self.place(number)}: {error}") from None

    def _tags(self, values, number):
        tokens, tags = values
        if len(tokens) != len(tags) or not all(0 <= tag < len(self._names) for tag in tags):
            raise InputError(
                f"{self.place(number)}: a token without a tag; use a split that has tags"
            )
        return [self._names[tag] for tag in tags]


def agreed_scheme(
    name: str,
    place: Callable[[int], str],
    rows: Callable[[], Iterable[tuple[Sequence[str], Sequence[int]]]],
) -> str:
    """Return the scheme of a source; say on stderr how many tags contradict it and are mended.

    Args:
        name: of the source.
        place: returns the place of a line of the source.
        rows: returns the tags of each sentence, with the line of each tag.
    """
    scheme, wrong = detect_scheme(tags for tags, _ in rows())
    for tags, lines in rows() if wrong else ():
        try:
            to_spans(tags, scheme)
        except TagError as error:
            print(
                f"{name}: {wrong} tags contradict the scheme {scheme} and are read as the begin or "
                f"end of an entity, first {place(lines[error.position or 0])}: "
                f"{error.reason.split(';')[0]}",
                file=sys.stderr,
            )
            break
    return scheme


def separator(tokens: Iterable[str]) -> str | None:
    """Return what joins tokens: "" if they are the characters of texts, white space among them."""
    tokens = set(tokens)
    spaced = any(map(str.isspace, tokens))
    return "" if spaced and all(len(token) == 1 for token in tokens) else None


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


def fields_of(line: str) -> list[str]:
    """Return the columns of a line, or an empty list for an empty line."""
    if line.isspace():
        return []
    line = line.rstrip("\r\n")
    # Not `split()`, because a token may have other whitespace characters.
    return line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))


def joined(
    tokens: Sequence[str], tags: Sequence[str], scheme: str, join: str | None, mend: bool = False
) -> tuple[str, tuple[Entity, ...]]:
    """Return the text and the entities of tokens and their tags; `mend` as of `to_spans`.

    Raises:
        TagError: a tag is malformed, or violates the scheme.
    """
    text, starts, ends = joined_tokens(tokens, join)
    spans = (
        (kind, *trimmed(text, starts[first], ends[end - 1]))
        for kind, first, end in to_spans(tags, scheme, mend)
    )
    return text, tuple(span for span in spans if span[1] < span[2])


def joined_tokens(
    tokens: Sequence[str], join: str | None = None
) -> tuple[str, list[int], list[int]]:
    """Return the text of tokens, and the first and last character, exclusive, of each."""
    pieces: list[str] = []
    starts, ends, length, before = [], [], 0, ""
    for token in tokens:
        if join != "" and not visible(token):
            token = space = ""
        elif not before:
            space = ""
        elif join is None:
            space = _space_between(before[-1], token[0])
        else:
            space = join
        starts.append(length + len(space))
        length = starts[-1] + len(token)
        ends.append(length)
        pieces += (space, token)
        before = token or before
    return "".join(pieces), starts, ends


@functools.lru_cache(10_000)
def _space_between(left: str, right: str) -> str:
    """Return the separator of two tokens by their adjacent characters."""
    from tfmodels.text.wordpiece import EITHER_PUNCTUATION

    wide = [bool(_CJK.match(side)) for side in (left, right)]
    close = all(w or side in EITHER_PUNCTUATION for w, side in zip(wide, left + right, strict=True))
    return "" if any(wide) and close else " "
