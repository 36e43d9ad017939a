"""Metrics of predicted numbers: correlations and errors."""

import numpy as np


class ScoreOutcomes:
    """Collects predictions of one number a text."""

    def __init__(self) -> None:
        self._true: list[np.ndarray] = []
        self._predicted: list[np.ndarray] = []

    def add(self, true: np.ndarray, predicted: np.ndarray) -> None:
        """Add the true and predicted numbers of texts, float `[B]`."""
        self._true.append(true.astype(float))
        self._predicted.append(predicted.astype(float))

    def result(self) -> dict:
        """Return `examples`, `pearson`, `spearman`, `mean_absolute_error`, `rmse` and `r2`."""
        true, predicted = (np.concatenate([[], *side]) for side in (self._true, self._predicted))
        error = predicted - true
        spread = ((true - true.mean()) ** 2).sum() if len(true) else 0.0
        return {
            "examples": len(true),
            "pearson": pearson(true, predicted),
            "spearman": spearman(true, predicted),
            "mean_absolute_error": float(np.abs(error).mean()) if len(true) else 0.0,
            "rmse": float(np.sqrt((error**2).mean())) if len(true) else 0.0,
            "r2": float(1 - (error**2).sum() / spread) if spread else 0.0,
        }


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    """Return the linear correlation of two float `[N]`; 0 where one of them does not vary."""
    if len(one) < 2:
        return 0.0
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / scale) if scale else 0.0


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of the ranks of two float `[N]`; 0 where one does not vary."""
    return pearson(ranks(one), ranks(other))


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values from 1, float `[N]`; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]
