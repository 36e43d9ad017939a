"""The one training loop: `model.fit` in stretches of steps, which resumes where it was stopped.

In: a compiled model and its batches from a step on. Out: a trained model with its best weights, and
the history. The callbacks are in `callbacks.py`; what a training resumes from is in `state.py`.
"""

import bisect
import contextlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import tensorflow as tf

from tfmodels.errors import InputError, LostWorker
from tfmodels.training.callbacks import KeepBest, Progress, Steps, floats
from tfmodels.training.curve import Curve
from tfmodels.training.distribution import is_chief
from tfmodels.training.state import SaveState, restore_newest
from tfmodels.training.waiting import Waiting

_DEFAULT = tf.distribute.get_strategy()  # of one device


def evaluation_steps(steps_of_pass: int, epochs: int, evaluations: int) -> list[int]:
    """Return the steps after which the model is evaluated, evenly spaced in each pass.

    >>> evaluation_steps(10, 1, 3)
    [3, 7, 10]
    """
    evaluations = min(evaluations, steps_of_pass)
    within = [round(steps_of_pass * i / evaluations) for i in range(1, evaluations + 1)]
    return [epoch * steps_of_pass + step for epoch in range(epochs) for step in within]


def regular_steps(steps: int, every: int | None) -> list[int]:
    """Return the steps of evaluations: each multiple of `every`, and the last step."""
    return [*range(every or steps, steps, every or steps), steps]


def fit(
    model: keras.Model, batches: Callable[[int], tf.data.Dataset], steps: int, ends: Iterable[int],
    *, epochs: float | None = 1, validation: tf.data.Dataset | None = None,
    callbacks: Iterable = (), class_weight: dict | None = None, monitor: str | None = None,
    patience: int | None = None, warmup_steps: int = 0, states: str | Path | None = None,
    save_every: int | None = None, nonfinite: str = "stop",
    advice: str = "give a smaller learning rate", tokens: int | None = None,
    verbose: str | int = "auto",
) -> keras.callbacks.History:  # fmt: skip
    """Train a compiled model to its end, from the newest state if there is one.

    Args:
        model: built and compiled.
        batches: function of a number of steps that gives the endless dataset of the batches after
            them.
        steps: of the whole training.
        ends: increasing list of the steps after which the training is measured, the last of them
            `steps`; see `evaluation_steps`. Each stretch is what Keras calls an epoch.
        epochs: passes over the data, for the progress, which shows steps alone if `None`.
        validation: dataset to measure on, or `None`.
        callbacks: further ones. They see the averaged weights where the optimizer has `use_ema`,
            and what they put into the logs can be the `monitor`.
        class_weight: dict from class to the weight of its examples, or `None`.
        monitor: name in the logs, the larger the better; of the evaluation where it is largest the
            weights are kept. `None`: the last weights.
        patience: evaluations in a row without a better one, after which training ends.
        warmup_steps: evaluations up to this step do not count for `patience`.
        states: directory to save states in and resume from, with logs for TensorBoard beside it,
            in `logs`; `None`: neither.
        save_every: steps between two states beside those at the `ends`.
        nonfinite: `"stop"` at a loss that is not finite, or `"skip"` its batch.
        advice: for the message about such a loss: what the user can do.
        tokens: of a step, for `tokens_per_second` in the history.
        verbose: `"auto"`: a line now and then on stderr, on a terminal one that moves; 0: nothing;
            1 and 2: as Keras.

    Returns:
        `keras.callbacks.History` with one value an evaluation, those before a resumption included;
        also `best`, the index of the evaluation whose weights were kept, or `None`; `steps`, the
        steps of the evaluations; `points`, see `Curve`; `steps_per_epoch`, or `None`; `ended`, why
        the training ended; and `input_wait_share`, the share of the time in which steps waited for
        their batches, or `None`: it is measured on one device, without class weights.

    Raises:
        InputError: the loss is not finite; the states are of another training or cannot be written.
        LostWorker: another worker has gone.
    """
    ends, shown = list(ends), verbose != 0 and is_chief(model.distribute_strategy)
    if ends[-1] != steps:
        raise ValueError(f"ends must end with steps, got ends={ends} and steps={steps}")
    best, start, points, history = None, 0, (), keras.callbacks.History()
    history.input_wait_share = None
    if monitor is not None:
        with model.distribute_strategy.scope():
            best = KeepBest(model, monitor, patience, ends, warmup_steps)
    more = best.variables if best else ()
    states = None if states is None else Path(states)
    if states and (state := restore_newest(states, model, more)):
        start, history.history = state["step"], state["history"]
        points = state.get("points", ())  # which older states have not
        if state.get("ends", ends) != ends:
            raise InputError(
                f"{states}: an unfinished training of {state['ends'][-1]} steps with "
                f"{len(state['ends'])} evaluations, and now it is {steps} with {len(ends)}; give "
                "the same to resume, or remove it"
            )
        if best:
            best.replay(history.history)
        if shown:
            print(f"resuming at step {start} of {steps}", file=sys.stderr)
    counted = Steps(ends, start, nonfinite == "skip", advice)
    logs = states and states.with_name("logs")
    curve = Curve(counted, points, logs and logs / "steps")
    if start < steps and not (best and best.ended):
        # Several devices, and Keras' class weights, read batches ahead of the steps.
        one_device = type(model.distribute_strategy) is type(_DEFAULT)
        waiting = Waiting() if one_device and not class_weight else None
        progress = Progress(counted, epochs, tokens, shown and verbose == "auto", waiting)
        averaged = _averaged(model, [*callbacks, *filter(None, [best])])
        listed = [counted, curve, *averaged, progress, history]
        with lost_workers(model), contextlib.ExitStack() as stack:
            if states and logs:
                logs.mkdir(parents=True, exist_ok=True)
                saved = SaveState(states, counted, save_every, more, curve)
                stack.enter_context(saved.answering())
                board = keras.callbacks.TensorBoard(str(logs), write_graph=False)
                board.takes_tensors = True
                listed += [board, saved]
            verbose = 0 if verbose == "auto" else verbose
            dataset = waiting.measured(batches(start)) if waiting else batches(start)
            _fit(model, dataset, listed, counted, validation, class_weight, verbose)
        history.input_wait_share = progress.wait_share
    history.points, history.steps_per_epoch = curve.points, epochs and steps / epochs
    return _finished(model, history, counted, best, shown)


def _fit(model, dataset, callbacks, steps, validation, class_weight, verbose):
    """Run `model.fit` over the stretches that are left."""
    ends, start = steps.ends, steps.step
    first = bisect.bisect_right(ends, start)
    longest = max(b - a for a, b in zip([start, *ends[first:]], ends[first:], strict=False))
    listed = _Callbacks(
        callbacks, add_progbar=verbose != 0, model=model, verbose=verbose, epochs=len(ends),
        steps=longest,
    )  # fmt: skip
    with warnings.catch_warnings():
        # Of validation data whose length Keras does not know; `Steps` sees to the other.
        warnings.filterwarnings("ignore", "Your input ran out of data")
        model.fit(
            dataset, steps_per_epoch=longest, initial_epoch=first, epochs=len(ends), shuffle=False,
            callbacks=listed, validation_data=validation, class_weight=class_weight,
            verbose=verbose,
        )  # fmt: skip


def _averaged(model, callbacks):
    """Return the callbacks, between two that put the averaged weights into the model and back."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not getattr(optimizer, "use_ema", False):
        return callbacks
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    back = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: swap.on_epoch_begin(epoch)
    )
    return [swap, *callbacks, back]


def _finished(model, history, steps, best, shown):
    """Put the best weights back, and complete the history."""
    history.history = dict(sorted(history.history.items()))
    number = max(map(len, history.history.values()), default=0)
    history.epoch, history.best = list(range(number)), best.kept if best else None
    history.steps = [min(end, steps.step) for end in steps.ends[:number]]
    if best and best.ended:
        history.ended = f"stopped early: no better evaluation in {max(best.patience, 1)} (patience)"
    elif steps.step < steps.ends[-1]:
        history.ended = f"stopped by a callback after step {steps.step} of {steps.ends[-1]}"
    else:
        history.ended = f"all {steps.ends[-1]} steps were taken"
    if history.best is not None:
        best.put_back(model)
        if shown:
            print(
                f"kept the weights of evaluation {best.kept + 1} of {number} ({best.monitor} "
                f"{best.values[best.kept]:.4f}); {history.ended}",
                file=sys.stderr,
            )
    return history


class _Callbacks(keras.callbacks.CallbackList):
    """Keras' list, which does not wait for the device at every step to show the logs as floats.

    It waits where a callback without `takes_tensors` does something after a step.
    """

    def on_train_batch_end(self, batch, logs=None):
        base, numbers = keras.callbacks.Callback, None
        for callback in self.callbacks:
            if getattr(callback, "takes_tensors", False):
                callback.on_train_batch_end(batch, logs)
            elif any(
                getattr(getattr(callback, name), "__func__", None) is not getattr(base, name)
                for name in ("on_train_batch_end", "on_batch_end")
            ):
                numbers = floats(logs) if numbers is None else numbers
                callback.on_train_batch_end(batch, numbers)


@contextlib.contextmanager
def lost_workers(model: keras.Model) -> Iterator[None]:
    """Raise `LostWorker` for TensorFlow's error that another worker does not answer."""
    try:
        yield
    except tf.errors.OpError as error:
        several = isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)
        gone = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError,
                tf.errors.DeadlineExceededError, tf.errors.InternalError)  # fmt: skip
        if not several or not isinstance(error, gone):
            raise
        raise LostWorker(
            "lost another worker, or the way to it; start all again with the same command "
            f"({type(error).__name__})"
        ) from error
