"""Pairs that teach a translator nothing, or something wrong: found, counted and left out.

In: rows of a source and its translation. Out: the rows without those, and how many were left out
for which reason. Lengths are compared by what is usual in the rows themselves, and scripts too, so
that no languages have to be named.
"""

import collections
import functools
import hashlib
import unicodedata
from typing import NamedTuple

from tfmodels.data.rows import Source, first_of
from tfmodels.data.split import Subset
from tfmodels.errors import InputError
from tfmodels.text.languages import named_language, without_language

_SAMPLE = 10_000  # rows that tell what is usual
_SOME = 8  # characters added to both lengths: two short texts may differ more
_LETTERS = 4  # least number of letters of a text whose script counts
# Scripts of one language.
_TOGETHER = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK", "FULLWIDTH": "LATIN"}


class Cleaned(NamedTuple):
    """Rows, and the number of those left out by reason."""

    rows: Source
    counts: dict[str, int]

    def __str__(self) -> str:
        left = ", ".join(f"{name} {number}" for name, number in self.counts.items())
        return f"{self.rows.name}: left out {sum(self.counts.values())} pairs: {left}"


def clean(rows: Source, max_length_ratio: float = 3.0) -> Cleaned:
    """Leave out pairs that are repeated, copied, of unequal length or of another script.

    Args:
        rows: a source and its translation; read twice.
        max_length_ratio: a pair is left out if one side is more than this many times as long as
            the other, in characters, where the usual ratio of the sides counts as 1.

    Returns:
        `Cleaned`, with these counts: `duplicates` of an earlier pair; `identical sides`; `length
        ratio`; `script`, a side whose letters are mostly of a script that few of its column have.
        What is usual is found for each language that sources name.

    Raises:
        InputError: the ratio is below 1, a row cannot be read, or none is left.
    """
    if max_length_ratio < 1:
        raise InputError(f"max_length_ratio {max_length_ratio}: give 1 or more")
    characters: dict = collections.defaultdict(lambda: [1, 1])
    scripts: dict = collections.defaultdict(lambda: (collections.Counter(), collections.Counter()))
    sampled: collections.Counter = collections.Counter()
    for _, values in rows.rows():
        language = named_language(values[0])
        sampled[language] += 1
        if sampled[language] > _SAMPLE:
            continue
        for side, text in enumerate(_pair(values)):
            characters[language][side] += len(text)
            scripts[language][side][_script(text)] += 1
    usual = {language: [*map(_usual, counters)] for language, counters in scripts.items()}
    seen: set[bytes] = set()
    counts = dict.fromkeys(("duplicates", "identical sides", "length ratio", "script"), 0)
    left = []
    for number, values in rows.rows():
        source, target = pair = _pair(values)
        language = named_language(values[0])
        before, after = characters[language]
        factor, known = before / after, usual[language]
        row = "\n".join((language or "", *pair))
        key = hashlib.blake2b(row.encode("utf-8", "replace"), digest_size=12).digest()
        lengths = (len(source) + _SOME, factor * len(target) + _SOME)
        if key in seen:
            reason = "duplicates"
        elif source.casefold() == target.casefold():
            reason = "identical sides"
        elif max(lengths) > max_length_ratio * min(lengths):
            reason = "length ratio"
        elif any(_script(text) not in (None, *some) for text, some in
                 zip(pair, known, strict=True) if some):  # fmt: skip
            reason = "script"
        else:
            seen.add(key)
            continue
        counts[reason] += 1
        left.append(number)
    scan = rows.scan()
    if len(left) == scan.rows:
        raise InputError(f"{rows.name}: cleaning leaves no pair of {scan.rows}; see {counts}")
    return Cleaned(Subset(rows, frozenset(left), False, scan), counts)


def _pair(values):
    """Return source and translation, the first of several, without what is around them."""
    source, target = values[:2]
    return without_language(source).strip(), first_of(target).strip()


def _usual(counter):
    """Return the scripts that a tenth of the texts have, or more."""
    named = {script: number for script, number in counter.items() if script}
    return {script for script, number in named.items() if 10 * number >= sum(named.values())}


def _script(text):
    """Return the script of most letters of a text; None of a text with few letters."""
    scripts = collections.Counter(_script_of(c) for c in text[:500] if c.isalpha())
    if scripts.total() < _LETTERS:
        return None
    return scripts.most_common(1)[0][0]


@functools.lru_cache(1 << 16)
def _script_of(character):
    name = unicodedata.name(character, "").split(" ")[0]
    return _TOGETHER.get(name, name)
