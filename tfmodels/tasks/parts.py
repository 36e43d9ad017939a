"""Metrics of parts of the rows, side by side: by the length of texts, by the groups of a column."""

from collections.abc import Sequence
from typing import Any

import numpy as np

LENGTHS = (16, 32, 64, 128, 256, 512)  # numbers of tokens up to which texts are a part


class Parts:
    """Collects predictions by parts of the rows.

    Args:
        kind: one of the classes in `targets`.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._outcomes: dict[str, dict] = {}

    def add(
        self, name: str, groups: Sequence | np.ndarray, labels: np.ndarray, outputs: np.ndarray
    ) -> None:
        """Add texts.

        Args:
            name: of the division.
            groups: the part of each text.
            labels: of the texts.
            outputs: of a model for them.
        """
        groups = np.asarray(groups)
        for group in np.unique(groups):
            outcomes = self._outcomes.setdefault(name, {}).setdefault(
                group.item(), self._kind.outcomes()
            )
            self._kind.add(outcomes, labels[groups == group], outputs[groups == group])

    def results(self) -> dict[str, dict]:
        """Return `{name: {group: metrics}}`, without the metrics of single labels."""

        def numbers(outcomes):
            return {
                key: value
                for key, value in outcomes.result().items()
                if isinstance(value, int | float)
            }

        return {
            name: {str(group): numbers(parts[group]) for group in sorted(parts)}
            for name, parts in self._outcomes.items()
        }


def length_groups(lengths: np.ndarray) -> np.ndarray:
    """Return the part of each text by its number of tokens, such as "<= 016": str `[N]`."""
    width = len(str(LENGTHS[-1]))
    names = [f"<= {length:0{width}}" for length in LENGTHS] + [f"> {LENGTHS[-1]}"]
    return np.array(names)[np.searchsorted(LENGTHS, lengths)]
