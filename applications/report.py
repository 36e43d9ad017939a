"""What a person looks at after training: curves, a confusion matrix, mistakes, a model card.

In: numbers. Out: PNG files, JSON and Markdown in the model directory.
"""

import json
import sys
from pathlib import Path

import numpy as np

from tfmodels.errors import first_line
from tfmodels.files import read_json, refuse_existing, write_json

OF_REPORTS = ("confusion", "table")  # metrics that have a file of their own


def _figure(width, height):
    # The object interface: pyplot would start a window system and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plot_confusion(path, confusion, labels):
    """Write the confusion matrix as a PNG, rows in per cent of the true class."""
    confusion = np.asarray(confusion)
    size = min(4 + 0.5 * len(labels), 24)
    figure = _figure(size + 1, size)
    axes = figure.add_subplot()
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class")
    # The fonts of matplotlib have no Chinese; a "$" would start a formula.
    names = [label if label.isascii() else f"class {i}" for i, label in enumerate(labels)]
    if len(labels) <= 100:
        axes.set_xticks(range(len(labels)), names, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(labels)), names, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(labels) <= 20:
        for row, column in np.ndindex(confusion.shape):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(
                column, row, str(confusion[row, column]), ha="center", va="center", color=colour
            )
    figure.savefig(path, dpi=120)


def plot_curves(path, history):
    """Writes the curves of a training as a PNG.

    Args:
        path: the file.
        history: dict from metric name to its values, one an evaluation; a name `val_X` is
            drawn into the panel of `X`.
    """
    # Some are measured on held-out rows only, such as ROUGE.
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    figure = _figure(5 * len(names), 4)
    for panel, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), panel)
        for key, label in ((name, "training"), (f"val_{name}", "held out")):
            if key in history:
                axes.plot(range(1, len(history[key]) + 1), history[key], marker="o", label=label)
        axes.set_xlabel("evaluation")
        axes.set_title(name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    figure.savefig(path, dpi=120)


def plot(directory, history, confusion=None, labels=None):
    """Write `curves.png` and, if given, `confusion.png`; say so if they cannot be drawn.

    A picture that fails must not cost the training that it shows.

    Returns:
        list of the names of the pictures that were drawn.
    """
    drawn = []
    try:
        directory.mkdir(exist_ok=True)
        plot_curves(directory / "curves.png", history)
        drawn.append("curves")
        if confusion is not None:
            plot_confusion(directory / "confusion.png", np.asarray(confusion), labels)
            drawn.append("confusion")
    except Exception as error:
        if isinstance(error, OSError):
            raise  # a full disk: the model would not be whole either
        print(f"tfmodels: warning: no plots ({first_line(error)})", file=sys.stderr)
    return drawn


def write_card(directory, title, paragraphs, settings, pictures=("curves",)):
    """Write the model card, `README.md`: what it is, how it was made, how good it is.

    Args:
        directory: of the model.
        title: heading.
        paragraphs: Markdown, a str each; see `metrics.tables.table`.
        settings: dataclass of the verb that trained. Paths of this machine become names.
        pictures: names of the PNG files in `plots/`.
    """
    values = {name: _public(value) for name, value in vars(settings).items()}
    data = values.get("train_file") or values.get("text_files") or values.get("records_dir")
    start = "from scratch" if values["checkpoint"] == "none" else f"from `{values['checkpoint']}`"
    lines = [f"# {title}", "", f"Trained with `tfmodels` on `{data}`, {start}.", ""]
    for paragraph in paragraphs:
        lines += [paragraph, ""]
    for picture in pictures:
        lines += [f"![{picture.capitalize()}](plots/{picture}.png)", ""]
    lines += ["Settings:", "", "```json"]
    lines += [json.dumps(values, indent=2, ensure_ascii=False), "```", ""]
    (Path(directory) / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _public(value):
    """Return a setting without the folders of this machine."""
    if isinstance(value, list):
        return [_public(part) for part in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def exported(version):
    """Says where a version of a SavedModel is, and how large it has become; returns its path."""
    sizes = read_json(version / "signatures.json")["bytes"]
    before, after = (f"{sizes[key] / 1e6:.1f} MB" for key in ("float32_weights", "exported"))
    print(f"{after} exported; the weights in float32 are {before}", file=sys.stderr)
    print(version)
    return version


def write_mistakes(directory, mistakes):
    """Writes `mistakes.jsonl`: a JSON object a line."""
    lines = (json.dumps(mistake, ensure_ascii=False) + "\n" for mistake in mistakes)
    (Path(directory) / "mistakes.jsonl").write_text("".join(lines), encoding="utf-8")


def check_directory(report_dir):
    """Refuses, before the work, a directory for a report that is there already.

    Args:
        report_dir: of `evaluate`; `None` for no report.
    """
    if report_dir is not None:
        refuse_existing(report_dir, "another --report_dir")


def print_measured(metrics, mistakes):
    """Print what `evaluate` does: mistakes, and last of all the metrics, a JSON object a line.

    Returns:
        dict of the metrics that were printed: those without a file of their own in a report.
    """
    for mistake in mistakes:
        print(json.dumps({"mistake": mistake}, ensure_ascii=False))
    numbers = {key: value for key, value in metrics.items() if key not in OF_REPORTS}
    print(json.dumps(numbers, ensure_ascii=False))
    return numbers


def write(directory, title, card, settings, metrics, plots):
    """Write what stands beside a trained model: plots, model card, `metrics.json`.

    Args:
        directory: of the model.
        title, card, settings: see `write_card`; `card` is its paragraphs.
        metrics: of the held-out rows.
        plots: arguments of `plot`.
    """
    write_card(directory, title, card, settings, plot(directory / "plots", **plots))
    numbers = {key: value for key, value in metrics.items() if key not in OF_REPORTS}
    write_json(directory / "metrics.json", {**numbers, "history": plots["history"]})
