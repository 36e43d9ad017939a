"""Answers counted as the scripts of SQuAD and CMRC do: oracles written from their papers."""

import collections
import difflib
import random
import re
import string

import pytest

from tfmodels.errors import InputError
from tfmodels.metrics.squad import (
    answer_scores,
    best_threshold,
    cmrc_f1,
    cmrc_words,
    squad_f1,
    squad_metrics,
)

PIECES = [
    "the",
    "The",
    "a",
    "An",
    "cat",
    "Cat's",
    "dog",
    "42",
    "$5.50",
    "—",
    "  ",
    "theory",
    ".",
    ",",
]
CHINESE = ["北京", "在", "1990年", "ABC", "，", "。", "《", "》", "a b", "中国", " ", "-", "u2"]


def random_texts(pieces, number, seed):
    rng = random.Random(seed)
    return [" ".join(rng.choices(pieces, k=rng.randint(0, 6))) for _ in range(number)]


def plain(text):
    """The normalization of the paper, one step after the other."""
    text = text.lower()
    text = "".join(c for c in text if c not in set(string.punctuation))
    text = re.sub(r"\b(?:a|an|the)\b", " ", text)
    return " ".join(text.split())


def oracle(gold, predicted):
    one, other = plain(gold).split(), plain(predicted).split()
    if not one or not other:
        return float(one == other)
    left, same = collections.Counter(other), 0
    for word in one:
        if left[word]:
            left[word] -= 1
            same += 1
    if not same:
        return 0.0
    precision, recall = 1.0 * same / len(other), 1.0 * same / len(one)
    return (2 * precision * recall) / (precision + recall)


def test_words_of_random_texts():
    texts = random_texts(PIECES, 400, 0)
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    assert [squad_f1(*pair) for pair in pairs] == [oracle(*pair) for pair in pairs]
    scores = answer_scores([[gold] for gold, _ in pairs], [p for _, p in pairs], version="1.1")
    assert [exact for exact, _ in scores] == [float(plain(g) == plain(p)) for g, p in pairs]
    assert len({f1 for _, f1 in scores}) > 6


def test_longest_run_of_random_chinese():
    texts = ["".join(text.split(" ")) for text in random_texts(CHINESE, 400, 1)]
    for gold, found in zip(texts[::2], texts[1::2], strict=True):
        one, other = cmrc_words(gold), cmrc_words(found)
        match = difflib.SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
        expected = 0.0
        if match.size:
            precision, recall = match.size / len(other), match.size / len(one)
            expected = 2 * precision * recall / (precision + recall)
        assert cmrc_f1(gold, found) == expected


def test_words_by_hand():
    assert cmrc_words("《红楼梦》ABC，1990年") == ["红", "楼", "梦", "abc1990", "年"]
    assert cmrc_words(" 在New York city。") == ["在", "new", "york", "city"]
    assert cmrc_f1("北京大学", "在北京大学读书") == 2 * (4 / 7) / (4 / 7 + 1)
    # The punctuation goes before exact match, the order of the words counts.
    assert squad_metrics([["“北京”"], ["北京"]], ["北京", "京北"], "cmrc") == {
        "exact_match": 50.0, "f1": 75.0, "questions": 2,
    }  # fmt: skip


def test_the_best_of_several_answers_and_none():
    metrics = squad_metrics([["the cat", "a black cat"], []], ["black cat", ""])
    assert metrics["has_answer"] == {"exact_match": 100.0, "f1": 100.0, "questions": 1}
    assert metrics["no_answer"] == metrics["has_answer"]
    metrics = squad_metrics([["cat"], []], ["", "cat"])
    assert metrics["exact_match"] == metrics["f1"] == 0.0
    assert "no_answer" not in squad_metrics([["cat"]], ["dog"])


def test_no_answer_in_chinese():
    scores = answer_scores([[], [], ["北京"]], ["", "北京", ""], "cmrc")
    assert scores == [(1.0, 1.0), (0.0, 0.0), (0.0, 0.0)]
    assert squad_metrics([["北京"], []], ["北京", ""], "cmrc")["no_answer"]["f1"] == 100.0


def test_versions_differ_where_no_word_is_left():
    """1.1 counts no shared word as 0; 2.0 leaves such answers out, or counts them as none."""
    assert answer_scores([["The"]], ["a"], version="1.1") == [(1.0, 0.0)]
    assert answer_scores([["The"]], ["a"], version="2.0") == [(1.0, 1.0)]
    assert answer_scores([["The", "cat"]], [""], version="2.0") == [(0.0, 0.0)]


def test_threshold():
    nulls, answered, empty = [0.1, 0.9, 0.5, 0.95], [1.0, 0.0, 0.4, 0.0], [0.0, 1.0, 0.0, 0.0]
    threshold, mean = best_threshold(nulls, answered, empty)
    assert 0.5 < threshold < 0.9 and mean == pytest.approx(2.4 / 4)
    assert best_threshold([0.3], [0.0], [1.0]) == (-1.0, 1.0)  # answer nothing
    threshold, _ = best_threshold([0.2, 0.3], [1.0, 1.0], [0.0, 0.0])
    assert threshold > 0.3  # answer always


def test_no_such_metric():
    with pytest.raises(InputError, match="metric 'bleu': give one of squad, cmrc"):
        answer_scores([["a"]], ["a"], "bleu")
