"""Rows of text files in which each row starts on a new line, the base of tables and CoNLL files.

A byte order mark decides the encoding, else the caller, else it is UTF-8. Lines may end in LF, CRLF
or, in the whole file, CR. Errors in a file are `InputError` with a message that starts with
`file:line`.
"""

import codecs
import collections
import contextlib
import functools
import gzip
import io
import json
import os
import random
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tfmodels.data.rows import Row, Source
from tfmodels.errors import InputError
from tfmodels.files import hash_of

_MAX_BLOCKS = 4096  # entries of a block index
_READ_BYTES = 128 << 10  # size of the read buffer
_BLOCK_BYTES = 4 << 10  # minimum size of a block for shuffling
_MARKS = {  # that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be",
    b"\x84\x31\x95\x33": "gb18030",
}  # fmt: skip
_OTHER_KINDS = {  # the first bytes of a file: what it is, and the remedy
    b"PK\x03\x04": ("an Excel workbook or another zip archive", "save the sheet as CSV UTF-8"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "save the sheet as CSV UTF-8"),
    b"\x1f\x8b": ("compressed with gzip", "give it a name that ends in .gz"),
    b"PAR1": ("a Parquet file", "write it as .jsonl or .csv"),
}
_QUOTED = re.compile(r'"[^"]*"')


class Block(NamedTuple):
    offset: int  # byte at which the first row starts
    line: int  # line of the first row
    row: int  # number of the first row


@functools.cache
def say_once(message: str) -> None:
    """Print a line to stderr, unless it was printed before: a file is read in many passes."""
    print(message, file=sys.stderr)


class LineFile(Source):
    """Rows of a text file, plain or compressed with gzip; each row starts on a new line.

    A pass in file order builds an index of blocks: the offset of the first row in every so many
    bytes. When the index is full, every second entry is dropped, so its size is bounded. A
    shuffled pass reads the blocks in random order. Subclasses set `_start`, the first row.
    """

    _start: Block
    _row_bytes = 16 << 20  # maximum size of a row, for files with a missing closing quote

    def __init__(
        self, path: str | os.PathLike, columns: Sequence[str], kinds: str,
        encoding: str | None = None,
    ) -> None:  # fmt: skip
        """Check that the file exists.

        Args:
            path: path of the file.
            columns: names of the columns.
            kinds: the kinds of sources that messages name.
            encoding: of a file without a byte order mark; UTF-8 if not given.

        Raises:
            InputError: the file does not exist, or the encoding is unknown.
        """
        super().__init__(os.fspath(path), columns)
        self._encoding = check_encoding(encoding)
        self._path = Path(path).expanduser()
        if not self._path.is_file():
            problem = "is not a regular file" if self._path.exists() else "does not exist"
            raise InputError(f"{self.name}: {problem}; give {kinds}")
        self._packed = self._path.suffix.lower() == ".gz"
        self._sequential = self._packed  # without random access
        self._stamp: tuple[int, int] | None = None
        self._blocks: list[Block] = []
        self._row_count = 0

    def _contents(self) -> tuple:
        return (hash_of(self._path), *filter(None, [self._encoding]))

    def _records(self, stream: BinaryIO, block: Block) -> Iterator[tuple[int, int, tuple]]:
        """Yield `(offset, line, values)` of all rows from the first one of a block."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, int]]:
        """Open the file; yield the stream and its offset, after the byte order mark if any."""
        try:
            stream: Any = open(self._path, "rb", buffering=_READ_BYTES)
        except OSError as error:
            raise InputError(
                f"{self.name}: cannot be opened ({error.strerror}); check its permissions"
            ) from None
        with stream:
            status = os.fstat(stream.fileno())
            stamp = (status.st_size, status.st_mtime_ns)
            if self._stamp not in (None, stamp):
                # Row numbers and offsets of earlier passes are invalid.
                raise InputError(f"{self.name}: the file changed while in use; open it again")
            self._stamp = stamp
            if self._packed:
                stream = io.BufferedReader(gzip.GzipFile(fileobj=stream), _READ_BYTES)
            try:
                opened = self._after_mark(stream)
            except (OSError, EOFError, zlib.error) as error:
                raise self._unreadable(1, error) from None
            yield opened

    def _after_mark(self, stream: io.BufferedReader) -> tuple[BinaryIO, int]:
        """Return a stream in which every line ends in a line feed byte, and its offset.

        Sets `_known`, the encoding of the file if marked or given, and `_codec`, of the lines.
        """
        head = stream.peek(_READ_BYTES)
        for start, (kind, remedy) in _OTHER_KINDS.items():
            if head.startswith(start):
                raise InputError(f"{self.name}: is {kind}, not text; {remedy}")
        mark = next(filter(head.startswith, _MARKS), b"")
        self._known = _MARKS.get(mark) or self._encoding
        self._codec = self._known or "utf-8"
        stream.read(len(mark))
        try:
            sample = head[len(mark) :].decode(self._codec, "replace")
        except UnicodeError as error:  # of a codec that cannot replace
            raise self._unreadable(1, error) from None
        with_cr = "\r" in sample and "\n" not in _QUOTED.sub("", sample)
        wide = not _has_ascii_lines(self._codec)
        if not with_cr and not wide:
            return stream, len(mark)
        self._sequential = True
        newline = None if with_cr else ""
        if wide:  # what is no character becomes an error in its line
            text = io.TextIOWrapper(stream, self._codec, "surrogatepass", newline)
            self._codec = "utf-8"
        else:
            text = io.TextIOWrapper(stream, "latin-1", newline=newline)
        return io.BufferedReader(_Encoded(text, "utf-8" if wide else "latin-1"), _READ_BYTES), 0

    def _unreadable(self, line: int, error: Exception) -> InputError:
        return InputError(
            f"{self.name}:{line}: cannot be read ({error}); check that the file is complete"
        )

    def _lines(self, stream: BinaryIO, offset: int, line: int) -> Iterator[tuple[int, int, str]]:
        """Yield `(offset, line number, text with its line end)` from the stream's position."""
        for number, data in self._pieces(stream, line, self._row_bytes + 1):
            if len(data) > self._row_bytes:
                raise self._too_long(number)
            try:
                text = data.decode(self._codec)
            except UnicodeError as error:
                at = f"byte {getattr(error, 'start', 0) + 1} of the line is "
                raise self._undecodable(number, data, at) from None
            yield offset, number, text
            offset += len(data)

    def _json(self, remedy: str) -> Any:
        """Return the value in a file that is JSON as a whole, with lines of any length.

        Args:
            remedy: end of the message where it is none.
        """
        with self._open() as (stream, offset):
            self._row_bytes = sys.maxsize - 1
            content = "".join(text for *_, text in self._lines(stream, offset, 1))
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.name}: not valid JSON ({error}); {remedy}") from None

    def _pieces(self, stream: BinaryIO, line: int, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield `(line number, bytes)`: lines, in pieces of at most `size` bytes."""
        try:
            for data in iter(functools.partial(stream.readline, size), b""):
                if b"\0" in data:
                    wide = "utf-16-le" if data.index(b"\0") % 2 else "utf-16-be"
                    raise InputError(
                        f"{self.name}:{line}: a NUL byte; the file is damaged or in UTF-16: give "
                        f"--encoding {wide} (encoding= in Python), or save it as UTF-8"
                    )
                yield line, data
                line += data.endswith(b"\n")
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise self._unreadable(line, error) from None

    def _undecodable(self, line: int, data: bytes, at: str = "") -> InputError:
        """Return the error about bytes of a line that are not characters of the encoding."""
        problem = f"{self.name}:{line}: {at}not {(self._known or self._codec).upper()}"
        if self._known is not None:
            other = ", or give another --encoding" if self._known == self._encoding else ""
            return InputError(f"{problem}; correct the line{other}")
        # Four letters with accents beside each other are rare in Western text.
        guess = "gb18030" if re.search(rb"[\x81-\xfe]{4}", data) else "cp1252"
        text = data.decode(guess, "replace").strip()
        first = next((n for n, character in enumerate(text) if not character.isascii()), 0)
        shown = text[max(first - 10, 0) : first + 20]
        return InputError(
            f"{problem}; as {guess} it reads {shown!r}: give --encoding {guess} if that is right "
            "(encoding= in Python), or save the file as UTF-8"
        )

    def _too_long(self, line: int) -> InputError:
        return InputError(
            f"{self.name}:{line}: the row is longer than {self._row_bytes >> 20} MiB; "
            "check for a missing line end or closing quote"
        )

    def _in_order(self) -> Iterator[Row]:
        blocks: list[Block] = []
        step, due, number = _BLOCK_BYTES, 0, -1
        with self._open() as (stream, offset):
            stream.read(self._start.offset - offset)
            for number, (offset, line, values) in enumerate(self._records(stream, self._start)):
                if offset >= due:
                    blocks.append(Block(offset, line, number))
                    if len(blocks) == _MAX_BLOCKS:
                        del blocks[1::2]
                        step *= 2
                    due = blocks[-1].offset + step
                yield Row(number, line, values)
        self._blocks, self._row_count = blocks, number + 1

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        if self._sequential:
            yield from self._in_order()
            return
        if not self._blocks:
            collections.deque(self._in_order(), maxlen=0)  # only builds the index
        ends = [block.row for block in self._blocks[1:]] + [self._row_count]
        order = list(zip(self._blocks, ends, strict=True))
        rng.shuffle(order)
        with self._open() as (stream, _):
            for block, end in order:
                stream.seek(block.offset)
                # `range` comes first, so that `zip` stops before it reads the next row.
                numbers = range(block.row, end)
                for number, row in zip(numbers, self._records(stream, block), strict=False):
                    yield Row(number, *row[1:])


class _Encoded(io.RawIOBase):
    """The bytes of a stream of text in another encoding."""

    def __init__(self, text: io.TextIOWrapper, encoding: str) -> None:
        self._text, self._encoding, self._rest = text, encoding, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = self._text.read(_READ_BYTES).encode(self._encoding, "surrogatepass")
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def check_encoding(encoding: str | None) -> str | None:
    """Return the name of an encoding of text in Python's spelling."""
    if encoding is None:
        return None
    try:
        name = codecs.lookup(encoding).name
        "a".encode(name)  # LookupError: not an encoding of text
        return name
    except (LookupError, ValueError):
        raise InputError(
            f"encoding {encoding}: unknown; give one such as utf-8, utf-16, gb18030 or cp1252"
        ) from None


def _has_ascii_lines(encoding: str) -> bool:
    """Return whether every line feed byte ends a line, so that bytes can be split into lines."""
    try:
        return "a\n".encode(encoding) == b"a\n"
    except UnicodeError:
        return False
