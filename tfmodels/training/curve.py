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

POINTS = 500  # of a whole training


class Curve(keras.callbacks.Callback):
    """Record the training loss and the learning rate, without waiting for the device at each step.

    Args:
        steps: the `Steps` of the training, before this in the list.
        points: those recorded before, where a training resumes.
    """

    takes_tensors = True  # as logs of a step; see `loop`

    def __init__(self, steps: Steps, points: Iterable = ()) -> None:
        super().__init__()
        self._steps, self._points = steps, [list(point) for point in points]
        self._every, self._last = -(-steps.ends[-1] // POINTS), steps.step
        self._pending: list[tuple] = []
        self._writer: Any = None

    def write_to(self, logs: Path) -> None:
        """Write further points for TensorBoard, too."""
        self._writer = tf.summary.create_file_writer(str(logs))

    @property
    def points(self) -> list[list]:
        """Return lists `[step, loss, learning rate]`, the loss a mean since the point before."""
        self._fetch()
        return self._points

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._restart()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step = self._steps.step
        if self._steps.left_out == step:  # and Keras' means were reset
            self._restart()
        elif step - self._last >= self._every or step == self._steps.ends[-1]:
            values = logs["loss"], self.model.optimizer.learning_rate
            self._pending.append((step, *(tf.cast(v, "float32") for v in values)))
            self._last = step
            if len(self._pending) >= LOOK:
                self._fetch()

    def on_train_end(self, logs: Any = None) -> None:
        self._fetch()
        if self._writer is not None:
            self._writer.close()

    def _restart(self) -> None:
        """Begin where Keras' means begin."""
        self._fetch()
        self._begun = self._summed = self._steps.step
        self._total = 0.0

    def _fetch(self) -> None:
        """Take the pending points from the device, all at once."""
        if not self._pending:
            return
        steps, *values = zip(*self._pending, strict=True)
        self._pending = []
        losses, rates = np.asarray(tf.stack(list(map(tf.stack, values))), "float64").tolist()
        for step, mean, rate in zip(steps, losses, rates, strict=True):
            total = mean * (step - self._begun)  # Keras' mean is over all steps since its reset
            loss = (total - self._total) / (step - self._summed)
            self._summed, self._total = step, total
            self._points.append([step, float(f"{loss:.6g}"), float(f"{rate:.6g}")])
            if self._writer is not None:
                with self._writer.as_default():
                    tf.summary.scalar("loss", loss, step)
                    tf.summary.scalar("learning_rate", rate, step)
