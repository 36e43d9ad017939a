"""What has to be set before a backend starts: two logical CPUs, full float32 products."""

import functools

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # The tests of `tf.distribute` need two devices; TensorFlow fixes their number at its first
    # operation, whichever test runs it.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # Comparisons to 1e-5 need the products of float32 in float32, also on a GPU.
    tf.config.experimental.enable_tensor_float_32_execution(False)
elif keras.backend.backend() == "jax":
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture(scope="session")
def mirrored():
    """The one `MirroredStrategy` of the whole run, over two logical CPUs."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.distribute is TensorFlow's")
    from tfmodels.training.distribution import choose_strategy

    return choose_strategy("mirrored")


@pytest.fixture(scope="session")
def presets(tmp_path_factory):
    """Function of a family: its directory, and KerasHub's backbone and tokenizer."""
    from tests.checkpoints import hub_presets

    @functools.cache
    def preset(family):
        directory = tmp_path_factory.mktemp(family)
        return directory, *hub_presets.write_preset(family, directory)

    return preset


@pytest.fixture(autouse=True)
def float32():
    """Every test starts with Keras' own precision, whatever a verb run before it has set."""
    keras.config.set_dtype_policy("float32")
