"""What a classifier has to beat: `tfmodels baseline`, and `tfmodels compare` for several at once.

In: the rows of a classifier. Out: the metrics and predictions of a linear model on TF-IDF; or model
directories, and a table and a plot of score, time to train, latency and size, on the same held-out
rows. On these nothing is chosen: the best weights, a temperature or thresholds are those for a
tenth of the other rows.
"""

import dataclasses
import itertools
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from applications.classification import (
    APPLICATION,
    Classification,
    Columns,
    Named,
    Train,
    main_metrics,
)
from applications.parsing import settings_of
from applications.settings import data, model, output, training
from tfmodels.errors import InputError
from tfmodels.files import read_json, refuse_existing, whole_directory, write_json, write_text

TFIDF, CHECKPOINT = "tfidf", "checkpoint"
SETTINGS = "settings.json"
MODELS = (TFIDF, "bag", "cnn", "lstm", "gru", "transformer")
COSTS = {"seconds": "time to train, s", "latency_ms": "latency, ms", "megabytes": "size, MB"}
LATENCY_TEXTS = 50  # answered one by one, for the latency
CHOOSING = 0.1  # of the rows to train on, which weights are chosen on


@dataclass(kw_only=True)
class Rows(Named, Columns):
    """Rows to train and to measure on."""

    train_file: str | None = data("rows to train on, as of `tfmodels classification train`", None)
    target: Literal["class", "labels", "score"] | None = model("kind; found in the rows", None)
    eval_file: str | None = data("rows to measure on, if not some of train_file", None)
    held_out: float = data("share of train_file to measure on", 0.1)
    seed: int = training("of all random numbers", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_one("train_file")


@dataclass(kw_only=True)
class Baseline(Rows):
    """Train and measure a linear model on TF-IDF of words and characters, in seconds."""

    EXAMPLE = "{} --train_file reviews.tsv --output_dir runs/baseline"

    output_dir: str = output("new directory for metrics.json and predictions.jsonl")

    def check_files(self) -> None:
        super().check_files()
        refuse_existing(self.output_dir, "another --output_dir")


@dataclass(kw_only=True)
class Compare(Rows):
    """Train several classifiers on the same rows; write a table and a plot."""

    EXAMPLE = "{} --train_file reviews.tsv --output_dir runs/comparison"

    output_dir: str = output("directory for compare.md, .json and .png; resumed if it exists")
    models: list[str] = model(f"some of {', '.join(MODELS)}", [*MODELS])
    checkpoint: str = model("also train from this directory or hub name; or none", "none")
    epochs: int = training("passes over the rows, of each that is trained in steps", 8)
    max_length: int = model("maximum number of tokens of a text", 128)
    options: dict = training("""other flags of train, for all, as '{"size": "tiny"}'""", {})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.models and self.checkpoint == "none":
            raise InputError("--models []: nothing to compare; leave it out, or name some")
        for name in self.models:
            if name not in MODELS:
                raise InputError(f"--models {name}: give some of {', '.join(MODELS)}")


def baseline(settings: Baseline) -> dict:
    """Run `Baseline`; print one JSON object, and return the metrics."""
    from applications.report import write_lines

    found = _tfidf(settings)
    metrics = {**found.metrics, **_costs(found.seconds, found.latency, found.size)}
    with whole_directory(settings.output_dir, "another --output_dir") as directory:
        write_json(directory / "metrics.json", metrics)
        write_lines(directory / "predictions.jsonl", found.predictions)
    print(json.dumps(metrics, ensure_ascii=False))
    return metrics


def compare(settings: Compare) -> list[dict]:
    """Run `Compare`; print one JSON object, and return what was measured of each model.

    Models of an earlier run with the same settings are not trained again.
    """
    from applications.plots import plot_comparison
    from tfmodels.metrics.tables import table

    directory = Path(settings.output_dir)
    names = [*settings.models, *([CHECKPOINT] if settings.checkpoint != "none" else [])]
    trainings = {name: _training(name, settings) for name in names if name != TFIDF}
    _resume(directory, settings)
    models = []
    for name in names:
        result = directory / f"{name}.json"
        if not result.exists():
            print(f"{name}:", file=sys.stderr)
            try:
                measured = (
                    _measured_tfidf(settings) if name == TFIDF
                    else _trained(trainings[name], settings)
                )  # fmt: skip
            except InputError:
                if [path.name for path in directory.iterdir()] == [SETTINGS]:
                    shutil.rmtree(directory)  # nothing was measured, so nothing is to be resumed
                raise
            write_json(result, {"model": name, **measured})
        models.append(read_json(result))
    scores = list(main_metrics(models[0]))
    models.sort(key=lambda row: -row[scores[0]])
    titles = {"model": "model", **{key: key.replace("_", " ") for key in scores}, **COSTS}
    rows = [[str(row[key]) for key in titles] for row in models]
    text = table([*titles.values()], rows)
    write_text(directory / "compare.md", text + "\n")
    write_json(directory / "compare.json", {"models": models})
    panels = {scores[0]: titles[scores[0]], **COSTS}
    plot_comparison(directory / "compare.png", models, panels)
    print(json.dumps({"output_dir": settings.output_dir, "models": models}))
    return models


def _resume(directory, settings):
    """Make the directory, or refuse one of other settings."""
    path, values = directory / SETTINGS, json.loads(json.dumps(vars(settings)))
    values = {name: value for name, value in values.items() if name not in ("output_dir", "models")}
    if not path.exists():
        refuse_existing(directory, "another --output_dir")
        directory.mkdir(parents=True, exist_ok=True)
        write_json(path, values)
    elif read_json(path) != values:
        raise InputError(
            f"{directory}: a comparison with other settings; give another --output_dir"
        )


def _tfidf(settings):
    """Return what `tfidf.measure` does for the rows and their target."""
    from tfmodels.tasks import tfidf

    rows, held_out = APPLICATION.rows(settings)
    target, separator = APPLICATION.target_of(settings), settings.label_separator
    if target is None and (rows.several or separator is not None):
        target = "labels"
    if target is None:
        target, separator = APPLICATION.found(rows)
    return tfidf.measure(rows, held_out, target, separator)


def _measured_tfidf(settings):
    found = _tfidf(settings)
    return {**main_metrics(found.metrics), **_costs(found.seconds, found.latency, found.size)}


class _Compared(Classification):
    """The training of a model that is compared: without the rows that all are measured on."""

    def rows(self, settings: Any) -> tuple:
        rows, _ = super().rows(settings)
        return self.held_out_of(rows, CHOOSING, settings.seed)


def _training(name, settings):
    """Return the settings of the training of a model, into a directory of its own."""
    shared = [*(field.name for field in dataclasses.fields(Rows)), "epochs", "max_length"]
    given = {key: _as_text(getattr(settings, key)) for key in shared
             if getattr(settings, key) is not None}  # fmt: skip
    start = {"checkpoint": settings.checkpoint} if name == CHECKPOINT else {"architecture": name}
    if settings.eval_file is not None:
        del given["held_out"]
    values = {
        **given,
        **settings.options,
        **start,
        "output_dir": str(Path(settings.output_dir) / name),
        "baseline": "false",
    }
    try:
        return settings_of(Train, values, "tfmodels classification train")
    except InputError as error:
        raise InputError(f"--options: {error}") from error


def _trained(train, settings):
    """Train a model; return its numbers."""
    begun = time.perf_counter()
    _Compared().train(train)
    seconds, directory = time.perf_counter() - begun, Path(train.output_dir)
    size = (directory / "model.safetensors").stat().st_size
    task: Any = APPLICATION.task().load(directory)
    _, held_out = APPLICATION.rows(settings)
    metrics = main_metrics(task.evaluate(held_out))
    return {**metrics, **_costs(seconds, _latency(task, held_out), size)}


def _as_text(value):
    """Return a setting as a file has it."""
    return value if isinstance(value, str | list) else json.dumps(value)


def _latency(task, held_out):
    """Return the seconds for one text, of the texts that were measured on."""
    rows = [values for _, values in itertools.islice(held_out.rows(), LATENCY_TEXTS)]
    texts = [values[:2] if task.pair else values[0] for values in rows]
    for text in texts:  # traces a function
        task.probabilities([text])
    begun = time.perf_counter()
    for text in texts:
        task.probabilities([text])
    return (time.perf_counter() - begun) / len(texts)


def _costs(seconds, latency, size):
    return {
        "seconds": round(seconds, 1), "latency_ms": round(1000 * latency, 2),
        "megabytes": round(size / 1e6, 2),
    }  # fmt: skip


VERBS = {"baseline": (Baseline, baseline), "compare": (Compare, compare)}
