"""The tokenizer of translations beside the sentencepiece library."""

import keras
import pytest
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.text.sentence_pieces import PADDING, PieceTokenizer
from tfmodels.text.vocabulary import learn_pieces

sentencepiece = pytest.importorskip("sentencepiece", reason="learns the pieces")
CORPUS = ["the old king saw a dog", "der alte König sah einen Hund", "the dog saw the king"] * 4
TEXTS = [
    "the old King",
    "a  dog，很好 😀",
    "",
    "ﬁn\u00e9 n\u0303 Ｗide\u3000space",
    "</s> <unk> <0x41>",
]


@pytest.fixture(scope="module")
def proto():
    return learn_pieces(CORPUS, 300, ["de", "fr"])


@pytest.fixture(scope="module")
def tokenizer(proto):
    return PieceTokenizer(proto)


def test_ids_of_the_library(proto, tokenizer):
    reference = sentencepiece.SentencePieceProcessor(model_proto=proto)
    assert tokenizer.tokenize(TEXTS).to_list() == [reference.encode(text) for text in TEXTS]
    assert tokenizer.tokenize_target(TEXTS).to_list() == [reference.encode(text) for text in TEXTS]


def test_a_seed_that_is_set_changes_nothing(tokenizer):
    """It empties the cache of kernels, which own the model that TF-Text opens."""
    function = tf.function(lambda: tokenizer.tokenize(TEXTS).values)
    before = function().numpy().tolist()
    keras.utils.set_random_seed(1)
    assert function().numpy().tolist() == before
    assert tokenizer.tokenize(TEXTS).values.numpy().tolist() == before


def test_every_character_comes_back(tokenizer):
    written = tokenizer.detokenize(tokenizer.tokenize(TEXTS)).numpy()
    expected = [" ".join(text.split(" ")) for text in TEXTS]
    expected[1] = "a dog，很好 😀"  # SentencePiece makes one space of two
    assert [text.decode().strip() for text in written] == expected
    assert tokenizer.unk_id is None and tokenizer.vocabulary_size <= 300


def test_the_language_in_front(tokenizer):
    assert tokenizer.languages == ("de", "fr")
    plain, named, other = tokenizer.tokenize(["the dog", ">>fr<< the dog", ">>xx<< the dog"])
    fr = tokenizer.vocabulary.index(">>fr<<")
    assert named.numpy().tolist() == [fr, *plain.numpy().tolist()]
    assert other.numpy().tolist()[1:] == plain.numpy().tolist()
    assert tokenizer.detokenize([[fr]]).numpy() == [b""]


def test_the_same_texts_give_the_same_pieces(proto):
    assert learn_pieces(iter(CORPUS), 300, ["de", "fr"]) == proto
    assert b"/tmp" not in proto


def test_two_models_and_a_vocabulary(proto, tokenizer):
    other = learn_pieces(["une vieille maison, un chien"] * 4, 290)
    ids = {t: None for p in (proto, other) for t in PieceTokenizer(p).vocabulary if t != PADDING}
    both = PieceTokenizer(proto, other, [*ids, PADDING])
    assert both.tokenize(["a dog"]).to_list() == tokenizer.tokenize(["a dog"]).to_list()
    target = both.tokenize_target(["une maison"])
    assert both.detokenize(target).numpy()[0].decode().strip() == "une maison"
    assert both.pad_id == len(ids)


def test_in_a_graph(tokenizer):
    function = tf.function(lambda text: tokenizer.detokenize(tokenizer.tokenize(text)))
    assert function(tf.constant(["der Hund"])).numpy()[0].strip() == b"der Hund"


def test_refused(proto):
    with pytest.raises(InputError, match="no SentencePiece model"):
        PieceTokenizer(b"nothing of the kind")
    with pytest.raises(InputError, match="no token '<pad>'"):
        PieceTokenizer(proto, vocabulary=["</s>", "<unk>"])
    with pytest.raises(InputError, match="no room beside the 256 bytes"):
        learn_pieces(CORPUS, 200)
    with pytest.raises(InputError, match="no words"):
        learn_pieces(["", " "], 300)
