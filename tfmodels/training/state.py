"""The state of a training on disk, from which it goes on as if it had never stopped.

In: a compiled model. Out: directories `step-<number>` with `variables.npz` (weights, random
states, optimizer) and `state.json` (what the caller adds: the history, the position in the
data). Each is written whole or not at all, and only then are older ones removed.
"""

import json
import re
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tfmodels.errors import InputError, first_line
from tfmodels.files import whole_directory
from tfmodels.training.distribution import from_chief, is_chief

NAME = re.compile("step-([0-9]+)")
VARIABLES, STATE = "variables.npz", "state.json"


def save_state(directory, model, step, keep=2, **state):
    """Writes the state after a step.

    Args:
        directory: holds the states of one training.
        model: compiled, its optimizer built.
        step: int, how many steps were taken.
        keep: how many of the newest states stay.
        **state: JSON values, given back by `restore_state`.

    Raises:
        InputError: the directory cannot be written; the states in it are as they were.
    """
    directory = Path(directory)
    path = directory / f"step-{step:09d}"
    if path.exists():  # from a process that was killed between writing and its next step
        return
    with whole_directory(path, "another directory") as partial:
        variables = _variables(model)
        arrays = {name: np.asarray(ops.convert_to_tensor(v)) for name, v in variables.items()}
        np.savez(partial / VARIABLES, **arrays)
        text = json.dumps({"step": step, **state}, ensure_ascii=False)
        (partial / STATE).write_text(text, encoding="utf-8")
    for old in states(directory)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def states(directory):
    """The states in a directory, the newest last."""
    return sorted(path for path in Path(directory).glob("step-*") if NAME.fullmatch(path.name))


def restore_state(path, model):
    """Gives a model the weights, random states and optimizer that were saved.

    Args:
        path: one of `states`.
        model: made and compiled as the one that was saved.

    Returns:
        dict: `step`, and what `save_state` was given.

    Raises:
        InputError: the files are damaged, or are of another model.
    """
    variables = _variables(model)
    state, stored = _read(Path(path), variables)
    for name, variable in variables.items():
        variable.assign(stored[name])
    return state


def restore_newest(directory, model):
    """`restore_state` of the newest state; the chief's, on all workers of a strategy.

    Returns:
        dict, see `restore_state`; None if there is no state.
    """
    strategy = model.distribute_strategy
    variables, state, stored = _variables(model), None, {}
    if is_chief(strategy) and (found := states(directory)):
        state, stored = _read(found[-1], variables)
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
        raise InputError(
            f"{path}: damaged ({first_line(error)}); remove it to go on from the state before"
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
    """Saves the state at the end of every Keras epoch, with the history up to there.

    Not after a loss that is no number.

    Args:
        directory: see `save_state`.
        steps: of a Keras epoch.
        history: dict from metric name to its values in the epochs before; goes on here.
        keep: see `save_state`.

    Attributes:
        last_loss: of the newest Keras epoch.
    """

    def __init__(self, directory, steps, history=(), keep=2):
        super().__init__()
        self.directory = directory
        self.steps = steps
        self.history = {name: list(values) for name, values in dict(history).items()}
        self.keep = keep
        self.last_loss = self.history.get("loss", [0.0])[-1]

    def on_epoch_end(self, epoch, logs=None):
        self.last_loss = float(logs["loss"])
        if not np.isfinite(self.last_loss):
            return  # the state before is the last good one
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if is_chief(self.model.distribute_strategy):
            step = (epoch + 1) * self.steps
            save_state(self.directory, self.model, step, self.keep, history=self.history)


def _variables(model):
    """Every variable that a training changes, by a name that is the same in every process.

    Numbers, because Keras counts models and layers up within a process.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    metrics = {id(variable) for variable in model.metrics_variables}
    variables = [v for v in model.variables if id(v) not in metrics]
    variables += model.optimizer.variables
    return {f"{number:05d}": v for number, v in enumerate(variables)}
