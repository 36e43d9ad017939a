"""`Curve`: the loss and the learning rate at regular steps, for plots and for TensorBoard.

In: the logs of a training. Out: at most `POINTS` points and the last step, for every length of it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.training.callbacks import LOOK, Steps

POINTS = 500


class Curve(keras.callbacks.Callback):
    """Record the training loss and the learning rate, without waiting for the device at each step.

    Args:
        steps: the `Steps` of the training, before this in the list.
        points: those recorded before, where a training resumes.
        logs: directory that gets the same for TensorBoard, or `None`.
    """

    takes_tensors = True  # as logs of a step; see `loop`

    def __init__(self, steps: Steps, points: Iterable = (), logs: Path | None = None) -> None:
        super().__init__()
        self._steps, self._points = steps, list(points)
        self._pending: list[list] = []
        self._every, self._last = -(-steps.ends[-1] // POINTS), steps.step
        self._writer = tf.summary.create_noop_writer()
        if logs is not None and steps.step < steps.ends[-1]:
            self._writer = tf.summary.create_file_writer(str(logs))

    @property
    def points(self) -> list[list]:
        """Return lists `[step, loss, learning rate]`, the loss a mean since the point before."""
        self._fetch()
        return self._points

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._fetch()
        self._begun = self._summed = self._steps.step
        self._total = 0.0  # of the losses since Keras' means were reset

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step = self._steps.step
        if self._steps.left_out == step:  # and the means were reset
            self.on_epoch_begin(-1)
        elif step - self._last >= self._every or step == self._steps.ends[-1]:
            values = step, logs["loss"], self.model.optimizer.learning_rate
            self._pending.append([tf.cast(value, "float64") for value in values])
            self._last = step
            if len(self._pending) >= LOOK:
                self._fetch()

    def on_train_end(self, logs: Any = None) -> None:
        self._fetch()
        self._writer.close()

    def _fetch(self) -> None:
        """Take the pending points from the device, all at once."""
        pending, self._pending = self._pending, []
        for step, mean, rate in np.asarray(tf.stack(pending)).tolist() if pending else ():
            step, total = int(step), mean * (step - self._begun)
            loss = (total - self._total) / (step - self._summed)
            self._summed, self._total = step, total
            self._points.append([step, float(f"{loss:.6g}"), float(f"{rate:.6g}")])
            with self._writer.as_default():
                tf.summary.scalar("loss", loss, step)
                tf.summary.scalar("learning_rate", rate, step)
