"""Streams of documents from text files, for pretraining.

Files are given by name or pattern:

    books.txt  wiki/*.txt.gz        documents separated by empty lines, with one or more
                                    sentences per line
    reviews.tsv  .csv  .jsonl       one document per row, the text in one column (also `.gz`)
    tfds:NAME                       the same for a TensorFlow Datasets split

`TextFiles.documents` yields `(number, sentences)`. `TextFiles.passages`, for language models,
yields `(number, text, ends)`: unchanged text, where each file or row of a table is one document.
Memory is bounded for files, and lines, of any length.
"""

import codecs
import glob
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tfmodels.data.lines import LineFile, check_encoding
from tfmodels.data.memory import as_source
from tfmodels.data.rows import Source, fingerprint_of
from tfmodels.data.tables import NAMED, is_table, open_source
from tfmodels.errors import InputError
from tfmodels.files import hash_of
from tfmodels.text.sentences import sentences_of

_PIECE = 100_000  # maximum number of bytes of a line read at once
_PASSAGE = 20_000  # approximate number of characters of a passage
_MAX_DOCUMENT = 1_000_000  # characters


class TextFiles:
    """Documents of a list of files, read again in every pass. Instances can be pickled.

    Args:
        files: paths, patterns such as `wiki/*.txt` (`**` matches nested folders), or `tfds:NAME`.
            The files of a pattern are sorted by name.
        text_column: name of the text column of tables.
        encoding: of files without a byte order mark; UTF-8 if not given.
        delimiter: of tables; see `tables.open_source`.

    Attributes:
        files: names of all matching files.
        failure: the error that ended a dataset of the files; see `datasets.source_errors`.

    Raises:
        InputError: a name or pattern matches no file, or a table lacks the column or has no rows.
    """

    def __init__(
        self, files: str | os.PathLike | Sequence[str], text_column: str = "text", *,
        encoding: str | None = None, delimiter: str | None = None,
    ) -> None:  # fmt: skip
        if isinstance(files, str | os.PathLike):
            files = [os.fspath(files)]
        if not files:
            raise InputError("no text files given; name one or more")
        self.files = [name for file in files for name in _expanded(os.fspath(file))]
        self.failure: InputError | None = None
        self._text_column = text_column
        encoding = check_encoding(encoding)
        self._format: dict[str, Any] = {"encoding": encoding, "delimiter": delimiter}
        for name in self.files:
            self._source_of(name)  # checks a table

    def documents(self) -> Iterator[tuple[int, list[str]]]:
        """Read every document once.

        Empty documents are skipped. A document of more than 1,000,000 characters is split into
        documents of about that size; a sentence of more than 10,000 characters is split, at a
        space if possible.

        Yields:
            `(number, sentences)`: the number counts from 0 over all files and is the same in every
            pass; the sentences are a list of one or more stripped strings that are not empty.

        Raises:
            InputError: a file cannot be read, is not UTF-8 or has NUL bytes, or all files are
                empty.
        """
        everything = itertools.chain.from_iterable(map(self._documents_of, self.files))
        return self._not_empty(enumerate(everything))

    def passages(self) -> Iterator[tuple[int, str, bool]]:
        """Read all text once, unchanged.

        Yields:
            `(number, text, ends)`: the number counts from 0 over all files and is the same in
            every pass; `text` is a passage of a text file, of about 20,000 and at most 120,000
            characters, or the complete text of a row; `ends` is whether the document ends there.
            If possible, a passage ends after a line, where GPT-2's pattern always splits: the
            passage then has the same tokens as in the complete text.

        Raises:
            InputError: see `documents`.
        """
        everything = itertools.chain.from_iterable(map(self._passages_of, self.files))
        return self._not_empty((number, *passage) for number, passage in enumerate(everything))

    def fingerprint(self) -> str:
        """Return number, size and hash of the files, as "2 files, 12345 bytes, sha256 0123...".

        The hash covers the contents, the names without folders, and the column of tables.

        Raises:
            InputError: a file cannot be read.
        """
        parts: list = []
        total = 0
        for name in self.files:
            if name.startswith(NAMED):
                parts.append(open_source(name, [self._text_column]).fingerprint())
                continue
            path = Path(name).expanduser()
            column = self._text_column if is_table(name) else ""
            try:
                total += path.stat().st_size
                given = filter(None, self._format.values())
                parts.append((path.name, column, hash_of(path), *given))
            except OSError as error:
                problem = f"{name}: cannot be read ({error.strerror})"
                raise InputError(f"{problem}; check its permissions") from error
        word = "file" if len(self.files) == 1 else "files"
        return f"{len(self.files)} {word}, {total} bytes, sha256 {fingerprint_of(parts)}"

    def _source_of(self, name: str) -> Source | None:
        """Return the rows of a table, without empty ones, or None for a text file."""
        if not is_table(name):
            return None
        return open_source(name, [self._text_column], missing="skip", **self._format)

    def _documents_of(self, name: str) -> Iterator[list[str]]:
        if source := self._source_of(name):
            for _, (text, *_) in source.rows():
                pieces = itertools.chain.from_iterable(map(sentences_of, text.splitlines()))
                yield from _grouped(itertools.chain(map(str.strip, pieces), [None]))
        else:
            yield from _grouped(_file_sentences(self._text_of(name)))

    def _text_of(self, name: str) -> "_TextFile":
        return _TextFile(name, ("text",), "text files", self._format["encoding"])

    def _passages_of(self, name: str) -> Iterator[tuple[str, bool]]:
        if source := self._source_of(name):
            yield from ((text, True) for _, (text, *_) in source.rows() if text.strip())
            return
        passage, begun = "", False
        for text, _ in self._text_of(name).pieces():
            if len(passage) >= _PASSAGE:
                end = _split_point(passage, text) or (len(passage) if len(passage) >= _PIECE else 0)
                if end:
                    yield passage[:end], False
                    begun = True
                passage = passage[end:]
            passage += text
        if begun or passage.strip():
            yield passage, True

    def _not_empty(self, items: Iterator) -> Iterator:
        item = None
        for item in items:
            yield item
        if item is None:
            raise InputError(f"{', '.join(self.files[:3])}: no text; give files with text")


class TextRows(TextFiles):
    """Documents of a `Source`, one per row.

    Args:
        source: rows with the text in the first column.
    """

    def __init__(self, source: Source) -> None:
        self.files, self._source = [source.name], source
        self.failure: InputError | None = None

    def fingerprint(self) -> str:
        """Return the fingerprint of the source."""
        return self._source.fingerprint()

    def _source_of(self, name: str) -> Source:
        return self._source


def as_texts(x: Any) -> TextFiles:
    """Return the documents of the training or evaluation data of a language model.

    Args:
        x: `TextFiles`, rows of `tfmodels.data`, a list of strings or a `tf.data.Dataset` of them.

    Raises:
        InputError: `x` has another type.
    """
    if isinstance(x, TextFiles):
        return x
    if isinstance(x, str | os.PathLike):
        raise InputError(
            f"one string, {os.fspath(x)[:60]!r}; give a list of strings, or "
            "tfmodels.data.open_texts('book.txt') for a file"
        )
    if isinstance(x, list | tuple) and x and all(_is_file(text) for text in x):
        raise InputError(f"{x[0]!r} is a file; give tfmodels.data.open_texts([...]) to read files")
    return TextRows(as_source(x, columns=("text",)))


def _is_file(text: Any) -> bool:
    return isinstance(text, str) and len(text) < 4096 and "\0" not in text and os.path.isfile(text)


def _grouped(sentences: Iterator[str | None]) -> Iterator[list[str]]:
    """Yield the sentences between None as documents, split if too long."""
    document: list[str] = []
    characters = 0
    for sentence in sentences:
        full = sentence is not None and characters + len(sentence) > _MAX_DOCUMENT
        if document and (sentence is None or full):
            yield document
            document, characters = [], 0
        if sentence:
            document.append(sentence)
            characters += len(sentence)


def _file_sentences(file: "_TextFile") -> Iterator[str | None]:
    """Yield the stripped sentences of a text file, and None at empty lines and at the end."""
    rest, empty = "", True
    for text, line_ends in file.pieces():
        sentences = sentences_of(rest + text)
        # The last sentence of a piece may continue in the next piece.
        rest = "" if line_ends or not sentences else sentences.pop()
        for sentence in map(str.strip, sentences):
            if sentence:
                yield sentence
                empty = False
        if line_ends:
            if empty:
                yield None
            empty = True
    if rest.strip():
        yield rest.strip()
    yield None


def _split_point(before: str, after: str) -> int | None:
    """Return the end of a passage in `before` where GPT-2's pattern always splits, or None.

    The pattern depends on what follows whitespace, so few places around a line end are safe.
    """
    if not before.endswith("\n") or after[:2].isspace():
        return None
    if after.startswith(" ") or not before[-2:-1].isspace():
        return None if after[:1].isspace() and after[:1] != " " else len(before)
    between_lines = before.endswith("\n\n") and not before[-3:-2].isspace()
    return len(before) - 1 if between_lines and not after[:1].isspace() else None


class _TextFile(LineFile):
    def pieces(self) -> Iterator[tuple[str, bool]]:
        """Yield `(text, line_ends)`: lines, in pieces if long, and whether a line ends there."""
        line, data = 1, b""
        with self._open() as (stream, _):
            decoder = codecs.getincrementaldecoder(self._codec)()
            try:
                for line, data in self._pieces(stream, 1, _PIECE):  # noqa: B007 (in `except`)
                    line_ends = data.endswith(b"\n")
                    yield decoder.decode(data, final=line_ends), line_ends
                decoder.decode(b"", final=True)
            except UnicodeError:
                raise self._undecodable(line, data) from None


def _expanded(file: str) -> list[str]:
    """Return the files that a path or pattern matches."""
    if file.startswith(NAMED):
        return [file]
    path = os.path.expanduser(file)
    if os.path.isfile(path):
        return [path]
    names = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
    if not names:
        problem = "is a directory" if os.path.isdir(path) else "no such file"
        raise InputError(f"{file}: {problem}; give text files or a pattern such as 'texts/*.txt'")
    return names
