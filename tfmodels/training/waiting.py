"""How long training waits for its batches.

In: the dataset that `model.fit` takes its batches from. Out: the same batches, and the seconds in
which a step waited for one.
"""

import tensorflow as tf


class Waiting:
    """Measure how long whoever takes batches from a dataset waits for them.

    TensorFlow takes a batch within the step, where Python cannot measure. So each batch comes
    between two readings of the clock, which `tf.data` takes in turn when a batch is asked for.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):  # as `tf.data`
            self._seconds = tf.Variable(0.0, trainable=False, dtype="float64")

    def measured(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Return the dataset of the same elements, measured. It must be what a step reads from."""
        no_autograph = tf.autograph.experimental.do_not_convert
        clock = tf.data.Dataset.from_tensors(0).repeat().map(no_autograph(lambda _: tf.timestamp()))

        def noted(begin, batch, end):
            self._seconds.assign_add(end - begin)
            return batch

        measured = tf.data.Dataset.zip((clock, dataset, clock)).map(no_autograph(noted))
        options = tf.data.Options()
        # Else the reader of this dataset would be a thread that always waits.
        options.experimental_optimization.inject_prefetch = False
        return measured.with_options(options)

    @property
    def seconds(self) -> float:
        """Return the seconds so far."""
        return float(self._seconds.numpy())
