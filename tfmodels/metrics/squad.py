"""Exact match and F1 of answers, as the scripts of SQuAD 1.1, SQuAD 2.0 and CMRC 2018 count them.

In: for each question the answers that people gave, and the one that was predicted. Out: numbers
that equal those of the scripts to the last digit (Rajpurkar et al. 2016 and 2018, Cui et al. 2019).
"""

import collections
import importlib.util
import re
import string
from collections.abc import Iterable, Sequence
from typing import Any

from tfmodels.errors import InputError

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = frozenset(string.punctuation)
# What CMRC's script leaves out, and splits at. It looks for single characters, so that `……` of its
# list never matches.
_CMRC = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_IDEOGRAPH = re.compile("[\u4e00-\u9fa5]")
METRICS = ("squad", "cmrc")


def metric_of(gold: Sequence[Sequence[str]]) -> str:
    """Return "cmrc" if most letters of answers are ideographs, else "squad"."""
    letters = [
        letter for answers in gold for text in answers for letter in text if letter.isalpha()
    ]
    chinese = sum("\u4e00" <= letter <= "\u9fff" for letter in letters)
    return "cmrc" if chinese > len(letters) / 2 else "squad"


def normalized(text: str) -> str:
    """Return a text in lower case without punctuation, articles and superfluous blanks."""
    text = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def squad_f1(gold: str, predicted: str, empty: bool = True) -> float:
    """Return the F1 of the words of two texts.

    Args:
        gold: given.
        predicted: found.
        empty: whether two texts without words are equal, as of SQuAD 2.0; in 1.1 they have 0.
    """
    given, found = (normalized(text).split() for text in (gold, predicted))
    if empty and not (given and found):
        return float(given == found)
    same = sum((collections.Counter(given) & collections.Counter(found)).values())
    if not same:
        return 0.0
    precision, recall = same / len(found), same / len(given)
    return 2 * precision * recall / (precision + recall)


def cmrc_words(text: str) -> list[str]:
    """Return the ideographs, and the words between them, of a text without punctuation."""
    parts: list[str] = []
    rest = ""
    for letter in text.lower().strip():
        if letter in _CMRC:
            continue
        if not _IDEOGRAPH.match(letter):
            rest += letter
            continue
        parts += [*_words(rest), letter]
        rest = ""
    return [*parts, *_words(rest)]


def _words(text: str) -> list[str]:
    """Split what is no Chinese as the script does, by the rules of the Penn Treebank.

    The script splits it into sentences before, by a model that nltk fetches; an answer of several
    sentences without Chinese between them can differ by their stops.
    """
    if not text.strip() or text.isalnum():
        return text.split()
    return _tokenizer().tokenize(text)


def _tokenizer() -> Any:
    try:
        from nltk.tokenize import NLTKWordTokenizer
    except ImportError:
        raise InputError(
            "CMRC's F1 of answers with Latin words or numbers needs nltk; run: pip install nltk"
        ) from None
    return NLTKWordTokenizer()


def check_metric(metric: str, texts: Iterable[str]) -> None:
    """Fail if a package is missing that the metric of such texts needs."""
    if metric == "cmrc" and importlib.util.find_spec("nltk") is None:
        for text in texts:
            cmrc_words(text)


def cmrc_f1(gold: str, predicted: str) -> float:
    """Return the F1 of the longest run of characters that two texts share."""
    given, found = cmrc_words(gold), cmrc_words(predicted)
    longest, above = 0, [0] * (len(found) + 1)
    for word in given:
        row = [0] * (len(found) + 1)
        for place, other in enumerate(found, start=1):
            if word == other:
                row[place] = above[place - 1] + 1
                longest = max(longest, row[place])
        above = row
    if not longest:
        return 0.0
    precision, recall = longest / len(found), longest / len(given)
    return 2 * precision * recall / (precision + recall)


def _cmrc_plain(text: str) -> str:
    return "".join(letter for letter in text.lower().strip() if letter not in _CMRC)


def answer_scores(
    gold: Sequence[Sequence[str]], predicted: Sequence[str], metric: str = "squad",
    version: str = "2.0",
) -> list[tuple[float, float]]:  # fmt: skip
    """Return exact match and F1 of each question, 0 to 1; the best over the given answers.

    Args:
        gold: for each question the texts of its answers; none where the context has none.
        predicted: for each question the text that was found, "" for none.
        metric: "squad" or "cmrc".
        version: "1.1" or "2.0" of SQuAD, which differ where no word is left of an answer.

    Raises:
        InputError: no such metric.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r}: give one of {', '.join(METRICS)}")
    second = version == "2.0"
    plain = _cmrc_plain if metric == "cmrc" else normalized

    def f1_of(text, found):
        return cmrc_f1(text, found) if metric == "cmrc" else squad_f1(text, found, second)

    scores = []
    for answers, found in zip(gold, predicted, strict=True):
        if metric == "squad" and second:
            answers = [text for text in answers if normalized(text)]
        texts, wanted = answers or [""], plain(found)
        if metric == "cmrc" and not answers:  # which its script does not know
            scores.append((float(not wanted), float(not wanted)))
            continue
        exact = max(float(plain(text) == wanted) for text in texts)
        scores.append((exact, max(f1_of(text, found) for text in texts)))
    return scores


def squad_metrics(
    gold: Sequence[Sequence[str]], predicted: Sequence[str], metric: str = "squad",
    version: str | None = None,
) -> dict:  # fmt: skip
    """Return exact match and F1 in percent.

    Args:
        gold, predicted, metric: see `answer_scores`.
        version: see there; "2.0" if not given and a question has no answer, else "1.1".

    Returns:
        dict: `exact_match`, `f1`, `questions`; where some questions have no answer also
        `has_answer` and `no_answer`, the same of these alone.
    """
    some = any(not answers for answers in gold)
    version = version or ("2.0" if some else "1.1")
    scores = answer_scores(gold, predicted, metric, version)
    metrics = _means(scores)
    if some:
        for name, wanted in (("has_answer", True), ("no_answer", False)):
            rows = zip(gold, scores, strict=True)
            metrics[name] = _means([score for answers, score in rows if bool(answers) is wanted])
    return metrics


def _means(scores: list[tuple[float, float]]) -> dict:
    number = len(scores)
    exact, f1 = (sum(column) for column in zip(*scores, strict=True)) if scores else (0.0, 0.0)
    return {
        "exact_match": 100.0 * exact / max(number, 1), "f1": 100.0 * f1 / max(number, 1),
        "questions": number,
    }  # fmt: skip


def best_threshold(
    null_scores: Sequence[float], answered: Sequence[float], empty: Sequence[float]
) -> tuple[float, float]:
    """Return the threshold of the null score above which to answer nothing, and the mean there.

    Args:
        null_scores: of each question.
        answered: the score of each question where the answer that was found is given.
        empty: the score where none is given.

    Returns:
        `(threshold, mean)`: the largest mean of the scores; between two null scores the middle.
    """
    order = sorted(range(len(null_scores)), key=lambda n: null_scores[n])
    total = sum(empty)
    best = (total, -1.0)  # answer nothing
    for place, number in enumerate(order):
        total += answered[number] - empty[number]
        here = null_scores[number]
        following = null_scores[order[place + 1]] if place + 1 < len(order) else 1.0
        if following > here or place + 1 == len(order):
            best = max(best, (total, (here + max(following, here)) / 2))
    return best[1], best[0] / max(len(order), 1)
