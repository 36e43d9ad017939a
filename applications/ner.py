"""Named entities: `tfmodels ner VERB`.

In: CoNLL columns, JSONL with character spans, or a TensorFlow Datasets name. Out: a model
directory, metrics of whole entities, entities with their characters as JSON lines, a SavedModel.
TensorFlow is imported when a verb runs, not before.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

from applications.settings import Evaluating, Exporting, FineTuning, Predicting, check_numbers
from tfmodels.files import whole_directory, write_json

APPLICATION = "ner"
HELD_OUT_MOST = 5000  # texts held out of a training file
WORST_MISTAKES = 10
COLOURS = (36, 33, 35, 32, 34, 31)  # of a terminal, one a type


@dataclass(kw_only=True)
class Columns:
    """How a file of columns is read.

    Args:
        scheme: of the tags in columns: iob1, iob2, iobes, bilou or bmes; found out if not
            given. iob reads B- and I- both as beginnings, where a file contradicts itself.
        join: what to put between two tokens of columns; a blank, but nothing between Chinese
            characters, if not given.
        token_column: column of the token, counted from 0, or from -1 at the end.
        tag_column: column of the tag.
    """

    scheme: Literal["iob1", "iob2", "iob", "iobes", "bilou", "bmes"] | None = None
    join: str | None = None
    token_column: int = 0
    tag_column: int = -1


@dataclass(kw_only=True)
class Train(FineTuning, Columns):
    """Trains a tagger and writes a model directory.

    Args:
        train_file: CoNLL columns (.txt, .conll, ...), .jsonl with spans (also .gz), or
            tfds:NAME[:SPLIT].
        crf: score whole sequences of tags (a linear-chain CRF), not each tag alone.
        emission_loss: with crf, the weight of the loss of each tag by itself, which is added to
            that of the sequence; 1 helps a network from zero.
        evaluations: measurements on the held-out texts in each epoch; the weights with the
            best F1 are kept.
        batch_size: windows of a step, on all devices together.
        max_length: most tokens of a window; longer texts are read in windows that overlap.
        stride: tokens that two windows share; a quarter of max_length if not given.
        class_weights: balanced gives every type of entity the same weight in the loss.
    """

    crf: bool = True
    emission_loss: float = 0.0
    stride: int | None = None
    class_weights: Literal["none", "balanced"] = "none"


@dataclass(kw_only=True)
class Evaluate(Evaluating, Columns):
    """Measures a model on texts with entities; the last line printed is one JSON object.

    Args:
        eval_file: texts with entities, as train_file.
        report_dir: gets types.md and mistakes.jsonl, if given.
    """


@dataclass(kw_only=True)
class Predict(Predicting):
    """Finds entities; prints one JSON object a text, on a terminal also the text in colours."""


@dataclass(kw_only=True)
class Export(Exporting):
    """Writes a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/ner"


def train(settings: Train):
    """Runs `Train`; returns the metrics of the held-out texts."""
    from applications import models, report, run
    from tfmodels.data import datasets
    from tfmodels.data.entities import entity_dataset
    from tfmodels.models.tagger import Tagger
    from tfmodels.text.tags import labels_of
    from tfmodels.text.windows import default_stride, tagged_batches
    from tfmodels.training.sequence import tagging_objective

    check_numbers(settings)
    files = run.sizes(settings.train_file, settings.eval_file)
    with run.training_of(settings, files=files) as (output_dir, folder):
        source = evaluated = _open(settings.train_file, settings)
        share = settings.held_out if settings.eval_file is None else 0.0
        scan = source.scan(share, HELD_OUT_MOST, settings.seed)
        training, validation = "train", "held_out"
        if settings.eval_file is not None:
            evaluated = _open(settings.eval_file, settings)
            training = validation = "all"
        types = list(scan.type_counts)
        labels = labels_of(types)
        strategy = run.start_training(settings, files=files)
        numbered = (row for row in source.stream(None) if row.number not in scan.held_out)
        texts = (row.values[0] for row in numbered)

        def make(encoder):
            return Tagger(encoder, len(labels), labels, settings.crf, encoder.config.dropout)

        with strategy.scope():
            model, tokenizer, started = models.start_model(settings, texts, make)
        max_length = min(settings.max_length, model.encoder.config.max_length)
        stride = default_stride(max_length) if settings.stride is None else settings.stride
        held_out_texts = entity_dataset(evaluated, types, rows=validation, held_out=scan.held_out)

        def batches(rows, seed=None):
            found = tagged_batches(rows, tokenizer, settings.batch_size, max_length, stride, seed)
            return run.counted(found)

        def training_batches():
            rows = entity_dataset(
                source, types, rows=training, held_out=scan.held_out, seed=settings.seed
            )
            found = batches(rows, settings.seed)
            if settings.class_weights == "balanced":
                found = _weighted(found, scan.type_counts, settings.crf)
            return found

        number = scan.rows - len(scan.held_out)
        counts = ", ".join(f"{kind} {count}" for kind, count in scan.type_counts.items())
        print(f"{number} training texts, entities {counts}; {started}", file=sys.stderr)
        measured = _Measure(model, tokenizer, max_length, stride, settings.batch_size)
        with datasets.source_errors(source, evaluated), strategy.scope():
            history = run.fit(
                model,
                training_batches,
                batches(held_out_texts),
                settings,
                folder,
                tagging_objective(model, settings.emission_loss),
                monitor="val_f1",
                callbacks=[measured.callback(held_out_texts)],
            )
            metrics, mistakes = measured(held_out_texts)
        with whole_directory(output_dir, "another --output_dir") as directory:
            models.write_model(
                directory, APPLICATION, model, tokenizer, labels=labels, pooling="tokens",
                max_length=max_length, stride=stride, crf=settings.crf,
            )  # fmt: skip
            metrics["history"] = history
            metrics["worst_mistakes"] = mistakes
            shutil.copytree(folder / "logs", directory / "logs")
            write_json(directory / "metrics.json", metrics)
            report.write_card(
                directory, "Entity tagger", _card(metrics, settings, number), settings
            )
            report.plot(directory / "plots", history)
    print(f"model: {settings.output_dir}; plots: {settings.output_dir}/plots", file=sys.stderr)
    summary = {key: metrics[key] for key in ("texts", "precision", "recall", "f1")}
    print(json.dumps({"model_dir": settings.output_dir, **summary}))
    return metrics


def evaluate(settings: Evaluate):
    """Runs `Evaluate`; returns the metrics."""
    from applications import report
    from tfmodels.data import datasets
    from tfmodels.data.entities import entity_dataset
    from tfmodels.text.tags import types_of

    check_numbers(settings)
    report.check_directory(settings.report_dir)
    model, tokenizer, config = load(settings.model_dir, settings.precision)
    source = _open(settings.eval_file, settings)
    rows = entity_dataset(source, types_of(config["labels"]))
    measure = _Measure(
        model, tokenizer, config["max_length"], config["stride"], settings.batch_size
    )
    with datasets.source_errors(source):
        metrics, mistakes = measure(rows)
    report.print_measured(metrics, mistakes)
    if settings.report_dir is not None:
        with whole_directory(settings.report_dir, "another --report_dir") as directory:
            tables = "\n\n".join(_tables(metrics)) + "\n"
            (directory / "types.md").write_text(tables, encoding="utf-8")
            report.write_mistakes(directory, mistakes)
    return metrics


def predict(settings: Predict):
    """Runs `Predict`: JSON lines with `text` and `entities`."""
    from tfmodels.data import datasets
    from tfmodels.text.tags import types_of

    check_numbers(settings)
    chunks = datasets.text_chunks(settings.text, settings.input_file, settings.text_column)
    model, tokenizer, config = load(settings.model_dir, settings.precision)
    find = entity_predictor(
        model, tokenizer, config["max_length"], config["stride"], settings.batch_size
    )
    for texts in chunks:
        for text, (entities, *_) in zip(texts, find(texts), strict=True):
            if sys.stdout.isatty():
                print(coloured(text, entities, types_of(config["labels"])))
            print(json.dumps({"text": text, "entities": entities}, ensure_ascii=False))
        sys.stdout.flush()


def export(settings: Export):
    """Runs `Export`; returns the path of the new version."""
    from applications import report
    from tfmodels.tasks.entity_finder import export_tagger

    model, tokenizer, config = load(settings.model_dir, settings.precision, stored=True)
    version = export_tagger(
        settings.export_dir,
        model,
        tokenizer,
        config["max_length"],
        config["stride"],
        **settings.saving,
    )
    return report.exported(version)


def load(model_dir, precision, stored=False):
    """The tagger, tokenizer and settings of a model directory; sets the precision."""
    from applications import models, run
    from tfmodels.models.tagger import Tagger

    run.start(precision, "single", seed=0, stored=stored)

    def build(encoder, config):
        return Tagger(encoder, len(config["labels"]), config["labels"], config["crf"])

    return models.read_model(model_dir, APPLICATION, build)


def entity_predictor(model, tokenizer, max_length, stride, batch_size):
    """A function from a chunk of texts (list of str, or of bytes) to their entities.

    Texts of a chunk run in batches of similar length and come back in their order.

    Returns:
        function that gives, for each text, `(entities, starts, ends, tags)`: a list of dicts
        with `entity`, `type`, `start`, `end` (characters) and `score`; and where its words
        stand and their tags, int arrays.
    """
    import tensorflow as tf

    from applications import models
    from tfmodels.tasks.entity_finder import entity_finder

    find = tf.function(
        entity_finder(model, tokenizer, max_length, stride),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )

    def of_row(row, found, starts, ends, tags):
        number = int((found["start"][row] >= 0).sum())
        entities = [
            {
                "entity": found["entity"][row, i].decode(),
                "type": found["type"][row, i].decode(),
                "start": int(found["start"][row, i]),
                "end": int(found["end"][row, i]),
                "score": round(float(found["score"][row, i]), 6),
            }
            for i in range(number)
        ]
        words = int((starts[row] >= 0).sum())
        return entities, starts[row, :words], ends[row, :words], tags[row, :words]

    def predict(texts):
        answers = [None] * len(texts)
        for rows, part in models.batches_by_length(texts, batch_size):
            found, *words = tf.nest.map_structure(lambda t: t.numpy(), find(part))
            for row, number in enumerate(rows):
                answers[number] = of_row(row, found, *words)
        return answers

    return predict


def coloured(text, entities, types):
    """The text with its entities in the colours of a terminal, and their types behind them."""
    parts, at = [], 0
    for found in entities:
        colour = COLOURS[types.index(found["type"]) % len(COLOURS)]
        parts += [text[at : found["start"]], f"\x1b[{colour};1m{text[found['start']:found['end']]}",
                  f"\x1b[0m\x1b[{colour}m/{found['type']}\x1b[0m"]  # fmt: skip
        at = found["end"]
    return "".join([*parts, text[at:]])


class _Measure:
    """Measures a tagger on chunks of `entity_dataset`."""

    def __init__(self, model, tokenizer, max_length, stride, batch_size):
        from tfmodels.text.tags import types_of

        self._find = entity_predictor(model, tokenizer, max_length, stride, batch_size)
        self._types = types_of(model.labels)

    def __call__(self, chunks):
        """`(metrics, worst mistakes)`; see `entity_metrics`."""
        from tfmodels.metrics.entities import confusions, entity_metrics

        gold, predicted, mistakes, right, words = [], [], [], 0, 0
        for texts, *spans in chunks:
            texts = texts.numpy()
            found = self._find(texts)
            right += _tags_right(found, *spans)
            columns = (part.to_list() for part in spans)
            for text, (answers, _, _, tags), *entities in zip(texts, found, *columns, strict=True):
                words += len(tags)
                gold.append([(self._types[t], a, b) for t, a, b in zip(*entities, strict=True)])
                predicted.append([(e["type"], e["start"], e["end"]) for e in answers])
                if set(gold[-1]) != set(predicted[-1]):
                    mistakes.append(_mistake(text, gold[-1], answers))
            # The surest wrong answers, so that a large file leaves no large list.
            mistakes = sorted(mistakes, key=lambda m: -m["sureness"])[:WORST_MISTAKES]
        metrics = {"texts": len(gold), **entity_metrics(gold, predicted)}
        metrics["token_accuracy"] = right / max(words, 1)
        metrics["confusions"] = confusions(gold, predicted)
        return metrics, mistakes

    def callback(self, chunks):
        """A callback that adds precision, recall and F1 of whole entities to each evaluation."""
        import keras

        measure = self

        class Entities(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                metrics, _ = measure(chunks)
                logs |= {f"val_{name}": metrics[name] for name in ("precision", "recall", "f1")}
                print(f" - val_f1: {metrics['f1']:.4f}", file=sys.stderr)

        return Entities()


def _tags_right(found, types, starts, ends):
    """How many words of a chunk have the tag that the gold entities give them."""
    import tensorflow as tf

    from tfmodels.text.windows import text_labels

    def padded(column):
        rows = [row[column].tolist() for row in found]
        return tf.ragged.constant(rows, tf.int32, ragged_rank=1).to_tensor(-1)

    wanted = text_labels(padded(1), padded(2), types, starts, ends)  # [C, L]
    tags = padded(3)  # -1 where there is no word, which no label is
    return int(tf.math.count_nonzero(wanted == tags))


def _mistake(text, gold, predicted):
    """What was wanted and what was found, with how sure the surest wrong answer was."""
    text = text.decode("utf-8", "replace")
    right = set(gold)
    wrong = [e["score"] for e in predicted if (e["type"], e["start"], e["end"]) not in right]
    return {
        "text": text[:500],
        "gold": [{"type": kind, "entity": text[a:b], "start": a, "end": b} for kind, a, b in gold],
        "predicted": predicted,
        "sureness": max(wrong, default=0.0),
    }


def _weighted(batches, type_counts, crf):
    """Batches with weights under which every type counts the same and an average one 1.

    Weights of words; with a chain, whose likelihood is of the whole row, of rows: the mean
    over their words.
    """
    import numpy as np
    import tensorflow as tf

    counts = np.array(list(type_counts.values()), float)
    weights = np.repeat(counts.sum() / (len(counts) * counts), 2)
    weights = tf.constant(np.concatenate([[1.0], weights]), tf.float32)  # [C]

    def weighted(batch, labels):
        weight = tf.gather(weights, tf.maximum(labels, 0))
        if crf:
            real = tf.cast(labels >= 0, tf.float32)
            weight = tf.reduce_sum(weight * real, 1) / tf.maximum(tf.reduce_sum(real, 1), 1.0)
        return batch, labels, weight

    known = batches.cardinality()
    return batches.map(weighted).apply(tf.data.experimental.assert_cardinality(known))


def _tables(metrics):
    from tfmodels.metrics.tables import table

    names = ("precision", "recall", "f1", "support")
    rows = [(kind, *(row[name] for name in names)) for kind, row in metrics["types"].items()]
    rows.append(("all", *(metrics[name] for name in names)))
    wrong = [(row["error"], row["gold"] or "", row["predicted"] or "", row["count"])
             for row in metrics["confusions"][:10]]  # fmt: skip
    return [
        table(("type", "precision", "recall", "F1", "entities"), rows),
        table(("mistake", "gold", "predicted", "times"), wrong) if wrong else "No mistakes.",
    ]


def _card(metrics, settings, training_texts):
    return [
        f"Trained with `tfmodels` on {training_texts} texts of `{settings.train_file}`; starts "
        f"from `{settings.checkpoint}`; {'with' if settings.crf else 'without'} a chain (CRF).",
        f"On {metrics['texts']} held-out texts, the best of "
        f"{len(metrics['history']['loss'])} evaluations on them. An entity is right if its type "
        "and both its ends are.",
        *_tables(metrics),
    ]


def _open(file, settings):
    from tfmodels.data.entities import open_entities

    return open_entities(
        file,
        scheme=settings.scheme,
        join=settings.join,
        token_column=settings.token_column,
        tag_column=settings.tag_column,
    )


VERBS = {"train": (Train, train), "evaluate": (Evaluate, evaluate),
         "predict": (Predict, predict), "export": (Export, export)}  # fmt: skip
