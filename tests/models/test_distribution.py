"""`fit` under the user's own `tf.distribute.MirroredStrategy`, against one device.

Keras takes the mean of each replica's share and then the mean of those, which is the mean of
the batch only if the shares are of one size. Where the last batch splits unevenly, a summed
loss with weights that make it a mean is exact.
"""

import keras
import numpy as np
import pytest

from tests.layers.contract import H, S, integers, real_tokens
from tfmodels.errors import InputError
from tfmodels.models.bert import Bert, BertConfig
from tfmodels.models.classifier import Classifier

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.distribute is TensorFlow's", allow_module_level=True)

import tensorflow as tf

BATCH_SIZE, NUM_CLASSES = 4, 3
CONFIG = BertConfig(
    vocabulary_size=11,
    num_layers=1,
    hidden_dim=H,
    num_heads=2,
    feedforward_dim=16,
    max_length=S,
    dropout=0.0,
    attention_dropout=0.0,
)


def dataset(rows, weighted):
    """Batches of 4, the last one partial; ragged rows in a bool padding mask."""
    lengths = 1 + np.arange(rows) % S
    batch = {"token_ids": integers(11, rows, S), "padding_mask": real_tokens(*lengths)}
    columns = [batch, np.arange(rows) % NUM_CLASSES]
    if weighted:
        last = rows % BATCH_SIZE
        sizes = np.where(np.arange(rows) < rows - last, BATCH_SIZE, last)
        columns.append((1 / sizes).astype("float32"))
    return tf.data.Dataset.from_tensor_slices(tuple(columns)).batch(BATCH_SIZE)


def fitted(strategy, rows, weighted):
    """The history of two epochs from the same start, and the weights after it."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = Classifier(Bert(CONFIG), NUM_CLASSES, dropout=0.0, pooling="mean")
        reduction = "sum" if weighted else "sum_over_batch_size"
        # Plain gradient descent: a factor that is wrong shows, which Adam would divide out.
        model.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction),
            metrics=["accuracy"],
        )
        history = model.fit(dataset(rows, weighted), epochs=2, shuffle=False, verbose=0).history
    return history, model.get_weights()


# The last batch has two rows, one for each replica; three, two and one; one, and none.
@pytest.mark.parametrize(("rows", "weighted"), [(10, False), (11, True), (9, True)])
def test_two_devices_equal_one(rows, weighted, mirrored):
    expected, expected_weights = fitted(tf.distribute.get_strategy(), rows, weighted)
    found, weights = fitted(mirrored, rows, weighted)
    for one, other in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert found["accuracy"] == pytest.approx(expected["accuracy"])
    if not weighted:  # of a summed loss Keras reports the sum over replicas, times their number
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-5)


def test_a_replica_without_rows(mirrored):
    """The mean of no rows is no NaN."""
    history, weights = fitted(mirrored, 9, weighted=False)
    assert np.isfinite(history["loss"]).all()
    assert weights and all(np.isfinite(weight).all() for weight in weights)


def test_a_distributed_dataset_is_refused(mirrored):
    with mirrored.scope():
        model = Classifier(Bert(CONFIG), NUM_CLASSES)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss)
    distributed = mirrored.experimental_distribute_dataset(dataset(8, weighted=False))
    with pytest.raises(InputError, match="give the dataset itself, fit distributes it"):
        model.fit(distributed, verbose=0)
