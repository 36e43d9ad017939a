"""`TextClassifier`: one class, several labels or a score for a text or a pair of texts.

In: texts with labels. Out: `{"label": "positive", "probabilities": {"negative": 0.1, ...}}`,
`{"labels": [...], "probabilities": {...}}` or `{"value": 3.8}`, and a SavedModel that answers
strings with the same. Preprocessing, head, answers, in that order; what differs between the three
kinds of targets is in `targets.py`.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.checkpoints.bert import activation_of, head_of
from tfmodels.data.datasets import chunk_dataset, source_errors
from tfmodels.data.labels import separated
from tfmodels.data.memory import as_source
from tfmodels.data.rows import Row, Source, canonical_label, text_of
from tfmodels.errors import InputError
from tfmodels.layers.heads import POOLINGS
from tfmodels.models.baselines import ARCHITECTURES, BaselineEncoder
from tfmodels.models.classifier import Classifier
from tfmodels.models.hub import HubEncoder
from tfmodels.models.sentence_encoder import SentenceEncoder
from tfmodels.tasks import explanation, few_shot
from tfmodels.tasks.encoder import EncoderTask
from tfmodels.tasks.parts import Parts, length_groups
from tfmodels.tasks.signatures import BATCH, PAIR, TEXT
from tfmodels.tasks.targets import (
    ENOUGH,
    SCORE,
    TARGET_OF,
    TARGETS,
    OneClass,
    Score,
    SeveralLabels,
    count_labels,
    find_target,
    number_of,
)
from tfmodels.tasks.task import TrainingData, batches_by_length
from tfmodels.text.batching import encode, in_order_batches, length_bucketed
from tfmodels.text.packing import longer_than, pack, special_tokens
from tfmodels.text.wordpiece import WordPieceTokenizer
from tfmodels.training.callbacks import several
from tfmodels.training.contrastive import SimilarityLoss


class TextClassifier(EncoderTask):
    """Label texts, or pairs of texts: with one class, several labels or a score.

    Args:
        backbone: an encoder such as `Bert`, or a `Classifier`.
        tokenizer: its `WordPieceTokenizer` or `SubwordTokenizer`.
        labels: names of the classes; those of the rows that `fit` is given, if not given.
            Integer labels of rows are numbers of these.
        target: "class", one class for each text; "labels", any number of labels; "score", a
            number. If not given, it is found in the rows of `fit`: lists of labels, or labels
            that are joined by a separator, are several.
        pair: whether what is labelled is a pair of texts: `fit([(text, pair), ...], labels)`, or
            rows whose first two columns are texts.
        pooling: "first" (BERT's pooler), "mean" or "max" (of all tokens); "max" of a "cnn" and
            "mean" of the others, if not given.
        activation: of the head, see `Classifier`; that of the target, if not given.
        word_dropout: share of the words that are hidden in training, others every time, in texts
            of four and more.
        label_separator: between several labels in one text.
        thresholds: of several labels, the probability of each from which on a text gets it; see
            `calibrate`.
        out_of_scope: the label of texts of none of the other classes, for its own metrics and
            for texts of which the model is not sure; see `calibrate`.
        least_probability: of a class, below which a text is out of scope.
        **options: see `EncoderTask`. What is beyond the `max_length` tokens of a row is cut, of a
            pair from the longer text first.

    `fit(texts, labels)` trains on two lists, `fit(tfmodels.data.open_table("reviews.csv", "text",
    "label"))` on two columns of a file. `predict(texts)` returns for each a dict of `label` and
    `probabilities`, of `labels` and `probabilities`, or of `value`.

    Example:
        >>> task = TextClassifier.from_preset("google-bert/bert-base-uncased")
        >>> task.fit(["a joy", "a bore"], ["good", "bad"], epochs=3)
        >>> task.predict(["what a joy"])
    """

    application = "classification"
    weighs_classes = True
    smooths = True
    older_names = ("sentiment",)
    labelled = True
    head = Classifier
    architectures = ("transformer", *ARCHITECTURES)

    def __init__(
        self, backbone: keras.Model, tokenizer: WordPieceTokenizer,
        labels: Sequence[str] | None = None, *, target: str | None = None, pair: bool = False,
        pooling: str | None = None, activation: str | None = None, word_dropout: float = 0.0,
        label_separator: str | None = None, thresholds: Sequence[float] | None = None,
        out_of_scope: str | None = None, least_probability: float = 0.0, **options: Any,
    ) -> None:  # fmt: skip
        if isinstance(backbone, Classifier):
            pooling, activation = backbone.pooling, backbone.activation
            if labels is None:
                labels = [str(number) for number in range(backbone.num_classes)]
        if target not in (None, *TARGETS):
            raise InputError(f"target {target}: give one of {', '.join(TARGETS)}")
        self._target_given = target is not None
        if target == "score" and labels is None:
            labels = [SCORE]
        if target is None and (labels is not None or activation is not None):
            target = TARGET_OF[activation or "softmax"]
        self.pooling = pooling or getattr(backbone.config, "pooling", "mean")
        self.word_dropout, self.pair = word_dropout, pair
        self.label_separator, self.thresholds = label_separator, thresholds
        self.out_of_scope, self.least_probability = out_of_scope, least_probability
        self.columns = ("text", "pair", "label") if pair else ("text", "label")
        self.text_columns = len(self.columns) - 1
        self._new_head, self._units = False, (0.0, 1.0)
        self._range: tuple[float, float] | None = None
        self._set_target(target)
        super().__init__(backbone, tokenizer, labels, **options)
        if pair:
            self._check_segments("pair: ")

    def _set_target(self, target: str | None) -> None:
        self.target = target
        kind = TARGETS[target or "class"]
        self.activation, self.monitor = kind.activation, kind.monitor
        self.labelled = target in (None, "class")

    # Preprocessing: rows to batches.

    def _read(self, x: Any, y: Any = None, sample_weight: Any = None) -> Source:
        rows = as_source(x, y, sample_weight, self.columns, self.text_columns, several=True)
        if self.target is None:
            self._find_target(rows)
        column, several = rows.columns[self.text_columns], bool(rows.several)
        if several and self.target != "labels":
            raise InputError(
                f"{rows.name}: column {column!r} has lists of labels; make the task with "
                "target='labels' (--target labels)"
            )
        if self.target == "labels" and not several:
            return separated(rows, column, self.label_separator or ",")
        return rows

    def _find_target(self, rows: Source) -> None:
        """Find in the rows of a training what texts are labelled with."""
        target = "labels" if rows.several or self.label_separator else "class"
        if target == "class" and not rows.endless:
            place = f"{rows.name}: column {rows.columns[self.text_columns]!r}"
            target, self.label_separator = find_target(self._scan(rows).label_counts, place)
        if target != self.target:
            if self.target is not None:  # of a checkpoint, whose head is of another target
                self._model = self.labels = None  # type: ignore[assignment]
            self._set_target(target)

    def _training_data(
        self, x: Any, y: Any, sample_weight: Any, *others: Any, **options: Any
    ) -> TrainingData:
        # Of a checkpoint with one class a text, the rows may have another kind of target.
        if not self._target_given and self.target == "class" and not self._labels_given:
            rows = as_source(x, y, sample_weight, self.columns, self.text_columns, several=True)
            self._find_target(rows)
            x, y, sample_weight = rows, None, None
        return super()._training_data(x, y, sample_weight, *others, **options)

    def _learn(self, rows: Source) -> None:
        if rows.endless:
            if self.labels is None:
                raise InputError(
                    "an endless dataset: give labels=[...] or num_classes= when the task is made"
                )
            return
        if self.target == "score":
            self._learn_units(rows)
            return
        counts = self._label_counts(rows)
        least = 1 if self.target == "labels" else 2
        if len(counts) < least and not self._labels_given:
            raise InputError(
                f"{rows.name}: column {rows.columns[self.text_columns]!r} has one class only "
                f"({next(iter(counts), '')!r}); give rows of two or more"
            )
        self._take_labels(list(counts))

    def _learn_units(self, rows: Source) -> None:
        """Take the mean and the deviation of scores from the training rows."""
        numbers = []
        for row in rows.stream(None):
            try:
                numbers.append(number_of(row.values[self.text_columns]))
            except KeyError:
                raise self._no_label(rows, row) from None
        mean, deviation = float(np.mean(numbers)), float(np.std(numbers))
        if not deviation:
            raise InputError(f"{rows.name}: all scores are {numbers[0]:g}; give rows that differ")
        self._units, self._range = (mean, deviation), (min(numbers), max(numbers))
        if self.labels is None:  # a published head keeps its name
            self._take_labels([SCORE])

    def _label_counts(self, rows: Source) -> dict[str, int]:
        """Return the number of rows of each label."""
        if self.target == "class":
            return self._scan(rows).label_counts
        return count_labels(rows, self.text_columns)

    def _no_label(self, rows: Source, row: Row) -> InputError:
        """Return the error about a label that cannot be used."""
        label, column = row.values[self.text_columns], rows.columns[self.text_columns]
        if self.target == "score":
            return InputError(
                f"{rows.place(row.line)}: {label!r:.60} in column {column!r} is no number; correct "
                "the row, or give --target class"
            )
        if not isinstance(label, str):
            label = next(one for one in label if canonical_label(one) not in self._kind.ids)
        return InputError(
            f"{rows.place(row.line)}: unknown label {label[:60]!r} in column "
            f"{column!r}; the labels are {', '.join(self.labels[:20])}"
        )

    def _chunks(self, rows: Source, seed: int | None = None) -> tf.data.Dataset:
        weighted, texts = "weight" in rows.columns, self.text_columns
        # Bounds the memory for rows of megabytes; only spaces or words of hundreds of
        # characters could make a difference. Evaluation reads all.
        longest = None if seed is None else 100 * self.max_length

        def convert(row: Row) -> tuple:
            label, *weight = row.values[texts:]
            try:
                number = self._kind.number(label)  # of scores in the units of a training, in one
            except KeyError:
                raise self._no_label(rows, row) from None
            return *(text[:longest] for text in row.values[:texts]), number, *map(float, weight)

        types = ((tf.string,) * texts, (self._kind.spec,), (tf.float32,) * weighted)
        return chunk_dataset(rows, convert, sum(types, ()), seed)

    def _batches(self, rows, batch_size, seed=None, in_order=False):
        chunks = self._chunks(rows, seed)
        number = None if rows.endless else self._scan(rows).rows
        options = {"rows": number, "texts": self.text_columns}
        if in_order:
            return in_order_batches(chunks, self.tokenizer, batch_size, self.max_length, **options)
        dropout = 0.0 if seed is None else self.word_dropout
        return length_bucketed(
            chunks, self.tokenizer, batch_size, self.max_length, seed, dropout, **options
        )

    def _batches_of_texts(self, texts, batch_size):
        texts = list(texts)
        chunks = tf.data.Dataset.from_tensor_slices(tuple(self._sides(texts))).batch(256)
        batches = in_order_batches(
            chunks, self.tokenizer, batch_size, self.max_length, len(texts), self.text_columns
        )
        return batches.map(lambda batch: batch)

    def _texts(self, x):
        source = as_source(x, columns=self.columns[:-1], texts=self.text_columns)
        with source_errors(source):
            for row in source.stream(None):
                yield row.values[:2] if self.pair else row.values[0]

    def _check(self, rows):
        if self.target != "class":
            return  # such labels are checked as they are read
        unknown = [label for label in self._scan(rows).label_counts if label not in self._kind.ids]
        if unknown:
            raise InputError(
                f"{rows.name}: label {unknown[0]!r} in column {rows.columns[self.text_columns]!r} "
                f"does not occur in the training rows, whose labels are "
                f"{', '.join(self.labels[:20])}"
            )

    def _describe(self, rows):
        number = "endless" if rows.endless else self._scan(rows).rows
        limit = f"max_length {self.max_length}"
        cut = self._describe_cut(rows, self._chunks(rows), self._longer, limit)
        labels = ", ".join(self.labels[:20])
        texts = "training pairs" if self.pair else "training rows"
        if self.target in (None, "class"):
            return f"{number} {texts}, labels {labels}{cut}"
        if self.target == "labels":
            joined = f", separated by {self.label_separator!r}" if self.label_separator else ""
            return f"{number} {texts}, several labels a text{joined}: {labels}{cut}"
        known = "" if self._range is None else " from {:g} to {:g}".format(*self._range)
        return f"{number} {texts}, scores{known}{cut}"

    def _longer(self, text, *others):
        if not self.pair:
            return longer_than(self._room, self.tokenizer, text)
        lengths = [self.tokenizer.tokenize(side).row_lengths() for side in (text, others[0])]
        return sum(lengths) > self._room

    @property
    def _room(self) -> int:
        """Maximum number of tokens of a row beside the special ones."""
        return self.max_length - special_tokens(self.tokenizer, self.text_columns)

    def _class_weight(self, given):
        if given is None:
            return None
        if self.target != "class":
            raise InputError(
                f"class_weight: of one class a text, not of target {self.target!r}; leave it out"
            )
        ids = self._kind.ids
        if not isinstance(given, Mapping) and not (isinstance(given, str) and given == "balanced"):
            raise InputError("class_weight: give a dict of label and weight, or 'balanced'")
        if given == "balanced":
            counts = self._label_counts(self._sources[0])
            mean = sum(counts.values()) / len(counts)
            given = {label: mean / count for label, count in counts.items()}
        weights = dict.fromkeys(range(len(self.labels)), 1.0)  # of classes that are not named
        for label, weight in given.items():
            label = label.item() if hasattr(label, "item") else label
            name = canonical_label(text_of(label))
            if name not in ids:
                raise InputError(
                    f"class_weight: {label!r} is no class; give some of {', '.join(self.labels)}"
                )
            weights[ids[name]] = weight
        return weights

    # Head.

    def _new_model(self):
        return Classifier(
            self.backbone, len(self.labels), self._dropout, self.pooling, self.activation
        )

    def _make(self):
        made = self._model is None
        super()._make()
        # A head that was loaded, or trained here, gives scores in their own units.
        self._new_head = made and (self._preset is None or bool(self._loaded.new))
        self._set_kind()

    def _set_kind(self) -> None:
        """Make the object that knows the target, from what it consists of."""
        if self.target == "labels":
            self._kind: Any = SeveralLabels(self.labels, self.thresholds)
        elif self.target == "score":
            self._kind = Score()
        else:
            if self.out_of_scope is not None and self.out_of_scope not in self.labels:
                raise InputError(
                    f"out_of_scope {self.out_of_scope}: no label of the rows; give one of "
                    f"{', '.join(self.labels[:20])}"
                )
            self._kind = OneClass(self.labels, self.out_of_scope, self.least_probability)

    def _default_rate(self):
        # A shallow encoder is far from done with the learning rate of a deep one.
        shallow = isinstance(self.backbone, BaselineEncoder)
        return super()._default_rate() * (4 if shallow else 1)

    def _objective(self):
        return self._kind.objective(self._label_smoothing)

    @contextlib.contextmanager
    def _training(self) -> Iterator[None]:
        """Train on scores in units of their deviation from the mean, whatever their size."""
        if self.target != "score":
            yield
            self._new_head = False
            return
        mean, deviation = self._units
        if not self._new_head:
            self._scale_head(1 / deviation, -mean / deviation)
        self._kind = Score(mean, deviation)
        try:
            yield
        finally:
            self._scale_head(deviation, mean)
            self._new_head = False
            self._set_kind()

    def _scale_head(self, factor: float, shift: float = 0.0) -> None:
        """Multiply the logits by a factor and add a number to them."""
        logits = self.model.head.logits
        logits.kernel.assign(logits.kernel * factor)
        logits.bias.assign(logits.bias * factor + shift)

    def calibrate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, thresholds: str = "each"
    ) -> dict:
        """Choose on held-out rows what makes of outputs answers; it is saved and exported.

        Of one class: the temperature of the softmax, which is multiplied into the head, so that
        probabilities are as often right as they say; and, with `out_of_scope`, the probability
        below which a text is out of scope. Of several labels: their thresholds. Metrics should
        not be measured on the same rows.

        Args:
            x: as of `fit`.
            y: as of `fit`.
            batch_size: texts of a step.
            thresholds: "each" label has its own, or "one" for all.

        Returns:
            dict of what was chosen: `temperature`, `least_probability`, `thresholds`; empty for
            a score, and with fewer than 100 rows, which are too few.

        Raises:
            InputError: the data cannot be read or used.
        """
        if thresholds not in ("each", "one"):
            raise InputError(f"thresholds {thresholds}: give each or one")
        rows = self._read(x, y)
        if self.target == "score":
            return {}
        logits, true = [], []
        with source_errors(rows):
            for *texts, label in self._labelled_chunks(rows):
                logits.append(self._outputs("logits", self._joined(texts), batch_size)[0])
                true.append(label)
        if sum(map(len, true)) < ENOUGH:
            return {}
        each = {"each": thresholds == "each"} if self.target == "labels" else {}
        found = self._kind.chosen(np.concatenate(logits), np.concatenate(true), **each)
        if "temperature" in found:
            self._scale_head(1 / found["temperature"])
        self.thresholds = found.get("thresholds", self.thresholds)
        self.least_probability = found.get("least_probability", self.least_probability)
        self._set_kind()
        return found

    # Training on few rows.

    def fit(
        self, x: Any = None, y: Any = None, *args: Any, method: str = "fine_tuning", **options: Any
    ) -> keras.callbacks.History:
        """Train, as `Task.fit`.

        Args:
            x: as of `Task.fit`, as are `y` and all others.
            method: "fine_tuning", or "few_shot" for 8 to 32 rows of each class and a sentence
                encoder as the preset; see `tfmodels.tasks.few_shot`. That has `batch_size`,
                `epochs` (each reads every row ten times), `validation_data`, `validation_split`,
                `callbacks`, `verbose`, `seed`, `states`, `save_every` and `nonfinite`; the
                validation data are measured at the end. The learning rate from a preset is 2e-5 if
                `compile` was given none.

        Raises:
            InputError: as `Task.fit`; or there is no such method, or it is not for this task.
        """
        if method == "fine_tuning":
            return super().fit(x, y, *args, **options)
        if method != "few_shot":
            raise InputError(f"method {method}: give one of fine_tuning, few_shot")
        with self._strategy.scope():
            return self._fit_few_shot(x, y, *args, **options)

    def _fit_few_shot(
        self, x, y, batch_size=32, epochs=None, verbose="auto", callbacks=None,
        validation_split=0.0, validation_data=None, *, seed=0, states=None, save_every=None,
        nonfinite="stop", **others,
    ):  # fmt: skip
        """Train the encoder, then the head."""
        batch_size = 32 if batch_size is None else batch_size
        for name, value in others.items():
            if value is not None and (name, value) not in (("shuffle", True), ("evaluations", 1)):
                raise InputError(f"{name}: has no effect with method few_shot; leave it out")
        for name in ("loss", "metrics"):
            if self._compiling[name] != "auto":
                raise InputError(f"{name}: few_shot has its own; leave it out of compile")
        data = self._training_data(
            x, y, None, validation_data, validation_split, batch_size, seed, 1
        )
        if self.target != "class" or self.pooling == "first":
            raise InputError(
                "method few_shot: is for one class a text, from the mean or maximum of the states, "
                f"not for target {self.target} with pooling {self.pooling}"
            )
        chunks = list(self._labelled_chunks(self._sources[0]))
        texts = [text for *columns, _ in chunks for text in self._joined(columns)]
        classes = np.concatenate([labels for *_, labels in chunks])
        if len(np.unique(classes)) < 2:
            raise InputError("method few_shot: the rows are of one class; give rows of two or more")
        epochs = self.default_epochs if epochs is None else epochs
        steps = few_shot.encoder_steps(len(texts), batch_size, epochs)
        encoder = SentenceEncoder(self.backbone, self.pooling)
        objective = {"loss": SimilarityLoss(), "metrics": []}
        pretrained = self.started != "from scratch"
        rate = self._compile_for(
            steps, encoder, objective, few_shot.RATE_FROM_PRESET if pretrained else None
        )
        if verbose != 0:
            print(f"{data.line}; {self.started}", file=sys.stderr)
        history = few_shot.train_encoder(
            encoder, self.tokenizer, self._sides(texts), classes, max_length=self.max_length,
            batch_size=batch_size, steps=steps, seed=seed, epochs=epochs,
            callbacks=several(callbacks), states=states, save_every=save_every, verbose=verbose,
            nonfinite=nonfinite, advice=f"give a smaller learning rate than {rate:g}",
        )  # fmt: skip
        self._functions.clear()
        (states,) = self._outputs("states", texts, batch_size)
        head = self.model.head.logits
        kernel, bias = few_shot.fitted_head(states, classes, len(self.labels))
        head.kernel.assign(kernel)
        head.bias.assign(bias)
        if len(self._sources) > 1:
            measured = self.evaluate(self._sources[1], batch_size=batch_size)["accuracy"]
            history.history["val_accuracy"] = [measured]
        history.data, self.history = data.line, history
        return history

    # Answers.

    def answers(self, texts: list, batch_size: int = 32) -> list[dict]:
        return [self._kind.answer(row) for row in self.probabilities(texts, batch_size)]

    def probabilities(self, texts: list, batch_size: int = 32) -> np.ndarray:
        """Return float32 `[C, classes]` for C str or bytes, or pairs of these, in their order.

        Of a score it is the value: `[C, 1]`.
        """
        return self._outputs("answer", texts, batch_size)[0]

    def _outputs(self, name: str, texts: list, batch_size: int) -> list[np.ndarray]:
        """Return the outputs of one of the functions below for texts, in their order."""
        function = self._function(name, getattr(self, f"_{name}"))
        result: list[np.ndarray] = []
        for rows, part in batches_by_length(texts, batch_size):
            outputs = function(*(part.T if self.pair else (part,)))
            for place, output in enumerate(outputs):
                values = output.numpy()
                if len(result) == place:
                    result.append(np.zeros((len(texts), *values.shape[1:]), values.dtype))
                result[place][rows] = values
        return result or [np.zeros((0, len(self.labels)), "float32")]

    def _of_texts(self, compute):
        """Return a traced function of texts, or of texts and pairs."""
        specs = list((PAIR if self.pair else TEXT).values())
        return tf.function(compute, input_signature=specs, autograph=False)

    def _answer(self):
        def answer(*texts):
            return (self._probabilities(encode(self.tokenizer, *_around(texts, self.max_length))),)

        return self._of_texts(answer)

    def _logits(self):
        def logits(*texts):
            batch = encode(self.tokenizer, *_around(texts, self.max_length))
            return (tf.cast(self.model(batch, training=False), tf.float32),)

        return self._of_texts(logits)

    def _states(self):
        """Return a function that gives the pooled states, float32 `[B, H]`."""

        def states(*texts):
            batch = encode(self.tokenizer, *_around(texts, self.max_length))
            pooled = self.model.pooler(self.backbone(batch), batch["padding_mask"])
            return (tf.cast(pooled, tf.float32),)

        return self._of_texts(states)

    def _measured(self):
        """Return a function that gives outputs, number of tokens and number of unknown ones."""

        unk_id = -1 if self.tokenizer.unk_id is None else self.tokenizer.unk_id

        def measured(*texts):
            ids = [self.tokenizer.tokenize(text) for text in texts]
            batch = pack(self.tokenizer, *_around(ids, self.max_length))
            unknown = [tf.reduce_sum(tf.cast(side == unk_id, tf.int64), 1) for side in ids]
            lengths = sum(side.row_lengths() for side in ids)
            return self._probabilities(batch), lengths, sum(unknown)

        return self._of_texts(measured)

    def _probabilities(self, batch):
        return self.model.probabilities(self.model(batch, training=False))

    def explain(self, x: Any, label: str | None = None, batch_size: int = 32) -> list[dict]:
        """Answer texts, and say how much each word speaks for a label.

        The score of a label is its log odds, log p / (1 - p); where the target is a score it is
        the value. The parts of the words add up to what the score gains over the same text with
        every word masked, up to 1 %; see `tfmodels.tasks.explanation`.

        Args:
            x: as of `predict`.
            label: to explain; of each text the one it was given, or of several labels the
                likeliest one, if not given.
            batch_size: texts of a step.

        Returns:
            for each text the answer of `predict` with its `text` (and `pair`) and an
            `explanation`: dict of `label`, `score`, `baseline` (the score without the words),
            `complete` (whether the parts add up) and `words` (and `pair_words`), each a dict of
            `word`, `start`, `end` (its characters in the text) and `part`.

        Raises:
            InputError: no texts, or an unknown label.
        """
        if label is not None and label not in self.labels:
            raise InputError(f"label {label!r}: give one of {', '.join(self.labels[:20])}")
        if isinstance(self.backbone, HubEncoder):
            raise InputError(
                f"explain: needs the embeddings, and {self.backbone.config.backbone} takes token "
                "ids only; use a BERT"
            )
        texts = list(self._texts(x))
        answers = self.answers(texts, batch_size)
        score = self._function("score", lambda: explanation.score_of(self.model))
        table = self.backbone.embeddings.token
        for rows, _ in batches_by_length(texts, batch_size):
            sides = self._sides([texts[row] for row in rows])
            named = [label or self._explained_label(answers[row]) for row in rows]
            chosen = [self.labels.index(name) for name in named]
            found = explanation.explained(
                score, table, self.tokenizer, sides, self.max_length, chosen
            )
            for row, name, parts in zip(rows, named, found, strict=True):
                own = dict(zip(self.columns, (side[0] for side in self._sides([texts[row]])),
                               strict=False))  # fmt: skip
                answers[row] = {**own, **answers[row], "explanation": {"label": name, **parts}}
        return answers

    def _explained_label(self, answer):
        """Return the label to explain of an answer."""
        probabilities = answer.get("probabilities", {SCORE: 1.0})
        return answer.get("label") or max(probabilities, key=probabilities.__getitem__)

    def _sides(self, texts):
        """Return texts, or pairs of them, as one list or two."""
        return [list(side) for side in zip(*texts, strict=True)] if self.pair else [texts]

    def _joined(self, columns):
        """Return columns of texts as a list of texts, or of pairs."""
        return list(zip(*columns, strict=True)) if self.pair else list(columns[0])

    def _labelled_chunks(self, rows):
        """Yield `(text, [pair,] label)`, arrays of C rows each, in their order."""
        for values in self._chunks(rows).as_numpy_iterator():
            yield values[: self.text_columns + 1]

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int = 32, *, mistakes: int = 0,
        groups: Sequence[str] | None = None,
    ) -> dict:  # fmt: skip
        """Measure the model on labelled texts.

        Args, errors: as of `Task.evaluate`.
            groups: the name of the group of each row, to measure side by side.

        Returns:
            dict; see `ClassOutcomes`, `LabelOutcomes` or `ScoreOutcomes` for the metrics of the
            target. `truncated`: rows of which the beginning was read; `unknown_tokens`: the share
            of [UNK]; `by_length`, and with `groups` `by_group`: the main metrics of parts of the
            rows. With `mistakes` also `worst_mistakes`, the surest wrong answers, and of one class
            `confusion`, the matrix as lists (rows: true classes).
        """
        rows = self._read(x, y)
        if self._model is None:
            self._learn(rows)
        total, parts = self._kind.outcomes(), Parts(self._kind)
        worst: list = []
        tokens = unknown = cut = number = 0
        with source_errors(rows):
            for *columns, label in self._labelled_chunks(rows):
                texts = self._joined(columns)
                outputs, lengths, unknowns = self._outputs("measured", texts, batch_size)
                self._kind.add(total, label, outputs)
                parts.add("by_length", length_groups(lengths), label, outputs)
                if groups is not None:
                    of_rows = groups[number : number + len(texts)]
                    parts.add("by_group", of_rows, label, outputs)
                tokens, unknown = tokens + int(lengths.sum()), unknown + int(unknowns.sum())
                cut += int((lengths > self._room).sum())
                number += len(texts)
                if mistakes:
                    found = self._mistakes(texts, label, outputs)
                    worst = sorted([*worst, *found], key=lambda item: item[0])[:mistakes]
        metrics = total.result()
        metrics |= {"truncated": cut, "unknown_tokens": unknown / max(tokens, 1)}
        metrics |= parts.results()
        if mistakes:
            if self.target == "class":
                metrics["confusion"] = total.confusion.tolist()
            metrics["worst_mistakes"] = [mistake for _, mistake in worst]
        return metrics

    def _mistakes(self, texts, labels, outputs):
        """Yield `(rank, mistake)` of the texts that are answered wrongly."""
        for text, true, output in zip(texts, labels, outputs, strict=True):
            mistake = self._kind.mistake(true, output)
            if mistake is not None:
                sides = text if self.pair else (text,)
                shown = (side.decode("utf-8", "replace")[:500] for side in sides)
                named = dict(zip(self.columns, shown, strict=False))
                yield mistake[0], {**named, **mistake[1]}

    def signatures(self) -> dict:
        """Return the signatures of a classifier.

        `serving_default` on `text`, and of pairs `pair`, string `[B]`; `token_ids` on `token_ids`,
        `segment_ids` int32 `[B, S]` and `padding_mask` bool `[B, S]`. Both give `label` string
        `[B]` and `probabilities` float32 `[B, C]`; or `labels` string `[B, N]`, those of a row
        first and then "", and `probabilities`; or `value` float32 `[B]`. `classes` string `[B, C]`
        are the labels that the probabilities are of.
        """

        def from_text(text, pair=None):
            return self._kind.served(
                self._probabilities(encode(self.tokenizer, text, self.max_length, pair))
            )

        def from_ids(**batch):
            return self._kind.served(self._probabilities(batch))

        texts = PAIR if self.pair else TEXT
        return {"serving_default": (from_text, texts), "token_ids": (from_ids, BATCH)}

    def _served_labels(self):
        return None if self.target == "score" else super()._served_labels()

    def _contract(self):
        name = self.application if self.target == "class" else str(self.target)
        return f"{name} of pairs" if self.pair else name

    # What stays with a saved task.

    @classmethod
    def _saved_options(cls) -> tuple[str, ...]:
        return ("max_length", "pooling", "activation", "target", "pair", "label_separator",
                "thresholds", "out_of_scope", "least_probability")  # fmt: skip

    @classmethod
    def _merged(cls, saved: dict, options: dict) -> dict:
        target = saved.pop("target", TARGET_OF[saved.get("activation", "softmax")])
        if "labels" in saved and options.get("target", target) not in (None, target):
            # The head is of another target.
            kept = ("max_length", "pooling", "pair")
            saved = {name: value for name, value in saved.items() if name in kept}
        return {**saved, **options}

    @classmethod
    def _is_published(cls, directory: Path) -> bool:
        return head_of(directory) in POOLINGS

    @classmethod
    def _options_of(cls, directory: Path, labels: Sequence[str] | None) -> dict:
        options = super()._options_of(directory, labels)
        if cls._is_published(directory) and "pooling" not in options:
            options["pooling"] = head_of(directory)
            options["activation"] = activation_of(directory)
        return options


def _around(texts, max_length):
    """Return the arguments of `encode` and `pack` behind the tokenizer."""
    text, *pair = texts
    return text, max_length, *pair
