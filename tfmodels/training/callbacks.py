"""The callbacks of `loop.fit`: steps, best weights, progress.

In: the logs of a training. Out: weights kept, a training that ends early, lines on stderr. The one
that saves what a training resumes from is in `state.py`.
"""

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfmodels.errors import InputError
from tfmodels.training.distribution import from_chief
from tfmodels.training.waiting import Waiting

# What `stop_training` is set to where a stretch ends, so that `True` of another callback differs.
STRETCH = "the stretch has ended"
LOOK = 50  # steps between two looks at the loss, each of which waits for the device
SECONDS, SECONDS_MOVING = 10.0, 1.0  # between two lines of progress; on a terminal


def floats(logs: dict) -> dict[str, float]:
    """Return the logs of a step as floats, in one dict: waits for the device."""
    result: dict[str, float] = {}
    for name, value in logs.items():
        result |= floats(value) if isinstance(value, dict) else {name: float(value)}
    return result


class Measured(keras.callbacks.Callback):
    """Put what a function measures into the logs of each evaluation, with `val_` before the names.

    Args:
        measure: function that returns a dict from name to number.
    """

    def __init__(self, measure: Callable[[], dict[str, float]]) -> None:
        super().__init__()
        self._measure = measure

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs |= {f"val_{name}": value for name, value in self._measure().items()}


class Steps(keras.callbacks.Callback):
    """Count steps, end each Keras epoch after one of its own, look at the loss; first in the list.

    `optimizer.AdamW` takes no step from gradients that are not finite, and the loss that Keras
    shows is a mean, so that it is enough to look at it from time to time.

    Args:
        ends: increasing list of step numbers.
        start: steps taken before.
        skip: leave batches out whose loss is not finite. Every step is looked at.
        advice: what the user can do about such a loss, for the message.

    Attributes:
        step: steps taken, those before included.
        left_out: the last step whose batch was left out, after which Keras' means begin anew.
    """

    takes_tensors = True  # as logs of a step; see `loop`

    def __init__(
        self, ends: Sequence[int], start: int = 0, skip: bool = False, advice: str = ""
    ) -> None:
        super().__init__()
        self.ends, self.step, self._skip, self._advice = ends, start, skip, advice
        self._finite, self.left_out = start, -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begun, self._end = self.step, self.ends[epoch]
        self._logs: dict = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step = step = self._begun + batch + 1
        if step >= self._end:
            self.model.stop_training = STRETCH
        if not (self._skip or self.model.stop_training or step % LOOK == 0):
            return
        if np.isfinite(float(logs.get("loss", 0.0))):
            self._finite, self._logs = step, logs
        elif self._skip:
            print(f"step {step}: the loss is not finite; the batch is left out", file=sys.stderr)
            self.model.reset_metrics()  # means that would stay as they are
            self.left_out = step
        else:
            first = self._finite + 1
            where = f"step {step}" if first == step else f"steps {first} to {step}"
            raise InputError(
                f"{where}: the loss is not finite; {self._advice}, or leave such batches out "
                '(nonfinite "skip")'
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.model.stop_training:
            raise ValueError(
                f"the batches ended after step {self.step} of {self.ends[-1]}; repeat the dataset"
            )
        if self.model.stop_training == STRETCH:
            self.model.stop_training = False
        if self.left_out == self.step:  # else the means are of no batch
            logs.update(floats(self._logs) or {"loss": np.nan})


class KeepBest(keras.callbacks.Callback):
    """Keep the weights that did best in an evaluation; end a training that no longer gets better.

    What it keeps are variables, so that they can be part of a state; in the scope of a strategy
    make it there. `keras.callbacks.EarlyStopping` starts anew with every `fit`.

    Args:
        model: compiled.
        monitor: name in the logs: the larger the better; of two that are equal, that of the smaller
            loss.
        patience: evaluations in a row without a better one, after which training ends; never if
            not given.
        ends: the steps of the evaluations.
        warmup_steps: evaluations up to this step do not count for `patience`.

    Attributes:
        variables: the best weights, in the order of `model.trainable_variables`.
        values: the monitored values so far.
        kept: the index of the best evaluation, or `None`.
    """

    def __init__(
        self, model: keras.Model, monitor: str, patience: int | None = None,
        ends: Sequence[int] = (), warmup_steps: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.monitor, self.patience = monitor, patience
        self.variables = [
            keras.Variable("zeros", shape=v.shape, dtype=v.dtype, trainable=False)
            for v in model.trainable_variables
        ]
        self.values: list[float] = []
        self.kept: int | None = None
        self._ends, self._warmup_steps, self._best, self._wait = ends, warmup_steps, (), 0

    def replay(self, history: dict) -> None:
        """Resume after evaluations before: dict from metric name to its values."""
        values = history.get(self.monitor, ())
        losses = history.get("val_loss", history.get("loss", [np.inf] * len(values)))
        for value, loss in zip(values, losses, strict=True):
            self._better(value, loss)

    @property
    def ended(self) -> bool:
        """Return whether `patience` evaluations in a row were not better."""
        return self.patience is not None and self._wait >= max(self.patience, 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.monitor not in logs:
            raise InputError(f"monitor {self.monitor}: measured are {', '.join(sorted(logs))}")
        # All workers must keep the same and end together.
        loss = logs.get("val_loss", logs.get("loss", np.inf))
        pair = np.array([logs[self.monitor], loss], "float32")
        if self._better(*from_chief(self.model.distribute_strategy, pair)):
            for best, variable in zip(self.variables, self.model.trainable_variables, strict=True):
                best.assign(variable)
        elif self.ended:
            self.model.stop_training = True

    def put_back(self, model: keras.Model) -> None:
        """Give the model the best weights."""
        for best, variable in zip(self.variables, model.trainable_variables, strict=True):
            variable.assign(best)

    def _better(self, value, loss):
        value, loss = np.float32([value, loss])
        score = (-np.inf if np.isnan(value) else value, -np.inf if np.isnan(loss) else -loss)
        number = len(self.values)
        self.values.append(float(value))
        if score > self._best:
            self.kept, self._best, self._wait = number, score, 0
            return True
        if number >= len(self._ends) or self._ends[number] > self._warmup_steps:
            self._wait += 1
        return False


class Progress(keras.callbacks.Callback):
    """Say on stderr how far a training is: a line now and then; on a terminal one that moves.

    Args:
        steps: the `Steps` of the training, before this in the list.
        epochs: as the user gave them; not shown if `None`.
        tokens: of a step; with them `tokens_per_second` is put into the logs.
        shown: whether anything is printed.
        waiting: measures the waiting for batches, if they are measured.

    Attributes:
        wait_share: share of the time of all steps but the first in which they waited for their
            batches; None where it is not measured.
    """

    takes_tensors = True  # as logs of a step; see `loop`

    def __init__(
        self, steps: Steps, epochs: float | None = None, tokens: int | None = None,
        shown: bool = True, waiting: Waiting | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._steps, self._epochs, self._tokens = steps, epochs, tokens
        self._waiting, self._waited, self._seconds = waiting, 0.0, 0.0
        self.wait_share: float | None = None
        self._shown, self._moves = shown, shown and sys.stderr.isatty()
        self._interval = SECONDS_MOVING if self._moves else SECONDS
        # Step and time from which the remaining time is estimated.
        self._first: tuple[int, float] | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._from, self._start = self._steps.step, time.perf_counter()
        self._trained = self._shown_at = self._start
        self._waited_before = self._waiting.seconds if self._waiting else 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._trained = time.perf_counter()
        if self._first is None:  # the first step takes as long as compiling the model
            self._first = self._steps.step, self._trained
            if not self.model.stop_training:
                self._from, self._start = self._first
                self._shown_at = self._start
                self._waited_before = self._waiting.seconds if self._waiting else 0.0
        due = self._trained - self._shown_at >= self._interval
        if self._shown and due and not self.model.stop_training:
            self._shown_at = self._trained
            self._print(self._line({"loss": float(logs["loss"])}), self._moves)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._tokens:
            logs["tokens_per_second"] = self._tokens * self._speed()
        if self._waiting:
            self._waited += self._waiting.seconds - self._waited_before
            self._seconds += self._trained - self._start
            self.wait_share = min(self._waited / max(self._seconds, 1e-9), 1.0)
        if self._shown:
            self._print(self._line(logs, self.wait_share), False)

    def _print(self, line, stays):
        if not self._moves:
            print(line, file=sys.stderr)
            return
        if stays:  # a line that is wrapped cannot be written again
            line = line[: max(shutil.get_terminal_size().columns - 1, 20)]
        print(f"\r{line}\x1b[K", end="" if stays else "\n", file=sys.stderr, flush=True)

    def _speed(self):
        """Return the steps per second of this stretch, evaluations not counted."""
        return (self._steps.step - self._from) / max(self._trained - self._start, 1e-9)

    def _line(self, logs, wait_share=None):
        step, steps = self._steps.step, self._steps.ends[-1]
        parts = [f"step {step} of {steps}"]
        if self._epochs:
            parts.insert(0, f"epoch {self._epochs * step / steps:.2f} of {self._epochs:g}")
        names = [name for name in logs if name.startswith("val_") and name != "val_loss"]
        names = names or [name for name in logs if name == "val_loss"]
        parts += [f"{name} {logs[name]:.4g}" for name in ("loss", *names) if name in logs]
        parts.append(f"{self._speed():.3g} steps/s")
        if "tokens_per_second" in logs:
            parts.append(f"{logs['tokens_per_second']:,.0f} tokens/s")
        if wait_share is not None:
            parts.append(f"waiting for input {wait_share:.1%}")
        first, began = self._first
        if first < step < steps:
            seconds = (time.perf_counter() - began) / (step - first) * (steps - step)
            parts.append(f"{_duration(seconds)} left")
        return ", ".join(parts)


def _duration(seconds):
    """Return a time in the unit that a person counts it in."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def several(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return the callbacks that Keras' `fit` takes: several, one, or None."""
    if callbacks is None:
        return []
    return [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks)
