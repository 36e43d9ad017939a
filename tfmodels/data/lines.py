"""Files in UTF-8 whose rows begin at a line each: what tables and files of columns share.

In: a path. Out: lines with the byte and the number they start at, and passes in the order of the
file or shuffled. Every mistake in a file is an `InputError` of one line that starts with
`file:line`.
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
_READ_BYTES = 128 << 10  # read at a time from a file
_BLOCK_BYTES = 4 << 10  # smallest block of rows shuffled as one
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Block(NamedTuple):
    offset: int  # byte the first row starts at
    line: int  # its line
    row: int  # its number


class LineFile(Source):
    """Rows of a file in UTF-8, plain or compressed with gzip, that begin at a line each.

    A byte order mark and CRLF line ends are accepted.

    A pass in file order notes where every so many bytes a row starts. The step doubles whenever
    the index is full, so the index is small for any file, and a pass in random order can jump
    to its entries. A subclass sets `_start`, the offset and line of the first row.
    """

    _start: Block
    _row_bytes = 16 << 20  # longest row; a forgotten quote must not swallow gigabytes

    def __init__(self, path: str | os.PathLike, columns: Sequence[str], kinds: str) -> None:
        """`kinds`: what may be given instead, for messages.

        Raises:
            InputError: no such file.
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
        """Yield `(offset, line, values)` of the rows from a block's first to the file's end."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, int]]:
        """Open the file; gives the stream and the offset it stands at, after any mark."""
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
                # Row numbers and offsets of the earlier pass would point anywhere.
                raise InputError(f"{self.name}: the file changed while in use; start again")
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
            f"{self.name}:{line}: cannot be read ({error}); check that the file is whole"
        )

    def _lines(self, stream: BinaryIO, offset: int, line: int) -> Iterator[tuple[int, int, str]]:
        """Yield `(offset, line number, text with its line end)` from where the stream stands."""
        try:
            # A bounded readline: a file without line ends must not be read in one piece.
            for data in iter(functools.partial(stream.readline, self._row_bytes + 1), b""):
                if len(data) > self._row_bytes:
                    raise self._too_long(line)
                if b"\0" in data:
                    raise InputError(
                        f"{self.name}:{line}: a NUL byte; the file is damaged or in UTF-16, "
                        "save it as UTF-8 text"
                    )
                try:
                    text = data.decode()
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"{self.name}:{line}: byte {error.start + 1} of the line is not UTF-8; "
                        "save the file as UTF-8"
                    ) from None
                yield offset, line, text
                offset += len(data)
                line += 1
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(line, error) from None

    def _too_long(self, line: int) -> InputError:
        return InputError(
            f"{self.name}:{line}: the row is longer than {self._row_bytes >> 20} MiB; "
            "look for a missing line end or closing quote"
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
            collections.deque(self._in_order(), maxlen=0)  # a pass for the index alone
        ends = [block.row for block in self._blocks[1:]] + [self._row_count]
        order = list(zip(self._blocks, ends, strict=True))
        rng.shuffle(order)
        with self._open() as (stream, _):
            for block, end in order:
                stream.seek(block.offset)
                # `range` comes first: it ends the pairing before a row too many is read.
                numbers = range(block.row, end)
                for number, row in zip(numbers, self._records(stream, block), strict=False):
                    yield Row(number, *row[1:])
