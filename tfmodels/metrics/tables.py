"""Markdown tables of metrics, for model cards and reports."""

from collections.abc import Iterable, Sequence


def table(columns: Sequence, rows: Iterable[Sequence]) -> str:
    """Return a Markdown table; floats have four decimals."""

    def cell(value):
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|")

    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)
