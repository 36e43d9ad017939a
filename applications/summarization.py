"""Summaries, and any other text written for a text: `tfmodels summarization VERB`.

In: a table with a source and a target column: articles and summaries, e-mails and subjects,
sentences and translations. Out: a model directory (a `Transformer`, laid out as BART is), ROUGE
beside what the first sentences alone would get, answers as JSON lines, a SavedModel. The settings
of each verb are the fields of its dataclass; TensorFlow is imported when a verb runs, not before.
"""

import dataclasses
import itertools
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from applications.settings import (
    Evaluating,
    Exporting,
    FineTuning,
    Predicting,
    Searching,
    check_numbers,
)
from tfmodels.errors import InputError
from tfmodels.files import whole_directory, write_json

APPLICATION = "summarization"
HELD_OUT_MOST = 2000  # rows held out of a training file
EXAMPLES = 20  # rows of the table for reading
# Where neither a flag nor the model says otherwise.
SEARCH = {"num_beams": 4, "length_penalty": 1.0, "min_new_tokens": 0, "max_new_tokens": 64,
          "no_repeat_ngram": 3}  # fmt: skip


@dataclass(kw_only=True)
class Train(Searching, FineTuning):
    """Trains an encoder-decoder and writes a model directory.

    Args:
        train_file: .tsv, .csv or .jsonl (also .gz), or tfds:NAME[:SPLIT].
        eval_file: rows to choose the best weights on; part of train_file if not given.
        checkpoint: directory or Hugging Face Hub name of a BART, or of a BERT, whose weights then
            start the encoder and the decoder; a directory that train or `tfmodels bert pretrain`
            wrote; or none to start from zero.
        source_column: column of the text to read.
        target_column: column of the text to write.
        max_length: most tokens of a source; what is beyond is cut.
        max_target_length: most tokens of a target, likewise.
        architecture: transformer (Vaswani et al. 2017) or bart, when starting from zero.
        norm_first: normalize before each part (which trains more steadily than behind it, as both
            papers do), when starting from zero; if not given, only a bart is as in its paper.
        size: tiny, mini, small, base or large, when starting from zero.
        num_decoder_layers: decoder blocks, when not starting from a BART.
        label_smoothing: share of the probability that the loss spreads over all tokens.
        schedule: linear (down to zero) or inverse_sqrt (of the step), after the warm-up.
        rouge_examples: held-out rows that are written for and measured, at each evaluation
            with the likeliest token in the place of beams.
        lead_k: sentences, or lines of a dialogue, that the baseline takes.
        evaluations: measurements in each epoch; the weights with the best ROUGE-L are kept.
        num_beams: sequences that the beam search follows, here and when the model is used.
    """

    source_column: str = "text"
    target_column: str = "summary"
    epochs: int = 10
    max_length: int = 256
    max_target_length: int = 64
    architecture: Literal["transformer", "bart"] = "transformer"
    norm_first: bool | None = None
    num_decoder_layers: int | None = None
    label_smoothing: float = 0.1
    schedule: Literal["linear", "inverse_sqrt"] = "linear"
    rouge_examples: int = 200
    lead_k: int = 3


@dataclass(kw_only=True)
class Evaluate(Searching, Evaluating):
    """Measures a model on pairs; the last line printed is one JSON object.

    Args:
        model_dir: what train wrote, or any BART.
        eval_file: rows with a source and a target, as train_file.
        source_column: column of the text to read.
        target_column: column of the text to write.
        lead_k: sentences, or lines of a dialogue, that the baseline takes.
        report_dir: gets examples.md and mistakes.jsonl, if given.
    """

    source_column: str = "text"
    target_column: str = "summary"
    lead_k: int = 3


@dataclass(kw_only=True)
class Predict(Searching, Predicting):
    """Writes for texts; prints one JSON object a text.

    Args:
        model_dir: what train wrote, or any BART.
    """


@dataclass(kw_only=True)
class Export(Searching, Exporting):
    """Writes a SavedModel that takes strings, as the next version in export_dir.

    Args:
        model_dir: what train wrote, or any BART.
    """

    export_dir: str = "saved_models/summarization"


def train(settings: Train):
    """Runs `Train`; returns the metrics of the held-out rows."""
    from applications import report, run
    from applications.pairs import pair_chunks, sample, started, tokens_of
    from tfmodels.checkpoints.bart import write_bart
    from tfmodels.data import datasets
    from tfmodels.data.sources import open_source
    from tfmodels.metrics import rouge
    from tfmodels.text.pairs import pair_batches
    from tfmodels.training.losses import Accuracy, Crossentropy, MeanCrossentropy

    check_numbers(settings)
    longest = {"max_new_tokens": settings.max_target_length}
    _generation(_search(settings, longest))  # refused before anything is read
    rouge.Tokenizer()
    files = run.sizes(settings.train_file, settings.eval_file)
    with run.training_of(settings, files=files) as (output_dir, folder):
        columns = (settings.source_column, settings.target_column)
        source = evaluated = open_source(settings.train_file, columns)
        share = settings.held_out if settings.eval_file is None else 0.0
        scan = source.scan(None, share, HELD_OUT_MOST, settings.seed)
        training, validation = "train", "held_out"
        if settings.eval_file is not None:
            evaluated = open_source(settings.eval_file, columns)
            training = validation = "all"
        strategy = run.start_training(settings, files=files)
        rows = (row for number, row in source.rows() if number not in scan.held_out)
        texts = itertools.chain.from_iterable(rows)
        with strategy.scope():
            model, tokenizer, given, said = started(settings, texts)
        tokens = tokens_of(given)
        search = _search(settings, {**given, **longest})
        number = scan.rows - len(scan.held_out)
        print(f"{number} training pairs; {said}", file=sys.stderr)

        def batches(source, rows, seed=None):
            most = (settings.max_length, settings.max_target_length)
            chunks = pair_chunks(source, rows, scan.held_out, seed, most)
            return run.counted(pair_batches(
                chunks, tokenizer, tokens, settings.batch_size, settings.max_length,
                settings.max_target_length, seed,
            ))  # fmt: skip

        with datasets.source_errors(source, evaluated), strategy.scope():
            measured = sample(evaluated, validation, scan.held_out, settings.rouge_examples)

            def outputs(**fields):
                generation = _generation({**given, **search, **fields})
                parts = (tokens, generation, settings.max_length, _long_texts(settings, {}))
                return _written(model, tokenizer, *parts, settings.batch_size)

            metrics = [Accuracy(), MeanCrossentropy()]
            history = run.fit(
                model,
                lambda: batches(source, training, settings.seed),
                batches(evaluated, validation),
                settings,
                folder,
                {"loss": Crossentropy(settings.label_smoothing), "metrics": metrics},
                monitor="val_rougeL",
                callbacks=[_rouge(outputs(num_beams=1), *measured)],
            )
            found = [answer["summary"] for answer in outputs()(measured[0])]
        metrics = rouge.measure(*measured, found, settings.lead_k)
        with whole_directory(output_dir, "another --output_dir") as directory:
            ours = {"application": APPLICATION, "max_length": settings.max_length}
            ours["long_texts"] = _long_texts(settings, {})
            write_bart(model, directory, tokenizer, {**given, **search}, ours)
            metrics["history"] = history
            metrics["worst_mistakes"] = rouge.worst(*measured, found)
            shutil.copytree(folder / "logs", directory / "logs")
            write_json(directory / "metrics.json", metrics)
            card = _card(
                metrics, settings, number, rouge.examples_table(*measured, found, EXAMPLES)
            )
            report.write_card(directory, "Text to text", card, settings)
            report.plot(directory / "plots", history)
    print(f"model: {settings.output_dir}; plots: {settings.output_dir}/plots", file=sys.stderr)
    names = ("examples", "rouge1", "rouge2", "rougeL", "lead")
    print(json.dumps({"model_dir": settings.output_dir, **{k: metrics[k] for k in names}}))
    return metrics


def evaluate(settings: Evaluate):
    """Runs `Evaluate`; returns the metrics."""
    from applications import report
    from applications.pairs import sample
    from tfmodels.data import datasets
    from tfmodels.data.sources import open_source
    from tfmodels.metrics import rouge

    check_numbers(settings)
    # All that can be wrong is said before hours of writing, not after.
    report.check_directory(settings.report_dir)
    rouge.Tokenizer()
    source = open_source(settings.eval_file, (settings.source_column, settings.target_column))
    with datasets.source_errors(source):
        sources, references = sample(source, "all", frozenset(), -1)
    answers = _loaded(settings)(sources)
    found = [answer["summary"] for answer in answers]
    metrics = rouge.measure(sources, references, found, settings.lead_k)
    # Sources of which the model read the beginning.
    metrics["truncated"] = sum(answer["truncated"] for answer in answers)
    mistakes = rouge.worst(sources, references, found)
    report.print_measured(metrics, mistakes)
    if settings.report_dir is not None:
        with whole_directory(settings.report_dir, "another --report_dir") as directory:
            examples = rouge.examples_table(sources, references, found, EXAMPLES)
            (directory / "examples.md").write_text(examples + "\n", encoding="utf-8")
            report.write_mistakes(directory, mistakes)
    return metrics


def predict(settings: Predict):
    """Runs `Predict`: JSON lines with `text`, `summary`, `score`, `parts` and `truncated`."""
    from tfmodels.data import datasets

    check_numbers(settings)
    chunks = datasets.text_chunks(settings.text, settings.input_file, settings.text_column)
    write = _loaded(settings)
    for texts in chunks:
        for text, answer in zip(texts, write(texts), strict=True):
            print(json.dumps({"text": text, **answer}, ensure_ascii=False))
        sys.stdout.flush()


def export(settings: Export):
    """Runs `Export`; returns the path of the new version."""
    from applications import report
    from tfmodels.tasks.text_writer import TextWriter, export_text_to_text

    check_numbers(settings)
    version = export_text_to_text(
        settings.export_dir, TextWriter(*load(settings)), **settings.saving
    )
    return report.exported(version)


def load(settings):
    """What a `TextWriter` is made of; sets the precision.

    Args:
        settings: of `predict`, `evaluate` or `export`.

    Returns:
        `(model, tokenizer, tokens, generation, max_length, long_texts)`.

    Raises:
        InputError: the directory cannot be used, or the flags do not fit the model.
    """

    from applications import models, run
    from applications.pairs import check_one_vocabulary, tokens_of
    from tfmodels.checkpoints.bart import load_bart, read_bart_generation, read_bart_tokenizer
    from tfmodels.checkpoints.files import check_vocabulary_size

    # Weights that are read at every token are stored in the precision that is computed with.
    run.start(settings.precision, "single", seed=0, stored=True)
    directory = Path(settings.model_dir)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; give one that `train` wrote")
    model, _ = load_bart(directory)
    check_one_vocabulary(model.config, directory)
    given, ours = read_bart_generation(directory), models.our_settings(directory)
    generation = _generation({**given, **_search(settings, given)})
    max_length = ours.get("max_length", model.config.max_length)
    tokenizer = read_bart_tokenizer(directory)
    check_vocabulary_size(tokenizer, model.config)
    long_texts = _long_texts(settings, ours)
    return model, tokenizer, tokens_of(given), generation, max_length, long_texts


def _loaded(settings):
    return _written(*load(settings), settings.batch_size)


def _written(model, tokenizer, tokens, generation, max_length, long_texts, batch_size):
    """A function from texts (list of str) to their answers, a dict each, in their order.

    Texts run in batches of similar length. Long work says how far it is.
    """
    import tensorflow as tf

    from applications import models
    from tfmodels.tasks.text_writer import TextWriter

    writer = TextWriter(model, tokenizer, tokens, generation, max_length, long_texts)
    write = tf.function(writer, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)

    def answers(texts):
        found, done, said = [None] * len(texts), 0, time.monotonic()
        for rows, part in models.batches_by_length(texts, batch_size):
            answer = {name: value.numpy() for name, value in write(tf.constant(part)).items()}
            for row, place in enumerate(rows):
                found[place] = {
                    "summary": answer["summary"][row].decode(),
                    "score": round(float(answer["score"][row]), 6),
                    "parts": int(answer["parts"][row]),
                    "truncated": bool(answer["truncated"][row]),
                }
            done += len(rows)
            if time.monotonic() - said > 10:
                said = time.monotonic()
                print(f"written for {done} of {len(texts)} texts", file=sys.stderr)
        return found

    return answers


def _rouge(write, sources, references):
    """A callback that adds the ROUGE of what the model writes to each evaluation."""
    import keras

    from tfmodels.metrics import rouge

    class Rouge(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found = [answer["summary"] for answer in write(sources)]
            scores = rouge.rouge(found, references)
            logs |= {f"val_{name}": scores[name] for name in ("rouge1", "rouge2", "rougeL")}
            said = ", ".join(f"{name} {value:.2f}" for name, value in scores.items())
            print(f" - {said}; for example: {found[0]}", file=sys.stderr)

    return Rouge()


def _search(settings, given):
    """How is searched: as the flags say, else as the model does, else as `SEARCH` does."""
    flags = {name: getattr(settings, name) for name in SEARCH}
    flags = {name: value for name, value in flags.items() if value is not None}
    of_model = {name: given[name] for name in SEARCH if name in given}
    return {**SEARCH, **of_model, **flags}


def _long_texts(settings, ours):
    return settings.long_texts or ours.get("long_texts", "cut")


def _generation(fields):
    """The `Generation` of such settings, mistakes named as flags."""
    from tfmodels.generation.settings import Generation

    names = [field.name for field in dataclasses.fields(Generation)]
    try:
        return Generation(**{name: fields[name] for name in names if name in fields})
    except InputError as error:
        raise InputError(f"--{error}") from error


def _card(metrics, settings, number, examples):
    from tfmodels.metrics.tables import table

    names = ("rouge1", "rouge2", "rougeL", "rougeLsum")
    rows = [("this model", *(metrics[name] for name in names))]
    rows.append((f"lead {metrics['lead']['k']}", *(metrics["lead"][name] for name in names)))
    return [
        f"Trained with `tfmodels` on {number} pairs of `{settings.train_file}`; starts from "
        f"`{settings.checkpoint}`.",
        f"On {metrics['examples']} held-out pairs, the best of "
        f"{len(metrics['history']['loss'])} evaluations on them:",
        table(("", "ROUGE-1", "ROUGE-2", "ROUGE-L", "ROUGE-Lsum"), rows),
        "What it writes:",
        examples,
    ]


VERBS = {"train": (Train, train), "evaluate": (Evaluate, evaluate),
         "predict": (Predict, predict), "export": (Export, export)}  # fmt: skip
