"""The verbs that every application has: `train`, `evaluate`, `predict`, `export`; written once.

In: the settings of a verb. Out: a model directory, metrics, JSON lines, a SavedModel. An
application is a subclass of `Application` with its rows, its task and its model card.
TensorFlow is imported when a verb runs, not before.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from applications.flags import READING, Answering, Exporting, Predicting, Training, given
from applications.process import dtype_of, training_of
from tfmodels.files import whole_directory

if TYPE_CHECKING:
    from tfmodels.tasks.task import Task

HELD_OUT_MAXIMUM = 5000  # rows held out of a training file
WORST_MISTAKES = 10
# Flags of `train` that are arguments of `compile` and of `fit`, where a verb has them.
COMPILE = ("learning_rate", "warmup", "weight_decay", "clip_norm", "ema", "schedule",
           "accumulate_steps", "layer_decay", "label_smoothing", "remat")  # fmt: skip
FIT = ("batch_size", "epochs", "steps", "evaluations", "patience", "seed", "save_every",
       "nonfinite", "class_weights", "save_steps")  # fmt: skip
RENAMED = {"class_weights": "class_weight", "save_steps": "evaluate_every"}


class Kind(NamedTuple):
    """The texts in the model cards of an application, besides its paragraphs on the metrics."""

    pipeline: str  # the hub's name of the task
    metrics: dict[str, str]  # of held-out data, the one that decides first, with the hub's names
    examples: tuple[str, str]  # texts to answer, in English and in Chinese
    what: str
    use: str  # and limits
    pairs: tuple[str, str] = ("", "")  # second texts, where pairs are answered


class Application:
    """What the command line does with one task.

    Attributes:
        name: on the command line, and of the task.
        title: heading of its model cards.
        kind: further texts of the cards.
        labelled: whether held-out rows are stratified by the second column, the label.
        summary: metrics that `train` prints.
        second_flag: flag of the second texts of `predict`, where pairs are answered.
    """

    name: str
    title: str
    kind: Kind
    labelled = False
    summary: tuple[str, ...] = ()
    second_flag = "pair"
    held_out_maximum = HELD_OUT_MAXIMUM

    # What differs.

    def task(self) -> Any:
        """Return the class of its task."""
        raise NotImplementedError

    def open(self, settings: Any, file: str) -> Any:
        """Return the rows of a file."""
        raise NotImplementedError

    def options(self, settings: Any, rows: Any) -> dict:
        """Return the arguments of `from_preset` and of `from_scratch`."""
        raise NotImplementedError

    def new(self, settings: Any, rows: Any, folder: Path) -> dict:
        """Return the further arguments of `from_scratch`.

        Args:
            folder: of the unfinished training; keeps the vocabulary learned at its start.
        """
        return {
            "texts": rows,
            "vocabulary_size": settings.vocabulary_size,
            "lowercase": settings.lowercase,
        }

    def started(self, task: "Task", settings: Any, rows: Any, folder: Path) -> None:
        """Configure a task that is to be trained."""

    def card(self, metrics: dict, settings: Any, task: "Task") -> list[str]:
        """Return the paragraphs of the model card about the metrics."""
        raise NotImplementedError

    def example(self, task: "Task", texts: list[str]) -> tuple[str, str]:
        """Return what the model card asks the model, in Python and in a shell.

        Args:
            task: that is described.
            texts: a text, or two of a pair.
        """
        python = [json.dumps(text, ensure_ascii=False) for text in texts]
        shell = f" --{self.second_flag} ".join(map(shlex.quote, texts))
        return python[0] if len(texts) == 1 else f"({', '.join(python)})", shell

    def can_export(self, task: "Task") -> bool:
        """Return whether the model card says how to export the model."""
        return True

    def write_report(self, directory: Path, metrics: dict) -> None:
        """Write the files of `evaluate --report_dir` beside `mistakes.jsonl`."""

    def texts(self, settings: Predicting) -> Iterator[list[str]]:
        """Return the texts to answer, in parts."""
        from tfmodels.data.datasets import text_chunks

        return text_chunks(
            settings.text, settings.input_file, settings.text_column, **given(settings, READING)
        )

    def answers(self, task: "Task", texts: list[str], settings: Any) -> list:
        """Return the answers to some texts."""
        return task.answers(texts, settings.batch_size)

    def line(self, text: str, answer: Any) -> dict:
        """Return the JSON object that `predict` prints for a text."""
        return {"text": text, **answer}

    def rows(self, settings: Any) -> tuple:
        """Return the rows to train on, and those to measure on or None."""
        from tfmodels.data.split import split

        rows = self.open(settings, settings.train_file)
        if settings.eval_file is not None:
            return rows, self.open(settings, settings.eval_file)
        label_column = rows.columns[1] if self.labelled else None
        return split(rows, settings.held_out, label_column, self.held_out_maximum, settings.seed)

    def fit_options(self, settings: Any, task: "Task") -> dict:
        """Return further arguments of `fit`."""
        return {}

    def fitted(self, task: "Task", held_out: Any, settings: Any) -> dict:
        """Finish a trained task before it is measured; return what belongs into its metrics."""
        return {}

    def rows_to_measure(self, settings: Any) -> tuple:
        """Return the rows of `evaluate`, and further arguments of the task's `evaluate`."""
        file = getattr(settings, "eval_file", None) or settings.text_files
        return self.open(settings, file), {}

    def measured(self, metrics: dict, settings: Any) -> None:
        """Say to people what the metrics of `evaluate` show."""

    def checked(self, task: "Task", texts: list) -> list:
        """Return the texts to answer as the task takes them."""
        return texts

    def evaluate_options(self, settings: Any) -> dict:
        """Return further arguments of the task's `evaluate`."""
        return {}

    def measure(self, task: "Task", held_out: Any, settings: Any) -> dict:
        """Return the metrics of a trained task."""
        raise NotImplementedError

    def compared(self, task: "Task", rows: Any, held_out: Any, settings: Any) -> dict:
        """Return what else is measured on the held-out rows, for the card."""
        return {}

    def last_measured(self, task: "Task") -> dict:
        """Return the metrics of the last evaluation of the training."""
        last = {name: values[-1] for name, values in task.history.history.items()}
        return {
            name.removeprefix("val_"): value
            for name, value in last.items()
            # Keras adds means of the means of batches to the exact ones.
            if name.startswith("val_") and not name.endswith("_loss")
        }

    def measured_table(self, metrics: dict, held_out: str) -> list[str]:
        """Return the paragraphs of a model card about such metrics."""
        from tfmodels.metrics.tables import table

        rows = list(metrics.items())
        if not rows:
            return [f"No {held_out} was held out."]
        return [table((f"on held-out {held_out}", "value"), rows)]

    def plots(self, task: "Task", metrics: dict) -> dict:
        """Return further arguments of `plots.draw`."""
        return {}

    def configure(self, task: "Task", settings: Any) -> None:
        """Give a loaded task the settings of `evaluate`, `predict` or `export`."""

    # The verbs.

    def verbs(self, **settings: type) -> dict:
        """Return the verbs of the command line: `{verb: (dataclass, function)}`."""
        return {verb: (kind, getattr(self, verb)) for verb, kind in settings.items()}

    def train(self, settings: Training) -> dict:
        """Train a task and write its model directory; return the metrics."""
        from applications import report

        rows, held_out = self.rows(settings)
        with training_of(settings, rows, held_out) as (output_dir, folder, strategy):
            with strategy.scope():
                task = self.start(settings, rows, folder)
            task.compile(
                **given(settings, COMPILE),
                jit_compile={"auto": "auto", "on": True, "off": False}[settings.xla],
            )
            task.fit(
                rows, validation_data=held_out, states=folder / "states",
                **given(settings, FIT, RENAMED) | self.fit_options(settings, task),
            )  # fmt: skip
            metrics = {**self.fitted(task, held_out, settings)}
            metrics |= self.measure(task, held_out, settings)
            metrics |= self.compared(task, rows, held_out, settings)
            with whole_directory(output_dir, "another --output_dir") as directory:
                task.write(directory)
                shutil.copytree(folder / "logs", directory / "logs", dirs_exist_ok=True)
                report.write(directory, self, task, rows, settings, metrics)
        summary = {key: metrics[key] for key in self.summary or metrics if key in metrics}
        print(f"model: {settings.output_dir}; plots: {settings.output_dir}/plots", file=sys.stderr)
        print(json.dumps({"model_dir": settings.output_dir, **summary}))
        return {**metrics, "history": task.history.history}

    def start(self, settings: Any, rows: Any, folder: Path) -> "Task":
        """Return the task to train, from `--checkpoint` or from scratch."""
        from tfmodels.training.precision import dtype_policy

        options = {
            "dropout": settings.dropout, "dtype": dtype_policy(settings.precision),
            **self.options(settings, rows),
        }  # fmt: skip
        if settings.checkpoint != "none":
            task = self.task().from_preset(
                settings.checkpoint, revision=settings.revision, **options
            )
        else:
            new = self.new(settings, rows, folder)
            task = self.task().from_scratch(size=settings.size, **new, **options)
        self.started(task, settings, rows, folder)
        layers = getattr(settings, "freeze_layers", 0)
        task.freeze(layers, getattr(settings, "freeze_embeddings", False))
        return task

    def evaluate(self, settings: Any) -> dict:
        """Measure a model; the last line printed is one JSON object; return the metrics."""
        from applications import report

        rows, further = self.rows_to_measure(settings)
        task = self.load(settings)
        metrics = task.evaluate(
            rows, batch_size=settings.batch_size, mistakes=WORST_MISTAKES,
            **self.evaluate_options(settings), **further,
        )  # fmt: skip
        self.measured(metrics, settings)
        mistakes = metrics.pop("worst_mistakes")
        numbers = report.print_measured(metrics, mistakes)
        report_dir = getattr(settings, "report_dir", None)
        if report_dir is not None:
            with whole_directory(report_dir, "another --report_dir") as directory:
                self.write_report(directory, metrics)
                report.write_lines(directory / "mistakes.jsonl", mistakes)
        return numbers

    def predict(self, settings: Predicting) -> None:
        """Answer texts: one JSON object a line."""
        for _ in self.printed(settings):
            pass

    def printed(self, settings: Predicting) -> Iterator[dict]:
        """Print the answers to texts, and yield what is printed."""
        chunks, task = self.texts(settings), self.load(settings)
        for texts in chunks:
            texts = self.checked(task, texts)
            answers = self.answers(task, texts, settings)
            for text, answer in zip(texts, answers, strict=True):
                line = self.line(text, answer)
                print(json.dumps(line, ensure_ascii=False))
                yield line
            sys.stdout.flush()

    def export(self, settings: Exporting) -> Path:
        """Write the next version of a SavedModel; return its path."""
        from applications import report

        task = self.load(settings, stored=True)
        card = Path(settings.model_dir) / "README.md"
        version = task.export(settings.export_dir, frozen=settings.weights == "frozen", card=card)
        return report.exported(version)

    def load(self, settings: Answering | Exporting, stored: bool = False) -> "Task":
        """Return the task of `--model_dir`."""
        task = self.task().load(settings.model_dir, dtype=dtype_of(settings.precision, stored))
        self.configure(task, settings)
        return task
