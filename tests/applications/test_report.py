"""The pictures of a training."""

from matplotlib.figure import Figure

from applications.report import plot_curves


def test_a_panel_for_each_metric(tmp_path, monkeypatch):
    """Also for those that are measured on held-out rows only."""
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    plot_curves(tmp_path / "curves.png", {"loss": [2, 1], "val_loss": [2, 2], "val_rougeL": [3, 5]})
    panels = {axes.get_title(): len(axes.get_lines()) for axes in drawn[0].axes}
    assert panels == {"loss": 2, "rougeL": 1}
