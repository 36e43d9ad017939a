"""The pictures of a training: its curves, and the confusion matrix.

In: numbers. Out: PNG files.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfmodels.errors import first_line

# Beginnings of the names of fonts with Chinese, as systems install them; matplotlib has none.
CHINESE_FONTS = ("Noto Sans CJK", "Noto Sans SC", "Source Han Sans", "WenQuanYi", "PingFang",
                 "Hiragino Sans", "Heiti", "STHeiti", "Microsoft YaHei", "SimHei", "SimSun",
                 "Droid Sans Fallback", "AR PL", "Arial Unicode")  # fmt: skip
LABELS_WITH_NUMBERS, LABELS_WITH_NAMES, CHARACTERS = 20, 100, 24


def draw(
    directory: Path, history: Any, metric: str, confusion: Any = None, labels: Sequence[str] = ()
) -> list:
    """Write `curves.png` and, if given, `confusion.png`; print why if they cannot be drawn.

    A picture that fails must not cost the training that it shows.

    Returns:
        list of the names of the pictures.
    """
    drawn = []
    try:
        directory.mkdir(exist_ok=True)
        plot_curves(directory / "curves.png", history, metric)
        drawn.append("curves")
        if confusion is not None:
            plot_confusion(directory / "confusion.png", confusion, labels)
            drawn.append("confusion")
    except Exception as error:
        if isinstance(error, OSError):
            raise  # a full disk: the model would not be whole either
        print(f"tfmodels: warning: no plots ({first_line(error)})", file=sys.stderr)
    return drawn


def plot_curves(path: Path, history: Any, metric: str) -> None:
    """Write the curves of a training: the loss, a metric if measured, the learning rate.

    Args:
        path: of the PNG file.
        history: what `tfmodels.training.loop.fit` returns.
        metric: name of the metric; that of held-out rows is `val_` with it.
    """
    steps, losses, rates = np.array(history.points, float).reshape(-1, 3).T
    of = {"loss": ["loss", "val_loss"], metric: [metric, f"val_{metric}"], "learning rate": []}
    of = {title: [n for n in names if n in history.history] for title, names in of.items()}
    titles = [title for title, names in of.items() if names or title == "learning rate"]
    figure = _figure(5 * len(titles), 4)
    epoch = f" ({history.steps_per_epoch:.6g} an epoch)" if history.steps_per_epoch else ""
    for number, title in enumerate(titles, start=1):
        axes = figure.add_subplot(1, len(titles), number)
        if title == "learning rate":
            axes.plot(steps, rates, color="C2", marker="." if len(steps) < 20 else None)
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
        elif title == "loss" and len(steps):
            width = max(len(steps) // 20, 1)  # of the moving average
            smooth = [np.convolve(v, np.ones(width) / width, "valid") for v in (steps, losses)]
            axes.plot(steps, losses, color="C0", alpha=0.25)
            axes.plot(*smooth, color="C0", marker="." if width == 1 else None, label="training")
            of[title].remove("loss")  # that of whole stretches
        if title != "learning rate" and history.steps:
            _draw_measured(axes, history, of[title])
        axes.set(title=title, xlabel=f"steps{epoch}")
        axes.set_xlim(0, 1.04 * max([1, *steps, *history.steps]))
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def plot_confusion(path: Path, confusion: Any, labels: Sequence[str]) -> None:
    """Write the confusion matrix, in per cent of the true label, with the counts below.

    Args:
        path: of the PNG file.
        confusion: counts, a row for each true label.
        labels: their names. If no installed font draws them, numbers stand for them.
    """
    confusion = np.asarray(confusion)
    size, total = min(4 + 0.55 * len(labels), 24), int(confusion.sum())
    figure = _figure(size + 1, size)
    axes = figure.add_subplot()
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true label", shrink=0.8)
    names = [_short(label) for label in labels]
    fonts = _fonts(names)
    if fonts is None:
        names = [str(number) for number in range(len(labels))]
        figure.supxlabel(
            "No font here has these labels: see README.md, or install Noto Sans CJK.",
            fontsize="small",
        )
    if len(labels) <= LABELS_WITH_NAMES:
        options = {"parse_math": False, "fontfamily": fonts or ["DejaVu Sans"]}
        room = 6 * size / len(labels)  # characters above each other
        turned = {"rotation": 45, "ha": "right"} if max(map(len, names)) > room else {}
        axes.set_xticks(range(len(labels)), names, **options, **turned)
        axes.set_yticks(range(len(labels)), names, **options)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(f"accuracy {confusion.trace() / max(total, 1):.1%} on {total} rows")
    if len(labels) <= LABELS_WITH_NUMBERS:
        font = 11 if len(labels) < 6 else 8
        for row, column in np.ndindex(confusion.shape):
            colour = "white" if share[row, column] > 0.5 else "black"
            text = f"{share[row, column]:.0%}\n{confusion[row, column]}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=font)
    figure.savefig(path, dpi=120)


def plot_comparison(path: Path, models: Sequence[dict], panels: dict[str, str]) -> None:
    """Write the numbers of several models as bars, a panel for each number.

    Args:
        path: of the PNG file.
        models: dicts of `model`, a name, and the numbers.
        panels: dict of the name of a number to the title of its panel.
    """
    figure = _figure(3 + 2.5 * len(panels), 1.5 + 0.4 * len(models))
    names = [_short(model["model"]) for model in models]
    for place, (key, title) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        values = [model[key] for model in models]
        bars = axes.barh(range(len(models)), values, color=f"C{place - 1}")
        axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=2)
        axes.set_yticks(range(len(models)), names if place == 1 else [""] * len(models))
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_title(title)
    figure.savefig(path, dpi=120)


def _figure(width, height):
    # The object interface: pyplot would start a window system and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw_measured(axes, history, names):
    """Draw what was measured at each evaluation, and mark the one whose weights were kept."""
    for name in names:
        label, colour = ("held out", "C1") if name.startswith("val_") else ("training", "C0")
        axes.plot(history.steps, history.history[name], "o-", color=colour, label=label)
    kept = len(history.steps) - 1 if history.best is None else history.best
    step, label = history.steps[kept], f"kept: evaluation {kept + 1}, step {history.steps[kept]}"
    axes.axvline(step, color="grey", linestyle=":", label=label, zorder=0)
    for value in [history.history[name][kept] for name in names[-1:]]:
        axes.plot([step], [value], "o", color="black", markersize=10, fillstyle="none")
        axes.annotate(f"{value:.4g}", (step, value), (0, 9), textcoords="offset points",
                      ha="right" if step > history.steps[-1] / 2 else "left")  # fmt: skip
    axes.margins(y=0.2)
    axes.legend()


def _short(label: str) -> str:
    """Return a label without its middle, if it is long."""
    label, half = " ".join(label.split()), CHARACTERS // 2
    return label if len(label) <= CHARACTERS else f"{label[:half]}…{label[1 - half :]}"


def _fonts(texts: Sequence[str]) -> list[str] | None:
    """Return the font families that together draw all characters; None if there are none."""
    from matplotlib import font_manager

    def missing(file, characters):
        return {c for c in characters if ord(c) not in font_manager.get_font(file).get_charmap()}

    rest = missing(font_manager.findfont("DejaVu Sans"), set("".join(texts)))
    if not rest:
        return ["DejaVu Sans"]
    for font in font_manager.fontManager.ttflist:
        if font.name.startswith(CHINESE_FONTS) and not missing(font.fname, rest):
            return ["DejaVu Sans", font.name]
    return None
