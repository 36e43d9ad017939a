"""The pictures of a training."""

from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

from applications import plots

CHINESE = ["体育", "财经"]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are written, as they are."""
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **k: (drawn.append(figure), save(figure, *a, **k))
    )
    return drawn


def history(evaluations, points=3, best=None, **values):
    """What a training of ten steps between two evaluations returns."""
    return SimpleNamespace(
        history={name: [value] * evaluations for name, value in values.items()},
        steps=[10 * number for number in range(1, evaluations + 1)], best=best,
        points=[[step + 1, 2.0 / (step + 1), 1e-3] for step in range(points)], steps_per_epoch=10,
    )  # fmt: skip


@pytest.mark.parametrize("evaluations", [1, 2])
@pytest.mark.parametrize("points", [0, 1, 400])
def test_three_panels_however_short_the_training(evaluations, points, tmp_path, figures):
    """Without points, where a training began before they were recorded."""
    values = {"loss": 1.0, "val_loss": 1.5, "f1": 0.5, "val_f1": 0.25, "val_precision": 0.1}
    short = history(evaluations, points, evaluations - 1, **values)
    assert plots.draw(tmp_path / "plots", short, "f1") == ["curves"]
    assert (tmp_path / "plots" / "curves.png").read_bytes().startswith(b"\x89PNG")
    loss, metric, rate = figures[0].axes
    assert [axes.get_title() for axes in figures[0].axes] == ["loss", "f1", "learning rate"]
    kept = f"kept: evaluation {evaluations}, step {10 * evaluations}"
    for axes in (loss, metric):
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == ["training", "held out", kept]
    assert [text.get_text() for text in metric.texts] == ["0.25"]
    assert rate.get_xlabel() == "steps (10 an epoch)"


def test_nothing_is_held_out(tmp_path, figures):
    plots.plot_curves(tmp_path / "curves.png", history(2, loss=1.0), "accuracy")
    assert [axes.get_title() for axes in figures[0].axes] == ["loss", "learning rate"]


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def ticks(figure):
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_confusion_in_per_cent_and_counts(tmp_path, figures):
    long = "a label with a name of more than twenty-four letters"
    plots.plot_confusion(tmp_path / "confusion.png", [[3, 1], [0, 0]], ["$neg$", long])
    assert texts(figures[0]) == ["75%\n3", "25%\n1", "0%\n0", "0%\n0"]
    assert figures[0].axes[0].get_title() == "accuracy 75.0% on 4 rows"
    assert ticks(figures[0]) == ["$neg$", "a label with…our letters"]
    plots.plot_confusion(tmp_path / "many.png", [[1] * 21] * 21, ["x"] * 21)
    assert not texts(figures[1])


def test_labels_that_no_font_draws_are_numbered(tmp_path, figures, monkeypatch, recwarn):
    monkeypatch.setattr(plots, "CHINESE_FONTS", ("No such font",))
    plots.plot_confusion(tmp_path / "confusion.png", [[3, 1], [0, 4]], CHINESE)
    assert ticks(figures[0]) == ["0", "1"] and "README.md" in figures[0].get_supxlabel()
    # Of matplotlib's own fonts this one has all characters, if only as boxes.
    monkeypatch.setattr(plots, "CHINESE_FONTS", ("Last Resort",))
    plots.plot_confusion(tmp_path / "confusion.png", [[3, 1], [0, 4]], CHINESE)
    assert ticks(figures[1]) == CHINESE and not figures[1].get_supxlabel()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
