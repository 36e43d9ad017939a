"""Texts with predicates and their arguments, for `RoleLabeler`.

`open_roles` opens files (also `.gz`):

    train.conll      columns, sentences separated by empty lines; found by what the columns have:
                       CoNLL-2005    word, ..., predicate or -, for each a column "(A0*", "*", "*)"
                       CoNLL-2012    document, part, number, word, ... as of OntoNotes
                       PropBank      number, word, tag, lemma, roleset or -, such columns; or as
                                     its releases: document, sentence, number, word, tag, parse,
                                     lemma, roleset or -, such columns
    train.conllu     CoNLL-U with Universal Propositions: roles stand at the heads of arguments
    train.jsonl      {"words": [...], "frames": [{"predicate": 1, "arguments": [["ARG0", 0, 1]]}]}
                     in words, or {"text", "frames": [{"start", "end", "arguments": [{"role",
                     "start", "end"}]}]} in characters; ends are exclusive

`as_roles` accepts such rows in memory. Both return a `RoleSource`: text and frames `(start, end,
((role, start, end), ...))` in characters of the text. What the columns call V, and its continuation
C-V, is the predicate itself and no argument.
"""

import collections
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tfmodels.data.conll import fields_of, joined_tokens, separator
from tfmodels.data.lines import Block, LineFile
from tfmodels.data.memory import MemorySource, as_list, check_text, rows_or_lists
from tfmodels.data.rows import SURROGATE, Row, Source, visible
from tfmodels.data.spans import Entity, checked_entities
from tfmodels.data.tables import FileSource
from tfmodels.errors import InputError, brief
from tfmodels.text.tags import labels_of

Frame = tuple[int, int, tuple[Entity, ...]]  # the predicate's characters, and its arguments
COLUMNS = ("text", "frames")
KINDS = "a .conll, .conllu or .jsonl file (or .gz of one)"
PREDICATE = "V"
_OF_PREDICATE = (PREDICATE, f"C-{PREDICATE}")
_CELL = re.compile(r"(?:\(([^()*\s]+))?\*(\))?")
_NO_WORD = re.compile(r"\d+[-.]\d+")
_ROWS_OF_SAMPLE = 2000
_EXPECTED = (
    "give fit(words, frames): words[i] is a list of strings, frames[i] a list of "
    '{"predicate": 1, "arguments": [("ARG0", 0, 1)]} in words'
)


class RoleSource(Source):
    """Rows of a text and its frames.

    `scan` counts the arguments of each role; held-out rows are stratified by whether a text has
    frames.
    """

    def _count(self, draw, label_column):
        roles: collections.Counter[str] = collections.Counter()
        for number, _, (_, frames) in self.stream(None):
            roles.update(role for *_, arguments in frames for role, _, _ in arguments)
            draw.offer(number, bool(frames))
        if not roles:
            raise InputError(
                f"{self.name}: no argument in {draw.counts.total()} texts; give texts with frames"
            )
        return dict(sorted(roles.items()))


class _Sentence(NamedTuple):
    offset: int
    line: int  # first line
    rows: list[list[str]]
    lines: list[int]


class _Form(NamedTuple):
    """A form of columns.

    `first` and `end` are the columns of arguments, `none` is what a word has that is no predicate.
    """

    name: str
    word: int
    predicate: int
    first: int
    end: int = 0
    none: str = "-"

    def least(self) -> int:
        """Return the smallest number of columns."""
        return self.first - self.end

    def places(self, sentence: _Sentence) -> list[int]:
        """Return the numbers of the predicates."""
        return [n for n, row in enumerate(sentence.rows) if row[self.predicate] != self.none]

    def fits(self, sentence: _Sentence) -> bool:
        """Return whether a sentence has a column of arguments for each predicate."""
        arguments = len(sentence.rows[0]) - self.least()
        return arguments >= 0 and len(self.places(sentence)) == arguments


class RoleColumns(RoleSource, LineFile):
    """The sentences of a file of columns."""

    def __init__(self, path: str | os.PathLike, encoding: str | None = None) -> None:
        super().__init__(path, COLUMNS, KINDS, encoding)
        sample, rows = [], 0
        with self._open() as (stream, offset):
            for sentence in self._sentences(self._lines(stream, offset, 1)):
                sample.append(sentence)
                rows += len(sentence.rows)
                if rows > _ROWS_OF_SAMPLE:
                    break
        if not sample:
            raise InputError(f"{path}:1: the file has no words; give {KINDS}")
        self._start = Block(sample[0].offset, sample[0].line, 0)
        self._form = self._found(sample)
        self._join = separator(row[self._form.word] for s in sample for row in s.rows)

    def _found(self, sample: list[_Sentence]) -> _Form:
        """Return the form that has as many predicates as columns follow in most sentences."""
        first = sample[0]

        def counts(column: int) -> bool:
            """Return whether a column of the first sentence has the numbers of its words."""
            cells = [row[column] for row in first.rows if len(row) > column]
            return any(cells == [str(n + start) for n in range(len(cells))] for start in (0, 1))

        if counts(0):
            forms = [_Form("CoNLL-U", 1, n, n + 1, none="_") for n in (9, 11, 10, 8)]
            forms.append(_Form("PropBank", 1, 4, 5))
        elif len(first.rows[0]) > 7 and counts(2):
            forms = [_Form("CoNLL-2012", 3, 7, 11, -1), _Form("PropBank", 3, 7, 8)]
        elif any(len({row[0] for row in s.rows}) > 1 for s in sample if len(s.rows) > 1):
            width = min(len(sentence.rows[0]) for sentence in sample)
            forms = [_Form("CoNLL-2005", 0, n, n + 1) for n in range(width - 1, 0, -1)]
        else:
            forms = []  # the first column is the name of a document
        fitting = [sum(map(form.fits, sample)) for form in forms]
        if 2 * max(fitting, default=0) >= len(sample):
            return forms[fitting.index(max(fitting))]
        raise InputError(
            f"{self.place(first.line)}: {len(first.rows[0])} columns, in none of which there are "
            "as many predicates as columns follow; give columns of CoNLL-2005, CoNLL-2012, "
            "PropBank or CoNLL-U with Universal Propositions"
        )

    def _contents(self):
        return (*super()._contents(), self._form)

    def _sentences(self, lines: Iterable[tuple[int, int, str]]) -> Iterator[_Sentence]:
        sentence = None
        for offset, line, text in lines:
            fields = fields_of(text)
            if not fields:
                if sentence:
                    yield sentence
                sentence = None
                continue
            between, width = sentence is None, 0 if sentence is None else len(sentence.rows[0])
            # "#" may be a word of CoNLL-2005, whose rows have three columns and more.
            if text.startswith("#") and (len(fields) < 3 or "=" in text or ":" in fields[1] or (
                not between and len(fields) != width
            ) or fields[0] in ("#begin", "#end")):  # fmt: skip
                continue
            if len(fields) > 8 and fields[6] == fields[7] == "_" and _NO_WORD.fullmatch(fields[0]):
                continue  # a contraction or an empty node of CoNLL-U: of no head
            sentence = sentence or _Sentence(offset, line, [], [])
            if sentence.rows and len(fields) != len(sentence.rows[0]):
                raise InputError(
                    f"{self.place(line)}: {len(fields)} columns, but {len(sentence.rows[0])} in "
                    "the rows of the sentence above; correct the row"
                )
            sentence.rows.append(fields)
            sentence.lines.append(line)
        if sentence:
            yield sentence

    def _records(self, stream, block):
        for sentence in self._sentences(self._lines(stream, block.offset, block.line)):
            yield sentence.offset, sentence.line, self._values(sentence)

    def _values(self, sentence: _Sentence) -> tuple[str, tuple[Frame, ...]]:
        form, rows, lines = self._form, sentence.rows, sentence.lines
        width = len(rows[0])
        if width < form.least():
            raise InputError(
                f"{self.place(sentence.line)}: {width} columns, and {form.name} has "
                f"{form.least()} or more; correct the row"
            )
        places = form.places(sentence)
        columns = list(zip(*rows, strict=True))[form.first : width + form.end]
        if len(places) != len(columns):
            raise InputError(
                f"{self.place(sentence.line)}: {len(places)} predicates in column "
                f"{form.predicate} of the sentence, but {len(columns)} columns of arguments; "
                f"{form.name} has one for each"
            )
        text, starts, ends = joined_tokens([row[form.word] for row in rows], self._join)
        frames = []
        for place, cells in zip(places, columns, strict=True):
            spans = _heads(cells) if form.name == "CoNLL-U" else self._spans(cells, lines)
            # A phrasal predicate has its continuations elsewhere: its place is that of the row.
            arguments = [
                (role, starts[a], ends[b - 1])
                for role, a, b in spans if role not in _OF_PREDICATE
            ]  # fmt: skip
            kept = tuple(argument for argument in arguments if argument[1] < argument[2])
            frames.append((starts[place], ends[place], kept))
        return text, tuple(frame for frame in frames if frame[0] < frame[1])

    def _spans(self, cells: Sequence[str], lines: list[int]) -> Iterator[tuple[str, int, int]]:
        """Yield role, first word and word after the last one of the brackets in a column."""
        role, start = None, 0
        for number, (cell, line) in enumerate(zip(cells, lines, strict=True)):
            match = _CELL.fullmatch(cell)
            if match is None or (match[1] and role is not None):
                raise InputError(
                    f"{self.place(line)}: {cell[:40]!r} in a column of arguments; write (ROLE*, * "
                    "and *), one argument after the other"
                )
            if match[1]:
                role, start = visible(match[1]), number
            if match[2]:
                if role is None:
                    raise InputError(
                        f"{self.place(line)}: {cell!r} closes no argument; correct the column"
                    )
                yield role, start, number + 1
                role = None
        if role is not None:
            raise InputError(
                f"{self.place(lines[start])}: ({role}* is not closed in the sentence; add *)"
            )


def _heads(cells):
    """Yield the roles of single words."""
    for number, cell in enumerate(cells):
        if cell != "_":
            yield visible(cell), number, number + 1


class RoleLines(RoleSource, FileSource):
    """The texts of a JSONL file."""

    def __init__(self, path: str | os.PathLike, encoding: str | None = None) -> None:
        super().__init__(path, (), encoding=encoding)
        self.columns = COLUMNS

    def _json_values(self, row, line):
        try:
            if "words" not in row and "text" not in row:
                raise TypeError(f'no "words" or "text", only {brief.repr(list(row))}')
            if not isinstance(row.get("frames"), list):
                raise TypeError('no list "frames"')
            return _sorted_row(row.get("words", row.get("text")), row["frames"])
        except TypeError as error:
            raise InputError(f"{self.place(line)}: {error}; correct the row") from None


class _RoleRows(RoleSource, MemorySource):
    """Texts with frames in memory."""


def open_roles(spec: str | os.PathLike, *, encoding: str | None = None) -> RoleSource:
    """Open texts with predicates and arguments.

    Args:
        spec: path; see the top of this module.
        encoding: of a file without a byte order mark; UTF-8 if not given.

    Raises:
        InputError: the file is missing, unreadable or empty, or its columns are of no known form.
    """
    spec = os.fspath(spec)
    name = spec.lower().removesuffix(".gz")
    kind = RoleLines if name.endswith((".jsonl", ".ndjson")) else RoleColumns
    return kind(spec, encoding)


def as_roles(x: Any, y: Any = None) -> Source:
    """Return the arguments of `fit` or `evaluate` of a `RoleLabeler` as rows.

    Args:
        x: a `RoleSource`; a list of the words of each sentence, or of texts.
        y: for each a list of frames, see `open_roles`: in words, or of texts in characters.

    Raises:
        InputError: an argument has another type, or a row is invalid.
    """
    given = rows_or_lists(x, y, COLUMNS, "frames", _EXPECTED, "open_roles")
    if isinstance(given, Source):
        return given
    rows = []
    for number, (words, frames) in enumerate(zip(*given, strict=True)):
        try:
            if not isinstance(frames, list | tuple):
                raise TypeError(f"frames are {str(frames)[:60]!r}, no list")
            rows.append(_sorted_row(words, frames))
        except TypeError as error:
            raise InputError(f"row {number}: {error}; {_EXPECTED}") from None
    columns = zip(*rows, strict=True) if rows else ((), ())
    return _RoleRows(dict(zip(COLUMNS, columns, strict=True)))


def marked(item: Any, number: int) -> tuple[str, list[tuple[int, int]] | None]:
    """Return the text to answer in row `number`, and its predicates in characters if given.

    Args:
        item: a text; or `(words, predicates)`, numbers of words, or `(text, predicates)`, pairs of
            the first character and the one after the last.
        number: of the row, for messages.

    Raises:
        InputError: a predicate is outside of the text, or the item is none of these.
    """
    if isinstance(item, str | bytes):
        return check_text(item, number), None
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InputError(
            f"row {number}: {str(item)[:60]!r}; give a text, (words, numbers of predicates) or "
            "(text, [(start, end), ...])"
        )
    try:
        frames = [
            {"start": p[0], "end": p[1]} if isinstance(p, tuple | list) and len(p) == 2
            else {"predicate": p} for p in as_list(item[1], "give a list of predicates")
        ]  # fmt: skip
        text, found = _row_of(item[0], frames)
    except TypeError as error:
        raise InputError(f"row {number}: {error}") from None
    return text, [frame[:2] for frame in found]


def _sorted_row(words: Any, frames: Iterable) -> tuple[str, tuple[Frame, ...]]:
    """Return `_row_of`, the frames in the order of their predicates."""
    text, found = _row_of(words, frames)
    return text, tuple(sorted(found))


def _row_of(words: Any, frames: Iterable) -> tuple[str, list[Frame]]:
    """Return a text and its frames of words or of a text, and frames in the same units.

    Raises:
        TypeError: a frame or an argument is malformed or outside of the text.
    """
    starts: list[int] | None
    ends: list[int] | None
    if isinstance(words, str):
        text, starts, ends = words, None, None
    else:
        if not isinstance(words, list | tuple) or not all(isinstance(w, str) for w in words):
            raise TypeError(f"words are {str(words)[:60]!r}, no list of strings")
        text, starts, ends = joined_tokens(words, separator(words))
    if not text.strip():
        raise TypeError("the text is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TypeError(SURROGATE) from None
    found: list[Frame] = []
    for frame in frames:
        if not isinstance(frame, dict):
            raise TypeError(f"{str(frame)[:60]!r} is no frame")
        given = frame.get("arguments", ())
        if not isinstance(given, list | tuple):
            raise TypeError(f"arguments are {str(given)[:60]!r}, no list")
        arguments = [item for item in map(_named, given) if not _is_predicate(item)]
        if starts is None or ends is None:
            if not {"start", "end"} <= frame.keys():
                raise TypeError(
                    f"{str(frame)[:60]}: a predicate of a text is its first character and the one "
                    "after its last; give those, or the list of words and the number of one"
                )
            ((_, start, end),) = checked_entities([{**frame, "type": PREDICATE}], text)
        else:
            number = frame.get("predicate")
            if not isinstance(number, int) or isinstance(number, bool):
                raise TypeError(f"the predicate is {number!r}; give the number of a word, from 0")
            if not 0 <= number < len(words):
                raise TypeError(
                    f"the predicate is word {number}, but the words are 0 to {len(words) - 1}"
                )
            start, end = starts[number], ends[number]
            arguments = [_in_characters(item, starts, ends) for item in arguments]
        found.append((start, end, checked_entities(arguments, text)))
    return text, found


def _named(item):
    """Return an argument as the three values of an entity."""
    if isinstance(item, dict):
        return item.get("role", item.get("type")), item.get("start"), item.get("end")
    return item


def _is_predicate(item):
    return isinstance(item, tuple | list) and item[:1] and item[0] in _OF_PREDICATE


def _in_characters(item, starts, ends):
    """Return an argument of words in characters."""
    whole = isinstance(item, tuple | list) and len(item) == 3
    if not whole or not all(type(at) is int for at in item[1:]):
        raise TypeError(
            f"{str(item)[:60]!r} is no argument (role, first word, word after the last)"
        )
    role, first, last = item
    if not 0 <= first < last <= len(starts):
        raise TypeError(
            f"{role} has the words {first} to {last}, exclusive, but there are {len(starts)}"
        )
    return role, starts[first], ends[last - 1]


def role_dataset(source: Source, types: Sequence[str], *, seed: int | None = None) -> Any:
    """Return a dataset of chunks of texts with frames; see `datasets.chunk_dataset`.

    Args:
        source: rows of `open_roles` or `as_roles`.
        types: PREDICATE and the roles; the index of a role is its id. Arguments of other roles are
            left out.
        seed: see `datasets.chunk_dataset`.

    Returns:
        A `tf.data.Dataset` of what `marked_windows.role_batches` takes.

    Raises:
        InputError: while reading, a row cannot be read.
    """
    import tensorflow as tf

    from tfmodels.data.datasets import chunk_dataset

    labels_of(types)  # checks the types
    ids = {kind: str(index) for index, kind in enumerate(types)}

    def convert(row: Row) -> tuple:
        text, frames = row.values
        frames = [
            (start, end, [span for span in arguments if span[0] in ids])
            for start, end, arguments in frames
        ]
        spans = [span for *_, arguments in frames for span in arguments]
        columns = (
            *zip(*((start, end, len(arguments)) for start, end, arguments in frames), strict=True),
            *zip(*((ids[role], start, end) for role, start, end in spans), strict=True),
        )
        columns = columns if spans else (*(columns or ((),) * 3)[:3], (), (), ())
        columns = columns if frames else ((),) * 6
        return text, *(" ".join(map(str, column)) for column in columns)

    def numbers(text, *columns):
        split = map(tf.strings.split, columns)
        return text, *(tf.ragged.map_flat_values(tf.strings.to_number, c, tf.int32) for c in split)

    # Numbers are passed as text, because their number varies by row.
    return chunk_dataset(source, convert, (tf.string,) * 7, seed).map(numbers)
