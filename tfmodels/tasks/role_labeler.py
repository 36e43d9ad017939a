"""`RoleLabeler`: who did what to whom, the predicates of a text and their arguments.

In: sentences with frames. Out: for each text a list of `{"predicate": "flew", "start": 4, "end": 8,
"score": 0.99, "arguments": [{"argument": "Ada", "role": "ARG0", "start": 0, "end": 3, "score":
0.98}]}`, and a SavedModel that answers strings with the same. One tagger does both: in a text
without a mark it tags predicates, in one with a mark at a predicate the arguments of that one.
Preprocessing and answers; the head is that of `TokenClassifier`.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.data.datasets import source_errors
from tfmodels.data.roles import PREDICATE, as_roles, marked, role_dataset
from tfmodels.data.rows import Source
from tfmodels.errors import InputError
from tfmodels.metrics.roles import arguments_of, role_metrics
from tfmodels.tasks.role_finder import argument_finder, frame_finder, role_signatures
from tfmodels.tasks.task import batches_by_length, parts_of
from tfmodels.tasks.token_classifier import TokenClassifier
from tfmodels.text.batching import of_length
from tfmodels.text.marked_windows import MARKERS, marked_windows, role_batches
from tfmodels.text.tags import labels_of, types_of
from tfmodels.text.windows import tag_inputs
from tfmodels.text.wordpiece import WordPieceTokenizer
from tfmodels.training.callbacks import Measured

_NAMES = ("argument", "role", "start", "end", "score")


class RoleLabeler(TokenClassifier):
    """Find the predicates of each text and the roles of their arguments.

    Args:
        backbone: an encoder such as `Bert`, or a `Tagger`.
        tokenizer: its `WordPieceTokenizer` or `SubwordTokenizer`.
        labels: "O", "B-V", "I-V", "B-ARG0", ..., of which the first type is the predicate; those
            of the rows of `fit`, if not given.
        marker: how a predicate is marked: "tokens" (between two [SEP], and of segment 1) or
            "segments" (of segment 1 alone); see `marked_windows`.
        predicates: whether to learn to find predicates; else they must always be given.
        **options: see `TokenClassifier`. Of a text with more than `max_length` tokens, arguments
            are looked for in a window around the predicate.

    `fit(words, frames)` trains on lists of words with `[{"predicate": 1, "arguments": [("ARG0", 0,
    1)]}]`, numbers of words with exclusive ends; `fit(tfmodels.data.open_roles("train.conll"))` on
    files. `predict(texts)` finds predicates and arguments; `predict([(words, [1])])` or
    `predict([(text, [(4, 8)])])` the arguments of given predicates.

    Example:
        >>> task = RoleLabeler.from_preset("google-bert/bert-base-cased")
        >>> frames = [{"predicate": 1, "arguments": [("ARG0", 0, 1), ("ARGM-TMP", 2, 3)]}]
        >>> task.fit([["Ada", "left", "today"]], [frames])
        >>> task.predict(["Bo left yesterday."])
    """

    application = "roles"
    columns = ("text", "frames")

    def __init__(
        self, backbone: keras.Model, tokenizer: WordPieceTokenizer,
        labels: Sequence[str] | None = None, *, marker: str = "tokens", predicates: bool = True,
        **options: Any,
    ) -> None:  # fmt: skip
        if marker not in MARKERS:
            raise InputError(f"marker {marker!r}: give one of {', '.join(MARKERS)}")
        if labels is not None and types_of(labels)[:1] != [PREDICATE]:
            raise InputError(f"labels: the first type is {PREDICATE}, the predicate; add B-V, I-V")
        self.marker, self.predicates = marker, predicates
        super().__init__(backbone, tokenizer, labels, **options)
        if self.split != "words":
            raise InputError("split: roles are of words; leave it out")
        self._check_segments()
        if marker == "segments" and getattr(self.backbone, "num_segments", 2) < 2:
            raise InputError('marker="segments": the encoder has one segment; give marker="tokens"')

    # Preprocessing: rows to batches of windows, with and without a mark.

    def _read(self, x, y=None, sample_weight=None):
        if sample_weight is not None:
            raise InputError('sample_weight: texts have many labels; use class_weight="balanced"')
        return as_roles(x, y)

    def _learn(self, rows: Source) -> None:
        types = [PREDICATE, *self._scan(rows).label_counts]
        if self.labels is None or not set(types) <= set(types_of(self.labels)):
            self._take_labels(labels_of(types))
        if unknown := sorted(set(types) - set(types_of(self.labels))):
            raise InputError(
                f"{rows.name}: the role {unknown[0]!r} is not among the labels; leave the labels "
                "out, or add it"
            )

    def _batches(self, rows, batch_size, seed=None, in_order=False):
        chunks = role_dataset(rows, types_of(self.labels), seed=seed)
        if in_order:
            return chunks.unbatch().ragged_batch(batch_size).map(self._marked)
        batches = role_batches(
            chunks, self.tokenizer, batch_size, self.max_length, self.stride, self.marker,
            self.predicates, seed,
        )  # fmt: skip
        if rows.endless:
            return batches
        return of_length(batches, self._counted(rows, batches)[0], batch_size)

    def _marked(self, text, starts, ends, counts, *arguments):
        windows = marked_windows(
            self.tokenizer, text, starts.value_rowids(), starts.values, ends.values,
            self.max_length, self.marker,
        )  # fmt: skip
        labels = tf.where(windows.starts >= 0, windows.labels(counts, *arguments), -1)
        return windows.batch(self.tokenizer, self.max_length), labels

    def _batches_of_texts(self, texts, batch_size):
        texts = [text for text, _ in texts]
        chunks = tf.data.Dataset.from_tensor_slices(texts).batch(batch_size)
        return chunks.map(
            lambda text: tag_inputs(self.tokenizer, text, self.max_length, self.stride)[0]
        )

    def _check(self, rows):
        counts = self._scan(rows).label_counts
        unknown = {role: n for role, n in counts.items() if role not in types_of(self.labels)}
        if unknown:
            roles = ", ".join(list(unknown)[:5])
            print(
                f"{rows.name}: {sum(unknown.values())} arguments have roles that the training rows "
                f"do not have ({roles}); they count as missed",
                file=sys.stderr,
            )

    def _describe(self, rows):
        scan = self._scan(rows)
        number = sum(scan.label_counts.values())
        most = sorted(scan.label_counts.items(), key=lambda item: -item[1])[:5]
        roles = ", ".join(f"{role} {count}" for role, count in most)
        return (
            f"{scan.rows} training texts; {number} arguments of {len(scan.label_counts)} roles in "
            f"the data ({roles}, ...); predicates marked by {self.marker}"
        )

    # Answers.

    def _texts(self, x: Any) -> Iterator:
        if isinstance(x, Source):
            rows = self._read(x)
            with source_errors(rows):
                yield from ((row.values[0], None) for row in rows.stream(None))
            return
        if isinstance(x, str | bytes) or not hasattr(x, "__iter__"):
            raise InputError(f"{str(x)[:60]!r}: give a list of texts")
        yield from (marked(item, number) for number, item in enumerate(x))

    def answers(self, texts: list, batch_size: int = 32) -> list[list[dict]]:
        found: list = [None] * len(texts)
        items = [item if isinstance(item, tuple) else (item, None) for item in texts]
        alone = [n for n, (_, places) in enumerate(items) if places is None]
        given = [n for n, (_, places) in enumerate(items) if places is not None]
        if alone and not self.predicates:
            raise InputError(
                "this model was trained to find no predicates; give them: (words, [1]), on the "
                "command line --predicate for one text"
            )
        for numbers, answer in ((alone, self._found), (given, self._of_given)):
            frames = answer([items[n] for n in numbers], batch_size)
            for number, row in zip(numbers, frames, strict=True):
                found[number] = row
        return found

    def _found(self, items, batch_size):
        """Return the frames of texts."""
        find = self._function("frames", self._frames)
        found: list = [None] * len(items)
        for rows, part in batches_by_length([text for text, _ in items], batch_size):
            frames = {name: value.numpy() for name, value in find(part).items()}
            for row, number in enumerate(rows):
                found[number] = _frames_of(frames, row)
        return found

    def _of_given(self, items, batch_size):
        """Return the frames of predicates that are given."""
        label = self._function("arguments", self._arguments)
        found: list = [[] for _ in items]
        for rows, part in batches_by_length([text for text, _ in items], batch_size):
            places = [(n, *place) for n, number in enumerate(rows) for place in items[number][1]]
            if not places:
                continue
            row, start, end = (np.array(column) for column in zip(*places, strict=True))
            spans = label(part, row.astype("int64"), start.astype("int32"), end.astype("int32"))
            spans = {name: value.numpy() for name, value in spans.items()}
            spans["argument"], spans["role"] = spans.pop("entity"), spans.pop("type")
            for n, (row, start, end) in enumerate(places):
                text = items[rows[row]][0]
                text = text if isinstance(text, str) else text.decode("utf-8", "replace")
                frame = {"predicate": text[start:end], "start": start, "end": end, "score": 1.0}
                found[rows[row]].append({**frame, "arguments": _arguments_of(spans, (n,))})
        return found

    def _frames(self):
        return tf.function(
            frame_finder(self.model, self.tokenizer, self.max_length, self.stride, self.marker),
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    def _arguments(self):
        places = [tf.TensorSpec([None], kind) for kind in (tf.int64, tf.int32, tf.int32)]
        return tf.function(
            argument_finder(self.model, self.tokenizer, self.max_length, self.marker),
            input_signature=[tf.TensorSpec([None], tf.string), *places],
            autograph=False,
        )

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0,
        predicates: str = "both",
    ) -> dict:  # fmt: skip
        """Measure arguments and predicates, as the script of CoNLL-2005 counts.

        Args:
            x, y, batch_size, mistakes: as of `Task.evaluate`.
            predicates: "given": those of the rows are marked; "found": they are found; "both".

        Returns:
            dict: `texts`; what `role_metrics` gives, with the predicates of the rows; where they
            are found too, `predicates` with their own precision, recall and F1, and `found` with
            those of arguments and predicates together; with `mistakes` also `worst_mistakes`.
        """
        if predicates not in ("given", "found", "both"):
            raise InputError(f"predicates {predicates!r}: give given, found or both")
        if predicates == "found" and not self.predicates:
            raise InputError(
                "predicates found: this model was trained to find none; give given "
                "(--eval_predicates given)"
            )
        rows = self._read(x, y)
        found_too = predicates != "given" and self.predicates
        gold: list = []
        given: list = []
        found: list = []
        worst: list = []
        with source_errors(rows):
            for part in parts_of(rows.stream(None), 256):
                texts, frames = zip(*(row.values for row in part), strict=True)
                gold += frames
                places = [[frame[:2] for frame in of_text] for of_text in frames]
                if predicates != "found":
                    answers = self.answers(list(zip(texts, places, strict=True)), batch_size)
                    given += [[_as_frame(frame) for frame in row] for row in answers]
                    pairs = (zip(*row, strict=True) for row in zip(frames, answers, strict=True))
                    worst = _worst(worst, zip(texts, pairs, strict=True), mistakes)
                if found_too:
                    answers = self.answers(list(texts), batch_size)
                    found += [[_as_frame(frame) for frame in row] for row in answers]
                    if predicates == "found":
                        by_predicate = map(_by_predicate, texts, frames, answers)
                        worst = _worst(worst, zip(texts, by_predicate, strict=True), mistakes)
        of_found = role_metrics(gold, found) if found_too else None
        metrics = role_metrics(gold, given) if predicates != "found" else of_found
        metrics = {"texts": len(gold), **(metrics or {})}
        if of_found is None:
            metrics.pop("predicates", None)
        else:
            metrics["predicates"] = of_found["predicates"]
            metrics["found"] = {n: of_found[n] for n in ("precision", "recall", "f1", "support")}
        return {**metrics, "worst_mistakes": worst} if mistakes else metrics

    def _measuring(self, rows, batch_size):
        def given():
            metrics = self.evaluate(rows, batch_size=batch_size, predicates="given")
            return {name: metrics[name] for name in ("precision", "recall", "f1")}

        return (Measured(given),)

    def signatures(self) -> dict:
        if not self.predicates:
            raise InputError(
                "this model was trained to find no predicates, and a SavedModel reads texts alone; "
                "train one with predicates=True (--predicates true)"
            )
        return role_signatures(
            self.model, self.tokenizer, self.max_length, self.stride, self.marker
        )

    # What stays with a saved task.

    @classmethod
    def _saved_options(cls) -> tuple[str, ...]:
        return ("max_length", "stride", "crf", "constrained", "marker", "predicates")

    @classmethod
    def _is_published(cls, directory: Path) -> bool:
        return False


def _frames_of(frames, row):
    """Return the frames of a text, of the arrays of `frame_finder`."""
    number = int((frames["predicate_start"][row] >= 0).sum())
    return [
        {
            "predicate": frames["predicate"][row, n].decode(),
            "start": int(frames["predicate_start"][row, n]),
            "end": int(frames["predicate_end"][row, n]),
            "score": round(float(frames["predicate_score"][row, n]), 6),
            "arguments": _arguments_of(frames, (row, n)),
        }
        for n in range(number)
    ]


def _arguments_of(spans, place):
    """Return the arguments at a place of arrays `[..., A]`."""
    columns = (spans[name][place] for name in _NAMES)
    return [
        {
            "argument": text.decode(), "role": role.decode(), "start": int(start), "end": int(end),
            "score": round(float(score), 6),
        }
        for text, role, start, end, score in zip(*columns, strict=True) if start >= 0
    ]  # fmt: skip


def _as_frame(answer):
    """Return an answer as a frame of `data.roles`."""
    spans = tuple((a["role"], a["start"], a["end"]) for a in answer["arguments"])
    return answer["start"], answer["end"], spans


def _by_predicate(text, frames, answers):
    """Return pairs of a frame and an answer of the same predicate; one of them may be empty."""
    found = {(answer["start"], answer["end"]): answer for answer in answers}
    missed = [
        {"predicate": text[start:end], "start": start, "end": end, "arguments": []}
        for start, end, _ in frames
    ]
    pairs = [
        (frame, found.get(frame[:2], none)) for frame, none in zip(frames, missed, strict=True)
    ]
    known = {frame[:2] for frame in frames}
    return pairs + [((*at, ()), answer) for at, answer in found.items() if at not in known]


def _worst(before, rows, number):
    """Return the surest mistakes, those before and those of texts with pairs of frames."""
    new = [
        _mistake(text, frame, answer)
        for text, pairs in rows
        for frame, answer in pairs
        if arguments_of(frame[2]) != arguments_of(_as_frame(answer)[2])
    ]
    return sorted([*before, *new], key=lambda mistake: -mistake["sureness"])[:number]


def _mistake(text, frame, answer):
    """Return the arguments of a predicate, with the score of the surest wrong one."""
    right = set(frame[2])
    wrong = [
        a["score"] for a in answer["arguments"] if (a["role"], a["start"], a["end"]) not in right
    ]
    return {
        "text": text[:500],
        "predicate": answer["predicate"],
        "gold": [{"role": r, "argument": text[a:b], "start": a, "end": b} for r, a, b in frame[2]],
        "predicted": answer["arguments"],
        "sureness": max(wrong, default=0.0),
    }
