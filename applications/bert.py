"""BERT from scratch or further: `tfmodels bert VERB`.

In: text files, or records of `prepare`. Out: a model directory with BERT and its two heads, words
for `[MASK]`, a SavedModel. The model directory is what every other application starts from with
`--checkpoint`.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from applications.flags import EvaluatingText, Exporting, FromText, FromZero, Predicting
from applications.flow import Application
from applications.prepare import Examples, Prepare, prepare
from applications.tokenizers import wordpiece_of
from tfmodels.errors import InputError


@dataclass(kw_only=True)
class Pretrain(Examples, FromZero, FromText):
    """Pretrains a BERT and writes a model directory; goes on with a training that was stopped.

    Args:
        text_files: see prepare; or give records_dir.
        records_dir: what prepare wrote.
        checkpoint: directory or Hub name of a BERT to go on from, with its vocabulary; or none.
        max_length: tokens of an example; 128, or that of the records.
        task: see prepare; nsp, or that of the records.
        mask_rate: share of the tokens to predict.
        whole_words: mask all pieces of a word or none.
        dynamic_masking: mask other words in every epoch.
        initial_embeddings: from zero, random, or counts: the embeddings start from how often the
            tokens stand in the same example, and the masked-LM head from how often they occur,
            which spares a short training its first thousands of steps.
        dropout: in the encoder; the checkpoint's, or 0.1, if not given.
        held_out: share of the documents to measure on, if there are no records.
    """

    records_dir: str | None = None
    task: Literal["nsp", "sop", "mlm"] | None = None
    mask_rate: float = 0.15
    whole_words: bool = True
    dynamic_masking: bool = True
    initial_embeddings: Literal["random", "counts"] = "random"


@dataclass(kw_only=True)
class Evaluate(EvaluatingText):
    """Measure a pretrained model on text; the last line printed is one JSON object.

    Args:
        seed: of the pairs and masks.
    """

    seed: int = 0


@dataclass(kw_only=True)
class Predict(Predicting):
    """Finds words for [MASK]; prints one JSON object a text.

    Args:
        model_dir: what pretrain wrote, or any BERT checkpoint with a masked-LM head.
        top_k: answers for each [MASK].
    """

    top_k: int = 5


@dataclass(kw_only=True)
class Export(Exporting):
    """Writes a SavedModel with the signatures fill_mask and embed, as the next version.

    Args:
        model_dir: what pretrain wrote, or any BERT checkpoint with a masked-LM head.
        top_k: answers for each [MASK].
    """

    export_dir: str = "saved_models/bert"
    top_k: int = 5


class Bert(Application):
    """Documents, or records made of them."""

    name = "bert"
    title = "Pretrained BERT"
    prepare, pretrain = staticmethod(prepare), Application.train

    def task(self):
        from tfmodels.tasks.masked_lm import MaskedLM

        return MaskedLM

    def check(self, settings):
        if (settings.text_files is None) == (settings.records_dir is None):
            raise InputError("give --text_files or --records_dir, and not both")

    def rows(self, settings):
        from tfmodels.data import open_texts
        from tfmodels.tasks.masked_lm import Records

        if settings.records_dir is None:
            return open_texts(settings.text_files, settings.text_column), None
        records = Records(settings.records_dir)
        for name in ("max_length", "task"):
            given, there = getattr(settings, name), getattr(records.settings, name)
            if given not in (None, there):
                raise InputError(
                    f"--{name} {given}: the records in {settings.records_dir} have {there}; leave "
                    "the flag out, or prepare others"
                )
        return records, None

    def options(self, settings, rows):
        from tfmodels.tasks.masked_lm import MAX_LENGTH, OBJECTIVE

        made = getattr(rows, "settings", settings)  # of records, or as the flags say
        names = ("mask_rate", "whole_words", "dynamic_masking", "seed")
        return {
            "max_length": made.max_length or MAX_LENGTH, "task": made.task or OBJECTIVE,
            "segmented": made.segmented, "short_share": made.short_share,
            **{name: getattr(settings, name) for name in names},
        }  # fmt: skip

    def new(self, settings, rows, folder):
        return {"tokenizer": wordpiece_of(settings, rows, folder)}

    def started(self, task, settings, rows, folder):
        # A training that is resumed has embeddings that were trained already.
        if settings.initial_embeddings == "counts" and not any((folder / "states").glob("step-*")):
            print("counting co-occurrences", file=sys.stderr)
            task.start_from_counts(rows)

    def fit_options(self, settings, task):
        return {
            "validation_split": settings.held_out,
            "held_out_examples": settings.held_out_examples,
        }

    def measure(self, task, held_out, settings):
        return self.last_measured(task)

    def card(self, metrics, settings, task):
        return [
            f"Examples of {task.max_length} tokens, task `{task.task}`. Fine-tune it with "
            "`--checkpoint`.",
            *self.measured_table(metrics, "documents"),
        ]

    def open(self, settings, file):
        from tfmodels.data import open_texts

        return open_texts(file, settings.text_column)

    def configure(self, task, settings):
        if isinstance(settings, Evaluate):
            from tfmodels.tasks.encoder import check_positions

            task.max_length = settings.max_length or task.max_length
            check_positions(task.backbone.config, task.max_length)
            task._seed = settings.seed
        else:
            task.configure(top_k=settings.top_k)

    def line(self, text, answer):
        return {"text": text, "masks": answer}


APPLICATION = Bert()
VERBS = APPLICATION.verbs(
    prepare=Prepare, pretrain=Pretrain, evaluate=Evaluate, predict=Predict, export=Export
)
