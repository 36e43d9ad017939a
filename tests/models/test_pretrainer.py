"""`BertPretrainer`: gathering at masked positions, the tied table, and that it can learn."""

import numpy as np
from keras import ops

from tests.models.test_contract import BATCH, pretrainer
from tfmodels.models.pretrainer import BertPretrainer

POSITIONS = np.array([[1, 4], [2, 0], [0, 0]], "int32")


def test_masked_positions_are_gathered():
    model = pretrainer()
    everywhere = ops.convert_to_numpy(model(BATCH)["masked_lm"])
    gathered = ops.convert_to_numpy(model({**BATCH, "masked_positions": POSITIONS})["masked_lm"])
    expected = np.take_along_axis(everywhere, POSITIONS[..., None], 1)
    np.testing.assert_allclose(gathered, expected, atol=1e-6)


def test_the_output_table_is_the_input_table():
    model = pretrainer()
    size = model.encoder.config.vocabulary_size
    assert sum(weight.shape == (size, 8) for weight in model.weights) == 1
    before = ops.convert_to_numpy(model(BATCH)["masked_lm"])
    table = model.encoder.embeddings.token
    table.assign(ops.concatenate([table[:-1], table[-1:] + 1.0]))  # a token not in the batch
    assert BATCH["token_ids"].max() == size - 1
    assert not np.allclose(ops.convert_to_numpy(model(BATCH)["masked_lm"]), before)


def test_without_next_sentence_there_is_no_pooler():
    model = BertPretrainer(pretrainer().encoder, next_sentence=False)
    assert set(model(BATCH)) == {"masked_lm"}
    assert not any("pooler" in weight.path for weight in model.weights)
