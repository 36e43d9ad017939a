"""The state of a training on disk, from which it resumes as if it had never stopped.

In: a compiled model. Out: directories `step-<number>` with `variables.npz` (weights, random
states, optimizer) and `state.json` (what the caller adds: the history, the position in the
data). Each is written whole or not at all, and only then are older ones removed.
"""

import contextlib
import json
import re
import shutil
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.errors import InputError, first_line
from tfmodels.files import whole_directory
from tfmodels.training.callbacks import Steps
from tfmodels.training.curve import Curve
from tfmodels.training.distribution import from_chief, is_chief

NAME = re.compile("step-([0-9]+)")
VARIABLES, STATE = "variables.npz", "state.json"
LEFT = 128 + signal.SIGTERM  # the exit status of a process that this signal ends
# How long a worker that is not the chief trains on after SIGTERM: where all of them get it, none
# may leave before the chief has taken its step and saved.
STEPS_MORE, SECONDS_MORE = 2, 2.0


class _Damaged(InputError):
    """Files of a state that cannot be read."""


def save_state(
    directory: str | Path, model: keras.Model, step: int, more: Sequence = (), **state: Any
) -> None:
    """Write the state after a step, and keep the one before it.

    Args:
        directory: holds the states of one training.
        model: compiled, its optimizer built.
        step: int, how many steps were taken.
        more: further variables, of the caller, that belong to the state.
        **state: JSON values, given back by `restore_newest`.

    Raises:
        InputError: the directory cannot be written; the states in it are as they were.
    """
    directory = Path(directory)
    path = directory / f"step-{step:09d}"
    if path.exists():  # from a process that was killed between writing and its next step
        return
    with whole_directory(path, "another directory") as partial:
        variables = _variables(model, more)
        arrays = {name: np.asarray(ops.convert_to_tensor(v)) for name, v in variables.items()}
        np.savez(partial / VARIABLES, **arrays)  # type: ignore[arg-type]
        text = json.dumps({"step": step, **state}, ensure_ascii=False)
        (partial / STATE).write_text(text, encoding="utf-8")
    for old in states(directory)[:-2]:
        shutil.rmtree(old, ignore_errors=True)


def states(directory: str | Path) -> list[Path]:
    """Return the states in a directory, the newest last."""
    return sorted(path for path in Path(directory).glob("step-*") if NAME.fullmatch(path.name))


def restore_newest(directory: str | Path, model: keras.Model, more: Sequence = ()) -> dict | None:
    """Give a model the weights, random states and optimizer of the newest state.

    On all workers of a strategy it is the chief's. One that is damaged (power was lost) is passed
    over, with a line, where there is one before it.

    Args:
        directory: see `save_state`.
        model: made and compiled as the one that was saved.
        more: see `save_state`.

    Returns:
        dict: `step`, and what `save_state` was given; None if there is no state.

    Raises:
        InputError: the files are damaged, or are of another model.
    """
    strategy = model.distribute_strategy
    variables, state, stored = _variables(model, more), None, {}
    if is_chief(strategy):
        left = states(directory)
        while left and state is None:
            newest = left.pop()
            try:
                state, stored = _read(newest, variables)
            except _Damaged:
                if not left:
                    raise
                print(f"tfmodels: {newest}: damaged; resuming from {left[-1]}", file=sys.stderr)
    text = np.frombuffer(json.dumps(state).encode(), np.uint8).astype("int32")
    length = int(from_chief(strategy, np.int32(len(text))))
    text = from_chief(strategy, np.resize(text, length))
    state = json.loads(np.asarray(text).astype("uint8").tobytes())
    if state is not None:
        stored = {k: stored.get(k, np.zeros(v.shape, v.dtype)) for k, v in variables.items()}
        # A seed is of a kind of int that is not sent.
        sent = {k: v.astype("int64") if v.dtype.kind in "iu" else v for k, v in stored.items()}
        for name, value in from_chief(strategy, sent).items():
            variables[name].assign(value.astype(variables[name].dtype))
    return state


def _read(path, variables):
    """What `save_state` wrote: the JSON values, and a dict of arrays for the variables."""
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        with np.load(path / VARIABLES, allow_pickle=False) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _Damaged(
            f"{path}: damaged ({first_line(error)}); remove its folder to start over"
        ) from error
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    different = [
        name
        for name in sorted(shapes.keys() | stored.keys())
        if name not in stored or shapes.get(name) != stored[name].shape
    ]
    if different:
        raise InputError(
            f"{path}: the state of another model ({len(different)} variables differ, the first is "
            f"number {different[0]}); train on with the same settings, or remove it"
        )
    return state, stored


class SaveState(keras.callbacks.Callback):
    """Save the state at the end of every Keras epoch, and within, with the model's history so far.

    SIGTERM, which a cluster sends before it takes a machine away, is answered after the step that
    is being taken: the state is saved and the process leaves with the status `LEFT`. Not saved is
    the state after a loss that is not finite.

    Args:
        directory: see `save_state`.
        steps: the `Steps` of the training, before this in the list, as is Keras' `History`.
        every: steps between two states within an epoch; none are saved there if not given.
        more: further variables of the state, see `save_state`.
        curve: `Curve` of the training, whose points are kept.
    """

    takes_tensors = True  # as logs of a step; see `loop`

    def __init__(
        self, directory: str | Path, steps: Steps, every: int | None = None, more: Sequence = (),
        curve: Curve | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._directory, self._every, self._more, self._curve = directory, every, more, curve
        self._steps, self._leave = steps, None  # when SIGTERM came: step, seconds

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Answer SIGTERM within the block, where it is of the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._asked_to_leave)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step = self._steps.step
        if step in self._steps.ends:  # that state has the metrics of the epoch
            return
        if self._leaves() or (self._every and step % self._every == 0):
            self.on_epoch_end(None, logs)

    def on_epoch_end(self, epoch: int | None, logs: Any = None) -> None:
        step, message = self._steps.step, "leaves; the chief has the states"
        if is_chief(self.model.distribute_strategy) and np.isfinite(float(logs["loss"])):
            values = self.model.history.history.items()
            history = {name: list(map(float, of_name)) for name, of_name in values}
            points = self._curve.points if self._curve else []
            state = {"history": history, "ends": self._steps.ends, "points": points}
            save_state(self._directory, self.model, step, self._more, **state)
            message = f"the state after step {step} is saved"
        if self._leaves():
            print(f"tfmodels: SIGTERM: {message}; the same command resumes there", file=sys.stderr)
            sys.exit(LEFT)

    def _asked_to_leave(self, number, frame):
        self._leave = self._leave or (self._steps.step, time.monotonic())

    def _leaves(self):
        if self._leave is None or is_chief(self.model.distribute_strategy):
            return self._leave is not None
        step, seconds = self._leave
        taken, passed = self._steps.step - step, time.monotonic() - seconds
        return taken >= STEPS_MORE and passed >= SECONDS_MORE


def _variables(model, more=()):
    """Every variable that a training changes, by a name that is the same in every process.

    Numbers, because Keras counts models and layers up within a process.
    """
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
    metrics = {id(variable) for variable in model.metrics_variables}
    variables = [v for v in model.variables if id(v) not in metrics]
    variables += [*model.optimizer.variables, *more]
    return {f"{number:05d}": v for number, v in enumerate(variables)}
