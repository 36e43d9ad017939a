"""Pretrain a BERT, from scratch or further: `tfmodels bert VERB`.

In: text files, or records of `prepare`. Out: a model directory with BERT and its two heads, words
for `[MASK]`, a SavedModel. The model directory is what every other application starts from with
`--checkpoint`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from applications.flags import (
    READING,
    EvaluatingText,
    Exporting,
    FromScratch,
    FromText,
    Predicting,
    given,
)
from applications.flow import Application, Kind
from applications.prepare import Examples, Prepare, prepare
from applications.settings import Settings, data, model, rare, training
from applications.tokenizers import wordpiece_of
from tfmodels.errors import InputError


@dataclass(kw_only=True)
class Pretrain(Examples, FromScratch, FromText):
    """Pretrain a BERT and write a model directory, or resume a training that was stopped."""

    text_files: str | list[str] | None = data("text to train on, see prepare", None)  # type: ignore[assignment]
    records_dir: str | None = data("directory that prepare wrote, instead of text_files", None)
    max_length: int | None = model("tokens of an example; 128, or that of the records", None)
    task: Literal["nsp", "sop", "mlm"] | None = training("nsp, or that of the records", None)
    mask_rate: float = training("share of the tokens to predict", 0.15)
    whole_words: bool = rare("mask all pieces of a word or none", True)
    dynamic_masking: bool = rare("mask other words in every epoch", True)
    packing: bool = rare("several short examples in a row: the same steps in less time", True)
    initial_embeddings: Literal["random", "counts"] = rare(
        "of a new model: at random, or from counts of tokens that occur together", "random"
    )

    def __post_init__(self) -> None:
        if (self.text_files is None) == (self.records_dir is None):
            raise InputError("give --text_files or --records_dir, and not both")
        super().__post_init__()


@dataclass(kw_only=True)
class Evaluate(EvaluatingText):
    """Measure a pretrained BERT on text; the last line is one JSON object."""

    seed: int = rare("of the pairs and masks", 0)


@dataclass(kw_only=True)
class Filling(Settings):
    """How masks are filled."""

    top_k: int = model("number of words for each [MASK]", 5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k < 1:
            raise InputError(f"--top_k {self.top_k}: give 1 or more")


@dataclass(kw_only=True)
class Predict(Filling, Predicting):
    """Predict words for [MASK]; print one JSON object a text."""

    EXAMPLE = '{} --model_dir runs/bert "The captain looked at the [MASK]."'


@dataclass(kw_only=True)
class Export(Filling, Exporting):
    """Write a SavedModel with the signatures fill_mask and embed, as the next version."""

    export_dir: str = "saved_models/bert"


class Bert(Application):
    """Pretrain a BERT on text."""

    name = "bert"
    title = "Pretrained BERT"
    kind = Kind(
        "fill-mask", {"masked_lm_accuracy": "accuracy"},
        ("The captain looked at the [MASK].", "船长看着[MASK]。"),
        "An encoder that was pretrained on text, with the heads of its pretraining.",
        "For fine-tuning (`--checkpoint`) in the language of its training text, whose biases it "
        "has. Its states were not trained to compare texts.",
    )  # fmt: skip
    prepare, pretrain = staticmethod(prepare), Application.train

    def task(self) -> type:
        from tfmodels.tasks.masked_lm import MaskedLM

        return MaskedLM

    def rows(self, settings: Any) -> tuple:
        from tfmodels.tasks.masked_lm import Records

        if settings.records_dir is None:
            return self.open(settings, settings.text_files), None
        records = Records(settings.records_dir)
        for name in ("max_length", "task"):
            value, there = getattr(settings, name), getattr(records.settings, name)
            if value not in (None, there):
                raise InputError(
                    f"--{name} {value}: the records in {settings.records_dir} have {there}; leave "
                    "the flag out, or prepare others"
                )
        return records, None

    def options(self, settings: Pretrain, rows: Any) -> dict:
        from tfmodels.tasks.masked_lm import MAX_LENGTH, OBJECTIVE

        made = getattr(rows, "settings", settings)  # of records, or of the flags
        names = ("mask_rate", "whole_words", "dynamic_masking", "packing", "seed")
        return {
            "max_length": made.max_length or MAX_LENGTH, "task": made.task or OBJECTIVE,
            "segmented": made.segmented, "short_share": made.short_share,
            **{name: getattr(settings, name) for name in names},
        }  # fmt: skip

    def new(self, settings: Pretrain, rows: Any, folder: Path) -> dict:
        return {"tokenizer": wordpiece_of(settings, rows, folder)}

    def started(self, task: Any, settings: Pretrain, rows: Any, folder: Path) -> None:
        # A training that is resumed has embeddings that were trained already.
        if settings.initial_embeddings == "counts" and not any((folder / "states").glob("step-*")):
            print("counting co-occurrences", file=sys.stderr)
            task.start_from_counts(rows)

    def fit_options(self, settings: Pretrain, task: Any) -> dict:
        return {
            "validation_split": settings.held_out,
            "held_out_examples": settings.held_out_examples,
        }

    def measure(self, task: Any, held_out: Any, settings: Pretrain) -> dict:
        return self.last_measured(task)

    def card(self, metrics: dict, settings: Pretrain, task: Any) -> list[str]:
        return [
            f"Examples of {task.max_length} tokens, task `{task.task}`. Fine-tune it with "
            "`--checkpoint`.",
            *self.measured_table(metrics, "documents"),
        ]

    def open(self, settings: Pretrain | Evaluate, file: str | list[str]) -> Any:  # type: ignore[override]
        from tfmodels.data import open_texts

        return open_texts(file, settings.text_column, **given(settings, READING))

    def configure(self, task: Any, settings: Evaluate | Filling) -> None:
        if isinstance(settings, Evaluate):
            from tfmodels.tasks.encoder import check_positions

            task.max_length = settings.max_length or task.max_length
            check_positions(task.backbone.config, task.max_length)
            task._seed = settings.seed
        else:
            task.configure(top_k=settings.top_k)

    def line(self, text: str, answer: Any) -> dict:
        return {"text": text, "masks": answer}


APPLICATION = Bert()
VERBS = APPLICATION.verbs(
    prepare=Prepare, pretrain=Pretrain, evaluate=Evaluate, predict=Predict, export=Export
)
