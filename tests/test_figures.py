"""The figures: complete labels, the numbers that were given, and the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from stages import plot
from stages.figures import fits
from tests.conftest import Project


@pytest.fixture
def ax() -> Axes:
    return Figure().add_subplot()


def drawn(ax: Axes, label: str) -> list[list[float]]:
    """The points of the line with this label."""
    (line,) = [line for line in ax.get_lines() if str(line.get_label()).startswith(label)]
    points: list[list[float]] = np.asarray(line.get_xydata()).tolist()
    return points


def test_the_numbers_given_are_the_numbers_drawn(ax: Axes) -> None:
    fits.weights(ax, 4, [1.0, 2.0, 3.0], [1.5, 2.5, 3.5])
    assert drawn(ax, "fitted") == [[0, 1], [1, 2], [2, 3]]
    assert drawn(ax, "true") == [[0, 1.5], [1, 2.5], [2, 3.5]]
    assert "class 4" in ax.get_title(loc="left") + ax.get_title()


def test_recovery_tells_weights_from_biases(ax: Axes) -> None:
    fits.recovery(ax, [1.0, 2.0, 3.0], [1.1, 2.2, 3.3], [False, True, False], slope=1.1)
    assert drawn(ax, "weights") == [[1, 1.1], [3, 3.3]]
    assert drawn(ax, "biases") == [[2, 2.2]]
    assert "slope 1.100" in [text.get_text() for text in ax.get_legend().get_texts()]  # type: ignore[union-attr]


def test_the_floor_is_left_out_where_no_truth_is_known(ax: Axes) -> None:
    fits.loss(ax, [0, 1], [0.5, 0.4], 0.39, bayes=None)
    assert not [line for line in ax.get_lines() if "true observer" in str(line.get_label())]


def test_every_figure_is_drawn_with_labels_and_the_size_that_was_asked(
    results: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Figure] = {}
    save = Figure.savefig

    def remember(figure: Figure, path: Path, **options: object) -> None:
        seen[path.stem] = figure
        save(figure, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", remember)
    results.set(plot={"dpi": 50})
    plot.main()
    assert set(seen) == {"probabilities", "biases", "weights", "loss", "recovery", "calibration", "trajectory"}
    for name, figure in seen.items():
        panels = figure.get_axes()
        assert panels[-1].get_xlabel(), name
        assert all(panel.get_ylabel() for panel in panels), name
        assert all(panel.get_legend() for panel in panels), name
        width, height = figure.get_size_inches()
        assert imread(results.data / "figures" / f"{name}.png").shape[:2] == (round(height * 50), round(width * 50))


def test_the_same_numbers_give_the_same_bytes(results: Project) -> None:
    def drawn_bytes() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (results.data / "figures").iterdir()}

    before = drawn_bytes()
    plot.main()
    assert drawn_bytes() == before


def test_a_class_that_is_not_there_is_refused(results: Project, refuses: Callable[..., str]) -> None:
    results.set(plot={"class_index": 2})
    assert "plot.class_index = 2" in refuses(plot.main)
