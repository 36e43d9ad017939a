"""`model.fit` from any step on, with the best weights kept and losses that are no numbers noticed.

In: a compiled model and its batches from a step on. Out: a trained model. What a training needs to
go on is in `state.py`.
"""

import sys

import keras
import numpy as np

from tfmodels.errors import InputError
from tfmodels.training.distribution import from_chief, is_chief


def fit_parts(model, batches, interval, parts, step=0, callbacks=(), **options):
    """Trains in parts, which Keras calls epochs and measures after each.

    Args:
        model: compiled.
        batches: endless dataset, its first batch that after `step`.
        interval: steps of a part.
        parts: how many, those before `step` included.
        step: steps that were taken before; the part that it lies in is trained to its end.
        callbacks: as of `fit`.
        **options: further ones of `fit`.
    """
    inside = step % interval
    first = [_EndOfPart(interval - inside)] if inside else []
    model.fit(
        batches,
        steps_per_epoch=interval,
        initial_epoch=step // interval,
        epochs=parts,
        shuffle=False,
        callbacks=[*first, *callbacks],
        **options,
    )


class _EndOfPart(keras.callbacks.Callback):
    """Ends the first Keras epoch after `steps` steps, and no other."""

    def __init__(self, steps):
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self._left:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if self._left:
            self.model.stop_training, self._left = False, 0


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights that did best in an evaluation; ends a training that no longer gets better.

    What it keeps are variables, so that they can be part of a state; in the scope of a strategy
    make it there. `keras.callbacks.EarlyStopping` starts anew with every `fit`.

    Args:
        model: compiled.
        monitor: name in the logs: the larger the better.
        patience: evaluations in a row without a better one, after which training ends.

    Attributes:
        variables: the best weights, in the order of `model.trainable_variables`.
    """

    def __init__(self, model, monitor, patience):
        super().__init__()
        self.monitor, self.patience = monitor, patience
        self.variables = [
            keras.Variable("zeros", shape=v.shape, dtype=v.dtype, trainable=False)
            for v in model.trainable_variables
        ]
        self._best, self._wait = -np.inf, 0

    def replay(self, history):
        """Goes on from evaluations before: dict from metric name to its values."""
        for value in history.get(self.monitor, ()):
            self._better(value)

    @property
    def ended(self):
        """Whether there were as many evaluations without a better one as `patience` says."""
        return self._wait >= max(self.patience, 1)

    def on_epoch_end(self, epoch, logs=None):
        # All workers must keep the same and end together.
        value = np.float32(logs[self.monitor])
        if self._better(float(from_chief(self.model.distribute_strategy, value))):
            for best, variable in zip(self.variables, self.model.trainable_variables, strict=True):
                best.assign(variable)
        elif self.ended:
            self.model.stop_training = True

    def put_back(self, model):
        """Gives the model the best weights."""
        for best, variable in zip(self.variables, model.trainable_variables, strict=True):
            variable.assign(best)

    def _better(self, value):
        better = value > self._best
        self._best, self._wait = (value, 0) if better else (self._best, self._wait + 1)
        return better


class NonFinite(keras.callbacks.Callback):
    """Ends a training at the first loss that is no number, or leaves such batches out.

    `optimizer.AdamW` takes no step from gradients that are no numbers, so the weights are those
    before the batch.

    Args:
        save: the `SaveState` of the training, which must stand before this in the list.
        path: `.npz` file that the batch is written to.
        batch_at: function of a number of steps that gives the batch taken after them.
        skip: leave such batches out, and go on.
        advice: what the user can do, for the message.
    """

    def __init__(self, save, path, batch_at, skip=False, advice="give a smaller learning rate"):
        super().__init__()
        self._save, self._path, self._batch_at = save, path, batch_at
        self._skip, self._advice = skip, advice

    def on_train_batch_end(self, batch, logs=None):
        if np.isfinite(float(logs["loss"])):
            return
        step = self._save.step
        if self._skip:
            self.model.reset_metrics()  # means that are no numbers any more
            print(f"step {step}: the loss is no number; the batch is left out", file=sys.stderr)
            return
        if step % self._save.steps:  # else the state needs what is measured now
            self._save.save()
        written = "its batch is in"
        if is_chief(self.model.distribute_strategy):
            parts = keras.tree.flatten_with_path(self._batch_at(step - 1))
            arrays = {"/".join(map(str, path)): np.asarray(value) for path, value in parts}
            try:
                np.savez(self._path, **arrays)
            except OSError as error:
                written = f"its batch could not be written ({error.strerror}) to"
        raise InputError(
            f"step {step}: the loss is no longer a number; {written} {self._path}; {self._advice}"
        )
