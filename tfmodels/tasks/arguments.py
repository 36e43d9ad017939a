"""Arguments of `compile` and `fit` as Keras users give them: the right form, or what to give.

In: the arguments that a task does not have, or would use otherwise than Keras. Out: an `InputError`
that says the right form.
"""

import contextlib
from collections.abc import Iterable
from typing import Any

import keras

from tfmodels.errors import InputError

# Further arguments of `keras.Model.compile`.
COMPILING = ("loss_weights", "weighted_metrics", "run_eagerly", "steps_per_execution",
             "jit_compile", "auto_scale_loss")  # fmt: skip
# What others call something that is here too.
_RENAMED = {
    "sampler": "a CausalLM samples after task.configure(sample=True, top_k=5)",
    "initial_epoch": "give states=, a directory, to resume a training",
    "validation_steps": "give validation_data=dataset.take(steps)",
    "validation_freq": "give evaluate_every=, a number of steps",
    "validation_batch_size": "batch_size= is for held-out rows too",
    "X": "give the texts as x=",
}
_OF_THE_RATE = ("ReduceLROnPlateau", "LearningRateScheduler")
_OF_PROBABILITIES = ("binary", "categorical", "sparse_categorical", "binary_focal",
                     "categorical_focal")  # fmt: skip


def check_compiling(options: Iterable[str], settings: Iterable[str]) -> None:
    """Refuse further arguments of `compile` that Keras' does not have.

    Args:
        options: their names.
        settings: names of those that a task has, for the message.
    """
    for name in options:
        if name not in COMPILING:
            remedy = _RENAMED.get(name, f"give some of {', '.join([*settings, *COMPILING])}")
            raise InputError(f"compile has no setting {name}; {remedy}")


def check_fitting(options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse further arguments of `fit` that are not among the known ones."""
    for name in options:
        if name not in known:
            remedy = _RENAMED.get(name, "help(task.fit) lists those that there are")
            raise InputError(f"fit has no argument {name}; {remedy}")


def check_loss(loss: Any) -> None:
    """Refuse a loss of Keras that takes probabilities: the models give logits."""
    found = loss
    if isinstance(loss, str) and loss != "auto":
        with contextlib.suppress(ValueError):  # no loss: Keras says so
            found = keras.losses.get(loss)
    functions = [getattr(keras.losses, f"{kind}_crossentropy") for kind in _OF_PROBABILITIES]
    if found in functions or getattr(found, "from_logits", None) is False:
        raise InputError(
            f"loss {getattr(loss, '__name__', loss)}: is of probabilities, and the model gives "
            "logits; leave loss out, or give an object of keras.losses with from_logits=True"
        )


def check_callbacks(callbacks: Iterable, optimizer: Any) -> None:
    """Refuse callbacks that set the learning rate where it follows a schedule."""
    for callback in callbacks:
        name = type(callback).__name__
        if name in _OF_THE_RATE and isinstance(optimizer, str) and optimizer == "auto":
            raise InputError(
                f"{name}: the learning rate follows a schedule; give task.compile(keras."
                "optimizers.AdamW(1e-4)) first"
            )


def as_pair(data: Any) -> tuple:
    """Return `validation_data`, a tuple or a list of two or three parts, or rows, as a tuple."""
    parts = isinstance(data, list) and len(data) in (2, 3) and not any(
        isinstance(part, str | bytes) for part in data
    )  # fmt: skip
    return tuple(data) if isinstance(data, tuple) or parts else (data,)
