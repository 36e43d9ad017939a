"""Answer questions by a part of their context: `tfmodels qa VERB`.

In: files of SQuAD's form, JSONL, tables or a TensorFlow Datasets name. Out: a model directory,
exact match and F1, answers with their characters as JSON lines, a SavedModel.
"""

import collections
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from applications.flags import (
    READING,
    Delimited,
    Evaluating,
    Exporting,
    FineTuning,
    Predicting,
    given,
)
from applications.flow import WORST_MISTAKES, Application, Kind
from applications.settings import data, generation, model, output, rare
from tfmodels.errors import InputError
from tfmodels.files import check_new_file, write_text

PARTS = ("has_answer", "no_answer")
CHUNK = 256  # questions of a file that are answered together


@dataclass(kw_only=True)
class Columns(Delimited):
    """Columns of a table."""

    question_column: str = data("column of the question, in a table", "question")
    context_column: str = data("column of the context", "context")
    answer_column: str = data("column of the answer; empty: the context has none", "answer")
    start_column: str = data("column of the answer's first character, from 0", "start")


@dataclass(kw_only=True)
class Train(Columns, FineTuning):
    """Train a model that answers questions and write a model directory."""

    EXAMPLE = "{} --train_file train-v1.1.json --output_dir runs/answers"

    train_file: str = data("SQuAD's .json, .jsonl, .csv or .tsv (.gz), or tfds:NAME[:SPLIT]")
    epochs: int = 2
    max_length: int = model("tokens of question and window; longer contexts have several", 384)
    max_answer_length: int = rare("maximum number of tokens of an answer", 30)
    max_question_length: int | None = rare("tokens of a question; 64 if not given", None)
    stride: int | None = rare("tokens that two windows share; about twice max_answer_length", None)


@dataclass(kw_only=True)
class Evaluate(Columns, Evaluating):
    """Measure answers as SQuAD's scripts do; the last line is one JSON object."""

    EXAMPLE = "{} --model_dir runs/answers --eval_file dev-v1.1.json"

    metric: Literal["squad", "cmrc"] | None = rare("cmrc of Chinese answers, if not given", None)


@dataclass(kw_only=True)
class Predict(Predicting):
    """Answer questions; print one JSON object a question."""

    EXAMPLE = '{} --model_dir runs/answers "Who left?" --context "Ada left at noon."'

    text: list[str] = data("questions; without any, input_file or standard input is read", [])
    context: str | list[str] = data("context of the questions; a list: of each", [])
    input_file: str | None = data("SQuAD's .json, a table, or lines: question, tab, context", None)
    text_column: str = data("column of the question, in a table", "question")
    context_column: str = data("column of the context, in a table", "context")
    n_best: int = generation("number of answers to a question, the best first", 1)
    prediction_file: str | None = output("file of SQuAD's form to write: answers by id", None)

    def check_files(self) -> None:
        super().check_files()
        if self.prediction_file is not None:
            check_new_file(self.prediction_file, "another --prediction_file")


@dataclass(kw_only=True)
class Export(Exporting):
    """Write a SavedModel that takes strings, as the next version in export_dir."""

    export_dir: str = "saved_models/qa"


class QuestionAnswering(Application):
    """Answer questions by a part of their context."""

    name = "qa"
    title = "Question answerer"
    kind = Kind(
        "question-answering", {"f1": "f1", "exact_match": "exact_match"},
        ("Who flew to Paris?", "谁在香港长大？"),
        "An encoder with a head that finds the part of a context that answers a question.",
        "For questions and contexts like those of the training data. The answer is a part of the "
        "context, and wrong where the context is; without a threshold every question gets one. A "
        "high score does not mean that the answer is true.",
        ("Ada Lovelace flew to Paris.", "李小龙在香港长大。"),
    )  # fmt: skip
    second_flag = "context"
    summary = ("questions", "exact_match", "f1", "threshold")

    def task(self) -> type:
        from tfmodels.tasks.question_answerer import QuestionAnswerer

        return QuestionAnswerer

    def open(self, settings: Columns, file: str) -> Any:
        from tfmodels.data.questions import open_questions

        names = ("question_column", "context_column", "answer_column", "start_column")
        columns = {name: getattr(settings, name) for name in names}
        return open_questions(
            file, **columns, encoding=settings.encoding, delimiter=settings.delimiter
        )

    def options(self, settings: Train, rows: Any) -> dict:
        names = ("max_length", "stride", "max_question_length", "max_answer_length")
        return {name: getattr(settings, name) for name in names}

    def fitted(self, task: Any, held_out: Any, settings: Train) -> dict:
        found = task.calibrate(held_out, None, settings.batch_size)
        return {"threshold": found["threshold"]} if found else {}

    def measure(self, task: Any, held_out: Any, settings: Train) -> dict:
        return task.evaluate(held_out, None, settings.batch_size, mistakes=WORST_MISTAKES)

    def evaluate_options(self, settings: Evaluate) -> dict:
        return {"metric": settings.metric}

    def texts(self, settings: Any) -> Iterator[list]:
        from tfmodels.tasks.task import parts_of

        return parts_of(self._questions(settings), CHUNK if settings.input_file else 1)

    def _questions(self, settings: Any) -> Iterator[tuple[str, str, str]]:
        """Yield id, question and context of the questions to answer."""
        from tfmodels.data.datasets import text_chunks
        from tfmodels.data.questions import open_questions, pair_of
        from tfmodels.data.tables import is_table, open_source

        contexts, file = settings.context, settings.input_file
        if isinstance(contexts, str):
            contexts = [contexts] * len(settings.text)
        if len(contexts) != len(settings.text):
            raise InputError(
                f"--context: {len(contexts)} contexts for {len(settings.text)} questions; give "
                "one, or a list with one for each question"
            )
        if settings.text:
            pairs: Any = enumerate(zip(settings.text, contexts, strict=True))
        elif file is not None and (file.startswith("tfds:") or _is_squad(file)):
            rows = open_questions(file, encoding=settings.encoding, answers=False)
            for _, (question, context, _, name) in rows.rows():
                yield name, question, context
            return
        elif file is not None and is_table(file):
            columns = [settings.text_column, settings.context_column]
            options = given(settings, READING)
            table = open_source(file, columns, **options)
            with contextlib.suppress(InputError):  # not every question has an id
                named = open_source(file, [*columns, "id"], **options)
                table = named if named.scan().rows == table.scan().rows else table
            for number, (*pair, name) in ((n, (*v, str(n))[:3]) for n, v in table.rows()):
                yield name, *pair_of(pair, number)
            return
        else:
            chunks = text_chunks([], file, settings.text_column, settings.encoding)
            lines = (text for texts in chunks for text in texts)
            name = file or "standard input"
            pairs = enumerate(_split(text, f"{name}:{line}") for line, text in enumerate(lines, 1))
        for number, pair in pairs:
            yield str(number), *pair_of(pair, number)

    def answers(self, task: Any, texts: list, settings: Any) -> list:
        pairs = [text[1:] for text in texts]
        if settings.n_best == 1:
            return task.answers(pairs, settings.batch_size)
        several = task.find(pairs, settings.batch_size, settings.n_best)
        kept = ("answer", "start", "end", "score")
        return [
            {**task.chosen(best[0]), "n_best": [{name: one[name] for name in kept} for one in best]}
            for best in several
        ]

    def line(self, text: Any, answer: Any) -> dict:
        name, question, _ = text
        return {"id": name, "question": question, **answer}

    def predict(self, settings: Any) -> None:
        if settings.prediction_file is not None and settings.input_file is not None:
            names = collections.Counter(name for name, *_ in self._questions(settings))
            if repeated := [name for name, number in names.items() if number > 1]:
                raise InputError(
                    f"{settings.input_file}: {names[repeated[0]]} questions have the id "
                    f"{repeated[0]!r}, and a file of predictions has one answer for each id; "
                    "correct the ids, or leave out --prediction_file"
                )
        found = {line["id"]: line["answer"] for line in self.printed(settings)}
        if settings.prediction_file is not None:
            write_text(settings.prediction_file, json.dumps(found, ensure_ascii=False) + "\n")

    def card(self, metrics: dict, settings: Train, task: Any) -> list[str]:
        from tfmodels.metrics.tables import table

        rows = [
            (name.replace("_", " "), part["questions"], part["exact_match"], part["f1"])
            for name, part in (("all", metrics), *((n, metrics.get(n)) for n in PARTS)) if part
        ]  # fmt: skip
        threshold = metrics.get("threshold")
        chosen = "Every question gets an answer." if threshold is None else (
            f"Where the null score is above {threshold:.4f}, the answer is empty; this threshold "
            "was fitted on these questions: measure on others with `evaluate`."
        )  # fmt: skip
        script = {"squad": "SQuAD", "cmrc": "CMRC 2018"}[metrics["metric"]]
        return [
            f"On {metrics['questions']} held-out questions, as the script of {script} counts, the "
            f"best of {len(task.history.epoch)} evaluations on them. {chosen}",
            table(("questions", "number", "exact match", "F1"), rows),
        ]


def _is_squad(file: str) -> bool:
    return file.lower().removesuffix(".gz").endswith(".json")


def _split(text: str, place: str) -> list[str]:
    from tfmodels.data.questions import check_filled

    parts = text.split("\t")
    if len(parts) != 2:
        raise InputError(
            f"{place}: {text[:40]!r} is no question and context; write both in a line, with a tab "
            "between"
        )
    check_filled(parts[0], parts[1], place, "line")
    return parts


APPLICATION = QuestionAnswering()
VERBS = APPLICATION.verbs(train=Train, evaluate=Evaluate, predict=Predict, export=Export)
