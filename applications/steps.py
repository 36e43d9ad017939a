"""A training of so many steps, which goes on where it was stopped.

In: settings, and functions that make the model and its batches. Out: a model directory with
metrics, curves and logs; until it is there, the folder of an unfinished training (see
`unfinished`) with the newest states.
"""

import json
import shutil
import sys
import time

import keras

from applications import report, run
from applications.unfinished import STATES
from tfmodels.data import datasets
from tfmodels.errors import InputError
from tfmodels.files import whole_directory
from tfmodels.training.loop import fit_parts
from tfmodels.training.state import SaveState, restore_newest


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
            report.write_json(directory / "metrics.json", {**metrics, "history": measured})
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
    # Keras measures at the end of what it calls an epoch: `interval` steps.
    parts = -(-source.steps // settings.save_steps)
    interval = -(-source.steps // parts)
    rate = run.compile_model(model, settings, parts * interval, objective)
    step, history = 0, {}
    if state := restore_newest(folder / STATES, model):
        step, history = state["step"], state["history"]
        print(f"going on at step {step} of {parts * interval}", file=sys.stderr)
    held_out = source.held_out()
    saved = SaveState(folder / STATES, interval, history, every=settings.save_every, start=step)
    (folder / "logs").mkdir(exist_ok=True)
    if step < parts * interval:  # not if only the writing of the model was left
        with run.lost_workers(model):
            fit_parts(
                model,
                source.batches(step),
                interval,
                parts,
                step,
                [
                    *callbacks,
                    Pace(_tokens_of_step(source, settings, held_out), parts, interval),
                    keras.callbacks.TensorBoard(str(folder / "logs"), write_graph=False),
                    saved,
                    run.nonfinite(settings, saved, rate, lambda at: next(iter(source.batches(at)))),
                ],
                validation_data=held_out,
                verbose="auto" if sys.stdout.isatty() else 2,
            )
    return saved.history


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


def _tokens_of_step(source, settings, held_out):
    """Tokens of a step, padding not counted; all count where nothing is held out."""
    tokens = settings.batch_size * source.max_length
    if held_out is None or "padding_mask" not in held_out.element_spec[0]:
        return tokens
    masks = [batch["padding_mask"].numpy() for batch, _ in held_out.take(8)]
    return settings.batch_size * sum(mask.sum() for mask in masks) / sum(map(len, masks))


class Pace(keras.callbacks.Callback):
    """Puts `tokens_per_second` into the logs of each Keras epoch; says how long it will take.

    Args:
        tokens: of a step.
        parts: Keras epochs.
        interval: steps of each.
    """

    def __init__(self, tokens, parts, interval):
        super().__init__()
        self.tokens, self.parts, self.interval = tokens, parts, interval

    def on_epoch_begin(self, epoch, logs=None):
        self.start, self.seconds, self.steps = time.perf_counter(), 0.0, 0

    def on_train_batch_end(self, batch, logs=None):
        # Fewer than an interval where the training goes on inside of one.
        self.seconds, self.steps = time.perf_counter() - self.start, batch + 1

    def on_epoch_end(self, epoch, logs=None):
        logs["tokens_per_second"] = self.tokens * self.steps / max(self.seconds, 1e-9)
        seconds = (time.perf_counter() - self.start) * self.interval / max(self.steps, 1)
        left = (self.parts - epoch - 1) * seconds
        print(
            f"step {(epoch + 1) * self.interval} of {self.parts * self.interval}, "
            f"{logs['tokens_per_second']:,.0f} tokens/s, {left / 60:.0f} min left",
            file=sys.stderr,
        )
