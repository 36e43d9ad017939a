"""`SequenceLoss` against the likelihood it is made of, Keras' own, and over two devices."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.layers.contract import H, normal
from tfmodels.layers.crf import CRF
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.tagger import Tagger
from tfmodels.training.losses import IGNORED, Accuracy, Crossentropy
from tfmodels.training.sequence import SequenceLoss, tagging_objective

RANDOM = np.random.default_rng(0)
EMISSIONS = RANDOM.normal(size=(4, 6, 5)).astype("float32")
LABELS = RANDOM.integers(0, 5, size=(4, 6)).astype("int32")
LABELS[0, 1:] = LABELS[1, 3:] = LABELS[3] = IGNORED  # unequal numbers, and a row without
LABELS[2, 2] = IGNORED  # a word without a label
MASK = np.array([[1] + [0] * 5, [1] * 3 + [0] * 3, [1] * 6, [0] * 6], bool)


def chain(size=1.0):
    crf = CRF(5)
    crf.build()
    for number, weight in enumerate(crf.weights):
        weight.assign(size * normal(*weight.shape, seed=number))
    return crf


def test_mean_over_labels():
    crf = chain()
    likelihood = crf.log_likelihood(EMISSIONS, LABELS, MASK).numpy()
    expected = -likelihood.sum() / (LABELS >= 0).sum()
    np.testing.assert_allclose(SequenceLoss(crf)(LABELS, EMISSIONS), expected, rtol=1e-6)


def test_without_a_chain_it_is_crossentropy():
    loss = SequenceLoss(chain(0.0))(LABELS, EMISSIONS)
    np.testing.assert_allclose(loss, Crossentropy()(LABELS, EMISSIONS), rtol=1e-5)


def test_weights_of_rows():
    crf = chain()
    weights = np.array([0.5, 2.0, 1.0, 3.0])
    likelihood = crf.log_likelihood(EMISSIONS, LABELS, MASK).numpy()
    expected = -(weights * likelihood).sum() / (weights * (LABELS >= 0).sum(1)).sum()
    for shape in ((4,), (4, 1)):
        loss = SequenceLoss(crf)(LABELS, EMISSIONS, weights.reshape(shape))
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"sample_weight must be of rows.*\(4, 6\)"):
        SequenceLoss(crf)(LABELS, EMISSIONS, np.ones((4, 6)))


def test_each_label_by_itself_is_added():
    crf = chain()
    for weights in (None, np.array([0.5, 2.0, 1.0, 3.0])):
        both = SequenceLoss(crf, emission_weight=0.7)(LABELS, EMISSIONS, weights)
        apart = SequenceLoss(crf)(LABELS, EMISSIONS, weights)
        apart += 0.7 * Crossentropy()(LABELS, EMISSIONS, weights)
        np.testing.assert_allclose(both, apart, rtol=1e-6)


@pytest.mark.parametrize("make", [lambda **of: SequenceLoss(chain(), **of), Crossentropy])
def test_a_label_counts_the_same_beside_short_rows_and_long(make):
    loss = make(labels_per_row=3.0)
    parts = [float(loss(LABELS[i : i + 1], EMISSIONS[i : i + 1])) for i in range(3)]
    np.testing.assert_allclose(loss(LABELS, EMISSIONS), np.mean(parts), rtol=1e-6)
    sums = [float(make()(LABELS[i : i + 1], EMISSIONS[i : i + 1])) for i in range(3)]
    sums = np.array(sums) * (LABELS[:3] >= 0).sum(1)  # means times numbers
    np.testing.assert_allclose(parts, sums / 3.0, rtol=1e-5)
    weighted = loss(LABELS, EMISSIONS, np.array([0.5, 0.5, 0.5, 9.0]))  # the last has no label
    np.testing.assert_allclose(weighted, np.mean(parts), rtol=1e-6)


def test_nothing_counts():
    assert float(SequenceLoss(chain())(np.full_like(LABELS, IGNORED), EMISSIONS)) == 0.0


def test_config_round_trip():
    loss = SequenceLoss(CRF(3, ["O", "B-PER", "I-PER"]), emission_weight=0.5, labels_per_row=7.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is SequenceLoss and again.get_config() == loss.get_config()


def tagger(crf):
    """Of embeddings only: quick."""
    sizes = {"num_layers": 0, "hidden_dim": H, "num_heads": 2, "feedforward_dim": 16}
    config = BertConfig(vocabulary_size=11, max_length=6, dropout=0.0, **sizes)
    return Tagger(Bert(config), 5, crf=crf, dropout=0.0)


def test_objective():
    plain, sequence = (tagging_objective(tagger(crf)) for crf in (False, True))
    assert isinstance(plain["loss"], Crossentropy)
    assert isinstance(sequence["loss"], SequenceLoss)
    assert [m.name for m in plain["metrics"]] == ["accuracy"]
    assert [m.name for m in sequence["metrics"]] == ["emission_accuracy"]
    assert all(isinstance(o["metrics"][0], Accuracy) for o in (plain, sequence))


def test_two_devices_give_the_step_of_one(mirrored):
    """With unequal numbers of labels a device; the last batch leaves one without rows."""
    batch = {
        "token_ids": RANDOM.integers(0, 11, (5, 6)).astype("int32"),
        "padding_mask": np.ones((5, 6), bool),
        "word_positions": np.tile(np.arange(6, dtype="int32"), (5, 1)),
    }
    labels = np.concatenate([LABELS, LABELS[:1]])

    def trained(strategy):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = tagger(crf=True)
            model.compile(keras.optimizers.SGD(1.0), **tagging_objective(model))
        dataset = tf.data.Dataset.from_tensor_slices((batch, labels)).batch(4)
        history = model.fit(dataset, epochs=2, shuffle=False, verbose=0).history
        return history, model.get_weights(), model.crf.get_weights()

    one, one_weights, one_chain = trained(tf.distribute.get_strategy())
    two, two_weights, _ = trained(mirrored)
    assert np.abs(one_chain[0]).max() > 0.01
    for a, b in zip(one_weights, two_weights, strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)
    np.testing.assert_allclose(two["emission_accuracy"], one["emission_accuracy"], atol=1e-6)
