"""Rows of answers: put together, taken apart and compared, whatever padding they have.

In: dicts from output to array, the batch first. Out: the same. A signature pads the rows of a batch
to the widest: texts with "", numbers with 0, positions of characters with -1, masks with False. So
the width of an answer depends on what else was in its batch, and its content does not. NumPy alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

# Outputs such as `predicate_start`, whose padding is not 0: no character is at -1.
_POSITIONS = ("start", "end")


def padding_of(name: str, dtype: np.dtype) -> Any:
    """Return what fills the rows of an output that are shorter than others."""
    if dtype.kind in "OSU":
        return b""
    is_position = name.rpartition("_")[2] in _POSITIONS and dtype.kind in "iu"
    return -1 if is_position else dtype.type(0)


def widened(name: str, value: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return an array with padding up to a shape; the first dimension stays."""
    missing = [(0, max(0, size - have)) for size, have in zip(shape[1:], value.shape[1:])]  # noqa: B905
    if not any(number for _, number in missing):
        return value
    return np.pad(value, [(0, 0), *missing], constant_values=padding_of(name, value.dtype))


def joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the rows of several answers one after the other, as wide as the widest.

    Args:
        parts: at least one, all with the same outputs.
    """
    if len(parts) == 1:
        return parts[0]
    found = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        widest = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
        found[name] = np.concatenate([widened(name, value, widest) for value in values])
    return found


def difference(name: str, answer: np.ndarray | None, expected: np.ndarray) -> float | None:
    """Return the largest difference of two answers up to padding; None if they are not alike.

    Args:
        name: of the output.
        answer: what is compared, or None.
        expected: with what.
    """
    if answer is None or answer.ndim != expected.ndim or len(answer) != len(expected):
        return None
    shape = np.maximum(answer.shape, expected.shape).tolist()
    answer, expected = widened(name, answer, shape), widened(name, expected, shape)
    if expected.dtype.kind == "f":
        return float(np.abs(answer - expected).max(initial=0.0))
    return 0.0 if np.array_equal(answer, expected) else None
