"""Find who did what to whom: `tfmodels roles VERB`.

In: columns of CoNLL-2005, CoNLL-2012, PropBank or Universal Propositions, or JSONL. Out: a model
directory, metrics of whole arguments, predicates with their arguments as JSON lines, a SavedModel.
"""

import json
import re
import shlex
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from applications.flags import Encoded, Evaluating, Exporting, FineTuning, Predicting
from applications.flow import WORST_MISTAKES, Application, Kind
from applications.settings import data, model, rare, training
from tfmodels.errors import InputError

# Of the model card: words and the number of the predicate, in English and in Chinese.
GIVEN = ((["Ada", "flew", "to", "Paris", "."], 1), (["李小龙", "在", "香港", "长大", "。"], 3))


@dataclass(kw_only=True)
class Train(Encoded, FineTuning):
    """Train a model of semantic roles and write a model directory."""

    EXAMPLE = "{} --train_file train.conll --output_dir runs/roles"

    train_file: str = data("columns (CoNLL-2005, -2012, PropBank, .conllu) or .jsonl (.gz)")
    max_length: int = model("tokens of a window; around the predicate, of a longer text", 128)
    marker: Literal["tokens", "segments"] = model("how a predicate is marked", "tokens")
    predicates: bool = model("learn to find predicates too", True)
    crf: bool = model("score whole sequences of tags, not each tag alone", True)
    class_weights: Literal["none", "balanced"] = training("in the loss", "none")
    stride: int | None = rare("tokens that two windows share, if not a quarter of max_length", None)
    emission_loss: float = rare("weight of the loss of each tag beside that of the CRF", 0.0)


@dataclass(kw_only=True)
class Evaluate(Encoded, Evaluating):
    """Measure roles as the script of CoNLL-2005 does; the last line is one JSON object."""

    EXAMPLE = "{} --model_dir runs/roles --eval_file dev.conll"

    eval_predicates: Literal["both", "given", "found"] = rare("predicates of the rows, or found",
                                                              "both")  # fmt: skip


@dataclass(kw_only=True)
class Predict(Predicting):
    """Find predicates and arguments; print one JSON object a text, on a terminal in colours too."""

    EXAMPLE = '{} --model_dir runs/roles "Ada Lovelace flew to Paris."'

    predicate: int | list[int] | None = data(
        "number of the word of one text that is the predicate, from 0; a list: of several", None
    )


@dataclass(kw_only=True)
class Export(Exporting):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/roles"


class Roles(Application):
    """Find who did what to whom: predicates and the roles of their arguments."""

    name = "roles"
    title = "Labeler of semantic roles"
    kind = Kind(
        "token-classification", {"f1": "f1", "precision": "precision", "recall": "recall"},
        ("Ada Lovelace flew to Paris.", "李小龙在香港长大。"),
        "An encoder with a head that marks predicates and, for each, its arguments with their "
        "roles and characters.",
        "For texts like those of the training data, with their roles. It misses predicates and "
        "arguments, and more of those that are far from their predicate.",
    )  # fmt: skip
    summary = ("texts", "precision", "recall", "f1", "predicates", "found")

    def task(self) -> type:
        from tfmodels.tasks.role_labeler import RoleLabeler

        return RoleLabeler

    def open(self, settings: Encoded, file: str) -> Any:
        from tfmodels.data.roles import open_roles

        return open_roles(file, encoding=settings.encoding)

    def options(self, settings: Train, rows: Any) -> dict:
        names = ("max_length", "stride", "crf", "marker", "predicates", "emission_loss")
        return {name: getattr(settings, name) for name in names}

    def configure(self, task: Any, settings: Any) -> None:
        from tfmodels.text.tags import types_of

        self._types = sorted(types_of(task.labels))

    def texts(self, settings: Any) -> Iterator[list]:
        if settings.predicate is None:
            yield from super().texts(settings)
            return
        if len(settings.text) != 1:
            raise InputError(
                f"--predicate: numbers of the words of one text, and {len(settings.text)} are "
                "given; give one"
            )
        from tfmodels.data.roles import marked

        (text,) = settings.text
        given = settings.predicate if isinstance(settings.predicate, list) else [settings.predicate]
        places = [_without_marks(text, *match.span()) for match in re.finditer(r"\S+", text)]
        for number in given:
            if not 0 <= number < len(places):
                raise InputError(
                    f"--predicate {number}: the text has the words 0 to {len(places) - 1}, which "
                    "are what stands between blanks; give one, or put blanks between the words"
                )
        yield [marked((text, [places[number] for number in given]), 0)]

    def line(self, text: Any, answer: Any) -> dict:
        text = text if isinstance(text, str) else text[0]
        if sys.stdout.isatty():
            for frame in answer:
                print(coloured(text, frame, self._types))
        return {"text": text, "frames": answer}

    def measure(self, task: Any, held_out: Any, settings: Train) -> dict:
        return task.evaluate(held_out, None, settings.batch_size, mistakes=WORST_MISTAKES)

    def example(self, task: Any, texts: list[str]) -> tuple[str, str]:
        if task.predicates:
            return super().example(task, texts)
        words, number = GIVEN[texts[0] == self.kind.examples[1]]
        python = f"({json.dumps(words, ensure_ascii=False)}, [{number}])"
        return python, f"{shlex.quote(' '.join(words))} --predicate {number}"

    def can_export(self, task: Any) -> bool:
        return task.predicates

    def evaluate_options(self, settings: Evaluate) -> dict:
        return {"predicates": settings.eval_predicates}

    def write_report(self, directory: Path, metrics: dict) -> None:
        text = "\n\n".join(_tables(metrics)) + "\n"
        (directory / "roles.md").write_text(text, encoding="utf-8")

    def card(self, metrics: dict, settings: Train, task: Any) -> list[str]:
        found = " It was trained to find no predicates: give them with `--predicate`; no export."
        if "found" in metrics:
            found = (
                f" Predicates are found with an F1 of {metrics['predicates']['f1']:.4f}, and with "
                f"them the arguments with {metrics['found']['f1']:.4f}."
            )
        return [
            f"{'With' if settings.crf else 'Without'} a CRF. On {metrics['texts']} held-out texts, "
            f"the best of {len(task.history.epoch)} evaluations on them, with given predicates. An "
            f"argument is right if its role and all its ends are.{found}",
            *_tables(metrics),
        ]


def _without_marks(text, start, end):
    """Return the characters of a word without the punctuation around it."""
    inside = [at for at in range(start, end) if unicodedata.category(text[at])[0] != "P"]
    return (inside[0], inside[-1] + 1) if inside else (start, end)


def coloured(text: str, frame: dict, types: list[str]) -> str:
    """Return a text with a predicate and its arguments in the colours of a terminal."""
    from applications import report

    # An argument that has the predicate in it is left out: it would be printed twice.
    spans = [{**argument, "type": argument["role"]} for argument in frame["arguments"]
             if argument["end"] <= frame["start"] or argument["start"] >= frame["end"]]  # fmt: skip
    predicate = {"type": types[types.index("V")], "start": frame["start"], "end": frame["end"]}
    return report.coloured(text, sorted([*spans, predicate], key=lambda s: s["start"]), types)


def _tables(metrics):
    from applications.report import span_tables

    return span_tables("role", metrics["roles"], metrics, metrics["confusions"])


APPLICATION = Roles()
VERBS = APPLICATION.verbs(train=Train, evaluate=Evaluate, predict=Predict, export=Export)
