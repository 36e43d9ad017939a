"""The one training loop: `model.fit` from any step on, in stretches between evaluations.

In: a compiled model and a function that gives its batches from a step on. Out: a trained model
with its best weights, and Keras' `History`. What a training resumes from is in `state.py`.
"""

import math
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfmodels.errors import InputError, LostWorker
from tfmodels.training.distribution import from_chief
from tfmodels.training.state import SaveState, restore_newest

LOOK_EVERY = 50  # steps between two looks at the loss: each waits for the device


def evaluation_steps(steps_of_pass: int, epochs: int, evaluations: int) -> list[int]:
    """Return the steps after which is measured: `evaluations` times in each pass, evenly.

    >>> evaluation_steps(10, 1, 3)
    [3, 7, 10]
    """
    evaluations = min(evaluations, steps_of_pass)
    within = [round(steps_of_pass * i / evaluations) for i in range(1, evaluations + 1)]
    return [epoch * steps_of_pass + step for epoch in range(epochs) for step in within]


def regular_steps(steps: int, every: int | None) -> list[int]:
    """Return the steps after which is measured: every so many, and the last."""
    return [*range(every or steps, steps, every or steps), steps]


def fit(
    model,
    batches,
    steps,
    ends,
    *,
    epochs=1,
    validation=None,
    callbacks=(),
    class_weight=None,
    monitor=None,
    patience=None,
    warmup_steps=0,
    states=None,
    save_every=None,
    nonfinite="stop",
    advice="give a smaller learning rate",
    verbose="auto",
):
    """Train, from the newest state if there is one; keep the best weights.

    Args:
        model: compiled and built.
        batches: function of a step that gives the endless dataset of the batches from there on.
        steps: total number of steps.
        ends: the steps after which is measured, the last one `steps`. What lies between two of
            them is what Keras calls an epoch.
        epochs: passes over the data, for the progress.
        validation: batches to measure on, or None.
        callbacks: further ones. They see the weights that are measured; what they put into the
            logs can be the `monitor`.
        class_weight: as of `fit`.
        monitor: name in the logs of what decides which weights are kept, larger is better; None
            keeps the last weights.
        patience: evaluations in a row without a better one after which training ends.
        warmup_steps: steps before which `patience` does not count.
        states: directory of the states of the training, with the logs of TensorBoard beside it in
            `logs`; None for neither.
        save_every: steps between two states, besides those at each evaluation.
        nonfinite: "stop" after a loss that is not finite, or "skip" such batches.
        advice: what the user can do then, for the message.
        verbose: "auto": one line an evaluation on standard error; 0, 1, 2: as of Keras.

    Returns:
        `keras.callbacks.History` with a value for each evaluation, those before it was resumed
        included, and the attributes `best` (index of the evaluation whose weights were kept, or
        None) and `ended` (why the training ended).

    Raises:
        InputError: the loss is not finite, or the state cannot be used.
        LostWorker: another worker is gone.
    """
    averaged = bool(getattr(model.optimizer, "use_ema", False))
    best = KeepBest(model, monitor, patience, warmup_steps, ends)
    step, past = 0, {}
    if states is not None and (state := restore_newest(states, model, best.variables)):
        step, past = state["step"], state["history"]
        best.replay(past)
        if verbose != 0:
            print(f"resuming at step {step} of {steps}", file=sys.stderr)
    saved = SaveState(states, ends, past, every=save_every, start=step, more=best.variables,
                      averaged=averaged)  # fmt: skip
    history = keras.callbacks.History()
    if step < steps and not best.ended:
        logs = None if states is None else Path(states).with_name("logs")
        progress = [Progress(steps, ends, epochs, step)] if verbose == "auto" else []
        with _lost_workers(model):
            model.fit(
                batches(step),
                steps_per_epoch=max(np.diff([0, *ends])),
                initial_epoch=int(np.searchsorted(ends, step, side="right")),
                epochs=len(ends),
                shuffle=False,
                validation_data=validation,
                class_weight=class_weight,
                verbose=0 if verbose == "auto" else verbose,
                callbacks=[
                    _Stretches(ends, step),
                    # Before the callbacks that measure, and the one that keeps the best weights.
                    *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if averaged else []),
                    *callbacks,
                    *progress,
                    best,
                    *([] if logs is None else [_tensorboard(logs)]),
                    saved,
                    NonFinite(saved, nonfinite == "skip", advice),
                    history,
                ],
            )
    best.put_back(model, averaged)
    history.history, history.epoch = saved.history, list(range(len(saved.history.get("loss", ()))))
    history.best, history.ended = best.kept, best.reason()
    if verbose != 0 and monitor is not None:
        print(history.ended, file=sys.stderr)
    return history


def _tensorboard(logs):
    logs.mkdir(parents=True, exist_ok=True)
    return keras.callbacks.TensorBoard(str(logs), write_graph=False)


class _lost_workers:
    """Turn the errors of a worker that has gone into `LostWorker`."""

    def __init__(self, model):
        strategy = model.distribute_strategy
        self._several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        errors = tf.errors
        gone = (errors.UnavailableError, errors.AbortedError, errors.CancelledError,
                errors.DeadlineExceededError, errors.InternalError)  # fmt: skip
        if self._several and isinstance(error, gone):
            raise LostWorker(
                "lost another worker, or the way to it; start all again with the same command "
                f"({type(error).__name__})"
            ) from error
        return False


class _Stretches(keras.callbacks.Callback):
    """End each Keras epoch where its stretch ends, whatever its length.

    Stands first, so that a callback that ends the training at the end of an epoch is heard.
    """

    def __init__(self, ends, step):
        super().__init__()
        self._ends, self._step = ends, step

    def on_epoch_begin(self, epoch, logs=None):
        self._length, self._over = self._ends[epoch] - self._step, False

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self._length:
            self.model.stop_training = self._over = True

    def on_epoch_end(self, epoch, logs=None):
        self._step = self._ends[epoch]
        if self._over:
            self.model.stop_training = False


class KeepBest(keras.callbacks.Callback):
    """Keep the weights that did best in an evaluation; end a training that gets no better.

    What it keeps are variables, so that they can be part of a state; in the scope of a strategy
    make it there. Of equal evaluations the one with the smaller loss is better.

    Args:
        model: compiled.
        monitor: name in the logs, larger is better; None keeps nothing.
        patience: evaluations in a row without a better one, after which training ends; None
            never ends it.
        warmup_steps: steps before which no evaluation counts as one without a better one.
        ends: the step of each evaluation.

    Attributes:
        variables: the best weights, in the order of `model.trainable_variables`.
        kept: index of the best evaluation, or None.
    """

    def __init__(self, model, monitor, patience=None, warmup_steps=0, ends=()):
        super().__init__()
        self.monitor, self.patience = monitor, patience
        self._warmup, self._ends = warmup_steps, list(ends)
        weights = model.trainable_variables if monitor is not None else ()
        self.variables = [
            keras.Variable("zeros", shape=v.shape, dtype=v.dtype, trainable=False) for v in weights
        ]
        self._best, self._wait, self._number, self.kept = (-np.inf, 0.0), 0, 0, None

    def replay(self, history):
        """Take in the evaluations before: dict from metric name to its values."""
        values = history.get(self.monitor, ())
        losses = history.get("val_loss", [0.0] * len(values))
        for value, loss in zip(values, losses, strict=False):
            self._better(value, loss)

    @property
    def ended(self):
        """Whether there were as many evaluations without a better one as `patience` says."""
        return self.patience is not None and self._wait >= max(self.patience, 1)

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor is None:
            return
        if self.monitor not in logs:
            raise InputError(f"monitor {self.monitor!r}: measured are {', '.join(sorted(logs))}")
        # All workers must keep the same and end together.
        values = np.float32([logs[self.monitor], logs.get("val_loss", 0.0)])
        value, loss = np.asarray(from_chief(self.model.distribute_strategy, values)).reshape(-1)
        if self._better(float(value), float(loss)):
            for best, variable in zip(self.variables, self.model.trainable_variables, strict=True):
                best.assign(variable)
        elif self.ended:
            self.model.stop_training = True

    def put_back(self, model, averaged=False):
        """Give the model the best weights; where none are kept, the averaged ones if there are."""
        if self.kept is not None:
            for best, variable in zip(self.variables, model.trainable_variables, strict=True):
                variable.assign(best)

    def reason(self):
        """Return which weights were kept, and why the training ended, in one line."""
        if self.kept is None:
            return "kept the last weights"
        line = (
            f"kept the weights of evaluation {self.kept + 1} of {self._number} "
            f"({self.monitor} {self._best[0]:.4f})"
        )
        return f"{line}; stopped: no better one in {self._wait} evaluations" if self.ended else line

    def _better(self, value, loss):
        step = self._ends[self._number] if self._number < len(self._ends) else self._warmup
        self._number += 1
        if (value, -loss) > self._best:
            self._best, self._wait, self.kept = (value, -loss), 0, self._number - 1
            return True
        self._wait += step >= self._warmup
        return False


class NonFinite(keras.callbacks.Callback):
    """End a training after a loss that is not finite, or leave such batches out.

    `optimizer.AdamW` takes no step from gradients that are not finite, so the weights are good.
    The loss is looked at every `LOOK_EVERY` steps and at each evaluation: a mean stays not finite
    once one batch was.

    Args:
        saved: the `SaveState` of the training, which must stand before this in the list.
        skip: leave such batches out and train on.
        advice: what the user can do, for the message.
    """

    def __init__(self, saved, skip=False, advice="give a smaller learning rate"):
        super().__init__()
        self._saved, self._skip, self._advice, self._looked = saved, skip, advice, 0

    def on_train_batch_end(self, batch, logs=None):
        if self._saved.step - self._looked >= LOOK_EVERY or self.model.stop_training:
            self._look(logs)

    def _look(self, logs):
        first, self._looked = self._looked + 1, self._saved.step
        if math.isfinite(float(logs["loss"])):
            return
        where = f"steps {first} to {self._looked}: the loss is not finite"
        if self._skip:
            self.model.reset_metrics()  # means that are not finite any more
            print(f"{where}; these batches are left out", file=sys.stderr)
            return
        raise InputError(f"{where}; {self._advice}, or --nonfinite skip")


class Progress(keras.callbacks.Callback):
    """Say on standard error how far the training is, in the epochs that the user gave.

    On a terminal one line is written again and again; elsewhere a line for each evaluation.

    Args:
        steps: total number of steps.
        ends: the step of each evaluation.
        epochs: passes over the data.
        step: steps that were taken before.
    """

    SHOWN = ("loss", "accuracy", "f1", "rougeL", "perplexity")

    def __init__(self, steps, ends, epochs, step=0):
        super().__init__()
        self._steps, self._ends, self._epochs, self._step = steps, ends, epochs, step
        self._first, self._terminal = step, sys.stderr.isatty()

    def on_train_begin(self, logs=None):
        self._start = self._shown = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self._begun = self._step

    def on_train_batch_end(self, batch, logs=None):
        self._step = self._begun + batch + 1
        if self._terminal and time.monotonic() - self._shown > 0.5:
            self._shown = time.monotonic()
            print(f"\r\x1b[K{self._line(logs)}", end="", file=sys.stderr, flush=True)

    def on_epoch_end(self, epoch, logs=None):
        self._step = self._ends[epoch]
        start = "\r\x1b[K" if self._terminal else ""
        print(f"{start}{self._line(logs)}", file=sys.stderr, flush=True)

    def _line(self, logs):
        names = [n for n in logs or () if n.removeprefix("val_").endswith(self.SHOWN)]
        values = "".join(f", {name} {float(logs[name]):.4g}" for name in names[:8])
        done = max(self._step - self._first, 1)
        left = (time.monotonic() - self._start) / done * (self._steps - self._step)
        return (
            f"epoch {self._epochs * self._step / self._steps:.2f} of {self._epochs:g}, "
            f"step {self._step} of {self._steps}{values}, {math.ceil(left / 60)} min left"
        )
