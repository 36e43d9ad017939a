"""How every application trains: start, fit, go on where a training was stopped.

In: an application's settings, its model and its batches. Out: a trained model, and its history.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from applications.models import encoder_layers
from applications.unfinished import STATES, unfinished
from tfmodels.errors import InputError
from tfmodels.files import hash_of, refuse_existing
from tfmodels.text.batching import length_bucketed
from tfmodels.training import loop
from tfmodels.training.distribution import choose_strategy, is_chief, read_cluster
from tfmodels.training.optimizer import make_optimizer
from tfmodels.training.precision import dtype_policy

# Settings that workers may have of their own.
OF_A_WORKER = ("output_dir", "peer_wait")
# What may be another when a training goes on: nothing that changes its result.
FREE = ("strategy", "peer_wait", "save_every", "nonfinite")
# Largest learning rates where none is given.
RATE_FROM_ZERO, RATE_FROM_CHECKPOINT = 5e-4, 1e-4


def start(precision, strategy, seed, stored=False, **of_workers):
    """Sets the process up: random seed, precision; gives the strategy to build under.

    Args:
        precision: see `dtype_policy`.
        strategy: see `choose_strategy`.
        seed: of everything random.
        stored: whether weights are kept in the precision that is computed with, as an export
            has them; a training keeps them in float32.
        of_workers: `settings` and `wait` of `choose_strategy`.
    """
    keras.utils.set_random_seed(seed)
    policy = keras.DTypePolicy(dtype_policy(precision))
    keras.config.set_dtype_policy(policy.compute_dtype if stored else policy)
    return choose_strategy(strategy, **of_workers)


def start_training(settings, **made_of):
    """`start`, with the other workers if there are any: they must have the same settings and data.

    Args:
        settings: of the verb.
        **made_of: as of `training_of`. Workers with other rows would wait for each other for ever.

    Raises:
        InputError: as `start`; or XLA is to compile a step of several devices.
    """
    same = {name: value for name, value in vars(settings).items() if name not in OF_A_WORKER}
    same |= made_of
    strategy = start(
        settings.precision, settings.strategy, settings.seed, settings=same, wait=settings.peer_wait
    )
    replicas = strategy.num_replicas_in_sync
    if replicas > 1 and settings.xla == "on":
        # It cannot reach the variables of another device.
        raise InputError(f"--xla on: works on one device, and there are {replicas}; give auto")
    if replicas > 1 and is_chief(strategy):
        print(
            f"{type(strategy).__name__}: {replicas} replicas, each with its rows of every batch "
            f"of {settings.batch_size}",
            file=sys.stderr,
        )
    return strategy


def batches(chunks, rows, tokenizer, batch_size, max_length, seed=None, word_dropout=0.0):
    """`length_bucketed` batches of a dataset of `rows` rows, which Keras then knows the end of."""
    dataset = length_bucketed(chunks, tokenizer, batch_size, max_length, seed, word_dropout)
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-rows // batch_size)))


def counted(dataset):
    """The dataset, read through once for its number of batches, which Keras then knows."""
    number = sum(1 for _ in dataset)
    return dataset.apply(tf.data.experimental.assert_cardinality(number))


def compile_model(model, settings, total_steps, objective):
    """Compiles a model with the optimizer of the settings.

    Args:
        model: a built model.
        settings: has `checkpoint`, `learning_rate`, `warmup`, `weight_decay`, `clip_norm`,
            `accumulate_steps`, `xla`; may have `ema` and `schedule`.
        total_steps: of the whole training.
        objective: dict of the arguments of `compile` for losses and metrics.

    Returns:
        the largest learning rate.

    Raises:
        InputError: the training ends before the first update.
    """
    if settings.accumulate_steps > total_steps:
        raise InputError(
            f"--accumulate_steps {settings.accumulate_steps}: the training has {total_steps} "
            "steps, so that nothing would move the weights; give fewer"
        )
    rate = settings.learning_rate
    if rate is None:
        rate = RATE_FROM_ZERO if settings.checkpoint == "none" else RATE_FROM_CHECKPOINT
    layers = encoder_layers(model) if getattr(settings, "layer_decay", 1.0) < 1 else ()
    optimizer = make_optimizer(
        total_steps,
        learning_rate=rate,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        ema=getattr(settings, "ema", 0.0),
        schedule=getattr(settings, "schedule", "linear"),
        accumulate_steps=settings.accumulate_steps,
        layers=layers,
        layer_decay=getattr(settings, "layer_decay", 1.0),
        float16=model.dtype_policy.compute_dtype == "float16",
    )
    model.compile(
        optimizer=optimizer,
        jit_compile={"auto": "auto", "on": True, "off": False}[settings.xla],
        **objective,
    )
    return rate


def fit(
    model, make_dataset, validation, settings, folder, objective, monitor, callbacks=(),
    class_weight=None,
):  # fmt: skip
    """Compiles and trains, from the newest state if there is one; keeps the best weights.

    Args:
        model: a built model.
        make_dataset: function that gives the training batches of known number, one pass an epoch.
            Every dataset it gives has the same ones in the same passes, as every run has.
        validation: held-out batches.
        settings: as of `compile_model`; also `epochs`, `evaluations`, `patience`, `nonfinite`.
        folder: `Path` that `unfinished` gave; gets the states, and `logs/` (TensorBoard).
        objective: see `compile_model`.
        monitor: metric of the held-out batches that decides which weights are best: the
            larger the better.
        callbacks: further ones; they see the weights that are measured, and what they put into
            the logs can be the `monitor`.
        class_weight: dict from class to the weight of its examples, or `None`.

    Returns:
        dict from metric name to its values, one an evaluation.

    Raises:
        InputError: the loss is no longer a number.
    """
    of_pass = int(make_dataset().cardinality())
    steps = settings.epochs * of_pass
    rate = compile_model(model, settings, steps, objective)
    return loop.fit(
        model,
        lambda step: make_dataset().repeat().skip(step),
        steps,
        loop.evaluation_steps(of_pass, settings.epochs, settings.evaluations),
        epochs=settings.epochs,
        validation=validation,
        callbacks=callbacks,
        class_weight=class_weight,
        monitor=monitor,
        patience=settings.patience,
        warmup_steps=int(settings.warmup * steps),
        states=folder / STATES,
        save_every=settings.save_every,
        nonfinite=settings.nonfinite,
        advice=f"give a smaller --learning_rate than {rate:g}",
    ).history


@contextlib.contextmanager
def training_of(settings, **made_of):
    """Where a training writes, and the folder of what it goes on from if it is stopped.

    Args:
        settings: dataclass of the verb; has `output_dir`, `strategy`.
        **made_of: JSON values that tell the data from others, in the place of settings or beside.

    Yields:
        `(output_dir, folder)`.

    Raises:
        InputError: the directory exists, or as `unfinished`.
    """
    with output_of(settings) as output_dir:
        refuse_existing(output_dir, "another --output_dir")
        with unfinished(output_dir, {**vars(settings), **made_of}, FREE) as folder:
            yield output_dir, folder


def contents(*files):
    """Return the hashes of those that are files; they tell a training's data from others."""
    return {str(file): hash_of(file) for file in files if file and Path(file).is_file()}


@contextlib.contextmanager
def output_of(settings):
    """The path that this process writes to: `output_dir` for the chief, for others a passing one.

    Args:
        settings: has `output_dir`, `strategy`.
    """
    several = settings.strategy in ("auto", "multi_worker")
    cluster = read_cluster() if several else None
    if cluster is None or cluster[1] == 0:
        yield settings.output_dir
        return
    with tempfile.TemporaryDirectory() as directory:
        yield str(Path(directory) / "model")
