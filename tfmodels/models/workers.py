"""Workarounds for the trainer of Keras 3.15 with several workers.

In: a `MultiWorkerMirroredStrategy`. Out: a wrapper of the strategy with two methods changed:

* `reduce`: the metrics of a step are scalars, but Keras reduces them over an axis;
* `experimental_distribute_dataset`: the rows of each batch are split exactly over workers and
  replicas, so that all devices together see the batches of one device, a small last batch
  included. TensorFlow's own splitting guesses the batch size, and changes the batches if it
  shards files. Where a dataset says how (`split_by`), the rows are taken before the costly part
  of the input and not after it.

If `FIXED`, Keras no longer needs this and the strategy is not wrapped. Of `layers` and `models`,
only this module and `layers.kernels` import TensorFlow.
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

# The workarounds are needed and tested up to this version; `test_keras_trainer.py` fails
# when Keras no longer needs them.
FIXED = tuple(map(int, keras.__version__.split(".")[:2])) > (3, 15)

log = logging.getLogger(__name__)


def for_trainer(strategy: Any) -> Any:
    """Return the strategy, wrapped if it has several workers."""
    if FIXED or tf is None or not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return strategy
    return _wrapped(strategy)


def rows_of_replica(batch: Any, replica: int, replicas: int) -> Any:
    """Return the rows of a batch for one replica; the numbers of rows differ by at most 1.

    Args:
        batch: structure of tensors `[B, ...]`.
        replica: int, from 0.
        replicas: number of replicas.

    Returns:
        structure of tensors `[b, ...]`; those of all replicas, in order, are the batch.
    """

    def part(values):
        if not hasattr(values, "shape"):  # `None`: no such part
            return values
        rows = tf.shape(values)[0]
        return values[rows * replica // replicas : rows * (replica + 1) // replicas]

    return tree.map_structure(part, batch)


@functools.cache
def _wrapped(strategy):
    return _Workers(strategy)


if tf is not None:

    class _Workers(tf.distribute.MultiWorkerMirroredStrategy):
        """A wrapper of a strategy, of the same class, which Keras checks.

        Args:
            strategy: the strategy that the model was created in.
        """

        # No `super().__init__`: it would create a second strategy.
        def __init__(self, strategy: Any) -> None:
            self._inner = strategy
            self._extended = strategy.extended

        def __getattribute__(self, name: str) -> Any:
            if name in ("reduce", "experimental_distribute_dataset", "_inner", "__class__"):
                return object.__getattribute__(self, name)
            return getattr(object.__getattribute__(self, "_inner"), name)

        def reduce(self, reduce_op, value, axis=None):
            return self._inner.reduce(reduce_op, value, axis=None)

        def experimental_distribute_dataset(self, dataset, options=None):
            policies = tf.data.experimental.AutoShardPolicy
            policy = dataset.options().experimental_distribute.auto_shard_policy
            workers = self._inner.extended._num_workers
            if policy not in (policies.AUTO, policies.DATA):
                log.info("input: by %s, set in the dataset (%d workers)", policy.name, workers)
                return self._inner.experimental_distribute_dataset(dataset, options)
            log.info("input: each of %d workers takes its rows of every batch", workers)
            return self._inner.distribute_datasets_from_function(
                functools.partial(rows_of_worker, dataset), options
            )


def rows_of_worker(dataset: Any, context: Any) -> Any:
    """Return a dataset of the parts of the batches for the replicas of one worker, in order.

    Args:
        dataset: of batches. If it has a `split_by`, a function of the function that splits, that
            makes the dataset (see `text.pretraining.training_batches`).
        context: `tf.distribute.InputContext` of the worker.
    """
    replicas, workers = context.num_replicas_in_sync, context.num_input_pipelines

    def parts(*batch):
        batch = batch[0] if len(batch) == 1 else batch
        result = None
        # TensorFlow's order of replicas, in which Keras concatenates the predictions.
        for replica in range(context.input_pipeline_id, replicas, workers):
            part = tf.data.Dataset.from_tensors(rows_of_replica(batch, replica, replicas))
            result = part if result is None else result.concatenate(part)
        return result

    def split(batches):
        return batches.flat_map(tf.autograph.experimental.do_not_convert(parts))

    split_by = getattr(dataset, "split_by", None)
    result = split(dataset) if split_by is None else split_by(split)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return result.with_options(options).prefetch(tf.data.AUTOTUNE)
