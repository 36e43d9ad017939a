"""Words cut one by one, by pairs of bytes and by SentencePiece."""

import pytest
import tensorflow as tf

from tests.checkpoints import hub_presets
from tests.checkpoints.conftest import message
from tfmodels.text.bpe import BytePairTokenizer
from tfmodels.text.subwords import SPACE, SentencePieces, SubwordTokenizer
from tfmodels.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

SPECIAL = {"cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}


@pytest.fixture(scope="module")
def bytewise():
    merges = [tuple(merge.split()) for merge in hub_presets.MERGES]
    inner = BytePairTokenizer(hub_presets.ROBERTA, merges, end_of_text="</s>")
    return SubwordTokenizer(inner, SPECIAL, separators=2)


@pytest.fixture(scope="module")
def pieces():
    pytest.importorskip("sentencepiece")
    return SubwordTokenizer(
        SentencePieces(hub_presets.sentence_piece(unk_id=0, bos_id=1, eos_id=2), fairseq=True),
        SPECIAL,
    )


def tokens_of(tokenizer, text):
    """The tokens of the words of a text, with the part of the text that each stands for."""
    ids, starts, ends = (part.to_list()[0] for part in tokenizer.tokenize_with_offsets([text]))
    return [(tokenizer.vocabulary[i], text[a:b]) for i, a, b in zip(ids, starts, ends, strict=True)]


def test_words_are_those_of_the_splitter():
    splitter = WordPieceTokenizer(SPECIAL_TOKENS, lowercase=False)
    text = f" Zürich's\t北京 {'x' * 150}🙂"
    words, starts, ends = (part.to_list()[0] for part in splitter.split_words([text, ""]))
    assert [word.decode() for word in words] == ["Zürich", "'", "s", "北", "京", "x" * 150 + "🙂"]
    assert [text[a:b] for a, b in zip(starts, ends, strict=True)] == [w.decode() for w in words]
    _, *places = (part.to_list()[0] for part in splitter.tokenize_with_offsets([text]))
    assert places == [starts, ends]


def test_the_space_before_a_word_belongs_to_it(bytewise):
    text = "the then (the"
    ids = bytewise.tokenize_with_offsets([text])[0]
    assert ids.to_list() == bytewise.tokenize(tf.constant([text])).to_list()
    assert tokens_of(bytewise, text) == [
        ("the", "the"), ("Ġthe", "then"), ("n", "then"), ("Ġ", "("), ("(", "("), ("the", "the"),
    ]  # fmt: skip


def test_a_word_without_a_space_has_the_pieces_without_it(pieces):
    tokens = tokens_of(pieces, "the fox.")
    assert tokens[0][0].startswith(SPACE)
    assert [part for _, part in tokens[-1:]] == ["."] and not tokens[-1][0].startswith(SPACE)
    assert tokens_of(pieces, "\u200b") == []
    assert tokens_of(pieces, "㊙")[-1] == ("<unk>", "㊙")


def test_every_character_may_be_a_word(bytewise):
    parts = [part for _, part in tokens_of(bytewise.by_characters(), "the fox")]
    assert parts == [*"thefox"] or parts == [*"the", "f", "f", *"ox"]


def test_a_missing_special_token_is_named(bytewise):
    special = {**SPECIAL, "cls": "[CLS]"}
    assert "no token '[CLS]'" in message(SubwordTokenizer, bytewise.inner, special)


def test_folded(pieces):
    folded = SentencePieces(pieces.inner.proto, fold=True)
    plain = SentencePieces(pieces.inner.proto)
    texts = ["THE Fôx ``sat''", "Ⅳ x\u0323 É"]
    assert folded.tokenize(texts).to_list() == plain.tokenize(['the fox "sat"', "iv x e"]).to_list()
