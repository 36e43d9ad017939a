"""Workers on loopback, and two replicas, against one device."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.distribute is TensorFlow's", allow_module_level=True)

import tensorflow as tf

from tests.models.distributed import CASES, assert_same, run_workers, trained
from tfmodels.errors import InputError


def of_workers(directory, number, names):
    """What each of so many workers found: dict from case and worker to arrays."""
    command = ["-m", "tests.models.distributed", str(directory), *names]
    for status, _, errors in run_workers([command] * number, timeout=500):
        assert status == 0, errors[-3000:]
    found = {}
    for name in names:
        for index in range(number):
            with np.load(directory / f"{name}-{index}.npz", allow_pickle=False) as arrays:
                found[name, index] = dict(arrays)
    return found


# Three workers have batches that none of them shares alike.
@pytest.mark.parametrize(
    ("number", "names"),
    [
        (2, ["classifier"]),
        pytest.param(2, list(CASES), marks=pytest.mark.slow),
        pytest.param(3, list(CASES), marks=pytest.mark.slow),
    ],
)
def test_workers_equal_one_process(number, names, tmp_path):
    found = of_workers(tmp_path, number, names)
    for name in names:
        expected = trained(name, tf.distribute.get_strategy())
        for index in range(number):
            assert_same(found[name, index], expected)


@pytest.mark.parametrize(
    "name",
    ["classifier", *(pytest.param(n, marks=pytest.mark.slow) for n in CASES if n != "classifier")],
)
def test_two_replicas_equal_one(name, mirrored):
    assert_same(trained(name, mirrored), trained(name, tf.distribute.get_strategy()))


def test_a_distributed_dataset_is_refused(mirrored):
    with mirrored.scope():
        model, rows, objective = CASES["classifier"]()
        model.compile("sgd", **objective)
    data = tf.data.Dataset.from_tensor_slices(rows).batch(4)
    distributed = mirrored.experimental_distribute_dataset(data)
    with pytest.raises(InputError, match="give the dataset itself, fit distributes it"):
        model.fit(distributed, verbose=0)
