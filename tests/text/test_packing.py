"""`pack` against the truncation and padding of Hugging Face's `tokenizers`; prompts by hand."""

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from tokenizers.processors import BertProcessing

from tfmodels.errors import InputError
from tfmodels.text.packing import pack, pack_prompts
from tfmodels.text.wordpiece import WordPieceTokenizer

PAD, CLS, SEP = 0, 2, 3
TOKENIZER = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(str, range(20))])
TEXTS = [" ".join(map(str, range(n))) for n in range(8)]


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[3:4], [""]], ids=len)
@pytest.mark.parametrize("max_length", [3, 4, 6, 20])
def test_as_the_reference(max_length, texts):
    ids = {token: number for number, token in enumerate(TOKENIZER.vocabulary)}
    reference = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
    reference.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    reference.post_processor = BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    reference.enable_truncation(max_length)
    reference.enable_padding()
    expected = reference.encode_batch(texts)
    batch = pack(TOKENIZER, TOKENIZER.tokenize(texts), max_length)
    np.testing.assert_array_equal(batch["token_ids"], [e.ids for e in expected])
    np.testing.assert_array_equal(batch["segment_ids"], [e.type_ids for e in expected])
    np.testing.assert_array_equal(batch["padding_mask"], [e.attention_mask for e in expected])
    assert batch["token_ids"].dtype == batch["segment_ids"].dtype == tf.int32
    assert batch["padding_mask"].dtype == tf.bool


@pytest.mark.parametrize("max_length", [5, 6, 9, 12, 40])
def test_pairs_as_the_reference(max_length):
    """The longest text is cut first, token by token as `tokenizers` does it, for all lengths."""
    ids = {token: number for number, token in enumerate(TOKENIZER.vocabulary)}
    reference = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
    reference.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    reference.post_processor = BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    reference.enable_truncation(max_length, strategy="longest_first")
    reference.enable_padding()
    texts = [" ".join(map(str, range(n))) for n in range(14)]
    pairs = [(one, other) for one in texts for other in reversed(texts)]
    expected = reference.encode_batch(pairs)
    first, second = (TOKENIZER.tokenize([*side]) for side in zip(*pairs, strict=True))
    batch = pack(TOKENIZER, first, max_length, second)
    np.testing.assert_array_equal(batch["token_ids"], [e.ids for e in expected])
    np.testing.assert_array_equal(batch["segment_ids"], [e.type_ids for e in expected])
    np.testing.assert_array_equal(batch["padding_mask"], [e.attention_mask for e in expected])


def test_no_texts_in_a_graph():
    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32)])
    def graph(ids):
        return pack(TOKENIZER, ids, 6)

    empty = tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int32), [0])
    assert graph(empty)["padding_mask"].shape == (0, 1)


def test_no_room():
    with pytest.raises(InputError, match="max_length=2 leaves no room.*give at least 3"):
        pack(TOKENIZER, TOKENIZER.tokenize(TEXTS), 2)
    with pytest.raises(InputError, match="max_length=4 leaves no room.*give at least 5"):
        pack(TOKENIZER, TOKENIZER.tokenize(TEXTS), 4, TOKENIZER.tokenize(TEXTS))


def test_prompts_are_padded_left():
    packed = pack_prompts(tf.ragged.constant([[7, 8, 9], [], [5]], dtype=tf.int32), 0, 3)
    assert packed["token_ids"].numpy().tolist() == [[7, 8, 9], [0, 0, 3], [0, 0, 5]]
    assert packed["padding_mask"].numpy().tolist() == [[True] * 3, *[[False, False, True]] * 2]
    empty = pack_prompts(tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int32), [0]), 0, 3)
    assert empty["token_ids"].shape == (0, 1)
