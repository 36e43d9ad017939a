"""`TokenClassifier`: the named entities of a text.

In: texts with entities in characters, or words with tags. Out: for each text a list of
`{"entity": "Ada Lovelace", "type": "PER", "start": 0, "end": 12, "score": 0.98}`, and a SavedModel
that answers strings with the same. Preprocessing, head, answers, in that order.
"""

import collections
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.bert import head_of
from tfmodels.data.datasets import source_errors
from tfmodels.data.entities import as_entities, entity_dataset
from tfmodels.data.rows import Source
from tfmodels.errors import InputError
from tfmodels.metrics.entities import confusions, entity_metrics
from tfmodels.models.tagger import Tagger
from tfmodels.tasks.encoder import EncoderTask
from tfmodels.tasks.entity_finder import entity_finder, entity_signatures, word_aligner
from tfmodels.tasks.task import batches_by_length
from tfmodels.text.batching import of_length
from tfmodels.text.cutting import default_stride
from tfmodels.text.spans import codes_of, tags_of
from tfmodels.text.tags import labels_of, split_label, types_of
from tfmodels.text.windows import tag_inputs, tagged_batches, text_labels, word_labels
from tfmodels.text.wordpiece import WordPieceTokenizer
from tfmodels.training.callbacks import Measured
from tfmodels.training.sequence import tagging_objective


class TokenClassifier(EncoderTask):
    """Find the entities of each text.

    Args:
        backbone: an encoder such as `Bert`, or a `Tagger`.
        tokenizer: its `WordPieceTokenizer` or `SubwordTokenizer`.
        labels: the tags, "O", "B-PER", "I-PER", ...; those of the rows of `fit`, if not given.
        split: "words", or "characters": every character has a tag, for entities that begin or end
            inside of a word (Korean particles, "10kg", scripts without spaces).
        stride: number of tokens that two windows share; a quarter of `max_length` if not given.
        constrained: answer valid IOB2 only. The tags of a published tagger stay as they are,
            whatever their scheme.
        crf: score whole sequences of tags (a linear-chain CRF), not each tag by itself.
        emission_loss: with a CRF, weight of the loss of each tag by itself, which is added; 1
            helps a network from scratch.
        **options: see `EncoderTask`; paragraphs longer than `max_length` tokens are read in
            overlapping windows and tagged as one.

    `fit(words, tags)` trains on lists of words with their tags, `fit(texts, entities)` on texts
    with `(type, start, end)` in characters, `fit(tfmodels.data.open_entities("train.conll"))` on
    files. `predict(texts)` returns for each text a list of dicts of `entity`, `type`, `start` and
    `end` (characters, end exclusive) and `score`.

    Example:
        >>> task = TokenClassifier.from_preset("google-bert/bert-base-cased")
        >>> task.fit([["Ada", "flew", "to", "Paris"]], [["B-PER", "O", "O", "B-LOC"]])
        >>> task.predict(["Ada is in Paris."])
    """

    application = "ner"
    weighs_classes = True
    columns = ("text", "entities")
    monitor = "val_f1"
    of_tokens = True
    default_epochs = 3
    head = Tagger

    def __init__(
        self, backbone: keras.Model, tokenizer: WordPieceTokenizer,
        labels: Sequence[str] | None = None, *, crf: bool = True, split: str = "words",
        stride: int | None = None, emission_loss: float = 0.0, constrained: bool = True,
        **options: Any,
    ) -> None:  # fmt: skip
        if split not in ("words", "characters"):
            raise InputError(f'split {split!r}: give "words" or "characters"')
        self.split = split
        if split == "characters":
            tokenizer = tokenizer.by_characters()
        if isinstance(backbone, Tagger):
            crf, labels = backbone.crf is not None, backbone.labels if labels is None else labels
            constrained = backbone.constrained
        self.crf, self.emission_loss, self.constrained = crf, emission_loss, constrained
        self._weights: str | None = None
        self._counts: dict = {}
        self._reported: set[Source] = set()  # rows whose cut words were reported
        super().__init__(backbone, tokenizer, labels, **options)
        self.stride = default_stride(self.max_length) if stride is None else stride

    # Preprocessing: rows to batches of windows.

    def _read(self, x, y=None, sample_weight=None):
        if sample_weight is not None:
            raise InputError('sample_weight: texts have many labels; use class_weight="balanced"')
        return as_entities(x, y)

    def _learn(self, rows: Source) -> None:
        if self._labels_given and self.labels and "O" not in self.labels:
            raise InputError(
                "labels: no 'O', for words outside, is among them; give O, B-PER, I-PER, ... or "
                "leave labels out"
            )
        types = list(self._scan(rows).label_counts)
        if self.labels is None or not set(types) <= set(types_of(self.labels)):
            self.constrained = self.constrained or not self._labels_given
            self._take_labels(labels_of(types))
        self._say_cut(rows)

    def _batches(self, rows, batch_size, seed=None, in_order=False):
        chunks = entity_dataset(rows, types_of(self.labels), seed=seed)
        size, length = batch_size, self.max_length
        if in_order:
            return chunks.unbatch().ragged_batch(size).map(self._windows)
        batches = tagged_batches(chunks, self.tokenizer, size, length, self.stride, seed)
        batches = batches.map(lambda batch, codes: (batch, tags_of(codes, self.labels)))
        if rows.endless:
            return batches
        return of_length(batches, self._counted(rows, batches)[0], size)

    def _say_cut(self, rows):
        if rows.whole not in self._reported:
            with source_errors(rows.whole):
                collections.deque(self._aligned(rows.whole), maxlen=0)

    def _aligned(self, rows):
        """Yield `(texts, spans, entities)`: chunks of `entity_dataset`, and what training teaches.

        `entities` has for each text a list of `(type, start, end)` of whole words. Those that
        were changed for it are counted on stderr, once for each source.
        """
        types, align = types_of(self.labels), self._function("align", self._align)
        total, cut, lost, texts_before, first = 0, 0, 0, 0, None
        for texts, *spans in entity_dataset(rows, types):
            whole = _rows_of(align(texts, *spans))
            given = zip(*(column.to_list() for column in spans), strict=True)
            for number, (row, kept) in enumerate(zip(given, whole, strict=True), texts_before):
                entities = [(types[kind], a, b) for kind, a, b in zip(*row, strict=True)]
                changed = [entity for entity in entities if entity not in kept]
                total, cut = total + len(entities), cut + len(changed)
                lost += max(len(entities) - len(kept), 0)
                if changed and first is None:
                    _, a, b = changed[0]
                    text = texts[number - texts_before].numpy().decode("utf-8", "replace")
                    first = number, text[a:b]
            texts_before += len(whole)
            yield texts, spans, whole
        if first is not None and rows.whole not in self._reported:
            self._report_cut(rows, total, cut, lost, *first)
        self._reported.add(rows.whole)

    def _report_cut(self, rows, total, cut, lost, number, entity):
        line = next(itertools.islice(rows.stream(None), number, None)).line
        kept = f"; {lost} have no word of their own and are left out" if lost else ""
        remedy = "" if self.split == "characters" else (
            "; --split characters (in Python split=\"characters\") keeps them as they are"
        )  # fmt: skip
        print(
            f"{rows.name}: {cut} of {total} entities begin or end inside a word and are read as "
            f"whole words, first {rows.place(line)} {entity[:40]!r}{kept}; offsets are Unicode "
            f"characters{remedy}",
            file=sys.stderr,
        )

    def _align(self):
        return tf.function(
            word_aligner(self.tokenizer, self.labels, self.max_length, self.stride),
            input_signature=[
                tf.TensorSpec([None], tf.string),
                *[tf.RaggedTensorSpec([None, None], tf.int32)] * 3,
            ],
            autograph=False,
        )

    def _windows(self, text, *entities):
        batch, words = tag_inputs(self.tokenizer, text, self.max_length, self.stride)
        return batch, tags_of(word_labels(words, *entities), self.labels)

    def _counted(self, rows, batches=()):
        """Return how many windows there are, and labels: texts are read once for it, and cut."""
        if rows not in self._counts:
            total = np.zeros(2, int)
            with source_errors(rows):
                for _, labels in batches:
                    total += labels.shape[0], int(tf.math.count_nonzero(labels >= 0))
            self._counts[rows] = total
        return self._counts[rows]

    def _batches_of_texts(self, texts, batch_size):
        chunks = tf.data.Dataset.from_tensor_slices(list(texts)).batch(batch_size)
        return chunks.map(
            lambda text: tag_inputs(self.tokenizer, text, self.max_length, self.stride)[0]
        )

    def _training_data(self, *arguments):
        data = super()._training_data(*arguments)
        if self._weights is None:
            return data
        return data._replace(batches=lambda step: data.batches(step).map(self._weighted))

    def _class_weight(self, given):
        return None  # weights of words or rows instead, see `_weighted`

    def fit(
        self, *arguments: Any, class_weight: str | None = None, **options: Any
    ) -> keras.callbacks.History:
        """Train; see `Task.fit`.

        Args:
            class_weight: "balanced" gives every type of entity the same weight in the loss.
        """
        if class_weight not in (None, "balanced"):
            raise InputError('class_weight: give "balanced" or leave it out')
        self._weights = class_weight
        return super().fit(*arguments, **options)

    def _weighted(self, batch, labels):
        """Add weights under which every type counts the same and an average one 1.

        They are of words; with a CRF, whose likelihood is of the whole row, of rows: the mean
        over their words.
        """
        counts = self._scan(self._sources[0]).label_counts
        mean = sum(counts.values()) / len(counts)
        weights = {kind: mean / count for kind, count in counts.items()}
        weights = tf.constant([weights.get(split_label(x)[1], 1.0) for x in self.labels])  # [C]
        weight = tf.gather(weights, tf.maximum(labels, 0))
        if self.crf:
            real = tf.cast(labels >= 0, tf.float32)
            weight = tf.reduce_sum(weight * real, 1) / tf.maximum(tf.reduce_sum(real, 1), 1.0)
        return batch, labels, weight

    def _check(self, rows):
        unknown = sorted(self._scan(rows).label_counts.keys() - set(types_of(self.labels)))
        if unknown:
            raise InputError(
                f"{rows.name}: entities of type {unknown[0]!r}, which the training rows do not "
                f"have; their types are {', '.join(types_of(self.labels))}"
            )
        self._say_cut(rows)

    def _describe(self, rows):
        scan = self._scan(rows)
        counts = ", ".join(f"{kind} {count}" for kind, count in scan.label_counts.items())
        windows = f"windows of {self.max_length} tokens"
        return f"{scan.rows} training texts in {windows}, entities in the data {counts}"

    # Head.

    def _new_model(self):
        return Tagger(
            self.backbone, len(self.labels), self.labels, self.crf, self._dropout, self.constrained
        )

    def _objective(self):
        windows, labels = self._counts.get(self._sources[0], (0, 0))
        return tagging_objective(
            self.model, self.emission_loss, float(labels / windows) if windows else None
        )

    # Answers.

    def answers(self, texts: list, batch_size: int = 32) -> list[list]:
        return [entities for entities, *_ in self.find(texts, batch_size)]

    def find(self, texts: list, batch_size: int = 32) -> list[tuple]:
        """Find the entities of texts, with their words.

        Args:
            texts: list of str or bytes.
            batch_size: texts of a step.

        Returns:
            for each text `(entities, starts, ends, tags)`: a list of dicts with `entity`, `type`,
            `start`, `end` (characters) and `score`; where its words stand, and the numbers of
            their tags: int arrays.
        """
        find = self._function("find", self._find)
        answers: list = [None] * len(texts)
        for rows, part in batches_by_length(texts, batch_size):
            entities, *words = tf.nest.map_structure(lambda t: t.numpy(), find(part))
            for row, number in enumerate(rows):
                answers[number] = _of_row(row, entities, *words)
        return answers

    def _find(self):
        return tf.function(
            entity_finder(self.model, self.tokenizer, self.max_length, self.stride),
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0
    ) -> dict:
        """Measure whole entities, as `seqeval` counts them strictly.

        An entity that begins or ends inside a word counts as whole words, as in training.

        Args, errors: as of `Task.evaluate`.

        Returns:
            dict: `texts`; what `entity_metrics` gives; `token_accuracy`; `confusions`; with
            `mistakes` also `worst_mistakes`, the surest wrong answers.
        """
        rows = self._read(x, y)
        gold, predicted, worst, right, words = [], [], [], 0, 0
        with source_errors(rows):
            for chunk, spans, entities in self._aligned(rows):
                texts = chunk.numpy()
                answers = self.find(texts, batch_size)
                right += _tags_right(self.labels, answers, *spans)
                gold += entities
                for text, answer, wanted in zip(texts, answers, entities, strict=True):
                    words += len(answer[3])
                    predicted.append([(e["type"], e["start"], e["end"]) for e in answer[0]])
                    if set(wanted) != set(predicted[-1]):
                        worst.append(_mistake(text, wanted, answer[0]))
                worst = sorted(worst, key=lambda m: -m["sureness"])[:mistakes]
        metrics = {"texts": len(gold), **entity_metrics(gold, predicted)}
        metrics["token_accuracy"] = right / max(words, 1)
        metrics["confusions"] = confusions(gold, predicted)
        return {**metrics, "worst_mistakes": worst} if mistakes else metrics

    def _measuring(self, rows, batch_size):
        def found():
            metrics = self.evaluate(rows, batch_size=batch_size)
            return {name: metrics[name] for name in ("precision", "recall", "f1")}

        return (Measured(found),)

    def signatures(self) -> dict:
        return entity_signatures(self.model, self.tokenizer, self.max_length, self.stride)

    # What stays with a saved task.

    @classmethod
    def _saved_options(cls) -> tuple[str, ...]:
        return ("max_length", "stride", "crf", "split", "constrained")

    @classmethod
    def _is_published(cls, directory: Path) -> bool:
        return head_of(directory) == "tokens"

    @classmethod
    def _options_of(cls, directory: Path, labels: Sequence[str] | None) -> dict:
        options = super()._options_of(directory, labels)
        # A published tagger has no CRF; a new one is made with it.
        published = "labels" in options and "crf" not in options
        return {**options, "crf": False, "constrained": False} if published else options


def _rows_of(columns):
    """Return for each text the entities of `entity_spans` as a list of `(type, start, end)`."""
    names = ("type", "start", "end")
    rows = zip(*(columns[name].numpy().tolist() for name in names), strict=True)
    return [
        [(kind.decode(), a, b) for kind, a, b in zip(*row, strict=True) if a >= 0] for row in rows
    ]


def _of_row(row, columns, starts, ends, tags):
    number = int((columns["start"][row] >= 0).sum())
    entities = [
        {
            "entity": columns["entity"][row, i].decode(),
            "type": columns["type"][row, i].decode(),
            "start": int(columns["start"][row, i]),
            "end": int(columns["end"][row, i]),
            "score": round(float(columns["score"][row, i]), 6),
        }
        for i in range(number)
    ]
    words = int((starts[row] >= 0).sum())
    return entities, starts[row, :words], ends[row, :words], tags[row, :words]


def _tags_right(labels, answers, types, starts, ends):
    """Return how many words of a chunk have the tag that the gold entities give them."""

    def padded(column):
        rows = [row[column].tolist() for row in answers]
        return tf.ragged.constant(rows, tf.int32, ragged_rank=1).to_tensor(-1)

    wanted = text_labels(padded(1), padded(2), types, starts, ends)  # [C, L]
    words = padded(1) >= 0
    return int(tf.math.count_nonzero((wanted == codes_of(padded(3), words, labels)) & words))


def _mistake(text, gold, predicted):
    """Return gold and predicted entities, with the score of the surest wrong one."""
    text = text.decode("utf-8", "replace")
    right = set(gold)
    wrong = [e["score"] for e in predicted if (e["type"], e["start"], e["end"]) not in right]
    return {
        "text": text[:500],
        "gold": [{"type": kind, "entity": text[a:b], "start": a, "end": b} for kind, a, b in gold],
        "predicted": predicted,
        "sureness": max(wrong, default=0.0),
    }
