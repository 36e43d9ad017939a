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

COLOURS = (36, 33, 35, 32, 34, 31)  # of a terminal, one a type
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
    measured = {
        "history": history.history, "steps": history.steps, "best": history.best,
        "input_wait_share": history.input_wait_share,
    }  # fmt: skip
    write_json(directory / "metrics.json", {**numbers, **measured})


def coloured(text: str, spans: list[dict], types: list[str]) -> str:
    """Return a text with spans in the colours of a terminal, each followed by its type."""
    parts, at = [], 0
    for span in spans:
        colour = COLOURS[types.index(span["type"]) % len(COLOURS)]
        parts += [text[at : span["start"]], f"\x1b[{colour};1m{text[span['start']:span['end']]}",
                  f"\x1b[0m\x1b[{colour}m/{span['type']}\x1b[0m"]  # fmt: skip
        at = span["end"]
    return "".join([*parts, text[at:]])


def span_tables(name: str, types: dict, overall: dict, confusions: list[dict]) -> list[str]:
    """Return the tables of spans by type and of the kinds of mistakes.

    Args:
        name: of the types.
        types: metrics of each type.
        overall: metrics of all.
        confusions: see `metrics.entities.confusions`.
    """
    from tfmodels.metrics.tables import table

    names = ("precision", "recall", "f1", "support")
    rows = [(kind, *(row[key] for key in names)) for kind, row in types.items()]
    rows.append(("all", *(overall[key] for key in names)))
    wrong = [(row["error"], row["gold"] or "", row["predicted"] or "", row["count"])
             for row in confusions[:10]]  # fmt: skip
    number = "entities" if name == "type" else "number"
    return [
        table((name, "precision", "recall", "F1", number), rows),
        table(("mistake", "gold", "predicted", "times"), wrong) if wrong else "No mistakes.",
    ]
