"""Which devices a model trains on.

In: the `--strategy` setting. Out: a `tf.distribute` strategy; its scope is where the
model is made and compiled. The batch size of a dataset is always the global one.
"""

import functools

import tensorflow as tf

from tfmodels.errors import InputError

STRATEGIES = ("auto", "single", "mirrored")


def choose_strategy(name="auto"):
    """The strategy of a name.

    Args:
        name: `"single"`: one device; `"mirrored"`: copies of the model on every GPU, or
            on every logical CPU where there is no GPU; `"auto"`: mirrored if there is
            more than one GPU, else single.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        InputError: if there is no such strategy.
    """
    if name not in STRATEGIES:
        raise InputError(f"--strategy {name}: give one of {', '.join(STRATEGIES)}")
    gpus = tf.config.list_logical_devices("GPU")
    if name == "single" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return _mirrored(tuple(device.name for device in devices))


@functools.cache
def _mirrored(devices):
    # One a process: TensorFlow numbers the collective operations of every strategy from the
    # same start and remembers the kind of each number, so a second strategy may fail.
    return tf.distribute.MirroredStrategy(devices)
