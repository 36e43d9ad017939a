"""The line about unknown tokens, of every kind of tokenizer and of rows."""

import pytest

from tfmodels.data.documents import TextFiles
from tfmodels.data.memory import as_source
from tfmodels.tasks.unknown import describe_unknown
from tfmodels.text.bpe import BytePairTokenizer, printable_bytes
from tfmodels.text.character_tokens import UNKNOWN, CharacterTokenizer
from tfmodels.text.sentence_pieces import PieceTokenizer
from tfmodels.text.vocabulary import learn_pieces
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

WORDS = WordPieceTokenizer([*SPECIAL_TOKENS, "the", "film", "##s"])


def rows(*columns):
    names = ("text", "other")[: len(columns)]
    return as_source(*map(list, columns), columns=names)


def test_few():
    texts = ["the film " * 30, "films XYZ"]
    assert describe_unknown(WORDS, rows(texts), 1) == (
        "1.6% of the tokens in texts 1 to 2 are [UNK]"
    )


def test_many_are_named_with_a_remedy():
    line = describe_unknown(WORDS, rows(["the 東京 film 東, ÉTÉ"], ["été the the the"]), 2)
    assert line == (
        "warning: 54.5% of the tokens in texts 1 to 2 are [UNK], most of them '東', '京', ',';"
        " start from a checkpoint for such texts, or from scratch with a larger vocabulary_size"
    )


def test_running_text(tmp_path):
    (tmp_path / "a.txt").write_text("the films\n\nthe x")
    line = describe_unknown(WORDS, TextFiles(tmp_path / "a.txt"), 1)
    assert line.startswith("warning: 20.0% of the tokens in texts 1 to 1 are [UNK], most")


def test_characters():
    tokenizer = CharacterTokenizer([*"abc", UNKNOWN])
    line = describe_unknown(tokenizer, rows(["abcx"]), 1)
    assert line.startswith("warning: 25.0% of the tokens in texts 1 to 1 are <|unk|>, most of")
    assert "'x'" in line


@pytest.mark.parametrize(
    ("tokenizer", "texts"), [(BytePairTokenizer(printable_bytes(), []), ["é"]), (WORDS, [""])]
)
def test_nothing_to_say(tokenizer, texts):
    found = describe_unknown(tokenizer, as_source(texts, columns=("text",)), 1)
    assert found is None or found.startswith("0.0%")


def test_pieces_without_bytes():
    """As published ones; the other side of pairs may have a model of its own."""
    one, other = (learn_pieces([text] * 9, 300) for text in ("the old dog", "der alte Hund"))
    pieces = [p for p in PieceTokenizer(one).vocabulary if not p.startswith("<0x")]
    tokenizer = PieceTokenizer(one, vocabulary=pieces)
    assert describe_unknown(tokenizer, rows(["the old dog"]), 1).startswith("0.0% of the tokens")
    line = describe_unknown(tokenizer, rows(["the old 王"]), 1)
    assert line.startswith("warning: ") and "are <unk>, most of them '王'; start" in line
    both = PieceTokenizer(one, other, pieces)
    assert describe_unknown(both, rows(["the dog"], ["王王王"]), 2).startswith("0.0% of the tokens")
    several = as_source(["the dog"], columns=("text",))
    several._values["text"] = [("the dog", "the 王")]
    assert describe_unknown(tokenizer, several, 1).startswith("0.0% of the tokens")
