"""A training of so many steps, which goes on where it was stopped.

In: settings, and functions that make the model and its batches. Out: a model directory with
metrics, curves and logs; until it is there, the folder of an unfinished training (see
`unfinished`) with the newest states.
"""

import json
import shutil
import sys

from applications import report, run
from applications.unfinished import STATES
from tfmodels.data import datasets
from tfmodels.errors import InputError
from tfmodels.files import whole_directory, write_json
from tfmodels.training import loop


def train(settings, data, made_of, start, write):
    """Trains and writes the model directory; goes on with a training that was stopped.

    Args:
        settings: dataclass of the verb; also those of `fit`, and `precision`, `strategy`, `seed`,
            `output_dir`.
        data: what the batches are read from, see `datasets.source_errors`.
        made_of: dict of what tells these data from others, in the place of settings or beside.
        start: function of the folder that gives `(model, source, options)`, see `fit`, whose
            further arguments `options` are. It runs in the scope of the strategy.
        write: function of the directory, model, source and metrics that writes the model and
            its card.

    Returns:
        dict of the last metrics on held-out text.

    Raises:
        InputError: the directory exists or cannot be written, or as `fit`.
    """
    with run.training_of(settings, **made_of) as (output_dir, folder):
        strategy = run.start_training(settings, **made_of)
        with datasets.source_errors(data), strategy.scope():
            model, source, options = start(folder)
            history = fit(model, source, settings, folder, **options)
        measured = _measures(history)
        metrics = {name.removeprefix("val_"): values[-1] for name, values in measured.items()
                   if name.startswith("val_")}  # fmt: skip
        with whole_directory(output_dir, "another --output_dir") as directory:
            write(directory, model, source, metrics)
            shutil.copytree(folder / "logs", directory / "logs")
            write_json(directory / "metrics.json", {**metrics, "history": measured})
            report.plot(directory / "plots", measured)
    print(f"model: {settings.output_dir}; plots: {settings.output_dir}/plots", file=sys.stderr)
    print(json.dumps({"model_dir": settings.output_dir, **metrics}))
    return metrics


def fit(model, source, settings, folder, objective, callbacks=()):
    """Trains to the end, from the newest state if there is one.

    Args:
        model: a built model.
        source: has `steps`, how many in all; `max_length`, tokens of an example;
            `batches(start)`, endless training batches from a step on; `held_out()`, batches to
            measure on, or None.
        settings: as of `run.compile_model`; also `save_steps`, `batch_size`.
        folder: `Path` that `unfinished` gave.
        objective: see `run.compile_model`.
        callbacks: further ones, before those that log and save.

    Returns:
        dict from metric name to its values, one a measurement.

    Raises:
        InputError: the loss is no longer a number, or the state cannot be used.
    """
    rate = run.compile_model(model, settings, source.steps, objective)
    return loop.fit(
        model,
        source.batches,
        source.steps,
        loop.regular_steps(source.steps, settings.save_steps),
        epochs=settings.epochs,
        validation=source.held_out(),
        callbacks=callbacks,
        states=folder / STATES,
        save_every=settings.save_every,
        nonfinite=settings.nonfinite,
        advice=f"give a smaller --learning_rate than {rate:g}",
    ).history


def of_epochs(settings, number, kind):
    """The steps of `--epochs` passes over a number of examples.

    Args:
        settings: has `epochs`, `batch_size`.
        number: examples of a pass.
        kind: what they are, for the message.

    Raises:
        InputError: they are not one batch.
    """
    steps = settings.epochs * number // settings.batch_size
    if not steps:
        raise InputError(
            f"--batch_size {settings.batch_size}: {settings.epochs} epochs of {number} {kind} are "
            "not one batch; give more text or a smaller batch"
        )
    return steps


def first(batches, settings, kind, source):
    """The held-out batches that are measured on: read once, and of known number.

    Args:
        batches: dataset of all of them.
        settings: has `held_out`, `held_out_examples`, `batch_size`.
        kind: what is held out, for the message.
        source: what they are read from, not always what is trained on; see
            `datasets.source_errors`.

    Raises:
        InputError: there are none, or the source cannot be read.
    """
    batches = batches.take(-(-settings.held_out_examples // settings.batch_size)).cache()
    with datasets.source_errors(source):
        batches = run.counted(batches)
    if not int(batches.cardinality()):
        raise InputError(
            f"--held_out {settings.held_out}: no {kind} fell into that share; give a "
            "larger one, or 0 to measure on nothing"
        )
    return batches


def _measures(history):
    """Without Keras' means of the batches' means, which stand beside our exact ones."""
    return {k: v for k, v in history.items() if not k.removeprefix("val_").endswith("_loss")}
