"""BERT from zero or further: `tfmodels bert VERB`.

In: text files. Out: a vocabulary, records of examples, a model directory with BERT and its two
heads, words for `[MASK]`, a SavedModel. The model directory is what every other application
starts from with `--checkpoint`. TensorFlow is imported when a verb runs, not before.

A training that is stopped leaves `<output_dir>.unfinished/`; the same command goes on there.
"""

import dataclasses
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from applications.settings import (
    Exporting,
    FromZero,
    Precision,
    Predicting,
    Training,
    check_numbers,
)
from tfmodels.errors import InputError

APPLICATION = "bert"
WORST_MISTAKES = 10


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


def prepare(settings: Prepare):
    """Runs `Prepare`; returns the content of `records.json`."""
    from applications.examples import given_tokenizer, learned_tokenizer
    from tfmodels.data.documents import TextFiles
    from tfmodels.text.examples import ExampleSettings
    from tfmodels.text.masking import check_mask
    from tfmodels.text.records import write_records

    check_numbers(settings)
    texts = TextFiles(settings.text_files, settings.text_column)
    options = ExampleSettings(
        settings.max_length, settings.task, settings.short_share, settings.segmented, settings.seed
    )
    tokenizer = given_tokenizer(settings, checkpoint=None)
    if tokenizer is not None:
        check_mask(tokenizer)  # before all the work
    summary = write_records(
        texts,
        tokenizer or learned_tokenizer(settings, texts),
        settings.output_dir,
        options,
        shards=settings.shards,
        processes=settings.processes,
        held_out=settings.held_out,
    )
    print(json.dumps({"output_dir": settings.output_dir, "splits": _totals(summary)}))
    return summary


def pretrain(settings: Pretrain):
    """Runs `Pretrain`; returns the metrics of the held-out documents."""
    from applications import models, report, steps
    from applications.examples import Batches, open_examples
    from applications.unfinished import STATES
    from tfmodels.training.losses import pretraining_objective
    from tfmodels.training.state import states

    check_numbers(settings)
    if settings.checkpoint == "none":
        models.check_size(settings.size)
    elif settings.initial_embeddings != "random":
        raise InputError(
            f"--initial_embeddings {settings.initial_embeddings}: the checkpoint has embeddings; "
            "leave it out, or --checkpoint"
        )
    examples = open_examples(settings)

    def start(folder):
        source = Batches(settings, examples, folder)
        model, started = _model(settings, source)
        # A training that goes on has embeddings that were trained already.
        if settings.initial_embeddings == "counts" and not states(folder / STATES):
            _start_from_counts(model, source)
        print(f"{source.say}; {started}", file=sys.stderr)
        return model, source, {"objective": pretraining_objective(model.next_sentence)}

    def write(directory, model, source, metrics):
        models.write_model(
            directory, APPLICATION, model, source.tokenizer, labels=None,
            max_length=source.examples.max_length, task=source.examples.task,
            segmented=source.examples.segmented, short_share=source.examples.short_share,
            mask_rate=settings.mask_rate, whole_words=settings.whole_words,
        )  # fmt: skip
        report.write_card(directory, "Pretrained BERT", _card(source, metrics), settings)

    made_of = {"text_files": [settings.text_files, examples.made_of]}
    return steps.train(settings, examples, made_of, start, write)


def evaluate(settings: Evaluate):
    """Runs `Evaluate`; returns the metrics."""
    import keras

    from applications import models, report
    from tfmodels.data import datasets
    from tfmodels.data.documents import TextFiles
    from tfmodels.text.examples import ExampleSettings
    from tfmodels.text.pretraining import text_passes, training_batches
    from tfmodels.training.losses import pretraining_objective

    check_numbers(settings)
    texts = TextFiles(settings.text_files, settings.text_column)
    model, tokenizer, config = load(settings.model_dir, settings.precision)
    options = ExampleSettings(
        max_length=settings.max_length or config["max_length"],
        task=config["task"],
        short_share=config["short_share"],
        segmented=config["segmented"],
        seed=settings.seed,
    )
    models.check_positions(model.encoder.config, options.max_length)
    batches = training_batches(
        text_passes(texts, tokenizer, options), tokenizer, settings.batch_size, options,
        seed=settings.seed, passes=1, mask_rate=config["mask_rate"],
        whole_words=config["whole_words"], drop_remainder=False,
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(), **pretraining_objective(model.next_sentence))
    mistakes = []
    with datasets.source_errors(texts):
        found = model.evaluate(
            batches, return_dict=True, verbose="auto" if sys.stderr.isatty() else 0
        )
        for inputs, labels in batches.take(20):
            mistakes += _mistakes(model, tokenizer, inputs, labels["masked_lm"])
    mistakes = sorted(mistakes, key=lambda row: row["probability"])[:WORST_MISTAKES]
    metrics = {name: float(value) for name, value in found.items() if not name.endswith("loss")}
    metrics["masked_lm_perplexity"] = math.exp(min(metrics["masked_lm_crossentropy"], 700))
    report.print_measured(metrics, mistakes)
    return metrics


def predict(settings: Predict):
    """Runs `Predict`: JSON lines with `text` and, for each `[MASK]`, `masks`."""
    import tensorflow as tf

    from tfmodels.data import datasets
    from tfmodels.tasks.mask_filler import fill_mask_signatures

    check_numbers(settings)
    chunks = datasets.text_chunks(settings.text, settings.input_file, settings.text_column)
    model, tokenizer, _ = load(settings.model_dir, settings.precision)
    most = trained_length(settings.model_dir)
    function, specs = fill_mask_signatures(model, tokenizer, settings.top_k, most)["fill_mask"]
    fill = tf.function(function, input_signature=list(specs.values()), autograph=False)
    for texts in chunks:
        for first in range(0, len(texts), settings.batch_size):
            part = texts[first : first + settings.batch_size]
            answers = {name: value.numpy() for name, value in fill(tf.constant(part)).items()}
            for text, tokens, scores in zip(part, answers["token"], answers["score"], strict=True):
                masks = [
                    [
                        {"token": token.decode(), "score": round(float(score), 6)}
                        for token, score in zip(*mask, strict=True)
                    ]
                    for mask in zip(tokens, scores, strict=True)
                    if mask[0][0]  # "" where another text has more masks
                ]
                print(json.dumps({"text": text, "masks": masks}, ensure_ascii=False))
        sys.stdout.flush()


def export(settings: Export):
    """Runs `Export`; returns the path of the new version."""
    from applications import report
    from tfmodels.tasks.mask_filler import export_fill_mask

    check_numbers(settings)
    model, tokenizer, _ = load(settings.model_dir, settings.precision, stored=True)
    most = trained_length(settings.model_dir)
    version = export_fill_mask(
        settings.export_dir, model, tokenizer, settings.top_k, most, **settings.saving
    )
    return report.exported(version)


def trained_length(model_dir):
    """Most tokens of a text: the positions behind those of a training from zero stayed random.

    `None` for a published checkpoint: as many as it has positions for.
    """
    from applications import models

    return models.our_settings(model_dir).get("max_length")


def load(model_dir, precision, stored=False):
    """The pretrainer, tokenizer and settings of a model directory or checkpoint."""
    from applications import models, run
    from applications.examples import MAX_LENGTH, TASK
    from tfmodels.checkpoints.bert import load_pretrainer
    from tfmodels.checkpoints.hugging_face import read_tokenizer

    run.start(precision, "single", seed=0, stored=stored)
    directory = Path(model_dir)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; give one that `pretrain` wrote")
    model, loaded = load_pretrainer(directory)
    if loaded.new:
        raise InputError(
            f"{directory}: has no masked-LM head; give a pretrained BERT with its heads, or "
            "pretrain from it with `tfmodels bert pretrain --checkpoint`"
        )
    ours = models.our_settings(directory)
    defaults = {
        "max_length": min(MAX_LENGTH, model.encoder.config.max_length),
        "task": TASK if model.next_sentence else "mlm",
    }
    for name in ("segmented", "short_share", "mask_rate", "whole_words"):
        defaults[name] = getattr(Pretrain, name)
    return model, read_tokenizer(directory), {k: ours.get(k, v) for k, v in defaults.items()}


def _model(settings, source):
    """The model to train, and a line about what it starts from."""
    from applications import models
    from tfmodels.checkpoints.bert import load_weights
    from tfmodels.checkpoints.files import check_vocabulary_size
    from tfmodels.checkpoints.hugging_face import read_bert_config
    from tfmodels.models.bert import Bert
    from tfmodels.models.pretrainer import BertPretrainer

    dropout = models.dropout_fields(settings.dropout)
    if source.checkpoint is None:
        config = models.new_config(
            settings.size, source.tokenizer, source.examples.max_length, **dropout
        )
    else:
        config = dataclasses.replace(read_bert_config(source.checkpoint), **dropout)
        models.check_positions(config, source.examples.max_length)
        check_vocabulary_size(source.tokenizer, config)
    model = BertPretrainer(Bert(config), next_sentence=source.examples.task != "mlm")
    model.build()
    if source.checkpoint is None:
        return model, f"{settings.size} from zero, {config.vocabulary_size} tokens"
    return model, load_weights(model, source.checkpoint)


def _start_from_counts(model, source):
    """Puts vectors of co-occurrences in the place of the random embeddings, of the same size."""
    import numpy as np

    from tfmodels.text.cooccurrence import cooccurrence_vectors

    print("counting co-occurrences", file=sys.stderr)
    config, table = model.encoder.config, model.encoder.embeddings.token
    special = [source.tokenizer.pad_id, source.tokenizer.cls_id, source.tokenizer.sep_id]
    vectors, occurrences = cooccurrence_vectors(
        source.token_ids(), config.vocabulary_size, config.hidden_dim, special
    )
    vectors *= config.initializer_range
    known = vectors.any(1, keepdims=True)
    table.assign(np.where(known, vectors, np.asarray(table.value)))
    # At least as often as once in all the text: a token may come later.
    share = np.maximum(occurrences, 1) / max(occurrences.sum(), 1)
    model.masked_lm.bias.assign(np.log(share))


def _mistakes(model, tokenizer, inputs, masked_lm):
    """The masked words of a batch that the model was surest of getting wrong."""
    import numpy as np
    import tensorflow as tf

    labels = masked_lm.numpy()
    scores = tf.nn.softmax(model(inputs, training=False)["masked_lm"]).numpy()  # [B, M, V]
    true = np.take_along_axis(scores, np.maximum(labels, 0)[..., None], -1)[..., 0]
    best = scores.argmax(-1)
    wrong = (labels >= 0) & (best != labels)
    rows, places = np.nonzero(wrong)
    order = np.argsort(true[rows, places])[:WORST_MISTAKES]
    ids, positions = inputs["token_ids"].numpy(), inputs["masked_positions"].numpy()
    found = []
    for row, place in zip(rows[order], places[order], strict=True):
        at = positions[row, place]
        before, after = ids[row, max(at - 20, 0) : at], ids[row, at + 1 : at + 21]
        text = tokenizer.detokenize(tf.ragged.constant([before, after], dtype=tf.int32)).numpy()
        found.append({
            "text": f"{text[0].decode()} [?] {text[1].decode()}",
            "true": tokenizer.vocabulary[labels[row, place]],
            "predicted": tokenizer.vocabulary[best[row, place]],
            "probability": float(true[row, place]),
        })  # fmt: skip
    return found


def _totals(summary):
    return {
        split: {name: found[name] for name in ("documents", "examples", "tokens")}
        for split, found in summary["splits"].items()
    }


def _card(source, metrics):
    from tfmodels.metrics.tables import table

    settings = source.examples
    rows = [(name, value) for name, value in metrics.items()]
    return [
        f"Pretrained with `tfmodels`: {source.say} of {settings.max_length} tokens, task "
        f"`{settings.task}`. Fine-tune it with `--checkpoint`.",
        table(("on held-out documents", "value"), rows) if rows else "No documents held out.",
    ]


VERBS = {"prepare": (Prepare, prepare), "pretrain": (Pretrain, pretrain),
         "evaluate": (Evaluate, evaluate), "predict": (Predict, predict),
         "export": (Export, export)}  # fmt: skip
