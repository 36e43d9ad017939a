"""Summarize, or write any other text for a text: `tfmodels summarization VERB`.

In: a table with a source and a target column: articles and summaries, e-mails and subjects,
sentences and translations. Out: a model directory (a `Transformer`, laid out as BART is), ROUGE
beside that of the first sentences of the source, answers as JSON lines, a SavedModel.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from applications import flags
from applications.flags import Evaluating, Exporting, FineTuning, Predicting
from applications.flow import WORST_MISTAKES, Application, Kind
from applications.settings import data, generation, model, rare


@dataclass(kw_only=True)
class Searching(flags.Searching):
    """How an encoder-decoder writes; as its model directory has it where not given."""

    long_texts: Literal["cut", "parts"] | None = generation("how to read them", None)


@dataclass(kw_only=True)
class Columns(flags.Delimited, flags.WithMissing):
    """Columns of a table."""

    source_column: str = data("column of the text to read", "text")
    target_column: str = data("column of the text to write", "summary")
    lead_k: int = rare("number of sentences, or lines of a dialogue, of the baseline", 3)


@dataclass(kw_only=True)
class Train(Columns, Searching, FineTuning):
    """Train an encoder-decoder and write a model directory."""

    EXAMPLE = "{} --train_file articles.jsonl --output_dir runs/summaries"

    train_file: str = data(".tsv, .csv or .jsonl (.gz), or tfds:NAME[:SPLIT]")
    checkpoint: str = model("directory or Hub name of a BART, or a BERT for both halves", "none")
    size: Literal["tiny", "mini", "small", "base", "large"] = "mini"
    architecture: Literal["transformer", "bart"] = model("of a new model", "transformer")
    max_length: int | None = model(  # type: ignore[assignment]
        "maximum number of tokens of a source; 256 (or the checkpoint's positions) if not given",
        None,
    )
    max_target_length: int | None = model("of a target, likewise; 64", None)
    epochs: int = 10
    norm_first: bool | None = rare("normalize before each part of a new model, not behind it", None)
    num_decoder_layers: int | None = rare("decoder blocks, if not those of a BART", None)
    label_smoothing: float = rare("share of the probability that is spread over all tokens", 0.1)
    schedule: Literal["linear", "inverse_sqrt"] = rare("after the warm-up", "linear")
    rouge_examples: int = rare("number of held-out rows that each evaluation writes for", 200)


@dataclass(kw_only=True)
class Evaluate(Columns, Searching, Evaluating):
    """Measure an encoder-decoder on pairs of texts; the last line is one JSON object."""


@dataclass(kw_only=True)
class Predict(Searching, Predicting):
    """Summarize texts; print one JSON object a text."""


@dataclass(kw_only=True)
class Export(Searching, Exporting):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/summarization"


class Summarization(Application):
    """Summarize texts, or learn to write any other text for a text."""

    name = "summarization"
    title = "Text to text"
    kind = Kind(
        "summarization", {"rougeL": "rouge", "rouge1": "rouge", "rouge2": "rouge"},
        ("The captain looked at the river. Nobody spoke.", "船长看着河水。没有人说话。"),
        "An encoder-decoder that reads a text and writes one, such as a summary.",
        "For texts like those of the training data. It can state what the source does not, so "
        "people should check what it writes. ROUGE counts the words that an answer shares with a "
        "reference, not whether it is true.",
    )  # fmt: skip
    summary = ("examples", "rouge1", "rouge2", "rougeL", "lead")
    held_out_maximum = 2000

    def task(self) -> type:
        from tfmodels.tasks.seq2seq_lm import Seq2SeqLM

        return Seq2SeqLM

    def open(self, settings: Columns, file: str) -> Any:
        from tfmodels.data import open_table

        columns = (settings.source_column, settings.target_column)
        return open_table(file, *columns, **flags.given(settings, flags.READING))

    def options(self, settings: Train, rows: Any) -> dict:
        names = ("num_decoder_layers", "max_length", "max_target_length")
        return {name: getattr(settings, name) for name in names}

    def new(self, settings: Train, rows: Any, folder: Path) -> dict:
        names = ("architecture", "norm_first", "max_new_tokens")
        more = {name: getattr(settings, name) for name in names}
        return {**super().new(settings, rows, folder), **more}

    def started(self, task: Any, settings: Train, rows: Any, folder: Path) -> None:
        task.measured_rows = settings.rouge_examples
        self.configure(task, settings)

    def configure(self, task: Any, settings: Searching) -> None:
        task.lead_k = getattr(settings, "lead_k", task.lead_k)
        task.configure(**{f.name: getattr(settings, f.name) for f in fields(Searching)})

    def measure(self, task: Any, held_out: Any, settings: Train) -> dict:
        sources, references = task.sample(held_out, settings.rouge_examples)
        return task.evaluate(sources, references, settings.batch_size, mistakes=WORST_MISTAKES)

    def write_report(self, directory: Path, metrics: dict) -> None:
        (directory / "examples.md").write_text(metrics["table"] + "\n", encoding="utf-8")

    def card(self, metrics: dict, settings: Train, task: Any) -> list[str]:
        from tfmodels.metrics.tables import table
        from tfmodels.serving.cards import ENDS, STAYS

        names = ("rouge1", "rouge2", "rougeL", "rougeLsum")
        rows = [("this model", *(metrics[name] for name in names))]
        rows.append((f"lead {metrics['lead']['k']}", *(metrics["lead"][name] for name in names)))
        return [
            f"On {metrics['examples']} held-out pairs, the best of {len(task.history.epoch)} "
            "evaluations on them:",
            table(("", "ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum"), rows),
            STAYS,
            "What it writes:",
            metrics["table"],
            ENDS,
        ]


APPLICATION = Summarization()
VERBS = APPLICATION.verbs(train=Train, evaluate=Evaluate, predict=Predict, export=Export)
