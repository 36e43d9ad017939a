"""Named entities: `tfmodels ner VERB`.

In: CoNLL columns, JSONL with character spans, or a TensorFlow Datasets name. Out: a model
directory, metrics of whole entities, entities with their characters as JSON lines, a SavedModel.
TensorFlow is imported when a verb runs, not before.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from applications.flags import Evaluating, Exporting, FineTuning, Predicting
from applications.flow import WORST_MISTAKES, Application

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
        learning_rate: maximum; if not given, 5e-4 from scratch, and from a checkpoint 1e-4 at a
            width of 768, more for a narrower encoder and less for a wider one.
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


class Ner(Application):
    """Texts with named entities."""

    name = "ner"
    title = "Entity tagger"
    summary = ("texts", "precision", "recall", "f1")

    def task(self):
        from tfmodels.tasks.token_classifier import TokenClassifier

        return TokenClassifier

    def open(self, settings, file):
        from tfmodels.data.entities import open_entities

        return open_entities(
            file, scheme=settings.scheme, join=settings.join,
            token_column=settings.token_column, tag_column=settings.tag_column,
        )  # fmt: skip

    def options(self, settings, rows):
        names = ("max_length", "stride", "crf", "emission_loss")
        return {name: getattr(settings, name) for name in names}

    def configure(self, task, settings):
        self._types = sorted({label[2:] for label in task.labels} - {""})

    def line(self, text, answer):
        if sys.stdout.isatty():
            print(coloured(text, answer, self._types))
        return {"text": text, "entities": answer}

    def measure(self, task, held_out, settings):
        return task.evaluate(held_out, None, settings.batch_size, mistakes=WORST_MISTAKES)

    def write_report(self, directory, metrics):
        text = "\n\n".join(_tables(metrics)) + "\n"
        (directory / "types.md").write_text(text, encoding="utf-8")

    def card(self, metrics, settings, task):
        return [
            f"{'With' if settings.crf else 'Without'} a CRF. On {metrics['texts']} held-out texts, "
            f"the best of {len(task.history.epoch)} evaluations on them. An entity is right if "
            "its type and both its ends are.",
            *_tables(metrics),
        ]


def coloured(text, entities, types):
    """The text with its entities in the colours of a terminal, and their types behind them."""
    parts, at = [], 0
    for found in entities:
        colour = COLOURS[types.index(found["type"]) % len(COLOURS)]
        parts += [text[at : found["start"]], f"\x1b[{colour};1m{text[found['start']:found['end']]}",
                  f"\x1b[0m\x1b[{colour}m/{found['type']}\x1b[0m"]  # fmt: skip
        at = found["end"]
    return "".join([*parts, text[at:]])


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


APPLICATION = Ner()
VERBS = APPLICATION.verbs(train=Train, evaluate=Evaluate, predict=Predict, export=Export)
