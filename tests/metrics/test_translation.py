"""sacreBLEU through our functions, to the last digit."""

import pytest

from tfmodels.errors import InputError
from tfmodels.metrics import translation

sacrebleu = pytest.importorskip("sacrebleu", reason="measures translations")

SOURCES = ["A cat sat.", "The dog ran away today.", "Nobody came to the old house."]
REFERENCES = [["Eine Katze saß.", "Die Katze saß da."], ["Der Hund rannte heute weg."],
              ["Niemand kam zu dem alten Haus."]]  # fmt: skip
OUTPUTS = ["eine Katze saß.", "Der Hund lief heute weg.", " "]


def test_equal_to_the_library():
    found = translation.measure(SOURCES, REFERENCES, OUTPUTS, ter=True)
    streams = [[several[0] for several in REFERENCES],
               [several[1] if len(several) > 1 else None for several in REFERENCES]]  # fmt: skip
    assert found["bleu"] == sacrebleu.corpus_bleu(OUTPUTS, streams).score
    lowercased = sacrebleu.corpus_bleu(OUTPUTS, streams, lowercase=True)
    assert found["bleu_lowercased"] == lowercased.score > found["bleu"]
    assert found["chrf"] == sacrebleu.corpus_chrf(OUTPUTS, streams).score
    assert found["ter"] == sacrebleu.corpus_ter(OUTPUTS, streams).score
    assert found["length_ratio"] == sacrebleu.corpus_bleu(OUTPUTS, streams).ratio
    assert "tok:13a" in found["signatures"]["bleu"] and "case:lc" in str(found["signatures"])
    assert (found["examples"], found["empty"], found["copies"]) == (3, 1, 0)


def test_copies():
    found = translation.measure(["same text "], [["gleicher Text"]], ["same text"])
    assert found["copies"] == 1


def test_chinese():
    texts, references = ["他今天没有来，我也没有去。"], [["他今天没有来，我没去。"]]
    expected = sacrebleu.corpus_bleu(texts, [[references[0][0]]], tokenize="zh")
    assert translation.bleu(texts, references).score == expected.score > 10


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [("你好，世界", "zh"), ("これはペンです", "ja-mecab"), ("안녕하세요", "ko-mecab"),
     ("สวัสดีชาวโลก", "char"), ("Grüße, Привет", "13a"), ("123", "13a")],
)  # fmt: skip
def test_tokenizer_of_a_language(text, tokenizer):
    assert translation.tokenizer_of([text]) == tokenizer


def test_worst_first():
    worst = translation.worst(SOURCES, REFERENCES, OUTPUTS, 2)
    assert [row["source"] for row in worst] == [SOURCES[2], SOURCES[1]]
    assert worst[0]["chrf"] == 0 and worst[1]["references"] == REFERENCES[1]
    table = translation.examples_table(SOURCES, REFERENCES, OUTPUTS, 2)
    assert len(table.splitlines()) == 4 and SOURCES[0] in table


def test_paired_bootstrap():
    good = [several[0] for several in REFERENCES] * 30
    bad = ["Das ist etwas ganz anderes."] * 90
    found = translation.compare({"good": good, "bad": bad}, REFERENCES * 30, samples=50)
    first, second = found["models"]
    assert (first["model"], second["model"]) == ("good", "bad")
    assert first["bleu"] == pytest.approx(100) and first["bleu_p"] is None
    assert second["bleu"] < 10 and second["bleu_p"] < 0.05 and second["chrf_p"] < 0.05
    assert "bs:50" in found["signatures"]["bleu"]


def test_refused():
    with pytest.raises(InputError, match="bleu_tokenizer moses: give one of auto, 13a"):
        translation.bleu(["a"], [["a"]], "moses")
    with pytest.raises(InputError, match="got 1 outputs and references for 2"):
        translation.bleu(["a"], [["a"], ["b"]])
