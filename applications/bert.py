"""BERT from zero or further: `tfmodels bert VERB`.

In: text files. Out: a vocabulary, records of examples, a model directory with BERT and its two
heads, words for `[MASK]`, a SavedModel. The model directory is what every other application
starts from with `--checkpoint`. TensorFlow is imported when a verb runs, not before.

A training that is stopped leaves `<output_dir>.unfinished/`; the same command goes on there.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from applications.flow import Application
from applications.process import dtype_of
from applications.settings import (
    Exporting,
    FromZero,
    Precision,
    Predicting,
    Training,
    check,
)
from tfmodels.errors import InputError


@dataclass(kw_only=True)
class Examples:
    """How examples are made of text.

    Args:
        text_column: column of the text, in tables.
        vocabulary: vocab.txt, or directory of a checkpoint to use the vocabulary of; learned
            from the text if not given.
        vocabulary_size: most tokens to learn.
        lowercase: fold case and strip accents; not if the vocabulary is a checkpoint's.
        short_share: share of the examples that are shorter.
        segmented: blanks between Chinese characters part words, which are masked whole.
        held_out: share of the documents to measure on.
        seed: of everything random.
    """

    text_column: str = "text"
    vocabulary: str | None = None
    vocabulary_size: int = 16000
    lowercase: bool = True
    short_share: float = 0.1
    segmented: bool = False
    held_out: float = 0.02
    seed: int = 0


@dataclass(kw_only=True)
class Prepare(Examples):
    """Makes examples of text files once: a directory of records that pretrain reads.

    Stopped, it goes on with the shards that are not finished: a quarter of them at a time.

    Args:
        text_files: file, pattern such as 'books/*.txt', or a list of them: documents apart by
            blank lines, or a table (.tsv, .csv, .jsonl) with one document a row; also .gz.
        output_dir: directory for records and vocab.txt.
        max_length: tokens of an example.
        task: nsp (is the second text the next one), sop (are the two in order) or mlm (masked
            words only).
        shards: files to spread the examples over.
        processes: that work at the same time.
    """

    text_files: str | list[str]
    output_dir: str
    max_length: int = 128
    task: Literal["nsp", "sop", "mlm"] = "nsp"
    shards: int = 8
    processes: int = 2


@dataclass(kw_only=True)
class Pretrain(Examples, FromZero, Training):
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
        steps: instead of epochs.
        save_steps: steps between two measurements, after each of which the state is saved.
        dropout: in the encoder; the checkpoint's, or 0.1, if not given.
        held_out: share of the documents to measure on, if there are no records.
        held_out_examples: most examples to measure on.
    """

    text_files: str | list[str] | None = None
    records_dir: str | None = None
    max_length: int | None = None
    task: Literal["nsp", "sop", "mlm"] | None = None
    mask_rate: float = 0.15
    whole_words: bool = True
    dynamic_masking: bool = True
    initial_embeddings: Literal["random", "counts"] = "random"
    epochs: int = 1
    steps: int | None = None
    save_steps: int = 500
    held_out_examples: int = 1000


@dataclass(kw_only=True)
class Evaluate:
    """Measures a pretrained model on text; the last line printed is one JSON object.

    Args:
        model_dir: what pretrain wrote, or any BERT checkpoint with a masked-LM head.
        text_files: see prepare.
        text_column: column of the text, in tables.
        max_length: tokens of an example; as in the training if not given.
        batch_size: examples of a step.
        seed: of the pairs and masks.
        precision: auto, float32 or bfloat16.
    """

    model_dir: str
    text_files: str | list[str]
    text_column: str = "text"
    max_length: int | None = None
    batch_size: int = 32
    seed: int = 0
    precision: Precision = "float32"


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

    def task(self):
        from tfmodels.tasks.masked_lm import MaskedLM

        return MaskedLM

    def prepare(self, settings):
        """Run `Prepare`; return the content of `records.json`."""
        from tfmodels.data import open_texts
        from tfmodels.text.examples import ExampleSettings
        from tfmodels.text.masking import check_mask
        from tfmodels.text.records import write_records

        check(settings)
        texts = open_texts(settings.text_files, settings.text_column)
        options = ExampleSettings(
            settings.max_length, settings.task, settings.short_share, settings.segmented,
            settings.seed,
        )  # fmt: skip
        tokenizer = _given_tokenizer(settings)
        if tokenizer is not None:
            check_mask(tokenizer)  # before all the work
        summary = write_records(
            texts, tokenizer or _learned(settings, texts), settings.output_dir, options,
            shards=settings.shards, processes=settings.processes, held_out=settings.held_out,
        )  # fmt: skip
        splits = {
            split: {name: found[name] for name in ("documents", "examples", "tokens")}
            for split, found in summary["splits"].items()
        }
        print(json.dumps({"output_dir": settings.output_dir, "splits": splits}))
        return summary

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

    def start(self, settings, rows, folder):
        from tfmodels.tasks.masked_lm import MAX_LENGTH, OBJECTIVE

        made = getattr(rows, "settings", settings)  # of records, or as the flags say
        options = {
            "max_length": made.max_length or MAX_LENGTH, "task": made.task or OBJECTIVE,
            "segmented": made.segmented, "short_share": made.short_share,
            "mask_rate": settings.mask_rate, "whole_words": settings.whole_words,
            "dynamic_masking": settings.dynamic_masking, "seed": settings.seed,
            "dropout": settings.dropout, "dtype": dtype_of(settings.precision),
        }  # fmt: skip
        if settings.checkpoint != "none":
            task = self.task().from_preset(
                settings.checkpoint, revision=settings.revision, **options
            )
        else:
            tokenizer = _tokenizer(settings, rows, folder)
            task = self.task().from_scratch(tokenizer=tokenizer, size=settings.size, **options)
        # A training that is resumed has embeddings that were trained already.
        if settings.initial_embeddings == "counts" and not any((folder / "states").glob("step-*")):
            print("counting co-occurrences", file=sys.stderr)
            task.start_from_counts(rows)
        return task

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


def _tokenizer(settings, rows, folder: Path):
    """Return the tokenizer of a new model: given, of the records, or learned and kept."""
    from tfmodels.tasks.encoder import check_size
    from tfmodels.text.vocabulary import save_vocabulary
    from tfmodels.text.wordpiece import WordPieceTokenizer

    check_size(settings.size)
    if hasattr(rows, "tokenizer"):
        return rows.tokenizer()
    given = _given_tokenizer(settings)
    if given is not None:
        return given
    path = folder / "vocab.txt"
    if not path.exists():
        save_vocabulary(_learned(settings, rows).vocabulary, path)
    return WordPieceTokenizer.from_file(path, lowercase=settings.lowercase)


def _given_tokenizer(settings):
    """Return the tokenizer of `--vocabulary`, or None."""
    from tfmodels.checkpoints.hugging_face import read_tokenizer
    from tfmodels.text.wordpiece import WordPieceTokenizer

    if settings.vocabulary is None:
        return None
    if Path(settings.vocabulary).is_dir():
        return read_tokenizer(settings.vocabulary)
    return WordPieceTokenizer.from_file(settings.vocabulary, lowercase=settings.lowercase)


def _learned(settings, texts):
    from tfmodels.tasks.masked_lm import learned_tokenizer

    print("learning a vocabulary", file=sys.stderr)
    return learned_tokenizer(texts, settings.vocabulary_size, settings.lowercase)


APPLICATION = Bert()
VERBS = {
    "prepare": (Prepare, APPLICATION.prepare), "pretrain": (Pretrain, APPLICATION.train),
    "evaluate": (Evaluate, APPLICATION.evaluate), "predict": (Predict, APPLICATION.predict),
    "export": (Export, APPLICATION.export),
}  # fmt: skip
