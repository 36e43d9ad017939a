"""`CharacterTokenizer`: one token a character, and what is none."""

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmodels.errors import InputError
from tfmodels.text.bpe import END_OF_TEXT
from tfmodels.text.character_tokens import UNKNOWN, CharacterTokenizer

CHARACTERS = ["\n", " ", "a", "b", "é", "中", "\U0001f600"]
TOKENIZER = CharacterTokenizer([*CHARACTERS, UNKNOWN, END_OF_TEXT])
SPECIAL = UNK, END = 7, 8


def test_characters_and_the_two_special_tokens():
    texts = ["ab é中", "", "abc\u0301", f"a{END_OF_TEXT}{END_OF_TEXT}b<|", b"a\xffb\xe4\xb8"]
    ids = TOKENIZER.tokenize(texts)
    assert ids.dtype == tf.int32
    assert ids.to_list() == [
        [2, 3, 1, 4, 5],
        [],
        [2, 3, UNK, UNK],
        [2, END, END, 3, UNK, UNK],
        [2, UNK, 3, UNK],
    ]
    text = [text.decode() for text in TOKENIZER.detokenize(ids).numpy()]
    assert text == ["ab é中", "", "ab��", "ab��", "a�b�"]
    assert (TOKENIZER.unknown_id, TOKENIZER.end_id) == SPECIAL


@settings(deadline=None)
@given(st.lists(st.text(CHARACTERS, max_size=20), max_size=4))
def test_known_text_comes_back(texts):
    ids = TOKENIZER.tokenize(tf.constant(texts, tf.string))
    assert ids.to_list() == [[CHARACTERS.index(c) for c in text] for text in texts]
    assert [text.decode() for text in TOKENIZER.detokenize(ids).numpy()] == texts


def test_without_special_tokens_other_characters_are_dropped():
    tokenizer = CharacterTokenizer(CHARACTERS)
    assert tokenizer.unknown_id is tokenizer.end_id is None
    assert tokenizer.tokenize([f"xa{END_OF_TEXT}b", "x"]).to_list() == [[2, 3], []]


def test_attributes_and_config():
    assert TOKENIZER.vocabulary == (*CHARACTERS, UNKNOWN, END_OF_TEXT)
    assert TOKENIZER.vocabulary_size == 9
    assert TOKENIZER.token_bytes.numpy().tolist()[4:] == [
        *(character.encode() for character in CHARACTERS[4:]),
        "\ufffd".encode(),
        b"",
    ]
    config = {"end_of_text": "[E]", "unknown": "?"}
    other = CharacterTokenizer(["a", "?", "[E]"], **config)
    assert other.get_config() == config
    assert other.tokenize(["a?b[E]"]).to_list() == [[0, 1, 1, 2]]


@pytest.mark.parametrize(
    ("vocabulary", "problem"),
    [
        (["a", "b", "a"], r"token 2 is 'a' again \(first 0\)"),
        (["a", "bc"], "token 1 'bc' is not one character"),
        (["a", ""], "token 1 '' is not one character"),
    ],
)
def test_vocabularies_that_cannot_be(vocabulary, problem):
    with pytest.raises(InputError, match=problem):
        CharacterTokenizer(vocabulary)
