"""What the verbs of the command line print and write: metrics, mistakes, plots, a model card.

In: a trained task and its metrics. Out: JSON lines, and files in the model directory or the report.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from applications import cards, plots
from tfmodels.files import read_json, write_json

OF_REPORTS = ("confusion", "table")  # metrics that have a file of their own


def exported(version: Path) -> Path:
    """Print where a version of a SavedModel is, and how large it has become; return its path."""
    sizes = read_json(version / "signatures.json")["bytes"]
    before, after = (f"{sizes[key] / 1e6:.1f} MB" for key in ("float32_weights", "exported"))
    print(f"{after} exported; the weights in float32 are {before}", file=sys.stderr)
    print(json.dumps({"saved_model": str(version)}))
    return version


def write_lines(path: Path, objects: Iterable) -> None:
    """Write a JSON object a line."""
    lines = (json.dumps(value, ensure_ascii=False) + "\n" for value in objects)
    path.write_text("".join(lines), encoding="utf-8")


def print_measured(metrics: dict, mistakes: Iterable) -> dict:
    """Print what `evaluate` does: mistakes, and last of all the metrics, a JSON object a line.

    Returns:
        dict of the metrics that were printed: those without a file of their own in a report.
    """
    for mistake in mistakes:
        print(json.dumps({"mistake": mistake}, ensure_ascii=False))
    numbers = {key: value for key, value in metrics.items() if key not in OF_REPORTS}
    print(json.dumps(numbers, ensure_ascii=False))
    return numbers


def write(
    directory: Path, application: Any, task: Any, rows: Any, settings: Any, metrics: dict
) -> None:
    """Write what stands beside a trained model: plots, model card, `metrics.json`.

    Args:
        directory: of the model.
        application: `Application` that trained it.
        task, rows, settings, metrics: see `cards.write_card`.
    """
    history = task.history
    metric = (task.monitor or next(iter(application.kind.metrics))).removeprefix("val_")
    pictures = plots.draw(directory / "plots", history, metric, **application.plots(task, metrics))
    cards.write_card(directory, application, task, rows, settings, metrics, pictures)
    numbers = {key: value for key, value in metrics.items() if key not in OF_REPORTS}
    measured = {"history": history.history, "steps": history.steps, "best": history.best}
    write_json(directory / "metrics.json", {**numbers, **measured})
