"""Find named entities in texts: `tfmodels ner VERB`.

In: CoNLL columns, JSONL with character spans, or a TensorFlow Datasets name. Out: a model
directory, metrics of whole entities, entities with their characters as JSON lines, a SavedModel.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from applications.flags import Encoded, Evaluating, Exporting, FineTuning, Predicting
from applications.flow import WORST_MISTAKES, Application, Kind
from applications.settings import Settings, data, model, rare, training


@dataclass(kw_only=True)
class Columns(Encoded):
    """How a file of columns is read."""

    token_column: int = data("column of the token, from 0, or from -1 at the end", 0)
    tag_column: int = data("column of the tag", -1)
    # iob reads both B- and I- as beginnings, where a file contradicts itself.
    scheme: Literal["iob1", "iob2", "iob", "iobes", "bilou", "bmes", "io"] | None = rare(
        "of the tags", None
    )
    join: str | None = rare("text between two tokens, if not a space (Chinese: none)", None)


@dataclass(kw_only=True)
class Train(Columns, FineTuning):
    """Train an entity tagger and write a model directory."""

    EXAMPLE = "{} --train_file train.conll --output_dir runs/entities"

    train_file: str = data("CoNLL columns, .jsonl or .json with spans (.gz), or tfds:NAME[:SPLIT]")
    max_length: int = model("tokens of a window; longer texts have several", 128)
    crf: bool = model("score whole sequences of tags, not each tag alone", True)
    split: Literal["words", "characters"] = model(
        "what has a tag; characters for entities that end inside of words", "words"
    )
    class_weights: Literal["none", "balanced"] = training("in the loss", "none")
    stride: int | None = rare("tokens that two windows share, if not a quarter of max_length", None)
    emission_loss: float = rare("weight of the loss of each tag beside that of the CRF", 0.0)


@dataclass(kw_only=True)
class Evaluate(Columns, Evaluating):
    """Measure a tagger on texts with entities; the last line is one JSON object."""

    EXAMPLE = "{} --model_dir runs/entities --eval_file held_out.conll"


@dataclass(kw_only=True)
class Predict(Predicting):
    """Find entities; print one JSON object a text, on a terminal the text in colours as well."""

    EXAMPLE = '{} --model_dir runs/entities "Ada Lovelace flew to New York."'


@dataclass(kw_only=True)
class Export(Exporting):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/ner"


class Ner(Application):
    """Find named entities in texts."""

    name = "ner"
    title = "Entity tagger"
    kind = Kind(
        "token-classification", {"f1": "f1", "precision": "precision", "recall": "recall"},
        ("Ada Lovelace flew to Paris.", "李小龙在香港长大。"),
        "An encoder with a head that marks named entities with their characters and types.",
        "For texts like those of the training data, and their types of entities, which do not "
        "overlap. It misses entities and marks other words, more often in other kinds of texts: do "
        "not rely on it alone to remove personal data.",
    )  # fmt: skip
    summary = ("texts", "precision", "recall", "f1")

    def task(self) -> type:
        from tfmodels.tasks.token_classifier import TokenClassifier

        return TokenClassifier

    def open(self, settings: Columns, file: str) -> Any:
        from tfmodels.data.entities import open_entities

        return open_entities(
            file, scheme=settings.scheme, join=settings.join,
            token_column=settings.token_column, tag_column=settings.tag_column,
            encoding=settings.encoding,
        )  # fmt: skip

    def options(self, settings: Train, rows: Any) -> dict:
        names = ("max_length", "stride", "crf", "split", "emission_loss")
        return {name: getattr(settings, name) for name in names}

    def configure(self, task: Any, settings: Settings) -> None:
        from tfmodels.text.tags import types_of

        self._types = sorted(types_of(task.labels))

    def line(self, text: str, answer: Any) -> dict:
        if sys.stdout.isatty():
            from applications.report import coloured

            print(coloured(text, answer, self._types))
        return {"text": text, "entities": answer}

    def measure(self, task: Any, held_out: Any, settings: Train) -> dict:
        return task.evaluate(held_out, None, settings.batch_size, mistakes=WORST_MISTAKES)

    def write_report(self, directory: Path, metrics: dict) -> None:
        text = "\n\n".join(_tables(metrics)) + "\n"
        (directory / "types.md").write_text(text, encoding="utf-8")

    def card(self, metrics: dict, settings: Train, task: Any) -> list[str]:
        return [
            f"{'With' if settings.crf else 'Without'} a CRF. On {metrics['texts']} held-out texts, "
            f"the best of {len(task.history.epoch)} evaluations on them. An entity is right if "
            "its type and both its ends are.",
            *_tables(metrics),
        ]


def _tables(metrics):
    from applications.report import span_tables

    return span_tables("type", metrics["types"], metrics, metrics["confusions"])


APPLICATION = Ner()
VERBS = APPLICATION.verbs(train=Train, evaluate=Evaluate, predict=Predict, export=Export)
