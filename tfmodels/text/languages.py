"""Which language texts are in, by their letters, and which one they ask for, by a token in front.

In: texts. Out: the code of a language (ISO 639-1) whose letters or word boundaries are special; the
language that a token such as `>>de<<` in front of a source names (Johnson et al. 2017).
"""

import re
from collections.abc import Iterable
from itertools import islice

LANGUAGE = re.compile(r">>[^\s<>]+<<")  # the token of a language to write
TEXTS, CHARACTERS = 200, 1000  # of a corpus, and of each text, that are looked at
_KANA, _HAN = re.compile("[\u3041-\u30ff]"), re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_THAI = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # and Lao, Burmese, Khmer


def guess_language(texts: Iterable[str]) -> str:
    """Return "zh", "ja", "ko", "th", or "" for any other language and for no text.

    A fifth of the letters decides; "th" is also for Lao, Burmese and Khmer, which have no spaces
    between words either.
    """
    letters = "".join(c for text in islice(texts, TEXTS) for c in text[:CHARACTERS] if c.isalpha())
    least = max(len(letters) / 5, 1)
    kana, han = len(_KANA.findall(letters)), len(_HAN.findall(letters))
    if kana + han >= least:
        return "ja" if 5 * kana >= han else "zh"
    if len(_HANGUL.findall(letters)) >= least:
        return "ko"
    return "th" if len(_THAI.findall(letters)) >= least else ""


def named_language(text: str) -> str | None:
    """Return the language that the token in front of a text names, or None."""
    found = LANGUAGE.match(text)
    return found[0][2:-2] if found else None


def in_language(language: str, text: str) -> str:
    """Return a text with the token of the language to write in front of it."""
    return f">>{language}<< {text}"


def without_language(text: str) -> str:
    """Return a text without the token of a language in front of it."""
    found = LANGUAGE.match(text)
    return text[found.end() :].lstrip() if found else text
