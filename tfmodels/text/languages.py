"""Which language texts are in, by their letters: for metrics and model cards.

In: texts. Out: the code of a language (ISO 639-1) whose letters or word boundaries are special.
"""

import re
from collections.abc import Iterable
from itertools import islice

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
