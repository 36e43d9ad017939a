"""`QuestionAnswerer`: the part of a context that answers a question.

In: questions with their contexts and answers in characters. Out: for each pair of question and
context `{"answer": "in Paris", "start": 17, "end": 25, "score": 0.9, "null_score": 0.02}`, and a
SavedModel that answers strings with the same. Preprocessing, head, answers, in that order.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.bert import head_of
from tfmodels.data.datasets import source_errors
from tfmodels.data.questions import COLUMNS, as_questions, pair_of, question_dataset
from tfmodels.data.rows import Source
from tfmodels.errors import InputError
from tfmodels.metrics.squad import (
    METRICS,
    answer_scores,
    best_threshold,
    check_metric,
    metric_of,
    squad_metrics,
)
from tfmodels.models.span_finder import SpanFinder
from tfmodels.tasks.answer_finder import answer_finder, answer_signatures, scored
from tfmodels.tasks.encoder import EncoderTask
from tfmodels.tasks.signatures import QUESTION
from tfmodels.tasks.task import Task, batches_by_length, parts_of
from tfmodels.text.batching import mapped, of_length
from tfmodels.text.cutting import default_stride
from tfmodels.text.question_windows import question_batches, question_windows
from tfmodels.text.wordpiece import WordPieceTokenizer
from tfmodels.training.callbacks import Measured
from tfmodels.training.losses import Accuracy, Crossentropy

_LABELS = ("start", "end")  # of the two logits of a token
_AROUND = 60  # characters of the context on each side of an answer in a mistake


class QuestionAnswerer(EncoderTask):
    """Answer questions by a part of their context.

    Args:
        backbone: an encoder such as `Bert`, or a `SpanFinder`.
        tokenizer: its `WordPieceTokenizer` or `SubwordTokenizer`.
        max_length: maximum number of tokens of a row: question, window of the context and special
            tokens. Longer contexts are read in overlapping windows.
        stride: number of tokens that two windows share. Twice `max_answer_length` if not given, at
            least an eighth of `max_length`, and at most half of the room for the context.
        max_question_length: maximum number of tokens of a question; the rest is cut. 64, or a
            third of `max_length` if that is less, if not given.
        max_answer_length: maximum number of tokens of an answer.
        threshold: null score above which the answer is "", see `calibrate`; None answers always.
        **options: see `EncoderTask`.

    `fit(pairs, answers)` trains on lists of `(question, context)` and of `(text, start)`, None
    where the context has no answer; `fit(tfmodels.data.open_questions("train-v1.1.json"))` on
    files. `predict(pairs)` returns for each pair a dict of `answer`, `start` and `end` (characters
    of the context, end exclusive; "" and -1 for none), `score` and `null_score`, the probability
    that the context has no answer.

    Example:
        >>> task = QuestionAnswerer.from_preset("google-bert/bert-base-uncased")
        >>> task.fit([("Who left?", "Ada left at noon.")], [("Ada", 0)])
        >>> task.predict([("Who came?", "At noon Grace came.")])
    """

    application = "qa"
    head = SpanFinder
    columns = COLUMNS
    text_columns = 2
    monitor = "val_f1"
    of_tokens = True

    def __init__(
        self, backbone: keras.Model, tokenizer: WordPieceTokenizer,
        labels: Sequence[str] | None = None, *, max_length: int = 384, stride: int | None = None,
        max_question_length: int | None = None, max_answer_length: int = 30,
        threshold: float | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.threshold, self.max_answer_length = threshold, max_answer_length
        if labels not in (None, _LABELS):
            raise InputError("labels: answers have none; leave them out")
        if max_answer_length < 1:
            raise InputError(f"max_answer_length {max_answer_length}: give 1 or more")
        self._counts: dict = {}
        super().__init__(backbone, tokenizer, _LABELS, max_length=max_length, **options)
        self._check_segments()
        third = min(64, self.max_length // 3)
        self.max_question_length = third if max_question_length is None else max_question_length
        if stride is None:  # windows that share twice an answer lose none at their ends
            room = self.max_length - 4 - self.max_question_length
            stride = max(default_stride(self.max_length) // 2, 2 * max_answer_length)
            stride = max(min(stride, room // 2), 0)
        self.stride = stride

    # Preprocessing: rows to batches of windows behind their questions.

    def _read(self, x, y=None, sample_weight=None):
        if sample_weight is not None:
            raise InputError("sample_weight: questions have no weights; leave it out")
        return as_questions(x, y)

    def _reading(self) -> dict[str, int]:
        names = ("max_length", "stride", "max_question_length")
        return {name: getattr(self, name) for name in names}

    def _batches(self, rows, batch_size, seed=None, in_order=False):
        chunks = question_dataset(rows, seed=seed)
        if in_order:

            def windows(question, context, start, end):
                found = question_windows(self.tokenizer, question, context, **self._reading())
                return found.batch(self.tokenizer, self.max_length), found.labels(start, end)

            return mapped(chunks.unbatch().batch(batch_size), windows)
        batches = question_batches(chunks, self.tokenizer, batch_size, seed=seed, **self._reading())
        return batches if rows.endless else of_length(batches, self._windows(rows)[0], batch_size)

    def _windows(self, rows):
        """Return the numbers of windows, and of questions that cannot be answered as they are.

        The rows are read once for it.

        Returns:
            the windows of all contexts; the questions without an answer, those whose answer is in
            no window, and those whose answer is longer than `max_answer_length`.
        """
        if rows not in self._counts:

            def count(question, context, start, end):
                found = question_windows(self.tokenizer, question, context, **self._reading())
                first, last = tf.unstack(found.labels(start, end), axis=1)
                inside, none = first > 0, start < 0
                long = inside & (last - first >= self.max_answer_length)
                inside, long = (
                    tf.size(tf.unique(tf.boolean_mask(found.context, mask)).y, tf.int64)
                    for mask in (inside, long)
                )
                none = tf.math.count_nonzero(none)
                outside = tf.size(start, tf.int64) - none - inside
                return tf.stack([found.ids.nrows(), none, outside, long])

            counts = mapped(question_dataset(rows), count)
            with source_errors(rows):
                total = counts.reduce(np.zeros(4, np.int64), lambda a, b: a + b)
            self._counts[rows] = tuple(map(int, total))
        return self._counts[rows]

    def _batches_of_texts(self, texts, batch_size):
        question, context = zip(*texts, strict=True)
        pairs = tf.data.Dataset.from_tensor_slices((list(question), list(context)))

        def windows(question, context):
            found = question_windows(self.tokenizer, question, context, **self._reading())
            return found.batch(self.tokenizer, self.max_length)

        return mapped(pairs.batch(batch_size), windows)

    def _describe(self, rows):
        number, none, outside, long = self._windows(rows)
        line = f"{self._scan(rows).rows} training questions, {none} of them without an answer"
        windows = f"{number} windows of {self.max_length} tokens"
        line += f", in {windows}; cut questions to {self.max_question_length} tokens"
        if outside:
            line += f"; {outside} answers are whole in no window and count as none"
        if long:
            line += (
                f"; {long} answers are never found: they have more than max_answer_length "
                f"{self.max_answer_length} tokens"
            )
        return line

    # Head.

    def _new_model(self):
        return SpanFinder(self.backbone, self._dropout)

    def _check_whole(self) -> None:
        Task._check_whole(self)  # there are no labels that have to fit the head

    def _objective(self):
        return {"loss": Crossentropy(), "metrics": [Accuracy()]}

    # Answers.

    def _texts(self, x: Any) -> Iterator:
        if isinstance(x, Source):
            rows = self._read(x)
            with source_errors(rows):
                yield from (row.values[:2] for row in rows.stream(None))
            return
        if isinstance(x, str | bytes) or not hasattr(x, "__iter__"):
            raise InputError(f"{str(x)[:60]!r}: give a list of (question, context)")
        yield from (pair_of(pair, number) for number, pair in enumerate(x))

    def answers(self, texts: list, batch_size: int = 32) -> list[dict]:
        return [self.chosen(best) for (best,) in self.find(texts, batch_size)]

    def chosen(self, best: dict) -> dict:
        """Return the best answer of `find`, or none by the threshold, as `predict` does."""
        if not best["none"]:
            return {name: value for name, value in best.items() if name != "none"}
        null = best["null_score"]
        score = null if best["start"] >= 0 else 0.0
        return {"answer": "", "start": -1, "end": -1, "score": score, "null_score": null}

    def find(self, texts: list, batch_size: int = 32, n_best: int = 1) -> list[list[dict]]:
        """Find the best answers to questions, without regard to the threshold.

        Args:
            texts: list of `(question, context)`.
            batch_size: questions of a step.
            n_best: number of answers of each question.

        Returns:
            for each question `n_best` dicts, the best first: `answer`, `start`, `end`, `score`,
            `null_score` as of `predict`, and `none`, whether by the threshold there is no answer.
        """
        key = ("find", n_best, self.threshold)
        function = self._function(key, lambda: self._find(n_best))
        answers: list = [None] * len(texts)
        for rows, part in batches_by_length(texts, batch_size):
            found = {name: value.numpy() for name, value in function(*part.T).items()}
            for row, number in enumerate(rows):
                answers[number] = [_of_row(found, row, place) for place in range(n_best)]
        return answers

    def _find(self, n_best):
        finder = answer_finder(
            self.model, self.tokenizer, **self._reading(), n_best=n_best,
            max_answer_length=self.max_answer_length,
        )  # fmt: skip

        def find(question, context):
            return scored(finder(question, context), self.threshold)

        return tf.function(find, input_signature=list(QUESTION.values()), autograph=False)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0,
        metric: str | None = None,
    ) -> dict:  # fmt: skip
        """Measure answers as SQuAD's scripts do, or CMRC's.

        Args:
            x, y, batch_size, mistakes: as of `Task.evaluate`.
            metric: "squad" or "cmrc"; by the answers, if not given: "cmrc" if most letters of them
                are ideographs.

        Returns:
            dict: `exact_match` and `f1` in percent and `questions`, where some have no answer also
            `has_answer` and `no_answer` with the same; `metric`; with `mistakes` also
            `worst_mistakes`, the surest wrong answers.
        """
        if metric is not None and metric not in METRICS:
            raise InputError(f"metric {metric!r}: give one of {', '.join(METRICS)}")
        gold, found, worst = [], [], []
        for values, best in self._found(self._read(x, y), batch_size):
            question, context, answers, name = values
            answer = self.chosen(best)
            gold.append([text for text, _ in answers])
            found.append(answer["answer"])
            worst.append((answer["score"], question, context, answers, answer, name))
        metric = metric or metric_of(gold)
        metrics = squad_metrics(gold, found, metric)
        metrics["metric"] = metric
        if mistakes:
            scores = answer_scores(gold, found, metric)
            wrong = [(row, f1) for row, (_, f1) in zip(worst, scores, strict=True) if f1 < 0.5]
            wrong = sorted(wrong, key=lambda item: (item[1], -item[0][0]))[:mistakes]
            metrics["worst_mistakes"] = [_mistake(*row[1:], f1) for row, f1 in wrong]
        return metrics

    def _found(self, rows: Source, batch_size: int) -> Iterator[tuple[tuple, dict]]:
        """Yield the values of each row with the best answer."""
        with source_errors(rows):
            for part in parts_of(rows.stream(None), 256):
                pairs = [row.values[:2] for row in part]
                for row, (best,) in zip(part, self.find(pairs, batch_size), strict=True):
                    yield row.values, best

    def calibrate(self, x: Any, y: Any = None, batch_size: int = 32) -> dict:
        """Fit the threshold above which the answer is "" on questions that were held out.

        It is the one with the largest F1. If every question has an answer, there is none: the
        best answer is always given.

        Args:
            x, y, batch_size: as of `evaluate`.

        Returns:
            dict of `threshold`, and of the `f1` there in percent; empty if there is none.
        """
        self.threshold, f1 = self._best_threshold(self._read(x, y), batch_size)
        return {} if self.threshold is None else {"threshold": self.threshold, "f1": f1}

    def _best_threshold(self, rows, batch_size):
        """Return the threshold, None where all questions have an answer, and its F1."""
        pairs = list(self._found(rows, batch_size))
        gold = [[text for text, _ in values[2]] for values, _ in pairs]
        metric, found = metric_of(gold), [best["answer"] for _, best in pairs]
        if all(gold):
            return None, squad_metrics(gold, found, metric)["f1"]
        answered, empty = (
            [f1 for _, f1 in answer_scores(gold, texts, metric)]
            for texts in (found, [""] * len(found))
        )
        threshold, mean = best_threshold([b["null_score"] for _, b in pairs], answered, empty)
        return threshold, 100 * mean

    def _measuring(self, rows, batch_size):
        with source_errors(rows):  # fail before an epoch of training
            read = [row.values for row in rows.stream(None)]
        gold = [[text for text, _ in values[2]] for values in read]
        check_metric(metric_of(gold), dict.fromkeys(values[1] for values in read))
        return (Measured(lambda: {"f1": self._best_threshold(rows, batch_size)[1]}),)

    def _served_labels(self):
        return None  # those of the logits are no answers

    def signatures(self) -> dict:
        return answer_signatures(
            self.model, self.tokenizer, self.threshold, **self._reading(),
            max_answer_length=self.max_answer_length,
        )  # fmt: skip

    # What stays with a saved task.

    @classmethod
    def _saved_options(cls) -> tuple[str, ...]:
        names = ("max_length", "stride", "max_question_length", "max_answer_length")
        return (*names, "threshold")

    @classmethod
    def _is_published(cls, directory: Path) -> bool:
        return head_of(directory) == "spans"

    @classmethod
    def _options_of(cls, directory: Path, labels: Sequence[str] | None) -> dict:
        options = super()._options_of(directory, labels)
        options.pop("labels", None)
        return options


def _of_row(found, row, place):
    return {
        "answer": found["answer"][row, place].decode(),
        "start": int(found["start"][row, place]),
        "end": int(found["end"][row, place]),
        "score": round(float(found["score"][row, place]), 6),
        "null_score": float(found["null_score"][row]),
        "none": bool(found["none"][row]),
    }


def _mistake(question, context, answers, answer, name, f1):
    """Return a wrong answer with the context around what is right and what was found."""

    def around(start, end):
        if start < 0:
            return ""
        left, right = max(start - _AROUND, 0), end + _AROUND
        return f"{context[left:start]}[{context[start:end]}]{context[end:right]}"

    return {
        "id": name,
        "question": question,
        "gold": [
            around(start, start + len(text)) if start >= 0 else text
            for text, start in dict.fromkeys(answers)
        ],
        "predicted": around(answer["start"], answer["end"]),
        "score": answer["score"],
        "null_score": answer["null_score"],
        "f1": round(100 * f1, 2),
    }
