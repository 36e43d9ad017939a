"""Writes `unicode.npz`: what BERT's clean-up does to each code point, what GPT-2 takes it for.

In: the `tokenizers` library, asked about every code point, so that the table
holds what the reference does and not what one version of Python knows of
Unicode. Out: the arrays that `characters.py` reads. Run it again when the
library moves to a newer Unicode: `python -m tools.make_unicode_table`.

P = distinct pages of 256 code points; equal pages are stored once, which works
because a page of characters that change by nothing is all zeros.

    page_of   uint16 [4352]       page of the code points 256 * i ... 256 * i + 255
    flags     uint8 [P, 256]      sum of the flags of `characters.py`
    stripped  int32 [P, 256, 3]   canonical decomposition without accents (Mn)
    lowered   int32 [P, 256, 3]   lower case
    both      int32 [P, 256, 3]   lower case of `stripped`

The last axis is the characters that replace one: the first as a difference to
the old one, the others as they are, 0 where there is none.

R = runs of neighbouring code points of one kind in GPT-2's splitting.

    run_start int32 [R]           first code point of each run
    run_kind  uint8 [R]           LETTER, NUMBER, WHITE or OTHER of `characters.py`
"""

from pathlib import Path

import numpy as np
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel

from tfmodels.text import characters

SURROGATES = range(0xD800, 0xE000)  # not characters; no valid UTF-8 holds them


def normalizer(cjk=False, strip=False, lowercase=False):
    """The reference's normalization of one string, with only the named steps on."""
    return BertNormalizer(
        clean_text=True, handle_chinese_chars=cjk, strip_accents=strip, lowercase=lowercase
    ).normalize_str


def build() -> dict[str, np.ndarray]:
    """Asks the reference about every code point and folds equal pages."""
    clean, separate = normalizer(), normalizer(cjk=True)
    replacements = {
        "stripped": normalizer(strip=True),
        "lowered": normalizer(lowercase=True),
        "both": normalizer(strip=True, lowercase=True),
    }
    split = BertPreTokenizer().pre_tokenize_str

    def stands_alone(character):
        pieces = len(split(f"a{character}a"))  # 1: part of the word, 3: stands alone
        if pieces not in (1, 3):
            raise AssertionError(f"{character!a} splits but is neither space nor punctuation")
        return pieces == 3

    flags = np.zeros([characters.CODE_POINTS], np.uint8)
    tables = {name: np.zeros([characters.CODE_POINTS, 3], np.int32) for name in replacements}
    for code in range(characters.CODE_POINTS):
        if code in SURROGATES or not clean(chr(code)):
            flags[code] = characters.REMOVED
            continue
        character = chr(code)
        if clean(character) == " ":
            flags[code] = characters.SPACE
            continue
        new = {name: replace(character) for name, replace in replacements.items()}
        for name, text in new.items():
            if text:
                tables[name][code, 0] = ord(text[0]) - code
                tables[name][code, 1 : len(text)] = [ord(other) for other in text[1:]]

        alone = stands_alone(character), any(map(stands_alone, new["stripped"]))
        if len(new["stripped"]) > 1 and alone[1]:
            raise AssertionError(f"{character!a} becomes several characters, one of them alone")
        if alone != tuple(any(map(stands_alone, new[name])) for name in ("lowered", "both")):
            raise AssertionError(f"{character!a} is punctuation in one letter case only")
        flags[code] |= characters.PUNCTUATION * alone[0]
        flags[code] |= characters.PUNCTUATION_STRIPPED * alone[1]
        flags[code] |= characters.CJK * (separate(character) == f" {character} ")
        flags[code] |= characters.ACCENT * (new["stripped"] == "")

    columns = [flags[:, None].astype(np.int32), *tables.values()]
    columns = np.concatenate(columns, axis=1)  # [CODE_POINTS, 10]
    pages, page_of = np.unique(columns.reshape(-1, 256 * 10), axis=0, return_inverse=True)
    pages = pages.reshape(-1, 256, 10)
    return {
        "page_of": page_of.reshape(-1).astype(np.uint16),
        "flags": pages[..., 0].astype(np.uint8),
        **{name: pages[..., 3 * i + 1 : 3 * i + 4] for i, name in enumerate(tables)},
        **build_runs(),
    }


def build_runs() -> dict[str, np.ndarray]:
    """Asks the reference what GPT-2 takes every code point for: what it stands together with."""
    split = ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str
    beside = {"a": characters.LETTER, "1": characters.NUMBER, "!": characters.OTHER}
    kinds = np.full([characters.CODE_POINTS], characters.OTHER, np.uint8)
    for code in range(characters.CODE_POINTS):
        if code not in SURROGATES:
            joins = [kind for other, kind in beside.items() if len(split(other + chr(code))) == 1]
            (kinds[code],) = joins or [characters.WHITE]
    start = np.flatnonzero(np.diff(kinds, prepend=255))
    return {"run_start": start.astype(np.int32), "run_kind": kinds[start]}


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "tfmodels" / "text" / "unicode.npz"
    np.savez_compressed(target, **build())
    print(f"{target.name}: {target.stat().st_size:,} bytes")
