"""Learning a vocabulary and writing it, read back by `WordPieceTokenizer`."""

import sys

import pytest

from tfmodels.errors import InputError
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer, printable_bytes
from tfmodels.text.character_tokens import UNKNOWN, CharacterTokenizer
from tfmodels.text.vocabulary import (
    learn_characters,
    learn_merges,
    learn_wordpiece,
    save_vocabulary,
)
from tfmodels.text.wordpiece import WordPieceTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENGLISH = [
    "The lighthouse keeper lights the light, and the light keeps the ships away.",
    "Shipping and lighting: a keeper's keeping; ships, shipped, lighted!",
    "Über den Wolken, café au lait.",
]
CHINESE = ["今天天气很好，我们去公园。", "公园里天气好，人也很多。", "iPhone 很贵。"]


def test_special_tokens_first_then_characters_then_pieces():
    vocabulary = learn_wordpiece(ENGLISH, 120)
    assert vocabulary[:5] == SPECIAL
    assert len(vocabulary) == len(set(vocabulary)) <= 120
    assert "light" in vocabulary and "ship" in vocabulary
    lengths = [len(token.removeprefix("##")) for token in vocabulary[5:]]
    assert lengths.index(max(lengths)) > lengths.count(1)
    tokenizer = WordPieceTokenizer(vocabulary)
    ids = tokenizer.tokenize(ENGLISH)
    assert tokenizer.unk_id not in ids.flat_values.numpy()
    assert tokenizer.detokenize(ids).numpy()[2] == b"uber den wolken, cafe au lait."


def test_cased():
    vocabulary = learn_wordpiece(ENGLISH, 120, lowercase=False)
    assert {"T", "Ü", "##é"} <= set(vocabulary)
    tokenizer = WordPieceTokenizer(vocabulary, lowercase=False)
    assert tokenizer.unk_id not in tokenizer.tokenize(ENGLISH).flat_values.numpy()


def test_chinese_characters_are_tokens():
    vocabulary = learn_wordpiece(iter(CHINESE), 200)
    assert {"今", "公", "园", "，", "。"} <= set(vocabulary)
    assert "##公" not in vocabulary
    tokenizer = WordPieceTokenizer(vocabulary)
    text = CHINESE[0]
    assert tokenizer.detokenize(tokenizer.tokenize([text])).numpy()[0].decode() == text


@pytest.mark.parametrize("size", [6, 10, 40, 60])
def test_never_more_than_size_and_frequent_characters_first(size):
    vocabulary = learn_wordpiece(ENGLISH, size)
    assert len(vocabulary) == size
    assert "e" in vocabulary or size == 6


def test_same_texts_give_the_same_vocabulary():
    """The trainer alone does not: it walks hash maps whose order changes within a process."""
    texts = (ENGLISH + CHINESE) * 2
    first = learn_wordpiece(texts, 90)
    assert all(learn_wordpiece(texts, 90) == first for _ in range(10))


@pytest.mark.parametrize(
    ("texts", "size", "problem"),
    [
        ([], 100, "no words"),
        (["", " \x00 "], 100, "no words"),
        (ENGLISH, 5, "vocabulary size 5: no room"),
        ("one text", 100, "texts is one string"),
    ],
)
def test_texts_and_sizes_that_cannot_work(texts, size, problem):
    with pytest.raises(InputError, match=problem):
        learn_wordpiece(texts, size)


def test_words_that_no_tokenizer_reads_are_not_learned_from():
    """The line of a file of megabytes without a space, for example."""
    long = "x" * 101
    vocabulary = learn_wordpiece([*ENGLISH, *[long] * 50], 90)
    assert vocabulary == learn_wordpiece(ENGLISH, 90)
    with pytest.raises(InputError, match="no words"):
        learn_wordpiece([long], 90)


@pytest.mark.parametrize("learn", [learn_wordpiece, learn_merges])
def test_missing_library_is_named(monkeypatch, learn):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match="pip install tokenizers"):
        learn(ENGLISH, 300)


def test_save_and_read_back(tmp_path):
    vocabulary = [*learn_wordpiece(ENGLISH + CHINESE, 150), "\u2028", "\u0085"]
    path = tmp_path / "vocab.txt"
    save_vocabulary(vocabulary, path)
    assert WordPieceTokenizer.from_file(path).vocabulary == tuple(vocabulary)
    assert [entry.name for entry in tmp_path.iterdir()] == ["vocab.txt"]


def test_save_refuses_what_cannot_be_read_back(tmp_path):
    with pytest.raises(InputError, match=r"line 6: 'a\\nb' has a line break"):
        save_vocabulary([*SPECIAL, "a\nb"], tmp_path / "vocab.txt")
    assert not list(tmp_path.iterdir())


def test_merges_are_of_bytes_and_in_order():
    texts = ENGLISH + CHINESE
    vocabulary, merges = learn_merges(iter(texts), 330)
    made = [left + right for left, right in merges]
    assert vocabulary == [*sorted(printable_bytes()), *made, END_OF_TEXT]
    assert len(vocabulary) == len(set(vocabulary)) <= 330
    assert {"Ġlight", "Ġthe", "Ġkeeper"} <= set(vocabulary)
    assert len(learn_merges(texts, 270)[0]) == 270
    assert merges[:13] == learn_merges(texts, 270)[1]
    tokenizer = BytePairTokenizer(vocabulary, merges)
    ids = tokenizer.tokenize(texts)
    assert ids.flat_values.shape[0] < sum(len(text.encode()) for text in texts) / 2
    assert [text.decode() for text in tokenizer.detokenize(ids).numpy()] == texts


def test_same_texts_give_the_same_merges():
    texts = (ENGLISH + CHINESE) * 2
    first = learn_merges(texts, 400)
    assert all(learn_merges(texts, 400) == first for _ in range(10))


def test_end_of_text_is_not_learned_from():
    joined = END_OF_TEXT.join(ENGLISH * 3)
    assert learn_merges([joined], 330) == learn_merges(ENGLISH * 3, 330)
    assert learn_characters([joined], 100) == learn_characters(ENGLISH, 100)


def test_characters_by_code_point():
    texts = ["中b\na", "ab a"]
    assert learn_characters(iter(texts), 9) == ["\n", " ", "a", "b", "中", UNKNOWN, END_OF_TEXT]
    assert learn_characters(texts, 2) == ["a", "b", UNKNOWN, END_OF_TEXT]
    tokenizer = CharacterTokenizer(learn_characters(texts, 9))
    assert tokenizer.tokenize(["中b?"]).to_list() == [[4, 3, tokenizer.unknown_id]]


@pytest.mark.parametrize(
    ("learn", "problem"),
    [
        (lambda: learn_merges(ENGLISH, 257), "vocabulary size 257: no room"),
        (lambda: learn_merges("one text", 300), "texts is one string"),
        (lambda: learn_merges(["", "a"], 300), "no pair of letters 2 times"),
        (lambda: learn_characters("one text", 9), "texts is one string"),
        (lambda: learn_characters([""], 9), "no characters"),
        (lambda: learn_characters(ENGLISH, 0), "vocabulary size 0: no room"),
    ],
)
def test_merges_and_characters_that_cannot_be_learned(learn, problem):
    with pytest.raises(InputError, match=problem):
        learn()
