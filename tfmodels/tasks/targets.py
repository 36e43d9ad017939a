"""What a text is labelled with: one class, several labels, or a score.

In: the values of a label column. Out: what a model is trained on and with, and from its outputs
what a person reads, what a SavedModel answers and the metrics. `TextClassifier` asks one of these
three classes for all that differs between them.

B texts, C classes.
"""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfmodels.data.rows import Source, canonical_label
from tfmodels.errors import InputError
from tfmodels.metrics.calibration import best_temperature, best_thresholds, least_probability
from tfmodels.metrics.classification import ClassOutcomes
from tfmodels.metrics.label_sets import LabelOutcomes
from tfmodels.metrics.scores import ScoreOutcomes
from tfmodels.training.losses import Accuracy, BinaryCrossentropy, Crossentropy, SquaredError

SCORE = "score"  # name of the one class of a head that gives a score
ENOUGH = 100  # rows from which on a temperature or thresholds are chosen


class OneClass:
    """One of C classes for each text.

    Args:
        labels: names of the classes.
        out_of_scope: the label of texts of none of the others, or None.
        least: probability below which a text gets that label.
    """

    activation, monitor = "softmax", "val_accuracy"
    spec = tf.TensorSpec([None], tf.int32)

    def __init__(
        self, labels: Sequence[str], out_of_scope: str | None = None, least: float = 0.0
    ) -> None:
        self.labels, self.ids = list(labels), _ids(labels)
        self.out_of_scope, self._least = out_of_scope, least

    def number(self, label: Any) -> int:
        """Return what a model is trained on for a value of the label column.

        Raises:
            KeyError: an unknown label.
        """
        return _id(self.ids, label)

    def objective(self, label_smoothing: float) -> dict:
        """Return the loss and the metrics of a training."""
        return {"loss": Crossentropy(label_smoothing), "metrics": [Accuracy()]}

    def predicted(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the class of each text, int `[B]`, given float `[B, C]`."""
        best = probabilities.argmax(-1)
        if self.out_of_scope is not None:
            unsure = probabilities.max(-1) < self._least
            best = np.where(unsure, self.labels.index(self.out_of_scope), best)
        return best

    def answer(self, probabilities: np.ndarray) -> dict:
        """Return what a person reads about a text, given float `[C]`."""
        best = self.labels[int(self.predicted(probabilities[None])[0])]
        return {"label": best, "probabilities": named(self.labels, probabilities)}

    def served(self, probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the outputs of a signature, given float `[B, C]`; `classes` names the columns."""
        best = tf.argmax(probabilities, -1)
        if self.out_of_scope is not None:
            unsure = tf.reduce_max(probabilities, -1) < self._least
            outside = tf.constant(self.labels.index(self.out_of_scope), best.dtype)
            best = tf.where(unsure, outside, best)
        label = tf.gather(tf.constant(self.labels), best)
        classes = tf.broadcast_to(tf.constant(self.labels), tf.shape(probabilities))
        return {"label": label, "probabilities": probabilities, "classes": classes}

    def outcomes(self) -> ClassOutcomes:
        """Return an empty collection of predictions, for the metrics."""
        return ClassOutcomes(self.labels, self.out_of_scope)

    def add(self, outcomes: ClassOutcomes, true: np.ndarray, outputs: np.ndarray) -> None:
        """Add the outputs for texts, float `[B, C]`, to a collection."""
        outcomes.add(true, outputs, self.predicted(outputs))

    def mistake(self, true: Any, probabilities: np.ndarray) -> tuple[float, dict] | None:
        """Return a wrong answer and its rank, the lowest first; None if it is right.

        Args:
            true: int.
            probabilities: float `[C]`.
        """
        predicted = int(self.predicted(probabilities[None])[0])
        if predicted == true:
            return None
        p = float(probabilities[true])
        names = {"true": self.labels[true], "predicted": self.labels[predicted]}
        return p, {**names, "probability": p}

    def chosen(self, logits: np.ndarray, true: np.ndarray) -> dict:
        """Return what is chosen on held-out rows: `temperature`, perhaps `least_probability`.

        Args:
            logits: float `[N, C]`.
            true: int `[N]`.
        """
        temperature = best_temperature(logits, true)
        found = {"temperature": temperature}
        if self.out_of_scope is not None:
            probabilities = tf.nn.softmax(logits.astype(float) / temperature).numpy()
            outside = self.labels.index(self.out_of_scope)
            found["least_probability"] = least_probability(probabilities, true, outside)
        return found


class SeveralLabels:
    """Any number of C labels for each text.

    Args:
        labels: their names.
        thresholds: the probability of each from which on a text gets it; 0.5 if not given.
    """

    activation, monitor = "sigmoid", "val_average_precision"

    def __init__(self, labels: Sequence[str], thresholds: Sequence[float] | None = None) -> None:
        self.labels, self.ids = list(labels), _ids(labels)
        self.thresholds = [0.5] * len(labels) if thresholds is None else list(thresholds)
        self.spec = tf.TensorSpec([None, len(labels)], tf.float32)

    def number(self, labels: Any) -> list[float]:
        """Return 1 for each label of a text and 0 for the others: `[C]`; raises KeyError."""
        there = {_id(self.ids, label) for label in labels}
        return [float(number in there) for number in range(len(self.labels))]

    def objective(self, label_smoothing: float) -> dict:
        # Of the order of the probabilities alone: thresholds are chosen afterwards.
        precision = keras.metrics.AUC(
            curve="PR", multi_label=True, num_labels=len(self.labels), from_logits=True,
            name="average_precision",
        )  # fmt: skip
        return {"loss": BinaryCrossentropy(label_smoothing), "metrics": [precision]}

    def predicted(self, probabilities: np.ndarray) -> np.ndarray:
        """Return which labels each text gets: bool `[B, C]`."""
        return probabilities >= np.array(self.thresholds, probabilities.dtype)

    def answer(self, probabilities: np.ndarray) -> dict:
        there = self.predicted(probabilities)
        labels = [label for label, got in zip(self.labels, there, strict=True) if got]
        return {"labels": labels, "probabilities": named(self.labels, probabilities)}

    def served(self, probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return `labels`, those of a text first and then "", `probabilities` and `classes`."""
        there = probabilities >= tf.constant(self.thresholds, probabilities.dtype)
        names = tf.broadcast_to(tf.constant(self.labels), tf.shape(there))
        labels = tf.ragged.boolean_mask(names, there).to_tensor("")
        return {"labels": labels, "probabilities": probabilities, "classes": names}

    def outcomes(self) -> LabelOutcomes:
        return LabelOutcomes(self.labels)

    def add(self, outcomes: LabelOutcomes, true: np.ndarray, outputs: np.ndarray) -> None:
        outcomes.add(true > 0.5, outputs, self.predicted(outputs))

    def mistake(self, true: Any, probabilities: np.ndarray) -> tuple[float, dict] | None:
        there, wanted = self.predicted(probabilities[None])[0], true > 0.5
        if (there == wanted).all():
            return None
        # Of the labels that are wrong, the surest one.
        p = float(np.where(wanted, probabilities, 1 - probabilities)[there != wanted].min())
        true_labels, predicted = (
            [label for label, got in zip(self.labels, side, strict=True) if got]
            for side in (wanted, there)
        )
        return p, {"true": true_labels, "predicted": predicted, "probability": p}

    def chosen(self, logits: np.ndarray, true: np.ndarray, each: bool = True) -> dict:
        """Return the `thresholds` chosen on held-out rows.

        Args:
            logits: float `[N, C]`.
            true: 0 or 1 `[N, C]`.
            each: whether each label has its own.
        """
        probabilities = tf.sigmoid(logits).numpy()
        return {"thresholds": best_thresholds(probabilities, true > 0.5, each)}


class Score:
    """A number for each text.

    Args:
        mean, deviation: of the numbers that a model is trained on; what it gives is in units of
            the deviation from the mean.
    """

    activation, monitor = "linear", "val_r2"
    labels = [SCORE]
    spec = tf.TensorSpec([None, 1], tf.float32)

    def __init__(self, mean: float = 0.0, deviation: float = 1.0) -> None:
        self._mean, self._deviation = mean, deviation

    def number(self, value: Any) -> list[float]:
        """Return the number in the units of the training, `[1]`; raises KeyError."""
        return [(number_of(value) - self._mean) / self._deviation]

    def objective(self, label_smoothing: float) -> dict:
        if label_smoothing:
            raise InputError(f"label_smoothing {label_smoothing}: a score has no labels; use 0")
        return {"loss": SquaredError(), "metrics": [keras.metrics.R2Score(name="r2")]}

    def answer(self, value: np.ndarray) -> dict:
        return {"value": round(float(value[0]), 6)}

    def served(self, value: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"value": value[:, 0]}

    def outcomes(self) -> ScoreOutcomes:
        return ScoreOutcomes()

    def add(self, outcomes: ScoreOutcomes, true: np.ndarray, outputs: np.ndarray) -> None:
        outcomes.add(true[:, 0], outputs[:, 0])

    def mistake(self, true: Any, value: np.ndarray) -> tuple[float, dict] | None:
        wanted, found = float(true[0]), float(value[0])
        error = abs(found - wanted)
        return -error, {"true": wanted, "predicted": found, "error": error}

    def chosen(self, logits: np.ndarray, true: np.ndarray) -> dict:
        return {}


TARGETS: dict[str, Any] = {"class": OneClass, "labels": SeveralLabels, "score": Score}
TARGET_OF = {kind.activation: name for name, kind in TARGETS.items()}


def named(labels: Sequence[str], probabilities: np.ndarray) -> dict[str, float]:
    """Return the probability of each label, rounded."""
    return {label: round(float(p), 6) for label, p in zip(labels, probabilities, strict=True)}


def number_of(value: Any) -> float:
    """Return a value of a label column as a number; raises KeyError where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise KeyError(value) from None
    if not math.isfinite(number):
        raise KeyError(value)
    return number


def find_target(counts: Mapping[str, int], place: str) -> tuple[str, str | None]:
    """Return the kind of target that labels are of, and their separator if they have one.

    Args:
        counts: number of rows of each value of the label column.
        place: file and column, for messages.

    Raises:
        InputError: it is not plain: the values look like scores, or are very many.
    """
    fractions = [label for label in counts if "." in label and _is_number(label)]
    if len(fractions) > len(counts) / 2 or fractions and all(map(_is_number, counts)):
        raise InputError(
            f"{place} has fractions such as {fractions[0]}: give --target score to predict the "
            "number, or --target class for classes of these names (target= in Python)"
        )
    if len(counts) > MANY_CLASSES:
        raise InputError(
            f"{place} has {len(counts)} different values, such as {next(iter(counts))!r}: give "
            "--target score to predict a number, --target class if they are classes, or another "
            "--label_column"
        )
    for separator in SEPARATORS:
        joined = [label for label in counts if separator in label]
        parts = {canonical_label(part) for label in joined for part in label.split(separator)}
        # Plain: what is joined also stands alone.
        if joined and sum(part in counts for part in parts) > 0.9 * len(parts):
            return "labels", separator
    return "class", None


def count_labels(rows: Source, place: int) -> dict[str, int]:
    """Return the number of rows of each label, where a row has several.

    Args:
        rows: to read once.
        place: of the column of labels in a row.
    """
    counts: collections.Counter = collections.Counter()
    for row in rows.stream(None):
        counts.update(set(row.values[place]))
    whole = all(label.isdecimal() for label in counts)
    order = sorted(counts, key=lambda label: (int(label) if whole else 0, label))
    return {label: counts[label] for label in order}


MANY_CLASSES = 1000  # more values of a column than these are hardly classes
SEPARATORS = (",", "|", ";")  # that are looked for between several labels


def _ids(labels):
    """Return the number of each label; numbers stand for themselves, if no label is a number."""
    ids = {canonical_label(label): number for number, label in enumerate(labels)}
    if any(label.lstrip("-").isdecimal() for label in ids):
        return ids
    return {**{str(number): number for number in range(len(ids))}, **ids}


def _id(ids, label):
    return ids[label if label in ids else canonical_label(label)]


def _is_number(label):
    try:
        number_of(label)
    except KeyError:
        return False
    return True
