"""`BertPretrainer`: gathering at masked positions, the tied table, and that it can learn."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.models.test_contract import BATCH, pretrainer
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.pretrainer import BertPretrainer
from tfmodels.training.losses import pretraining_objective
from tfmodels.training.optimizer import AdamW

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


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="one backend trains enough")
def test_overfits_64_pairs():
    """64 pairs of random tokens: both heads learn them by heart, 99 % and more."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    pairs, length, vocabulary = 64, 24, 100
    ids = random.integers(5, vocabulary, (pairs, length)).astype("int32")
    ids[:, 0], ids[:, 12], ids[:, -1] = 2, 3, 3
    places = np.stack([random.permutation(np.r_[1:12, 13:23])[:3] for _ in range(pairs)])
    places = places.astype("int32")
    masked_lm = np.take_along_axis(ids, places, 1)
    inputs = ids.copy()
    np.put_along_axis(inputs, places, 4, 1)
    batch = {
        "token_ids": inputs,
        "segment_ids": np.repeat((np.arange(length) > 12)[None], pairs, 0).astype("int32"),
        "padding_mask": np.ones_like(ids, bool),
        "masked_positions": places,
    }
    labels = {
        "masked_lm": masked_lm.astype("int32"),
        "next_sentence": (np.arange(pairs) % 2).astype("int32"),
    }
    shape = {"vocabulary_size": vocabulary, "dropout": 0.0, "attention_dropout": 0.0}
    model = BertPretrainer(Bert(BertConfig.of_size("tiny", **shape)))
    model.compile(AdamW(1e-3), **pretraining_objective())
    model.fit(batch, labels, batch_size=32, epochs=60, verbose=0)
    found = model.evaluate(batch, labels, batch_size=32, verbose=0, return_dict=True)
    assert found["masked_lm_accuracy"] >= 0.99
    assert found["next_sentence_accuracy"] >= 0.99
