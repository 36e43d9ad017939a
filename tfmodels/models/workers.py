"""What Keras' trainer gets wrong on several machines, mended in this one place.

In: a `MultiWorkerMirroredStrategy`. Out: the same strategy as the trainer of Keras 3.15 needs to
see it, for two calls:

* metrics of a step are scalars, and Keras means them over an axis that they do not have;
* a batch is parted over workers and replicas by its rows, to the row, so that many devices
  see the batches that one would see, the last and smallest included. TensorFlow's own way
  guesses the batch size, and reads other batches where files are shared out.

With a Keras that does without, `MENDED` says so and nothing here is used. One of the two named
modules of `layers` and `models` that import TensorFlow.
"""

import functools
import logging
from typing import Any

import keras
from keras import tree

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    tf = None

# The trainer was read, and the mending tested, up to here (`tests/models/test_workers.py` fails
# when Keras needs it no longer).
MENDED = tuple(map(int, keras.__version__.split(".")[:2])) > (3, 15)

log = logging.getLogger(__name__)


def for_trainer(strategy: Any) -> Any:
    """The strategy, mended if it is one of several workers; else as it is."""
    if MENDED or tf is None or not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return strategy
    return _mended(strategy)


def rows_of_replica(batch: Any, replica: int, replicas: int) -> Any:
    """The rows of a batch that are a replica's: as many as the others', give or take one.

    Args:
        batch: structure of tensors `[B, ...]`.
        replica: int, from 0.
        replicas: how many.

    Returns:
        structure of tensors `[b, ...]`; all replicas' together are the batch, in order.
    """

    def part(values):
        if not hasattr(values, "shape"):  # `None` for a part that is missing
            return values
        rows = tf.shape(values)[0]
        return values[rows * replica // replicas : rows * (replica + 1) // replicas]

    return tree.map_structure(part, batch)


@functools.cache
def _mended(strategy):
    return _Workers(strategy)


if tf is not None:

    class _Workers(tf.distribute.MultiWorkerMirroredStrategy):
        """A view of a strategy: of its class, because Keras asks, and in all else that one.

        Args:
            strategy: the one that the model was made under.
        """

        def __init__(self, strategy: Any) -> None:  # makes no second one
            self._viewed = strategy
            self._extended = strategy.extended

        def __getattribute__(self, name: str) -> Any:
            if name in ("reduce", "experimental_distribute_dataset", "_viewed", "__class__"):
                return object.__getattribute__(self, name)
            return getattr(object.__getattribute__(self, "_viewed"), name)

        def reduce(self, reduce_op, value, axis=None):
            return self._viewed.reduce(reduce_op, value, axis=None)

        def experimental_distribute_dataset(self, dataset, options=None):
            policies = tf.data.experimental.AutoShardPolicy
            policy = dataset.options().experimental_distribute.auto_shard_policy
            workers = self._viewed.extended._num_workers
            if policy not in (policies.AUTO, policies.DATA):
                log.info("input: by %s, as the dataset says (%d workers)", policy.name, workers)
                return self._viewed.experimental_distribute_dataset(dataset, options)
            log.info("input: each of %d workers takes its rows of every batch", workers)
            return self._viewed.distribute_datasets_from_function(
                functools.partial(_of_worker, dataset), options
            )


def _of_worker(dataset, context):
    """The parts of the batches for the replicas of one worker, one after the other."""
    replicas, workers = context.num_replicas_in_sync, context.num_input_pipelines

    def parts(*batch):
        batch = batch[0] if len(batch) == 1 else batch
        found = None
        # As TensorFlow deals them out: Keras puts predictions together in this order.
        for replica in range(context.input_pipeline_id, replicas, workers):
            part = tf.data.Dataset.from_tensors(rows_of_replica(batch, replica, replicas))
            found = part if found is None else found.concatenate(part)
        return found

    found = dataset.flat_map(tf.autograph.experimental.do_not_convert(parts))
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return found.with_options(options).prefetch(tf.data.AUTOTUNE)
