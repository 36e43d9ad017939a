"""Metrics of texts with several labels each: F1 by label, micro and macro, and Jaccard's index."""

from collections.abc import Sequence

import numpy as np

from tfmodels.metrics.calibration import Calibration
from tfmodels.metrics.classification import metrics_by_label


class LabelOutcomes:
    """Collects predictions of several labels a text.

    Args:
        labels: names of the C labels.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = list(labels)
        self._counts = np.zeros((3, len(labels)), int)  # right, predicted, true
        self._rows, self._jaccard, self._exact = 0, 0.0, 0
        self._calibration = Calibration()

    def add(self, true: np.ndarray, probabilities: np.ndarray, predicted: np.ndarray) -> None:
        """Add texts.

        Args:
            true: bool `[B, C]`.
            probabilities: float `[B, C]`.
            predicted: bool `[B, C]`.
        """
        right, either = true & predicted, true | predicted
        self._counts += [part.sum(0) for part in (right, predicted, true)]
        self._rows += len(true)
        self._jaccard += float((right.sum(1) / np.maximum(either.sum(1), 1)).sum())
        self._exact += int((true == predicted).all(1).sum())
        self._calibration.add(probabilities.ravel(), true.ravel())

    def result(self) -> dict:
        """Return the metrics.

        Returns:
            dict: `examples`; `micro_f1` of all labels together, `macro_f1`, the mean over the
            labels; `jaccard`, the mean over the texts of the share of labels, among those that
            are true or predicted, that are both (0 where there are none, as in scikit-learn);
            `exact`, the share of texts with all labels right; `calibration_error`, of the
            probabilities of all labels; `classes`, as in `classification_metrics`.
        """
        right, predicted, true = self._counts
        classes = metrics_by_label(self._labels, right, predicted, true)
        return {
            "examples": self._rows,
            "micro_f1": float(2 * right.sum() / max(predicted.sum() + true.sum(), 1)),
            "macro_f1": float(np.mean([of_label["f1"] for of_label in classes.values()])),
            "jaccard": self._jaccard / max(self._rows, 1),
            "exact": self._exact / max(self._rows, 1),
            "calibration_error": self._calibration.error(),
            "classes": classes,
        }
