"""Texts with entities as character spans: JSON files, and validation of the spans.

A line of a `.jsonl` file is such as `{"text": "Ann Lee", "entities": [{"type": "PER", "start": 0,
"end": 7}]}`. The key of the list can be `spans`, and a span can be `{"label", "start", "end"}` or
`[0, 7, "PER"]`. The exports of doccano and Prodigy (`.jsonl`) and of Label Studio (`.json`, an
array of such objects) are read as they are. Offsets are indices into the Python string, the end
exclusive; white space at the ends of an entity does not belong to it.
"""

import collections
import numbers
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from tfmodels.data.lines import LineFile
from tfmodels.data.rows import SURROGATE, Row, Source, text_of, visible
from tfmodels.data.tables import FileSource
from tfmodels.errors import InputError, brief

Entity = tuple[str, int, int]  # type, start, end
COLUMNS = ("text", "entities")
KINDS = "a CoNLL file, a .jsonl or .json file (or .gz of one) or tfds:NAME"
_KEYS = ("entities", "spans", "annotations", "label", "labels")  # the last two of doccano
# Other units that editors count offsets in: UTF-16 (JavaScript, Java) and bytes.
_UNITS = {"utf-16-le": 2, "utf-8": 1}


class EntitySource(Source):
    """Rows of a text and its entities.

    Entities are `(type, start, end)`, in order and without overlap. `scan` counts the entities of
    each type; held-out rows are stratified by whether a text has entities.
    """

    def _count(self, draw, label_column):
        types: collections.Counter[str] = collections.Counter()
        for number, _, (_, entities) in self.stream(None):
            types.update(kind for kind, _, _ in entities)
            draw.offer(number, bool(entities))
        if not types:
            raise InputError(
                f"{self.name}: no entity in {draw.counts.total()} texts; give texts with entities"
            )
        return dict(sorted(types.items()))


class JsonSpans(EntitySource, FileSource):
    """Texts and entities of a JSONL file."""

    def __init__(self, path: str | os.PathLike, encoding: str | None = None) -> None:
        super().__init__(path, (), encoding=encoding)
        self.columns = COLUMNS

    def _json_values(self, row, line):
        try:
            values = _text_and_entities(row)
        except TypeError as error:
            raise InputError(f"{self.place(line)}: {error}") from None
        if values is None:
            raise InputError(f"{self.place(line)}: no annotation; annotate it or remove the line")
        return values


class JsonArray(EntitySource, LineFile):
    """Texts and entities of a file that is one JSON array, such as Label Studio's export."""

    def __init__(self, path: str | os.PathLike, encoding: str | None = None) -> None:
        super().__init__(path, COLUMNS, KINDS, encoding)
        items = self._json("if each line is an object, name the file .jsonl")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise InputError(f"{self.name}: not an array of objects; give {KINDS}")
        self._rows = list(self._read(items))
        if len(self._rows) < len(items):
            print(
                f"{self.name}: {len(items) - len(self._rows)} of {len(items)} texts have no "
                "annotation and are left out",
                file=sys.stderr,
            )

    def place(self, line: int) -> str:
        return f"{self.name}: item {line}"

    def _read(self, items: list[dict]) -> Iterator[Row]:
        for line, item in enumerate(items, start=1):
            try:
                values = _text_and_entities(item)
            except TypeError as error:
                raise InputError(f"{self.place(line)}: {error}") from None
            if values is not None:
                yield Row(line - 1, line, values)

    def _in_order(self):
        return iter(self._rows)

    def _in_block_order(self, rng):
        return iter(rng.sample(self._rows, len(self._rows)))


def _text_and_entities(row: dict) -> tuple[str, tuple[Entity, ...]] | None:
    """Return the text and the entities of a JSON object; None if nobody has annotated it.

    Raises:
        TypeError: the object lacks one of them, or an entity is wrong.
    """
    if isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list):
        # A task of Label Studio: choices and relations are results without labels.
        done = [given for given in _dicts(row["annotations"]) if not given.get("was_cancelled")]
        if not done:
            return None
        if done[1:]:
            raise TypeError(f"{len(done)} annotations; keep one")
        values = _dicts([item.get("value") for item in _dicts(done[0].get("result"))])
        row = {**row["data"], "entities": [value for value in values if "labels" in value]}
    if row.get("answer") in ("reject", "ignore"):  # of Prodigy
        raise TypeError(f'"answer" is {row["answer"]!r}: keep the rows whose answer is "accept"')
    key = "text" if "text" in row else "data"  # as some versions of doccano call it
    if key not in row:
        raise TypeError(
            f'no text under "text", only {brief.repr(list(row))}; give an object such as '
            '{"text": "Ann Lee", "entities": [[0, 7, "PER"]]}'
        )
    text = text_of(row[key])
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TypeError(f"{SURROGATE}; correct the row") from None
    lists = [row[key] for key in _KEYS if isinstance(row.get(key), list)]
    if len(lists) != 1:
        raise TypeError('give one list, under "entities" or "spans"')
    return text, checked_entities(lists[0], text)


def _dicts(items: Any) -> list[dict]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def checked_entities(items: Iterable, text: str) -> tuple[Entity, ...]:
    """Return the entities of a text in order.

    Args:
        items: dicts of `type` (or `label`), `start` and `end`, or sequences `(type, start, end)`
            or `(start, end, type)`.
        text: the text.

    Raises:
        TypeError: an item is not an entity, is outside the text, or overlaps another one.
    """
    entities = sorted((_entity(item, text) for item in items), key=lambda entity: entity[1:])
    for left, right in zip(entities, entities[1:], strict=False):
        if right[1] < left[2]:
            raise TypeError(
                f"{_described(left, text)} and {_described(right, text)} overlap; keep one"
            )
    return tuple(entities)


def _entity(item: Any, text: str) -> Entity:
    kind, start, end, own = _fields(item)
    integers = all(isinstance(at, numbers.Integral) and not isinstance(at, bool)
                   for at in (start, end))  # fmt: skip
    if not isinstance(kind, str) or not visible(kind) or not integers:
        raise TypeError(
            f'{str(item)[:60]} is not an entity; write {{"type": "PER", "start": 0, "end": 3}} '
            'or [0, 3, "PER"]'
        )
    if isinstance(own, str):
        start, end = _in_characters(text, start, end, own)
    if not 0 <= start < end <= len(text):
        raise TypeError(
            f"{kind} from character {start} to {end} is empty or outside the text, which has "
            f"{len(text)} characters; count Unicode characters, the end is exclusive"
        )
    first, limit = trimmed(text, start, end)
    if first == limit:
        raise TypeError(f"{kind} from character {start} to {end} is only whitespace; remove it")
    try:
        kind.encode()
    except UnicodeEncodeError as error:
        raise TypeError(str(error)) from None
    return visible(kind), int(first), int(limit)


def _fields(item: Any) -> tuple:
    """Return the type, start and end of an item, and the text that it claims to have, or None."""
    if isinstance(item, dict):
        labels = item.get("labels")  # of Label Studio
        label = labels[0] if isinstance(labels, list) and len(labels) == 1 else None
        ends = (item.get(key, item.get(f"{key}_offset")) for key in ("start", "end"))
        return item.get("type", item.get("label", label)), *ends, item.get("text")
    if isinstance(item, list | tuple) and len(item) == 3:
        return (*item, None) if isinstance(item[0], str) else (item[2], *item[:2], None)
    return None, None, None, None


def _in_characters(text: str, start: int, end: int, own: str) -> tuple[int, int]:
    """Return offsets in characters, found by the text that an entity says it has."""
    if visible(text[start:end]) == visible(own):
        return start, end
    for encoding, size in _UNITS.items():
        data = text.encode(encoding)
        before, inside = data[: start * size], data[start * size : end * size]
        if visible(inside.decode(encoding, "replace")) == visible(own):
            start = len(before.decode(encoding, "replace"))
            return start, start + len(inside.decode(encoding, "replace"))
    raise TypeError(
        f"characters {start} to {end} are {text[start:end][:30]!r}, not {own[:30]!r} as the entity "
        "says; correct the offsets, which count Unicode characters"
    )


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the ends of an entity without white space and invisible characters there."""
    while start < end and not visible(text[start]):
        start += 1
    while start < end and not visible(text[end - 1]):
        end -= 1
    return start, end


def _described(entity: Entity, text: str) -> str:
    kind, start, end = entity
    return f"{kind} {text[start:end][:30]!r} ({start} to {end})"
