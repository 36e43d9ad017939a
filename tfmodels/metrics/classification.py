"""Metrics of classification: one class a text.

In: true classes and predicted probabilities, part by part. Out: accuracy, F1, Matthews'
correlation, the calibration of the probabilities, and what is confused most often.
"""

from collections.abc import Sequence

import numpy as np

from tfmodels.metrics.calibration import Calibration

MANY_LABELS = 30  # a confusion matrix of more is not read; its largest entries are listed
CONFUSED = 20  # number of these


class ClassOutcomes:
    """Collects predictions of one class a text.

    Args:
        labels: names of the C classes.
        out_of_scope: the one that stands for texts of none of the others, if there is one.
    """

    def __init__(self, labels: Sequence[str], out_of_scope: str | None = None) -> None:
        self._labels, self._outside = list(labels), out_of_scope
        self.confusion = np.zeros((len(labels), len(labels)), int)
        self._calibration, self._loss = Calibration(), 0.0

    def add(self, true: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> None:
        """Add texts.

        Args:
            true: int `[B]`.
            probabilities: float `[B, C]`.
            predicted: int `[B]`.
        """
        np.add.at(self.confusion, (true, predicted), 1)
        best = probabilities.argmax(-1)
        self._calibration.add(probabilities.max(-1, initial=0.0), best == true)
        of_true = probabilities[np.arange(len(true)), true].astype(float)
        self._loss -= float(np.log(np.maximum(of_true, 1e-12)).sum())

    def result(self) -> dict:
        """Return `classification_metrics` with `log_loss` and `calibration_error`.

        With a label for texts out of scope also `in_scope_accuracy`, of the other texts, and
        `out_of_scope_recall`, the share of such texts that are recognized.
        """
        metrics = classification_metrics(self.confusion, self._labels)
        classes = metrics.pop("classes")
        metrics["log_loss"] = self._loss / max(metrics["examples"], 1)
        metrics["calibration_error"] = self._calibration.error()
        if self._outside in self._labels:
            outside = self._labels.index(self._outside)
            inside = np.delete(self.confusion, outside, 0)
            right = np.trace(self.confusion) - self.confusion[outside, outside]
            metrics["in_scope_accuracy"] = float(right / max(inside.sum(), 1))
            metrics["out_of_scope_recall"] = classes[self._outside]["recall"]
        metrics["classes"] = classes
        if len(self._labels) > MANY_LABELS:
            metrics["confused"] = most_confused(self.confusion, self._labels)
        return metrics


def classification_metrics(confusion: np.ndarray, labels: Sequence[str]) -> dict:
    """Return accuracy, precision, recall, F1 and Matthews' correlation.

    Args:
        confusion: int `[C, C]`, rows by true class, columns by predicted class.
        labels: names of the C classes.

    Returns:
        dict: `examples`, `accuracy`, `macro_f1` (the mean F1 over the classes), of two classes
        `f1` (of the second one), `matthews` and `classes`: a dict of `precision`, `recall`, `f1`
        and `examples` for each label. A class that is never predicted has precision 0; a class
        without examples has recall 0.
    """
    correct, examples = np.diag(confusion), int(confusion.sum())
    classes = metrics_by_label(labels, correct, confusion.sum(0), confusion.sum(1))
    f1 = [of_label["f1"] for of_label in classes.values()]
    return {
        "examples": examples,
        "accuracy": float(correct.sum() / max(examples, 1)),
        "macro_f1": float(np.mean(f1)),
        **({"f1": f1[1]} if len(labels) == 2 else {}),
        "matthews": matthews(confusion),
        "classes": classes,
    }


def metrics_by_label(
    labels: Sequence[str], right: np.ndarray, predicted: np.ndarray, true: np.ndarray
) -> dict[str, dict]:
    """Return `precision`, `recall`, `f1` and `examples` of each label, 0 where nothing is there.

    Args:
        labels: names of the C labels.
        right: numbers of texts that rightly got each of them, `[C]`.
        predicted: that got it, `[C]`.
        true: that have it, `[C]`.
    """
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(true, 1)
    f1 = 2 * right / np.maximum(predicted + true, 1)
    return {
        label: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "examples": int(true[i]),
        }
        for i, label in enumerate(labels)
    }


def matthews(confusion: np.ndarray) -> float:
    """Return the correlation of true and predicted classes (Gorodkin 2004), -1 to 1.

    Args:
        confusion: int `[C, C]`. Where all texts are of one class, or get one, it is 0.
    """
    total = int(confusion.sum())
    true, predicted = confusion.sum(1).astype(float), confusion.sum(0).astype(float)
    shared = float(np.trace(confusion)) * total - true @ predicted
    spread = (float(total) ** 2 - true @ true) * (float(total) ** 2 - predicted @ predicted)
    return float(shared / np.sqrt(spread)) if spread else 0.0


def most_confused(confusion: np.ndarray, labels: Sequence[str], number: int = CONFUSED) -> list:
    """Return the pairs of labels that are confused most often, in either direction.

    Args:
        confusion: int `[C, C]`, rows by true class.
        labels: their names.
        number: maximum number of pairs.

    Returns:
        list of dicts `labels` (of two names), `times`, and `as_second`: how many texts of the
        first label got the second one.
    """
    both = np.triu(confusion + confusion.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:number]
    pairs = zip(*np.unravel_index(order, both.shape), strict=True)
    return [
        {"labels": [labels[a], labels[b]], "times": int(both[a, b]),
         "as_second": int(confusion[a, b])}
        for a, b in pairs if both[a, b]
    ]  # fmt: skip
