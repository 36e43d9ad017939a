"""The properties of Unicode characters that a tokenizer needs, as one table for `tf.gather`.

In: `unicode.npz` (written by `make_unicode_table.py`, which explains it) and
the tokenizer's options. Out, for BERT's clean-up: two arrays that give, for any
code point, the kind of the character and the one to three characters that
replace it. For GPT-2's splitting: letter, number, white space or other.

P = distinct pages of 256 code points.
"""

from pathlib import Path

import numpy as np

CODE_POINTS = 0x110000

# Flags of a code point in `unicode.npz`.
REMOVED = 1  # control and format characters, U+FFFD, private use
SPACE = 2
ACCENT = 4  # nonspacing marks (Mn): gone when accents are stripped
PUNCTUATION = 8
PUNCTUATION_STRIPPED = 16  # punctuation once accents are gone: U+2260 becomes "="
CJK = 32  # ideographs

# Kinds of a character under given options: the last column of the table.
IN_WORD, ALONE, WHITE_SPACE, STRIPPED, DROPPED = range(5)

# White space that MeCab drops; the others are characters to it.
BLANKS = b" \t\n\v"

# Kinds of a character in GPT-2's splitting: \p{L}, \p{N}, \s and the rest.
LETTER, NUMBER, WHITE, OTHER = range(4)


def load_characters() -> dict[str, np.ndarray]:
    """Return the arrays of `unicode.npz`; shapes and meaning in `make_unicode_table.py`."""
    with np.load(Path(__file__).with_name("unicode.npz"), allow_pickle=False) as arrays:
        return dict(arrays)


def character_table(
    *, lowercase: bool, strip_accents: bool, split_cjk: bool, clean: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return the normalization of every code point under these options.

    Without `clean` only white space is special, and it is MeCab's.

    Returns:
        `page_of`, int32 [4352], and `table`, int32 [P * 256, 4]. The row of a
        code point is `page_of[code >> 8] * 256 + (code & 255)`. Its columns:
        the first replacement as a difference to the code point, the second
        and the third replacement (0 = none), and the kind.
    """
    data = load_characters()
    flags = data["flags"].reshape(-1)  # [P * 256]
    alone = flags & (PUNCTUATION_STRIPPED if strip_accents else PUNCTUATION)
    if split_cjk:
        alone |= flags & CJK
    kind = np.where(alone, ALONE, IN_WORD)
    if strip_accents:
        kind = np.where(flags & ACCENT, STRIPPED, kind)
    kind = np.where(flags & SPACE, WHITE_SPACE, kind)
    kind = np.where(flags & REMOVED, DROPPED, kind)
    if not clean:
        codes = [*BLANKS]
        kind = np.full_like(kind, IN_WORD)
        kind[data["page_of"][0] * 256 + np.array(codes)] = WHITE_SPACE

    names = {(True, True): "both", (True, False): "lowered", (False, True): "stripped"}
    if name := names.get((lowercase, strip_accents)):
        new = data[name].reshape(-1, 3)
    else:
        new = np.zeros([len(flags), 3], np.int32)
    table = np.concatenate([new, kind[:, None]], axis=1).astype(np.int32)  # [P * 256, 4]
    return data["page_of"].astype(np.int32), table


def kind_table() -> tuple[np.ndarray, np.ndarray]:
    """Return LETTER, NUMBER, WHITE or OTHER for every code point.

    Returns:
        `page_of`, int32 [4352], and `table`, int32 [P * 256], with the rows of
        `character_table`.
    """
    data = load_characters()
    lengths = np.diff(data["run_start"], append=CODE_POINTS)
    kinds = np.repeat(data["run_kind"], lengths).reshape(-1, 256)
    pages, page_of = np.unique(kinds, axis=0, return_inverse=True)
    return page_of.reshape(-1).astype(np.int32), pages.reshape(-1).astype(np.int32)
