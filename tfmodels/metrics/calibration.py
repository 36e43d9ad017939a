"""How far probabilities can be believed, and what is chosen on held-out rows: a temperature, the
thresholds of labels, the least probability of a class.

Expected calibration error and temperature scaling follow Guo et al. 2017 (arXiv:1706.04599). What
is chosen here must not be measured on the rows that it was chosen on.
"""

import numpy as np

BINS = 15
TEMPERATURES = (0.25, 4.0)  # smallest and largest


class Calibration:
    """Collects probabilities and whether they came true, in bins of equal width."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, BINS))  # number, sum of probabilities, number that came true

    def add(self, probabilities: np.ndarray, true: np.ndarray) -> None:
        """Add probabilities, float `[N]`, and whether each came true, bool `[N]`."""
        bins = np.minimum((probabilities.astype(float) * BINS).astype(int), BINS - 1)
        for row, values in enumerate((np.ones(len(bins)), probabilities, true)):
            self._sums[row] += np.bincount(bins, values, BINS)

    def error(self) -> float:
        """Return the expected calibration error: the mean distance of probability and share."""
        number, probability, true = self._sums
        return float(np.abs(probability - true).sum() / max(number.sum(), 1))


def best_temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """Return the number to divide logits by, so that their softmax is most likely right.

    Args:
        logits: float `[N, C]`.
        true: int `[N]`.
    """
    logits = logits.astype(float)
    of_true = logits[np.arange(len(true)), true]
    low, high = (1 / bound for bound in reversed(TEMPERATURES))
    # The loss is convex in the inverse of the temperature: its slope has one zero.
    for _ in range(50):
        factor = (low + high) / 2
        scaled = factor * logits
        weights = np.exp(scaled - scaled.max(-1, keepdims=True))
        mean = (weights * logits).sum(-1) / weights.sum(-1)
        low, high = (factor, high) if (mean - of_true).mean() < 0 else (low, factor)
    return 2 / (low + high)


def best_threshold(probabilities: np.ndarray, true: np.ndarray) -> float:
    """Return the probability from which on to predict a label, for the best F1.

    Args:
        probabilities: float `[N]`.
        true: bool `[N]`.

    Returns:
        Halfway between two of the probabilities; 0.5 where the label never occurs.
    """
    if not true.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    found, sorted_true = probabilities[order].astype(float), true[order]
    # F1 if the first k are predicted; only where the next one is less probable.
    right, predicted = np.cumsum(sorted_true), np.arange(1, len(order) + 1)
    f1 = 2 * right / (predicted + true.sum())
    following = np.append(found[1:], 0.0)
    best = int(np.argmax(np.where(found > following, f1, -1.0)))
    return float((found[best] + following[best]) / 2)


def best_thresholds(
    probabilities: np.ndarray, true: np.ndarray, each: bool, enough: int = 10
) -> list[float]:
    """Return the threshold of each label, for the best F1.

    Args:
        probabilities: float `[N, C]`.
        true: bool `[N, C]`.
        each: whether every label gets its own; else all get the one of the best micro F1, as do
            labels that are too rare.
        enough: number of rows with a label from which on it gets its own.
    """
    shared = best_threshold(probabilities.ravel(), true.ravel())
    if not each:
        return [shared] * true.shape[1]
    pairs = zip(probabilities.T, true.T, strict=True)
    return [best_threshold(p, t) if t.sum() >= enough else shared for p, t in pairs]


def least_probability(
    probabilities: np.ndarray, true: np.ndarray, outside: int, lost: float = 0.01
) -> float:
    """Return the probability below which a text is said to be out of scope.

    Args:
        probabilities: float `[N, C]`.
        true: int `[N]`.
        outside: number of the class of texts out of scope.
        lost: share of the right answers to texts in scope that may be lost by it.
    """
    right = (probabilities.argmax(-1) == true) & (true != outside)
    surest = np.sort(probabilities.max(-1)[right].astype(float))
    return float(surest[int(lost * len(surest))]) if len(surest) else 0.0
