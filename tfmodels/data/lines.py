"""Rows of UTF-8 files in which each row starts on a new line, the base of tables and CoNLL files.

Errors in a file are `InputError` with a message that starts with `file:line`.
"""

import collections
import contextlib
import functools
import gzip
import io
import os
import random
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tfmodels.data.rows import Row, Source
from tfmodels.errors import InputError
from tfmodels.files import hash_of

_MAX_BLOCKS = 4096  # entries of a block index
_READ_BYTES = 128 << 10  # size of the read buffer
_BLOCK_BYTES = 4 << 10  # minimum size of a block for shuffling
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Block(NamedTuple):
    offset: int  # byte at which the first row starts
    line: int  # line of the first row
    row: int  # number of the first row


class LineFile(Source):
    """Rows of a UTF-8 file, plain or compressed with gzip; each row starts on a new line.

    A byte order mark and CRLF line ends are accepted.

    A pass in file order builds an index of blocks: the offset of the first row in every so many
    bytes. When the index is full, every second entry is dropped, so its size is bounded. A
    shuffled pass reads the blocks in random order. Subclasses set `_start`, the first row.
    """

    _start: Block
    _row_bytes = 16 << 20  # maximum size of a row, for files with a missing closing quote

    def __init__(self, path: str | os.PathLike, columns: Sequence[str], kinds: str) -> None:
        """Check that the file exists.

        Args:
            path: path of the file.
            columns: names of the columns.
            kinds: the kinds of sources that messages name.

        Raises:
            InputError: the file does not exist.
        """
        super().__init__(os.fspath(path), columns)
        self._path = Path(path).expanduser()
        if not self._path.is_file():
            problem = "is not a regular file" if self._path.exists() else "does not exist"
            raise InputError(f"{self.name}: {problem}; give {kinds}")
        self._packed = self._path.suffix.lower() == ".gz"
        self._stamp: tuple[int, int] | None = None
        self._blocks: list[Block] = []
        self._row_count = 0

    def _contents(self) -> tuple:
        return (hash_of(self._path),)

    def _records(self, stream: BinaryIO, block: Block) -> Iterator[tuple[int, int, tuple]]:
        """Yield `(offset, line, values)` of all rows from the first one of a block."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, int]]:
        """Open the file; yield the stream and its offset, after the byte order mark if any."""
        try:
            stream: BinaryIO = open(self._path, "rb", buffering=_READ_BYTES)
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
                offset = len(_BYTE_ORDER_MARK)
                if stream.read(offset) != _BYTE_ORDER_MARK:
                    offset = stream.seek(0)
            except (OSError, EOFError, zlib.error) as error:
                raise self._unreadable(1, error) from None
            yield stream, offset

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
                text = data.decode()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{self.name}:{number}: byte {error.start + 1} of the line is not UTF-8; "
                    "save the file as UTF-8"
                ) from None
            yield offset, number, text
            offset += len(data)

    def _pieces(self, stream: BinaryIO, line: int, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield `(line number, bytes)`: lines, in pieces of at most `size` bytes."""
        try:
            for data in iter(functools.partial(stream.readline, size), b""):
                if b"\0" in data:
                    raise InputError(
                        f"{self.name}:{line}: a NUL byte; the file is damaged or in UTF-16, "
                        "save it as UTF-8 text"
                    )
                yield line, data
                line += data.endswith(b"\n")
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(line, error) from None

    def _too_long(self, line: int) -> InputError:
        return InputError(
            f"{self.name}:{line}: the row is longer than {self._row_bytes >> 20} MiB; "
            "check for a missing line end or closing quote"
        )

    def _in_order(self) -> Iterator[Row]:
        blocks: list[Block] = []
        step, due, number = _BLOCK_BYTES, 0, -1
        with self._open() as (stream, _):
            stream.seek(self._start.offset)
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
        if self._packed:
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
