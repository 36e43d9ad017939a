"""Sentences with their translations: parallel files of lines, TMX, and what is done with such rows.

In: two files or more in which the same line is the same sentence, or a translation memory. Out:
rows of a source and its translation; with several references the translation is a tuple of them
(`Source.several`). Rows of tables and of TensorFlow Datasets have the same form. TMX 1.4 is read
piece by piece, and nothing outside the file is: a file that declares entities is refused.
"""

import collections
import gzip
import itertools
import os
import random
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.parsers import expat

from tfmodels.data.labels import Converted
from tfmodels.data.lines import LineFile, say_once
from tfmodels.data.rows import Row, Source, _shuffled, first_of
from tfmodels.errors import InputError, first_line
from tfmodels.text.languages import LANGUAGE, in_language, named_language

COLUMNS = ("text", "translation")
_LINES = "a file with one text per line"
_TMX = ".tmx file (or .gz of one)"
# Elements of TMX whose content is no text of the segment: codes, and text that belongs elsewhere.
_CODES = ("bpt", "ept", "it", "ph", "ut", "sub")
_READ_BYTES = 128 << 10


class Lines(LineFile):
    """The lines of one file, with their numbers."""

    @classmethod
    def of(cls, path: str | os.PathLike, encoding: str | None = None) -> "Lines":
        """Return the lines of a file; raise `InputError` if it does not exist."""
        return cls(path, COLUMNS[:1], _LINES, encoding)

    def lines(self) -> Iterator[tuple[int, str]]:
        with self._open() as (stream, offset):
            for _, line, text in self._lines(stream, offset, 1):
                yield line, text.rstrip("\r\n")


class ParallelFiles(Source):
    """The lines of several files: a source, and its translation in each of the others.

    Lines that are blank in all files are skipped. The rows are shuffled in a buffer alone (65,536
    rows): mix a larger file that is sorted by origin before training on it.

    Args:
        source: path of the file of sources (.gz too).
        *targets: of the files of translations; of several, each row has a tuple of references.
        encoding: of files that are neither UTF-8 nor have a byte order mark.
        missing: "refuse" a line that is blank in one file only, or "skip" and count it.

    Raises:
        InputError: a file does not exist.
    """

    def __init__(
        self, source: str | os.PathLike, *targets: str | os.PathLike, encoding: str | None = None,
        missing: str = "refuse",
    ) -> None:  # fmt: skip
        if not targets:
            raise InputError(f"{source}: one file; give two or more, the sources first")
        if missing not in ("refuse", "skip"):
            raise InputError(f"missing {missing}: give refuse or skip for files of lines")
        self._files = [Lines.of(path, encoding) for path in (source, *targets)]
        super().__init__(" ".join(file.name for file in self._files), COLUMNS)
        self._missing = missing
        if targets[1:]:
            self.several = frozenset(COLUMNS[1:])

    def place(self, line: int) -> str:
        return f"{self._files[0].name}:{line}"

    def _contents(self) -> tuple:
        return tuple(file._contents() for file in self._files), self._missing

    def _in_order(self) -> Iterator[Row]:
        number, blank = 0, 0
        for lines in itertools.zip_longest(*(file.lines() for file in self._files)):
            if None in lines:
                raise self._unequal(lines)
            line, texts = lines[0][0], [text for _, text in lines]
            filled = [bool(text.strip()) for text in texts]
            if not all(filled):
                if any(filled) and self._missing == "refuse":
                    at = filled.index(False)
                    raise InputError(
                        f"{self._files[at].name}:{line}: the line is empty, and that of "
                        f"{self._files[filled.index(True)].name} is not; give both, or --missing "
                        "skip (missing= in Python)"
                    )
                blank += any(filled)
                continue
            source, *targets = texts
            yield Row(number, line, (source, tuple(targets) if self.several else targets[0]))
            number += 1
        if not number:
            raise InputError(f"{self.name}: the files are empty; give {_LINES}")
        if blank:
            say_once(f"{self.name}: {blank} lines that are empty in one file are skipped")

    def _unequal(self, lines):
        """Return the error about files of which one has ended."""
        counts = [sum(1 for _ in file.lines()) for file in self._files]
        files = ", ".join(f"{file.name} has {count} line{'s' * (count != 1)}" for file, count in
                          zip(self._files, counts, strict=True))  # fmt: skip
        short = self._files[counts.index(min(counts))]
        return InputError(
            f"{short.name}:{min(counts)}: ends here: {files}; the same line must be the same "
            "sentence, so give files of the same number of lines"
        )

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        return self._in_order()


class Tmx(Source):
    """The units of a translation memory (TMX 1.4) that have both languages.

    Args:
        path: of the file (.gz too).
        source_language: as in the file, such as "en-US", or its first part, "en".
        target_language: likewise.

    Raises:
        InputError: the file does not exist, or no unit has both languages.
    """

    def __init__(self, path: str | os.PathLike, source_language: str, target_language: str) -> None:
        super().__init__(os.fspath(path), COLUMNS)
        self._file = Lines(path, COLUMNS[:1], _TMX)
        self._languages = (source_language, target_language)

    def place(self, line: int) -> str:
        return f"{self.name}:{line}"

    def _contents(self) -> tuple:
        return self._file._contents(), self._languages

    def _in_order(self) -> Iterator[Row]:
        reader, number, left = _TmxReader(self.name), 0, 0
        seen: dict[str, None] = {}
        for line, segments in reader.units(self._file._path):
            seen |= dict.fromkeys(segments)
            found = [_in_language(segments, language) for language in self._languages]
            if all(text and text.strip() for text in found):
                yield Row(number, line, tuple(found))
                number += 1
            else:
                left += 1
        source, target = self._languages
        if not number:
            languages = ", ".join(list(seen)[:20]) or "none"
            raise InputError(
                f"{self.name}: no unit has a text in {source} and in {target}; its languages are "
                f"{languages}: give two of them as --source_language and --target_language"
            )
        if left:
            say_once(f"{self.name}: {left} units without a text in {source} and in {target}")

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        return self._in_order()


class _TmxReader:
    """Reads the units of a TMX file with expat, which opens no other file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = parser = expat.ParserCreate(namespace_separator=None)
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler, parser.EntityDeclHandler = self._text, self._entity
        parser.buffer_text = True
        self._units: list[tuple[int, dict[str, str]]] = []
        self._segments: dict[str, str] = {}
        self._line, self._language = 0, ""
        self._parts: list[str] | None = None
        self._codes, self._root = 0, ""

    def units(self, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the line of each unit, and its texts by language."""
        with _bytes_of(path) as stream:
            try:
                while data := stream.read(_READ_BYTES):
                    self._parser.Parse(data, False)
                    yield from self._taken()
                self._parser.Parse(b"", True)
                yield from self._taken()
            except expat.ExpatError as error:
                raise InputError(
                    f"{self._name}:{error.lineno}: no well-formed XML "
                    f"({expat.errors.messages.get(error.code, error)}); export the memory again"
                ) from None
            except InputError:
                raise
            except (LookupError, ValueError) as error:  # an encoding that expat does not have
                raise InputError(
                    f"{self._name}: its encoding cannot be read ({first_line(error)}); save it as "
                    "UTF-8 and correct its first line"
                ) from None
            except (OSError, EOFError, zlib.error) as error:
                raise InputError(
                    f"{self._name}: cannot be read ({first_line(error)}); check that the file is "
                    "complete"
                ) from None

    def _taken(self):
        units, self._units = self._units, []
        return units

    def _start(self, name, attributes):
        if not self._root and name != "tmx":
            raise InputError(f"{self._name}: its root is <{name[:40]}>, not <tmx>; give a TMX file")
        self._root = self._root or name
        if name == "tu":
            self._segments, self._line = {}, self._parser.CurrentLineNumber
        elif name == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang") or ""
        elif name == "seg":
            self._parts, self._codes = [], 0
        elif name in _CODES:
            self._codes += 1

    def _end(self, name):
        if name == "tu":
            self._units.append((self._line, self._segments))
        elif name == "seg" and self._parts is not None:
            text = " ".join("".join(self._parts).split("\n")).strip()
            self._segments.setdefault(self._language, text)
            self._parts = None
        elif name in _CODES:
            self._codes -= 1

    def _text(self, text):
        if self._parts is not None and not self._codes:
            self._parts.append(text)

    def _entity(self, name, *_):
        raise InputError(
            f"{self._name}:{self._parser.CurrentLineNumber}: declares the entity {name[:40]!r}, "
            "which is not read; write the text out and remove the declaration"
        )


def _bytes_of(path):
    """Return the open file, whose encoding its XML declaration names."""
    try:
        return gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be opened ({error.strerror}); check its permissions"
        ) from None


def _in_language(segments, wanted):
    """Return the text in a language, by its whole name or else by the first part of it."""

    def plain(name):
        return name.lower().replace("_", "-")

    for name, text in segments.items():
        if plain(name) == plain(wanted):
            return text
    first = plain(wanted).split("-")[0]
    if "-" in plain(wanted):
        return None
    return next((text for name, text in segments.items() if plain(name).split("-")[0] == first),
                None)  # fmt: skip


class Joined(Source):
    """The rows of several sources; shuffled, they are mixed.

    Args:
        sources: of the same columns.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__(", ".join(source.name for source in sources), sources[0].columns)
        self._sources = list(sources)
        self._counts = [source.scan().rows for source in sources]
        self.several = frozenset().union(*(source.several for source in sources))

    def place(self, line: int) -> str:
        line, number = divmod(line, len(self._sources))  # see `_numbered`
        return self._sources[number].place(line)

    def _contents(self) -> tuple:
        return tuple(source.fingerprint() for source in self._sources)

    def stream(self, seed: int | None) -> Iterator[Row]:
        if seed is None:
            return self._in_order()
        rng = random.Random(seed)
        return _shuffled(self._in_block_order(rng), rng)

    def _numbered(self, number: int, seed: int | None) -> Iterator[Row]:
        before = sum(self._counts[:number])
        rows, several = self._sources[number].stream(seed), len(self._sources)
        return (
            row._replace(number=row.number + before, line=row.line * several + number)
            for row in rows
        )

    def _in_order(self) -> Iterator[Row]:
        for number in range(len(self._sources)):
            yield from self._numbered(number, None)

    def _in_block_order(self, rng: random.Random) -> Iterator[Row]:
        left, streams = list(self._counts), range(len(self._sources))
        rows = [self._numbered(number, rng.getrandbits(32)) for number in streams]
        while any(left):
            (number,) = rng.choices(streams, left)
            left[number] -= 1
            yield next(rows[number])


def reversed_pairs(rows: Source) -> Source:
    """Return rows with source and translation exchanged; of several references the first."""

    def convert(row: Row) -> tuple:
        source, target, *others = row.values
        return (first_of(target), source, *others)

    return Converted(rows, rows.columns, convert, options=("reversed",))


def with_languages(rows: Source, language: str | None = None) -> Source:
    """Return rows whose sources begin with the token of the language to write.

    Args:
        rows: of a source, its translation and, without `language`, the name of its language.
        language: of all rows.

    Raises:
        InputError: while rows are read: one names no language.
    """

    def convert(row: Row) -> tuple:
        source, target, *named = row.values
        name = (language or named[0]).strip()
        if not LANGUAGE.fullmatch(f">>{name}<<"):
            if language:
                raise InputError(
                    f"target_language {name!r:.40}: give the name of a language, such as de"
                )
            raise InputError(
                f"{rows.place(row.line)}: column {rows.columns[-1]!r} has {name!r:.40}; give the "
                "name of a language, such as de"
            )
        return in_language(name, source), target

    return Converted(rows, rows.columns[:2], convert, rows.several, (language,))


def languages_of(rows: Source) -> list[str]:
    """Return the languages that sources name, sorted; none if most of them name none."""
    named = collections.Counter(named_language(values[0]) or "" for _, values in rows.rows())
    none = named.pop("", 0)
    return sorted(named) if named.total() > none else []


def grouped(rows: Source) -> Source:
    """Return one row for each source, and each language of it, with all its translations."""
    references: dict[tuple, dict[str, None]] = {}
    firsts: dict[tuple, int] = {}  # number of the first row of each source
    for number, (source, target, *others) in rows.rows():
        several = target if isinstance(target, tuple) else (target,)
        key = (source, *others)
        references.setdefault(key, {}).update(dict.fromkeys(several))
        firsts.setdefault(key, number)

    def convert(row: Row) -> tuple | None:
        source, _, *others = row.values
        key = (source, *others)
        return (source, tuple(references[key]), *others) if row.number == firsts[key] else None

    return Converted(rows, rows.columns, convert, rows.columns[1:2], ("grouped",))
