"""How good a classifier is: the numbers that follow from a confusion matrix. No tensors."""

from collections.abc import Sequence

import numpy as np


def classification_metrics(confusion: np.ndarray, labels: Sequence[str]) -> dict:
    """The usual metrics of a classifier.

    Args:
        confusion: int `[C, C]`; row: the true class, column: the predicted one.
        labels: C strings.

    Returns:
        dict: `examples`, `accuracy`, `macro_f1` (the mean of the classes' F1) and, by
        label, `precision`, `recall`, `f1` and `examples`. A class that was never
        predicted has precision 0, one without examples recall 0.
    """
    right = np.diag(confusion).astype(float)
    true, predicted = confusion.sum(1), confusion.sum(0)
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(true, 1)
    f1 = 2 * right / np.maximum(true + predicted, 1)
    examples = int(confusion.sum())
    return {
        "examples": examples,
        "accuracy": float(right.sum() / max(examples, 1)),
        "macro_f1": float(f1.mean()),
        "classes": {
            label: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "examples": int(true[i]),
            }
            for i, label in enumerate(labels)
        },
    }
