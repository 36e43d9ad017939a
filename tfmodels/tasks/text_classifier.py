"""`TextClassifier`: one label for a text.

In: texts with labels. Out: `{"label": "positive", "probabilities": {"negative": 0.1, ...}}`, and
a SavedModel that answers strings with the same. Preprocessing, head, answers, in that order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.bert import activation_of, head_of
from tfmodels.data.datasets import chunk_dataset, source_errors
from tfmodels.data.rows import Row, Source, canonical_label
from tfmodels.errors import InputError
from tfmodels.metrics.classification import classification_metrics
from tfmodels.models.classifier import Classifier
from tfmodels.tasks.encoder import EncoderTask
from tfmodels.tasks.signatures import BATCH, TEXT
from tfmodels.tasks.task import batches_by_length
from tfmodels.text.batching import encode, in_order_batches, length_bucketed
from tfmodels.text.packing import longer_than
from tfmodels.text.wordpiece import WordPieceTokenizer
from tfmodels.training.losses import Accuracy, Crossentropy


class TextClassifier(EncoderTask):
    """Give each text one label.

    Args:
        backbone: an encoder such as `Bert`, or a `Classifier`.
        tokenizer: its `WordPieceTokenizer`.
        labels: names of the classes; those of the rows that `fit` is given, if not given.
            Integer labels of rows are numbers of these.
        pooling: "first" (BERT's pooler) or "mean" (of all tokens).
        activation: of the head, see `Classifier`: what answers and export make of the logits.
        word_dropout: share of the words that are hidden in training, others every time, in texts
            of four and more.
        **options: see `EncoderTask`; what is beyond the `max_length` tokens of a text is cut.

    `fit(texts, labels)` trains on two lists, `fit(tfmodels.data.open_table("reviews.csv", "text",
    "label"))` on two columns of a file. `predict(texts)` returns for each a dict of `label` and
    `probabilities`.

    Example:
        >>> task = TextClassifier.from_preset("google-bert/bert-base-uncased")
        >>> task.fit(["a joy", "a bore"], ["good", "bad"], epochs=3)
        >>> task.predict(["what a joy"])
    """

    application = "sentiment"
    labelled = True
    monitor = "val_accuracy"
    head = Classifier

    def __init__(
        self, backbone: keras.Model, tokenizer: WordPieceTokenizer,
        labels: Sequence[str] | None = None, *, pooling: str = "mean", activation: str = "softmax",
        word_dropout: float = 0.0, **options: Any,
    ) -> None:  # fmt: skip
        if isinstance(backbone, Classifier):
            pooling, activation = backbone.pooling, backbone.activation
            if labels is None:
                labels = [str(number) for number in range(backbone.num_classes)]
        self.pooling, self.activation, self.word_dropout = pooling, activation, word_dropout
        super().__init__(backbone, tokenizer, labels, **options)

    # Preprocessing: rows to batches.

    def _learn(self, rows: Source) -> None:
        if rows.endless:
            if self.labels is None:
                raise InputError(
                    "an endless dataset: give labels=[...] or num_classes= when the task is made"
                )
            return
        counts = self._scan(rows).label_counts
        if len(counts) < 2 and not self._labels_given:
            raise InputError(
                f"{rows.name}: column {rows.columns[1]!r} has one class only "
                f"({next(iter(counts), '')!r}); give rows of two or more"
            )
        self._take_labels(list(counts))

    def _ids(self) -> dict[str, int]:
        """Return the number of each label; numbers stand for themselves."""
        ids = {canonical_label(label): number for number, label in enumerate(self.labels)}
        return {**{str(number): number for number in range(len(ids))}, **ids}

    def _chunks(self, rows: Source, seed: int | None = None) -> tf.data.Dataset:
        ids, weighted = self._ids(), "weight" in rows.columns
        # Bounds the memory for rows of megabytes; only spaces or words of hundreds of
        # characters could make a difference. Evaluation reads all.
        longest = None if seed is None else 100 * self.max_length

        def convert(row: Row) -> tuple:
            text, label, *weight = row.values
            number = ids.get(label, ids.get(canonical_label(label)))
            if number is None:
                raise InputError(
                    f"{rows.place(row.line)}: unknown label {label[:60]!r} in column "
                    f"{rows.columns[1]!r}; the labels are {', '.join(self.labels[:20])}"
                )
            return text[:longest], number, *map(float, weight)

        types = (tf.string, tf.int32, *((tf.float32,) if weighted else ()))
        return chunk_dataset(rows, convert, types, seed)

    def _batches(self, rows, batch_size, seed=None, in_order=False):
        chunks = self._chunks(rows, seed)
        number = None if rows.endless else self._scan(rows).rows
        if in_order:
            return in_order_batches(
                chunks, self.tokenizer, batch_size, self.max_length, rows=number
            )
        dropout = 0.0 if seed is None else self.word_dropout
        return length_bucketed(
            chunks, self.tokenizer, batch_size, self.max_length, seed, dropout, rows=number
        )

    def _batches_of_texts(self, texts, batch_size):
        texts = list(texts)
        chunks = tf.data.Dataset.from_tensor_slices((texts,)).batch(256)
        batches = in_order_batches(
            chunks, self.tokenizer, batch_size, self.max_length, rows=len(texts)
        )
        return batches.map(lambda batch: batch)

    def _check(self, rows):
        unknown = [label for label in self._scan(rows).label_counts
                   if label not in self._ids()]  # fmt: skip
        if unknown:
            raise InputError(
                f"{rows.name}: label {unknown[0]!r} in column {rows.columns[1]!r} does not occur "
                f"in the training rows, whose labels are {', '.join(self.labels[:20])}"
            )

    def _describe(self, rows):
        number = "endless" if rows.endless else self._scan(rows).rows
        limit = f"max_length {self.max_length}"
        cut = self._describe_cut(rows, self._chunks(rows), self._longer, limit)
        return f"{number} training rows, labels {', '.join(self.labels[:20])}{cut}"

    def _longer(self, text, *_):
        return longer_than(self.max_length - 2, self.tokenizer, text)

    def _class_weight(self, given):
        if given is None:
            return None
        ids = self._ids()
        if given == "balanced":
            counts = self._scan(self._sources[0]).label_counts
            mean = sum(counts.values()) / len(counts)
            given = {label: mean / count for label, count in counts.items()}
        return {ids[canonical_label(str(label))]: weight for label, weight in given.items()}

    # Head.

    def _new_model(self):
        return Classifier(
            self.backbone, len(self.labels), self._dropout, self.pooling, self.activation
        )

    def _objective(self):
        return {"loss": Crossentropy(self._label_smoothing), "metrics": [Accuracy()]}

    # Answers.

    def answers(self, texts: list, batch_size: int = 32) -> list[dict]:
        return [
            {
                "label": self.labels[int(row.argmax())],
                "probabilities": {
                    label: round(float(p), 6) for label, p in zip(self.labels, row, strict=True)
                },
            }
            for row in self.probabilities(texts, batch_size)
        ]

    def probabilities(self, texts: list, batch_size: int = 32) -> np.ndarray:
        """Return float32 `[C, classes]` for a list of str or bytes, in their order."""
        answer = self._function("answer", self._answer)
        result = np.zeros((len(texts), len(self.labels)), "float32")
        for rows, part in batches_by_length(texts, batch_size):
            result[rows] = answer(part).numpy()
        return result

    def _answer(self):
        @tf.function(input_signature=list(TEXT.values()), autograph=False)
        def answer(text):
            return self._probabilities(encode(self.tokenizer, text, self.max_length))

        return answer

    def _probabilities(self, batch):
        return self.model.probabilities(self.model(batch, training=False))

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0
    ) -> dict:
        """Measure: `accuracy`, `macro_f1` and, by class, precision, recall and F1.

        Args, errors: as of `Task.evaluate`.

        Returns:
            dict; see `classification_metrics`. `truncated`: texts of which the beginning was read.
            With `mistakes` also `confusion`, the matrix as
            lists (rows: true classes), and `worst_mistakes`, the surest wrong answers.
        """
        rows = self._read(x, y)
        if self._model is None:
            self._learn(rows)
        confusion = np.zeros((len(self.labels), len(self.labels)), int)
        worst = []
        with source_errors(rows):
            for text, label, *_ in self._chunks(rows).as_numpy_iterator():
                probabilities = self.probabilities(text, batch_size)
                predicted = probabilities.argmax(-1)
                np.add.at(confusion, (label, predicted), 1)
                for i in np.flatnonzero(label != predicted):
                    p, shown = probabilities[i, label[i]], text[i].decode("utf-8", "replace")[:500]
                    worst.append((float(p), int(label[i]), int(predicted[i]), shown))
                worst = sorted(worst)[:mistakes]
        metrics = classification_metrics(confusion, self.labels)
        metrics["truncated"] = self._truncated(rows, self._chunks(rows), self._longer)
        if mistakes:
            metrics["confusion"] = confusion.tolist()
            metrics["worst_mistakes"] = [
                {"text": text, "true": self.labels[true], "predicted": self.labels[wrong],
                 "probability": p}
                for p, true, wrong, text in worst
            ]  # fmt: skip
        return metrics

    def signatures(self) -> dict:
        """Return the signatures of a classifier.

        `serving_default` on `text` string `[B]`; `token_ids` on `token_ids`, `segment_ids` int32
        `[B, S]` and `padding_mask` bool `[B, S]`. Both give `label` string `[B]` and
        `probabilities` float32 `[B, C]`.
        """
        labels = tf.constant(self.labels)

        def classify(batch):
            probabilities = self._probabilities(batch)  # [B, C]
            label = tf.gather(labels, tf.argmax(probabilities, -1))
            return {"label": label, "probabilities": probabilities}

        def from_text(text):
            return classify(encode(self.tokenizer, text, self.max_length))

        def from_ids(**batch):
            return classify(batch)

        return {"serving_default": (from_text, TEXT), "token_ids": (from_ids, BATCH)}

    # What stays with a saved task.

    @classmethod
    def _saved_options(cls) -> tuple[str, ...]:
        return ("max_length", "pooling", "activation")

    @classmethod
    def _is_published(cls, directory: Path) -> bool:
        return head_of(directory) in ("first", "mean")

    @classmethod
    def _options_of(cls, directory: Path, labels: Sequence[str] | None) -> dict:
        options = super()._options_of(directory, labels)
        if cls._is_published(directory) and "pooling" not in options:
            options["pooling"] = head_of(directory)
            options["activation"] = activation_of(directory)
        return options
