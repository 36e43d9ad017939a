"""Questions with the context that answers them, for `QuestionAnswerer`.

`open_questions` opens files (also `.gz`) and data sets by name:

    train-v1.1.json  train-v2.0.json     SQuAD's form; CMRC 2018 and DRCD have it too
    train.jsonl                          {"question", "context", "answers": {"text": [...],
                                         "answer_start": [...]}} as Hugging Face has it, or a list
                                         of {"text", "answer_start"}, or {"answer", "start"}
    train.csv  train.tsv                 columns question, context, answer, start
    tfds:squad  tfds:squad/v2.0          TensorFlow Datasets

`as_questions` accepts data in memory. Both return a `QuestionSource`: question, context, answers
`(text, start)` and id. Starts are indices into the Python string. A question without an answer in
its context has no answers. Where an answer does not stand at its start, the nearest occurrence is
taken, and counted on standard error. Of several answers one may not be in the context: it comes
last, with the start -1. A question of whose answers the context has none is refused.
"""

import collections
import os
import re
import sys
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any

from tfmodels.data.lines import LineFile
from tfmodels.data.memory import MemorySource, as_list, check_text, rows_or_lists
from tfmodels.data.rows import SURROGATE, HeldOutDraw, Row, Scan, Source, text_of
from tfmodels.data.tables import FileSource
from tfmodels.data.tfds import TfdsSource
from tfmodels.errors import InputError, brief

Answer = tuple[str, int]  # text, start
COLUMNS = ("question", "context", "answers", "id")
TABLE = ("question", "context", "answer", "start")
KINDS = "a .json file of SQuAD's form, a .jsonl, .csv or .tsv file (or .gz of one) or tfds:NAME"
_EXPECTED = (
    "give fit(pairs, answers): pairs[i] is (question, context), answers[i] is (text, start), a "
    "list of these, or None where the context has no answer"
)


class QuestionSource(Source):
    """Rows of a question, its context, the answers and an id.

    `scan` counts the questions with and without an answer, and holds out the questions of whole
    contexts: a context that was trained on would make held-out questions about it easy.
    """

    _moved = 0  # answers that do not stand at their start
    _first_moved = ""
    _partly = 0  # questions that have an answer in their context, and one that is not there
    _first_partly = ""
    _said = False

    def scan(
        self, label_column: str | None = None, held_out_fraction: float = 0.0,
        held_out_max: int = 5000, seed: int = 0,
    ) -> Scan:  # fmt: skip
        """Count questions with and without an answer, and draw contexts to hold out."""
        counts: collections.Counter[str] = collections.Counter()
        numbers: dict[int, list[int]] = {}  # of the rows of each context
        for row in self.stream(None):
            counts["answer" if row.values[2] else "no answer"] += 1
            numbers.setdefault(hash(row.values[1]), []).append(row.number)
        groups = list(numbers.values())
        if len(groups) == 1:
            groups = [[number] for number in groups[0]]
        maximum = max(held_out_max * len(groups) // max(counts.total(), 1), 1)
        draw = HeldOutDraw(held_out_fraction, maximum, seed)
        for place in range(len(groups)):
            draw.offer(place, "")
        held_out = frozenset(number for place in draw.choose() for number in groups[place])
        return Scan(counts.total(), dict(sorted(counts.items())), held_out)

    def _checked(
        self, question: Any, context: Any, answers: Iterable, name: Any, place: str
    ) -> tuple[str, str, tuple[Answer, ...], str]:  # fmt: skip
        """Return the values of a row."""
        try:
            texts = [text_of(text) for text in (question, context, name)]
            check_filled(texts[0], texts[1], place)
            "".join(texts[:2]).encode()
            found = self._answers([*answers], texts[1], place)
        except UnicodeEncodeError:
            raise InputError(f"{place}: {SURROGATE}; correct the row") from None
        except TypeError as error:
            raise InputError(f"{place}: {error}") from None
        return texts[0], texts[1], found, texts[2]

    def _answers(self, answers: list, context: str, place: str) -> tuple[Answer, ...]:
        """Return the answers with their starts; behind them those without one, with -1."""
        placed = [self._placed(text, start, context, place) for text, start in answers]
        elsewhere = [text for text, start in placed if start < 0]
        if elsewhere and len(elsewhere) == len(placed):
            raise TypeError(
                f"the context does not have the answer {brief.repr(elsewhere[0])}; correct it, or "
                "remove the question"
            )
        if elsewhere and not self._said:
            self._partly += 1
            self._first_partly = self._first_partly or f"{place} {brief.repr(elsewhere[0])}"
        return tuple(sorted(placed, key=lambda answer: answer[1] < 0))

    def _placed(self, text: Any, start: Any, context: str, place: str) -> Answer:
        """Return an answer with its start in the context nearest to the given one, -1 for none."""
        text = text_of(text)
        if not isinstance(start, Integral) or isinstance(start, bool):
            raise TypeError(f"the start of the answer {brief.repr(text)} is {start!r}, no integer")
        if not text.strip():
            raise TypeError("an answer is empty; leave it out where the context has none")
        start, text = int(start) + len(text) - len(text.lstrip()), text.strip()
        if start >= 0 and context.startswith(text, start):
            return text, start
        at = _nearest(context, text, start)
        if at is None:
            return text, -1
        if not self._said:
            self._moved += 1
            self._first_moved = self._first_moved or f"{place} {brief.repr(text)}"
        return text, at

    def _say_moved(self) -> None:
        said = (
            (self._moved, "answers do not stand at their start and are taken from the nearest "
             "place that has them", self._first_moved, "starts count Unicode characters from 0"),
            (self._partly, "questions have an answer that their context does not have beside one "
             "that it has", self._first_partly, "such an answer counts in the metrics alone"),
        )  # fmt: skip
        for number, what, first, why in said:
            if number and not self._said:
                print(f"{self.name}: {number} {what}, first {first}; {why}", file=sys.stderr)
        self._said = True

    def _in_order(self) -> Iterator[Row]:
        yield from super()._in_order()  # type: ignore[safe-super]
        self._say_moved()


def _nearest(context: str, text: str, start: int) -> int | None:
    """Return where a text stands in a context, nearest to `start`; None if it does not."""
    start = max(start, 0)
    before, after = context.rfind(text, 0, start + len(text)), context.find(text, start)
    found = [at for at in (before, after) if at >= 0]
    return min(found, key=lambda at: abs(at - start), default=None)


class SquadFile(QuestionSource, LineFile):
    """The questions of a file of SQuAD's form."""

    def __init__(
        self, path: str | os.PathLike, encoding: str | None = None, answers: bool = True
    ) -> None:
        super().__init__(path, COLUMNS, KINDS, encoding)
        self._with_answers = answers
        data = self._json(
            "copy or download the file again, or, if each line is an object, name it .jsonl"
        )
        if not isinstance(data, dict) or not isinstance(data.get("data"), list):
            raise InputError(
                f'{self.name}: no list "data" of articles, as SQuAD has it; give {KINDS}'
            )
        self._rows = [Row(n, n, values) for n, values in enumerate(self._read(data["data"]))]
        if not self._rows:
            raise InputError(f"{self.name}: no question; give a file with questions")
        self._say_moved()

    def _read(self, articles: list) -> Iterator[tuple]:
        for number, article in enumerate(articles):
            place = f"{self.name}: data[{number}]"
            for at, paragraph in enumerate(_list(article, "paragraphs", place)):
                where = f"{place}.paragraphs[{at}]"
                questions = _list(paragraph, "qas", where)
                for turn, item in enumerate(questions):
                    here = f"{where}.qas[{turn}]"
                    context, question = (
                        _value(part, key, here)
                        for part, key in ((paragraph, "context"), (item, "question"))
                    )
                    name = _value(item, "id", here)
                    answers = _list(item, "answers", here) if self._with_answers else []
                    if item.get("is_impossible") is True:
                        answers = []
                    pairs = [
                        (_value(a, "text", here), _value(a, "answer_start", here)) for a in answers
                    ]
                    yield self._checked(question, context, pairs, name, here)

    def place(self, line: int) -> str:
        return f"{self.name}: question {line + 1}"

    def _in_order(self) -> Iterator[Row]:
        return iter(self._rows)

    def _in_block_order(self, rng):
        return iter(rng.sample(self._rows, len(self._rows)))


def _value(item: Any, key: str, place: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise InputError(f"{place}: no {key!r}, which SQuAD's form has; add it, or give {KINDS}")
    return item[key]


def _list(item: Any, key: str, place: str) -> list:
    value = _value(item, key, place)
    if not isinstance(value, list):
        raise InputError(f"{place}: {key!r} is {brief.repr(value)}, no list; correct it")
    return value


class QuestionLines(QuestionSource, FileSource):
    """The questions of a JSONL file."""

    def __init__(self, path: str | os.PathLike, encoding: str | None = None) -> None:
        super().__init__(path, (), encoding=encoding)
        self.columns = COLUMNS

    def _json_values(self, row, line):
        place = self.place(line)
        missing = [key for key in ("question", "context") if key not in row]
        if missing or not ("answers" in row or "answer" in row):
            raise InputError(
                f"{place}: no key {(missing or ['answers'])[0]!r}, only {brief.repr(list(row))}; "
                f"give {', '.join(TABLE)}, or answers as SQuAD has them"
            )
        return self._checked(
            row["question"], row["context"], _answers_of(row, place), row.get("id", str(line)),
            place,
        )  # fmt: skip


def _answers_of(row: dict, place: str) -> list:
    """Return pairs of text and start of a JSON object."""
    if row.get("is_impossible") is True:
        return []
    answers = row.get("answers", [])
    if "answers" not in row:
        text = row["answer"]
        start = row.get("start", row.get("answer_start", 0))
        return [] if text in (None, "", []) or text is False else [(text, start)]
    if isinstance(answers, dict):
        texts, starts = (answers.get(key) for key in ("text", "answer_start"))
        if isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts):
            return list(zip(texts, starts, strict=True))
    elif isinstance(answers, list) and all(isinstance(a, dict) for a in answers):
        return [(_value(a, "text", place), _value(a, "answer_start", place)) for a in answers]
    raise InputError(
        f'{place}: answers are {brief.repr(answers)}; write {{"text": [...], "answer_start": '
        "[...]}, lists of the same length"
    )


class QuestionTable(QuestionSource, FileSource):
    """The questions of a CSV or TSV file, with an answer each or none."""

    def __init__(
        self, path: str | os.PathLike, columns: tuple[str, ...], encoding: str | None = None,
        delimiter: str | None = None,
    ) -> None:  # fmt: skip
        # What is empty is refused with the name of the part; "None" may be an answer.
        super().__init__(path, columns, missing="keep", encoding=encoding, delimiter=delimiter)
        self.columns = COLUMNS

    def _records(self, stream, block):
        for offset, line, (question, context, answer, start) in super()._records(stream, block):
            place, answers = self.place(line), []
            if answer.strip():
                if start.strip() and not re.fullmatch(r"-?\d+", start.strip()):
                    raise InputError(
                        f"{place}: the start is {start!r}; give the number of the first character "
                        "of the answer in the context, from 0"
                    )
                answers = [(answer, int(start.strip() or 0))]
            yield offset, line, self._checked(question, context, answers, str(line), place)


class TfdsQuestions(QuestionSource, TfdsSource):
    """A split of a TFDS data set with the features of SQuAD."""

    _features_of_set = ("question", "context", "answers", "id")

    def __init__(self, spec: str) -> None:
        super().__init__(spec, COLUMNS)

    def _check_column(self, column):
        features = dict(self._features.items())
        parts = features.get(column)
        inner = getattr(parts, "feature", parts)
        if column == "answers" and {*getattr(inner, "keys", tuple)()} != {"text", "answer_start"}:
            parts = None
        if parts is None:
            raise InputError(
                f"{self.name}: no column {column!r} as SQuAD has it, only {sorted(features)}; give "
                "another data set"
            )

    def _texts(self, values, number):
        question, context, starts, texts, name = values
        words = [text.decode(errors="replace") for text in (question, context, name, *texts)]
        answers = list(zip(words[3:], starts, strict=True))
        return self._checked(words[0], words[1], answers, words[2], self.place(number))


class _QuestionRows(QuestionSource, MemorySource):
    """Questions in memory."""


def open_questions(
    spec: str | os.PathLike, *, question_column: str = "question", context_column: str = "context",
    answer_column: str = "answer", start_column: str = "start", encoding: str | None = None,
    delimiter: str | None = None, answers: bool = True,
) -> QuestionSource:  # fmt: skip
    """Open questions with their contexts and answers.

    Args:
        spec: path or name; see the top of this module.
        question_column: column of a table.
        context_column: likewise.
        answer_column: likewise; empty where the context has no answer.
        start_column: likewise: the first character of the answer in the context, from 0.
        encoding: of a file without a byte order mark; UTF-8 if not given.
        delimiter: of a table; found if not given.
        answers: whether a file of SQuAD's form has answers; without, it is read for `predict`.

    Raises:
        InputError: the source is missing, unreadable or empty, lacks a column, or has an answer
            that its context does not have.
    """
    spec = os.fspath(spec)
    if spec.startswith("tfds:"):
        return TfdsQuestions(spec)
    name = spec.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        return QuestionLines(spec, encoding)
    if name.endswith(".json"):
        return SquadFile(spec, encoding, answers)
    columns = (question_column, context_column, answer_column, start_column)
    return QuestionTable(spec, columns, encoding, delimiter)


def as_questions(x: Any, y: Any = None) -> Source:
    """Return the arguments of `fit` or `evaluate` of a `QuestionAnswerer` as rows.

    Args:
        x: a `QuestionSource`, or a list of `(question, context)`.
        y: for each pair its answer `(text, start)`, a list of several, or None.

    Raises:
        InputError: an argument has another type, or a context does not have its answer.
    """
    given = rows_or_lists(x, y, COLUMNS, "answers", _EXPECTED, "open_questions")
    if isinstance(given, Source):
        return given
    x, y = given
    rows = _QuestionRows({name: [""] * len(x) for name in COLUMNS})
    values = [
        rows._checked(*pair_of(pair, number), _given(answers, number), str(number), f"row {number}")
        for number, (pair, answers) in enumerate(zip(x, y, strict=True))
    ]
    rows._values = dict(zip(COLUMNS, zip(*values, strict=True), strict=True))
    rows._say_moved()
    return rows


def pair_of(pair: Any, number: int) -> tuple[str, str]:
    """Return the question and the context in row `number` of a list.

    Raises:
        InputError: it is no pair of texts, or one of them is empty.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InputError(f"row {number}: {str(pair)[:60]!r} instead of a (question, context)")
    question, context = (check_text(text, number) for text in pair)
    check_filled(question, context, f"row {number}")
    return question, context


def check_filled(question: str, context: str, place: str, what: str = "row") -> None:
    """Refuse a question or a context of blanks; the `InputError` names the place."""
    for name, text in (("question", question), ("context", context)):
        if not text.strip():
            raise InputError(f"{place}: the {name} is empty; write one, or remove the {what}")


def _given(answers: Any, number: int) -> list:
    """Return the answers in row `number` of a list as pairs."""
    if answers is None:
        return []
    single = isinstance(answers, tuple) and len(answers) == 2 and isinstance(answers[0], str)
    answers = [answers] if single or isinstance(answers, dict) else answers
    found = []
    for answer in as_list(answers, _EXPECTED):
        if isinstance(answer, dict):
            answer = answer.get("text"), answer.get("start", answer.get("answer_start"))
        if not isinstance(answer, tuple | list) or len(answer) != 2:
            raise InputError(f"row {number}: the answer is {str(answer)[:60]!r}; {_EXPECTED}")
        found.append(tuple(answer))
    return found


def question_dataset(source: Source, *, seed: int | None = None) -> Any:
    """Return a dataset of chunks of questions to train on; see `datasets.chunk_dataset`.

    Args:
        source: rows of `open_questions` or `as_questions`.
        seed: see `datasets.chunk_dataset`.

    Returns:
        A `tf.data.Dataset` of `(question, context, start, end)`: string [C] and int32 [C], the
        characters of the first answer, -1 for none.
    """
    import tensorflow as tf

    from tfmodels.data.datasets import chunk_dataset

    def convert(row: Row) -> tuple:
        question, context, answers, _ = row.values
        text, start = answers[0] if answers else ("", -1)
        return question, context, start, start + len(text)

    return chunk_dataset(source, convert, (tf.string, tf.string, tf.int32, tf.int32), seed)
