"""Metrics of classification, computed from a confusion matrix."""

from collections.abc import Sequence

import numpy as np


def classification_metrics(confusion: np.ndarray, labels: Sequence[str]) -> dict:
    """Return accuracy, precision, recall and F1.

    Args:
        confusion: int `[C, C]`, rows by true class, columns by predicted class.
        labels: names of the C classes.

    Returns:
        dict: `examples`, `accuracy`, `macro_f1` (the mean F1 over the classes) and `classes`: a
        dict of `precision`, `recall`, `f1` and `examples` for each label. A class that is never
        predicted has precision 0; a class without examples has recall 0.
    """
    correct = np.diag(confusion).astype(float)
    true, predicted = confusion.sum(1), confusion.sum(0)
    precision = correct / np.maximum(predicted, 1)
    recall = correct / np.maximum(true, 1)
    f1 = 2 * correct / np.maximum(true + predicted, 1)
    examples = int(confusion.sum())
    return {
        "examples": examples,
        "accuracy": float(correct.sum() / max(examples, 1)),
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
