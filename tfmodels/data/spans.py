"""Texts with entities as character spans: JSONL files, and validation of the spans.

A line of a file is such as `{"text": "Ann Lee", "entities": [{"type": "PER", "start": 0, "end":
7}]}`. The key of the list can be `spans`, and a span can be `{"label", "start", "end"}` or
`[0, 7, "PER"]`. Offsets are indices into the Python string, the end exclusive.
"""

import collections
import numbers
import os
from collections.abc import Iterable
from typing import Any

from tfmodels.data.rows import Source
from tfmodels.data.tables import FileSource
from tfmodels.errors import InputError

Entity = tuple[str, int, int]  # type, start, end
COLUMNS = ("text", "entities")


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
        super().__init__(path, ("text",), encoding=encoding, missing="keep")
        self.columns = COLUMNS

    def _json_values(self, row, line):
        (text,) = super()._json_values(row, line)
        keys = [key for key in ("entities", "spans") if key in row]
        try:
            if len(keys) != 1 or not isinstance(row[keys[0]], list):
                raise TypeError('give one list, under "entities" or "spans"')
            return text, checked_entities(row[keys[0]], text)
        except TypeError as error:
            raise InputError(f"{self.place(line)}: {error}") from None


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
    fields: Any = (None, None, None)
    if isinstance(item, dict):
        fields = item.get("type", item.get("label")), item.get("start"), item.get("end")
    elif isinstance(item, list | tuple) and len(item) == 3:
        fields = item if isinstance(item[0], str) else (item[2], *item[:2])
    kind, start, end = fields
    integers = all(isinstance(at, numbers.Integral) and not isinstance(at, bool)
                   for at in (start, end))  # fmt: skip
    if not isinstance(kind, str) or not kind.strip() or not integers:
        raise TypeError(
            f'{str(item)[:60]} is not an entity; write {{"type": "PER", "start": 0, "end": 3}} '
            'or [0, 3, "PER"]'
        )
    if not 0 <= start < end <= len(text):
        raise TypeError(
            f"{kind} from character {start} to {end} is empty or outside the text, which has "
            f"{len(text)} characters; the end is exclusive"
        )
    if not text[start:end].strip():
        raise TypeError(f"{kind} from character {start} to {end} is only whitespace; remove it")
    try:
        kind.encode()
    except UnicodeEncodeError as error:
        raise TypeError(str(error)) from None
    return kind.strip(), int(start), int(end)


def _described(entity: Entity, text: str) -> str:
    kind, start, end = entity
    return f"{kind} {text[start:end][:30]!r} ({start} to {end})"
