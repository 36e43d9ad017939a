"""`SpanFinder`: where an answer may begin and end, and a `.keras` file of it."""

import keras
import numpy as np

from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.span_finder import NEVER, SpanFinder

BATCH = {
    "token_ids": np.array([[1, 5, 2, 6, 7, 2, 0], [1, 5, 6, 2, 7, 8, 2]]),
    "segment_ids": np.array([[0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1]]),
    "padding_mask": np.array([[True] * 6 + [False], [True] * 7]),
}


def model():
    config = BertConfig.of_size("tiny", vocabulary_size=11, max_length=9, num_layers=1)
    return SpanFinder(Bert(config), dropout=0.0)


def test_only_the_context_and_the_first_token():
    logits = keras.ops.convert_to_numpy(model()(BATCH))
    assert logits.shape == (2, 2, 7) and logits.dtype == np.float32
    allowed = [[1, 0, 0, 1, 1, 1, 0], [1, 0, 0, 0, 1, 1, 1]]
    np.testing.assert_array_equal(
        logits > NEVER / 2, np.repeat(np.array(allowed)[:, None] > 0, 2, 1)
    )


def test_padding_and_a_file(tmp_path):
    one = model()
    logits = keras.ops.convert_to_numpy(one(BATCH))
    alone = {name: values[:1, :6] for name, values in BATCH.items()}
    np.testing.assert_allclose(one(alone)[0], logits[0, :, :6], atol=1e-5)
    one.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(BATCH), logits)
