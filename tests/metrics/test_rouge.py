"""Measures of summaries: ROUGE against `rouge_score` on ASCII text, everything else by hand."""

import random
import statistics
import sys

import pytest
from rouge_score.rouge_scorer import RougeScorer

from tfmodels.errors import InputError
from tfmodels.metrics.rouge import (
    ROUGE,
    Tokenizer,
    examples_table,
    lead,
    measure,
    rouge,
    worst,
)

WORDS = (
    "a the of running runs ran runner quickly quick nationally national nations relational 3.5 "
    "don't it's U.S. e-mail snake_case B2B 1,000 2024 Mr. $5 70% (sic) 'quoted' \"so\" -- ... "
    "HTTP://a.b/c?d=e&f x the of police policies happily happiness generalizations &amp; \t"
)


def random_text(rng, sentences, between):
    """ASCII sentences of few and different words, so that pairs have much in common."""
    return between.join(
        " ".join(rng.choices(WORDS.split(" "), k=rng.randint(1, 12)))
        + rng.choice([".", "!", "?", ". "])
        for _ in range(sentences)
    )


def random_pairs(between, least):
    rng = random.Random(0)
    return [
        tuple(random_text(rng, rng.randint(least, 5), rng.choice(between)) for _ in range(2))
        for _ in range(400)
    ]


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        (random_pairs(["\n", "\n\n", " \n ", "\r\n"], least=2), ROUGE),
        # Where sentences are not on lines, ROUGE-Lsum is another one: ours splits them.
        (random_pairs([" "], least=1), ROUGE[:3]),
    ],
    ids=["lines", "one line"],
)
def test_equal_to_rouge_score_on_ascii(pairs, names):
    """To the last digit, pair by pair and in the mean."""
    scorer = RougeScorer(names, use_stemmer=True)
    expected = []
    for output, reference in pairs:
        score = scorer.score(reference, output)
        expected.append({name: 100 * score[name].fmeasure for name in names})
        found = rouge([output], [reference])
        assert {name: found[name] for name in names} == expected[-1]
    mean = rouge(*zip(*pairs, strict=True))
    for name in names:
        assert mean[name] == statistics.fmean(row[name] for row in expected)
        assert 5 < mean[name] < 95  # so the pairs are about something


def test_tokens_of_ascii_are_those_of_rouge_score():
    """All characters, and in every place of a word."""
    expected = RougeScorer([], use_stemmer=True)._tokenizer
    for code in range(128):
        text = f"{chr(code)}Running{chr(code)}Dogs {chr(code)} nations{chr(code)}"
        assert Tokenizer().tokenize(text) == expected.tokenize(text)


def test_sentences_of_one_line_are_split():
    """By hand: the same two sentences the other way round."""
    reference, output = "A cat sat. Dogs ran.", "Dogs ran. A cat sat."
    found = rouge([output], [reference])
    assert found["rougeL"] == pytest.approx(60)  # "a cat sat" of five words
    assert found["rougeLsum"] == 100
    on_lines = rouge([output.replace(". ", ".\n")], [reference.replace(". ", ".\n")])
    assert found == on_lines == rouge([output + "\n"], ["\n" + reference])
    chinese = rouge(["狗跑了。猫坐下"], ["猫坐下。狗跑了！"])
    assert chinese["rougeL"] == pytest.approx(50) and chinese["rougeLsum"] == 100


def test_chinese_by_hand():
    # 我 爱 北 京 and 我 在 北 京: three of four characters, one of three pairs, 我北京.
    found = rouge(["我在北京。"], ["我爱，北京"])
    assert found == pytest.approx(
        {"rouge1": 75, "rouge2": 100 / 3, "rougeL": 75, "rougeLsum": 75}, abs=1e-12
    )
    # Four characters, three of them in a reference of six: precision 3/4, recall 1/2.
    assert rouge(["天气很冷"], ["今天天气很好"])["rouge1"] == pytest.approx(60)


def test_tokens():
    tokenize = Tokenizer().tokenize
    assert tokenize("我用GPT-2模型，Running 3次") == [
        *("我", "用", "gpt", "2", "模", "型", "run", "3", "次")
    ]
    assert tokenize("カーー・ｦｲひら") == ["カ", "ー", "ー", "ｦ", "ｲ", "ひ", "ら"]
    assert tokenize("한국어 ok") == ["한", "국", "어", "ok"]
    assert tokenize("𠮷a野é") == ["𠮷", "a", "野", "é"]
    assert tokenize("Café, naïvely! Ünder_über") == ["café", "naïvely", "ünder", "über"]
    assert tokenize("Привет, мир") == ["привет", "мир"]
    assert tokenize("مرحبا بالعالم") == ["مرحبا", "بالعالم"]
    assert tokenize("हिन्दी में") == ["हिन्दी", "में"]
    assert tokenize("good ❤️ 👍🏽 “it’s” — so…") == ["good", "it", "s", "so"]
    assert tokenize("") == tokenize(" ,。\n") == []
    assert Tokenizer(stem=False).tokenize("Running café") == ["running", "café"]


def test_accents_are_kept():
    assert rouge(["café"], ["cafe"])["rouge1"] == rouge(["мир"], ["дом"])["rouge1"] == 0
    assert rouge(["cafe\u0301"], ["caf\u00e9"])["rouge1"] == 100  # stored in two ways
    # `rouge_score` reads "caf" in both; as documented, ours is another score.
    assert RougeScorer(["rouge1"]).score("café", "cafè")["rouge1"].fmeasure == 1


def test_novel_ngrams_by_hand():
    source = "The dog runs in the park."
    for output, novel in [
        # the dog running in park: one word of five, and distinct pairs "dog running", "running in",
        # "park the" of six.
        ("the DOG running in the park, the dog", [1 / 5, 3 / 6]),
        (source, [0, 0, 0]),
        ("new words", [1, 1, 0]),
        ("", [0, 0, 0]),
    ]:
        found = measure([source], ["x"], [output])["novel"]
        assert list(found.values())[: len(novel)] == novel
    assert measure(["北京很大"], ["x"], ["北京大"])["novel"]["2"] == 1 / 2


def test_lead():
    article = 'It rained at 3.5 m. "Really?" he asked. Nobody knew! The end.'
    assert lead(article, 2) == 'It rained at 3.5 m.\n"Really?"'
    assert lead(article + "\n", 3) == 'It rained at 3.5 m.\n"Really?"\nhe asked.'
    dialogue = "Ann: Hi. How are you?\r\n\n  Bob: Fine. You?\nAnn: Bye."
    assert lead(dialogue, 2) == "Ann: Hi. How are you?\nBob: Fine. You?"
    assert lead(dialogue, 9) == "Ann: Hi. How are you?\nBob: Fine. You?\nAnn: Bye."
    assert lead("今天下雨。“真的吗？”他问。没人知道！", 3) == "今天下雨。\n“真的吗？”\n他问。"
    assert lead(" \n ", 3) == ""
    with pytest.raises(InputError, match="the lead has 0 sentences; give 1 or more"):
        lead(article, 0)


def test_measure_by_hand():
    sources = ["A cat sat. A dog ran. It rained.", "Ann: Hi all.\nBob: Says bye."]
    references = ["A cat sat. A dog ran.", "They say"]
    outputs = ["A cat sat.", " "]
    found = measure(sources, references, outputs, lead_k=1)
    # Of the first reference's six words three are there, and of its five pairs two; the lead is
    # the same three words, and for the second example no word of the reference.
    scores = {"rouge1": 100 / 3, "rouge2": 200 / 7, "rougeL": 100 / 3, "rougeLsum": 100 / 3}
    lead_found = found.pop("lead")
    assert lead_found.pop("k") == 1
    assert lead_found == pytest.approx(scores)
    assert {name: found.pop(name) for name in ROUGE} == pytest.approx(scores)
    # Novel are "they", "say" (there is "says": without stemming) and their pair.
    assert found == {
        "examples": 2,
        "length": {
            "source": 7.0,
            "reference": 4.0,
            "output": 1.5,
            "output_over_reference": 0.375,
        },
        "novel": {"1": 0.0, "2": 0.0, "3": 0.0},
        "novel_references": {"1": 0.5, "2": 0.5, "3": 0.0},
        "empty": 1,
    }


def test_nothing_but_empty_outputs():
    found = measure(["A source."], ["A reference."], [""])
    assert [found[name] for name in ROUGE] == [0.0] * 4 and found["empty"] == 1
    assert found["length"]["output"] == found["length"]["output_over_reference"] == 0.0
    assert measure(["a"], [""], ["b"])["length"]["output_over_reference"] == 0.0


def test_worst_is_sorted():
    outputs = ["a b c d", "x", "a b y z", ""]
    found = worst(["s", "t" * 1000, "u" * 1001, "v"], ["a b c d"] * 4, outputs, number=3)
    assert [row["output"] for row in found] == ["x", "", "a b y z"]
    assert [row["rougeL"] for row in found] == [0.0, 0.0, 50.0]
    assert found[0] == {"source": "t" * 1000, "reference": "a b c d", "output": "x", "rougeL": 0.0}
    assert found[2]["source"] == "u" * 997 + "..."


def test_examples_table():
    numbers = [str(i) for i in range(7)]
    table = examples_table(
        ["one\ntwo\n\nthree", *numbers[1:4], "s" * 201, "5", "6"],
        numbers,
        ["a|b\nc", *numbers[1:]],
        3,
    )
    assert table.splitlines() == [
        "| source | reference | output |",
        "| --- | --- | --- |",
        "| one / two / three | 0 | a\\|b / c |",
        "| 2 | 2 | 2 |",
        f"| {'s' * 197}... | 4 | 4 |",
    ]
    assert len(examples_table(numbers, numbers, numbers).splitlines()) == 2 + 7


@pytest.mark.parametrize("function", [measure, worst, examples_table])
@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (([], [], []), "got 0 sources, 0 references, 0 outputs"),
        ((["a"], ["a", "b"], ["a", "b"]), "got 1 sources, 2 references, 2 outputs"),
        ((["a", "b"], ["a", "b"], ["a"]), "got 2 sources, 2 references, 1 outputs"),
    ],
)
def test_mistakes_of_the_caller_are_named(function, texts, message):
    with pytest.raises(InputError, match=message):
        function(*texts)


def test_the_library_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(InputError, match=r"not installed; run: pip install '\.\[applications\]'"):
        rouge(["a"], ["a"])
