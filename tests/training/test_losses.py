"""The loss and the metrics against NumPy in float64 and Keras' own.

`tests/models/test_workers.py` trains with them on several devices.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmodels.errors import InputError
from tfmodels.training.losses import (
    IGNORED,
    Accuracy,
    Crossentropy,
    MeanCrossentropy,
    labels_of_step,
    pretraining_objective,
)

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(4, 6, 5)).astype("float32")
LABELS = RANDOM.integers(0, 5, size=(4, 6)).astype("int32")
LABELS[0, 1:] = LABELS[1, 3:] = LABELS[3] = IGNORED  # unequal numbers, and a row without


def expected(labels, logits, label_smoothing=0.0, weights=None):
    """The mean over counted labels, in float64."""
    logits = logits.astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    classes = logits.shape[-1]
    target = np.eye(classes)[np.maximum(labels, 0)] * (1 - label_smoothing)
    losses = -((target + label_smoothing / classes) * log_p).sum(-1)
    weights = (labels >= 0) * (1.0 if weights is None else weights)
    return (losses * weights).sum() / weights.sum()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_mean_over_what_counts(label_smoothing):
    loss = Crossentropy(label_smoothing)(LABELS, LOGITS)
    np.testing.assert_allclose(loss, expected(LABELS, LOGITS, label_smoothing), rtol=1e-6)


def test_weights_of_labels_and_of_rows():
    weights = RANDOM.uniform(size=LABELS.shape)
    loss = Crossentropy()(LABELS, LOGITS, weights)
    np.testing.assert_allclose(loss, expected(LABELS, LOGITS, weights=weights), rtol=1e-6)
    rows = weights[:, :1]
    loss = Crossentropy()(LABELS, LOGITS, rows[:, 0])
    np.testing.assert_allclose(loss, expected(LABELS, LOGITS, weights=rows), rtol=1e-6)


def test_one_label_a_row_is_keras_own():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for labels in (LABELS[2, :4], LABELS[2, :4, None]):
        np.testing.assert_allclose(
            Crossentropy()(labels, LOGITS[:, 0]), loss(labels, LOGITS[:, 0]), rtol=1e-6
        )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            np.eye(5, dtype="float32")[LABELS[:2, 0]],
            r"float32 \[B, 5\]: use argmax, or Cat",
        ),
        (np.array(["good", "bad"]), r"string \[B\]: give the number of each label's class"),
    ],
)
@pytest.mark.parametrize("measured", ["loss", "metrics"])
def test_other_labels_are_named(labels, message, measured):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
    objective = {"loss": Crossentropy()}
    if measured == "metrics":
        objective = {"loss": lambda y, logits: logits, "metrics": [Accuracy()]}
    model.compile("sgd", **objective)
    dataset = tf.data.Dataset.from_tensor_slices((LOGITS[:2, 0], labels)).batch(2)
    with pytest.raises(InputError, match=rf"labels are int \[B\], got {message}"):
        model.fit(dataset, verbose=0)


def test_nothing_counts():
    assert float(Crossentropy()(np.full_like(LABELS, IGNORED), LOGITS)) == 0.0


def test_metrics_are_means_over_all_labels_of_all_batches():
    """Not means of the batches' means: the two batches have 9 and 6 labels that count."""
    crossentropy, accuracy = MeanCrossentropy(), Accuracy()
    for part in (slice(0, 2), slice(2, 4)):
        crossentropy.update_state(LABELS[part], LOGITS[part])
        accuracy.update_state(LABELS[part], LOGITS[part])
    np.testing.assert_allclose(crossentropy.result(), expected(LABELS, LOGITS), rtol=1e-6)
    right = (LOGITS.argmax(-1) == LABELS)[LABELS >= 0]
    np.testing.assert_allclose(accuracy.result(), right.mean(), rtol=1e-6)


def test_config_round_trip():
    for thing in (Crossentropy(0.1), Accuracy(), MeanCrossentropy("entropy")):
        config = keras.saving.serialize_keras_object(thing)
        again = keras.saving.deserialize_keras_object(config)
        assert type(again) is type(thing) and again.get_config() == thing.get_config()


def test_objective_names_the_heads():
    assert set(pretraining_objective()["loss"]) == {"masked_lm", "next_sentence"}
    assert set(pretraining_objective(next_sentence=False)["metrics"]) == {"masked_lm"}


def test_labels_of_step_are_those_of_its_one_loss():
    """As they were counted in this graph; of another's, and of two losses', there is no number."""
    weights = np.full(LABELS.shape, 0.5, "float32")
    loss, other = Crossentropy(), Crossentropy()

    @tf.function
    def step(both):
        loss(LABELS, LOGITS, weights)
        if both:
            other(LABELS, LOGITS)
        return labels_of_step()

    @tf.function
    def measured():
        return loss(LABELS, LOGITS)

    measured()
    assert float(step(both=False)) == 0.5 * (LABELS >= 0).sum()
    assert step(both=True) is None
    measured()
    assert labels_of_step() is None
    for labels in (LABELS, LABELS[:2]):  # eagerly, `evaluate` and then a step
        loss(labels, LOGITS[: len(labels)])
    assert float(labels_of_step()) == (LABELS[:2] >= 0).sum()
    assert labels_of_step() is None

    @tf.function
    def one_object_for_two_heads():
        loss(LABELS, LOGITS)
        loss(LABELS, LOGITS)
        return labels_of_step()

    assert one_object_for_two_heads() is None


@pytest.mark.parametrize("metric", [Accuracy, MeanCrossentropy])
def test_a_label_counts_the_same_in_a_wide_batch(metric):
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(3, 4, 5)).astype("float32")
    labels = draw.integers(0, 5, (3, 4)).astype("int32")
    wide = np.pad(labels[1:], [[0, 0], [0, 8]], constant_values=-1)
    whole, parts = metric(), metric()
    whole.update_state(labels, logits)
    parts.update_state(labels[:1], logits[:1])
    parts.update_state(wide, np.pad(logits[1:], [[0, 0], [0, 8], [0, 0]]))
    np.testing.assert_allclose(float(parts.result()), float(whole.result()), rtol=1e-6)


def test_several_labels_and_scores_as_keras():
    """The losses of rows with several labels, and with a number, equal those of Keras."""
    from tfmodels.training.losses import BinaryCrossentropy, SquaredError

    rng = np.random.default_rng(0)
    there, logits = (rng.random((6, 4)) < 0.3).astype("float32"), rng.normal(size=(6, 4))
    weights = rng.random(6).astype("float32")
    for smoothing in (0.0, 0.1):
        reference = keras.losses.BinaryCrossentropy(True, smoothing, reduction=None)
        each = np.asarray(reference(there, logits.astype("float32")))
        found = BinaryCrossentropy(smoothing)(there, logits, weights)
        assert float(found) == pytest.approx((each * weights).sum() / weights.sum(), rel=1e-5)
    true, predicted = rng.normal(size=6).astype("float32"), rng.normal(size=(6, 1))
    for y in (true, true[:, None]):
        error = ((predicted[:, 0] - true) ** 2).mean()
        assert float(SquaredError()(y, predicted)) == pytest.approx(error, rel=1e-5)
