"""What all tokenizers share: any batch in graphs and SavedModels, and ids that are none."""

import numpy as np
import pytest
import tensorflow as tf

from tests.text import test_bpe, test_wordpiece
from tfmodels.text.bpe import END_OF_TEXT, BytePairTokenizer
from tfmodels.text.character_tokens import UNKNOWN, CharacterTokenizer
from tfmodels.text.wordpiece import WordPieceTokenizer

TEXTS = [*test_wordpiece.TEXTS, *test_bpe.TEXTS]
CHARACTERS = [*sorted(set("".join(TEXTS[:9]))), UNKNOWN, END_OF_TEXT]
TOKENIZERS = {
    "wordpiece": WordPieceTokenizer(test_wordpiece.VOCABULARY),
    "bpe": BytePairTokenizer(test_bpe.VOCABULARY, test_bpe.MERGES),
    "characters": CharacterTokenizer(CHARACTERS),
}
ALL = pytest.mark.parametrize("name", TOKENIZERS)


class Endpoint(tf.Module):
    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, text):
        ids = self.tokenizer.tokenize(text)
        found = {"ids": ids.to_tensor(-1), "text": self.tokenizer.detokenize(ids)}
        if isinstance(self.tokenizer, WordPieceTokenizer):
            _, starts, ends = self.tokenizer.tokenize_with_offsets(text)
            found |= {"starts": starts.to_tensor(-1), "ends": ends.to_tensor(-1)}
        return found


@ALL
def test_graphs_and_saved_models_of_any_batch(name, tmp_path):
    tokenizer = TOKENIZERS[name]
    endpoint = Endpoint(tokenizer)
    tf.saved_model.save(endpoint, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for texts in (TEXTS, TEXTS[:1], [b"\xff \xc3"], []):
        texts = tf.constant(texts, tf.string)
        found = endpoint(texts)
        np.testing.assert_array_equal(found["ids"], tokenizer.tokenize(texts).to_tensor(-1))
        for key, values in loaded(texts).items():
            np.testing.assert_array_equal(values, found[key])
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(4).map(tokenizer.tokenize).unbatch()
    assert [row.numpy().tolist() for row in dataset] == tokenizer.tokenize(TEXTS).to_list()


@ALL
@pytest.mark.parametrize("texts", [[], [""], ["", ""]], ids=len)
def test_empty_batches_and_texts(name, texts):
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.tokenize(tf.constant(texts, tf.string))
    assert ids.dtype == tf.int32 and ids.to_list() == [[]] * len(texts)
    assert tokenizer.detokenize(ids).numpy().tolist() == [b""] * len(texts)


@ALL
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_detokenize_skips_ids_that_are_none(name, dtype):
    tokenizer = TOKENIZERS[name]
    a, t = map(tokenizer.vocabulary.index, "at")
    special = tokenizer.sep_id if name == "wordpiece" else tokenizer.end_id
    rows = [[-1, a, special, t, 10**6, -100], [tokenizer.vocabulary_size, t, t, -1, -1, -1]]
    found = tokenizer.detokenize(tf.constant(rows, dtype)).numpy().tolist()
    assert found == ([b"a t", b"t t"] if name == "wordpiece" else [b"at", b"tt"])
