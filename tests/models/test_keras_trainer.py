"""What Keras' trainer still gets wrong on several workers, and how batches are shared out."""

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.distribute is TensorFlow's", allow_module_level=True)

import tensorflow as tf

from tests.models.distributed import assert_same, run_workers, trained
from tfmodels.models.workers import rows_of_replica

PLAIN = """
import os, keras, numpy as np, tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
with strategy.scope():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
try:
    model.fit(np.ones((4, 2)), np.ones(4), verbose=0)
except Exception as error:
    print("REFUSED", type(error).__name__, flush=True)
os._exit(0)
"""


def test_keras_still_needs_mending():
    """If this fails, Keras has mended its trainer: see what of `models.workers` can go."""
    for _, output, errors in run_workers([["-c", PLAIN]] * 2):
        assert "REFUSED" in output, output + errors[-3000:]


def test_rows_are_shared_out():
    parts = [rows_of_replica({"a": tf.range(7)}, n, 3)["a"].numpy().tolist() for n in range(3)]
    assert parts == [[0, 1], [2, 3], [4, 5, 6]]
    assert rows_of_replica(tf.range(1), 0, 2).shape == (0,)


@pytest.mark.parametrize(
    ("case", "devices"),
    [
        ("gpt", 2),
        pytest.param("tagger", 1, marks=pytest.mark.slow),
        *(
            pytest.param(case, 2, marks=pytest.mark.slow)
            for case in ("classifier", "tagger", "chain")
        ),
    ],
)
def test_accumulated_is_the_large_batch(case, devices, mirrored):
    """Batches of 2 with unequal numbers of labels, and one replica's part of them without any."""
    rows = {"rows_used": 8}  # whole batches of 2 and of 4
    expected = trained(case, tf.distribute.get_strategy(), **rows)
    strategy = mirrored if devices == 2 else tf.distribute.get_strategy()
    found = trained(case, strategy, batch_size=2, accumulate=2, **rows)
    weights = {name: value for name, value in expected.items() if name.startswith("weight")}
    assert_same({name: found[name] for name in weights}, weights)
