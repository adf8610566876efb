"""The figures: the numbers that were given, complete labels, and the same bytes every time."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread

from stages import evaluate, plot, simulate, train
from stages.figures import fits, inference, predictions, style
from stages.figures.style import Estimates
from tests.conftest import ROOT

SHARES = {"predicted": [0.001, 0.4, 0.9], "observed": [0.0, 0.5, 0.8], "low": [0, 0.4, 0.7], "high": [0.01, 0.6, 0.9]}


@pytest.fixture
def ax() -> Axes:
    return Figure(layout="constrained").add_subplot()


def drawn(ax: Axes, label: str) -> list[tuple[float, float]]:
    """The points of the line, or of the estimates, with this label."""
    lines = {str(line.get_label()): line for line in ax.get_lines()}
    lines |= {str(bars.get_label()): bars.lines[0] for bars in ax.containers if isinstance(bars, ErrorbarContainer)}
    line = lines.get(label) or next(line for name, line in lines.items() if name.startswith(label))
    x, y = (np.asarray(data).tolist() for data in (line.get_xdata(), line.get_ydata()))
    return list(zip(x, y, strict=True))


def bars(ax: Axes, label: str) -> list[list[float]]:
    """The ends of the intervals with this label, each [low, high]."""
    found = [each for each in ax.containers if isinstance(each, ErrorbarContainer) and each.get_label() == label]
    lines = found[0].lines[2][0].get_segments()
    across = 0 if lines[0][0][1] == lines[0][1][1] else 1
    return [[line[0][across], line[1][across]] for line in lines]


def test_dollar_signs_in_names_are_letters(tmp_path: Path) -> None:
    for name in ("$$", "price_$_and_$", "US$ vs A$"):
        with style.figure(tmp_path / "f.svg", 40, ("svg",)) as [ax]:
            fits.weights(ax, "choice", [name, "bias"], Estimates([1.0, 0.0]), None, None)
        assert f"<!-- {name} -->" in (tmp_path / "f.svg").read_text()


def legend(figure: Any) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def rows(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def test_weights_are_sorted_by_the_truth_and_named_where_they_are_few(ax: Axes) -> None:
    fits.weights(ax, "class 4", ["a", "b", "c"], Estimates([1.0, 2.0, 3.0]), None, [2.5, 3.5, 1.5])
    assert drawn(ax, "plain fit") == [(0, 3), (1, 1), (2, 2)]
    assert drawn(ax, "true") == [(0, 1.5), (1, 2.5), (2, 3.5)]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["c", "a", "b"]
    assert "class 4" in ax.get_title(loc="left")


def test_a_forest_plot_has_a_named_row_per_factor_with_both_intervals(ax: Axes) -> None:
    plain = Estimates([2.0, -3.0], [1.0, -4.0], [3.0, -2.0])
    corrected = Estimates([1.5, -2.0], [0.5, -3.0], [2.5, -1.0])
    fits.forest(ax, "choice", ["contrast", "7"], plain, corrected)
    assert rows(ax) == ["factor 7", "contrast"]
    assert drawn(ax, "corrected") == [(-2, 0), (1.5, 1)]
    assert bars(ax, "corrected") == [[-3, -1], [0.5, 2.5]]
    assert bars(ax, "plain fit") == [[-4, -2], [1, 3]]


def test_of_many_factors_a_forest_plot_shows_the_largest_and_says_where_the_rest_is(ax: Axes) -> None:
    values = [i - 50.5 for i in range(101)]
    many = Estimates(values, values, values)
    fits.forest(ax, "choice", [f"x{i}" for i in range(101)], many, many)
    assert len(rows(ax)) == fits.ROWS
    assert rows(ax)[0] == "x0"
    assert rows(ax)[-1] == "x100"
    assert "the other 41 are from -20 to 20" in ax.texts[0].get_text()
    assert fits.forest_size(101) == fits.forest_size(1000)


def test_recovery_tells_weights_from_biases_on_equal_axes(ax: Axes) -> None:
    fits.recovery(ax, [1.0, 2.0, 3.0], [1.1, 2.2, 3.3], [False, True, False], slope=1.1)
    assert drawn(ax, "weights") == [(1, 1.1), (3, 3.3)]
    assert drawn(ax, "biases") == [(2, 2.2)]
    assert drawn(ax, "slope 1.100")
    assert ax.get_xlim() == ax.get_ylim()


def test_the_trajectory_marks_the_best_epoch_and_ends_near_the_overfitting(ax: Axes) -> None:
    fits.trajectory(ax, [0, 1, 3, 7], [9.0, 0.5, 0.3, 0.2], [9.0, 0.7, 0.6, 0.8], bayes=0.4)
    assert np.allclose(drawn(ax, "best: epoch 4"), [(4, 0.2)])
    assert np.allclose(drawn(ax, "training trials")[-1], (8, -0.2))
    assert ax.get_ylim()[1] < 1
    assert "Overfitting" in ax.get_title(loc="left")


def test_without_the_truth_or_overfitting_the_trajectory_claims_neither(ax: Axes) -> None:
    fits.trajectory(ax, [0, 1], [0.6, 0.5], [0.7, 0.6], bayes=None)
    assert drawn(ax, "held-out trials") == [(1, 0.7), (2, 0.6)]
    assert "Overfitting" not in ax.get_title(loc="left")
    assert not [line for line in ax.get_lines() if "true observer" in str(line.get_label())]


def test_on_logit_axes_recalibration_is_a_line_and_a_share_of_0_stands_on_the_edge(ax: Axes) -> None:
    predictions.calibration(ax, SHARES, line=(0.5, 0.8))
    low = ax.get_xlim()[0]
    assert drawn(ax, "observed") == [(0.001, low), (0.4, 0.5), (0.9, 0.8)]
    for p, fraction in drawn(ax, "slope 0.800"):
        assert math.log(fraction / (1 - fraction)) == pytest.approx(0.5 + 0.8 * math.log(p / (1 - p)))
    assert ax.get_xscale() == ax.get_yscale() == "logit"


def test_three_predictions_have_three_lines_of_the_slopes_that_are_told(ax: Axes) -> None:
    lines = {"fitted": (0.5, 0.8), "debiased": (0.0, 0.9), "best": (-0.1, 1.0)}
    predictions.predictions(ax, dict.fromkeys(lines, SHARES), lines)
    found = []
    for line in ax.get_lines():
        x, y = (np.asarray(data) for data in (line.get_xdata(), line.get_ydata()))
        if len(x) == 2 and line.get_linestyle() == "-":
            a, b = np.log(x / (1 - x)), np.log(y / (1 - y))
            slope = (b[1] - b[0]) / (a[1] - a[0])
            found.append((b[0] - slope * a[0], slope))
    assert np.allclose(found, [*lines.values()])
    assert "best prediction, slope 1.000" in [text.get_text() for text in ax.get_legend().get_texts()]  # type: ignore[union-attr]


def test_no_line_is_drawn_where_the_data_define_none(ax: Axes) -> None:
    predictions.calibration(ax, SHARES, line=None)
    predictions.predictions(ax, {"fitted": SHARES, "best": SHARES}, {"fitted": None, "best": None})
    assert not [line for line in ax.get_lines() if "slope" in str(line.get_label())]


def test_a_psychometric_curve_shows_bins_and_asymptotes(ax: Axes) -> None:
    curves = {"index": [-1.0, 1.0], "fitted": [0.2, 0.8], "logistic": [0.1, 0.9]}
    predictions.psychometric(ax, "choice", [0.0], Estimates([0.5], [0.4], [0.6]), curves, 0.05, 0.1)
    assert drawn(ax, "with guess and lapse rates") == [(-1, 0.2), (1, 0.8)]
    assert bars(ax, "responses") == [[0.4, 0.6]]
    assert {"guess rate 0.05", "lapse rate 0.1"} <= {text.get_text() for text in ax.texts}
    assert "true" not in legend(ax.figure)


def test_a_psychometric_curve_is_drawn_where_it_rises(ax: Axes) -> None:
    x = [float(i) for i in range(-60, 61)]
    logistic = [1 / (1 + math.exp(-z)) for z in x]
    curves = {"index": x, "fitted": logistic, "logistic": logistic}
    predictions.psychometric(ax, "choice", [-40.0, 0.0, 40.0], Estimates([0.0, 0.5, 1.0]), curves)
    assert -20 < ax.get_xlim()[0] < -5
    assert drawn(ax, "responses") == [(0, 0.5)]
    assert "2 of 3 bins lie beyond" in ax.texts[0].get_text()
    assert "logistic" not in " ".join(legend(ax.figure))  # it is the fitted one


def test_the_legend_of_a_psychometric_curve_is_whole(tmp_path: Path) -> None:
    curves = {"index": [-1.0, 1.0], "fitted": [0.2, 0.8], "logistic": [0.1, 0.9], "true": [0.2, 0.8]}
    with style.figure(tmp_path / "figure.png", 100, size=(5.2, 4.4)) as [ax]:
        predictions.psychometric(ax, "choice", [0.0], Estimates([0.5], [0.4], [0.6]), curves, 0.05, 0.1)
        figure = ax.figure
    assert len(legend(figure)) == 4
    [drawn_legend] = figure.legends
    box, page = drawn_legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 < box.x1 <= page.x1


def test_the_map_reaches_down_to_its_edge(ax: Axes) -> None:
    inference.existence_map(ax, [0, 0, 2, 2], [0.1, 0.4, 0.05, 0.2], [1.1, 3, 1.1, 3], (1.0, 0.0006))
    vertices = [np.asarray(path.vertices) for each in ax.collections for path in each.get_paths()]
    lowest = min(corners[:, 1].min() for corners in vertices if len(corners))
    assert lowest <= ax.get_ylim()[0]


def test_the_check_on_the_own_factors_starts_with_the_worst(ax: Axes) -> None:
    inference.factor_coverage(ax, ["a", "b"], [0.8, 0.9], [0.95, 0.93], [0.94, 0.96], 0.95, 1000)
    assert rows(ax) == ["b", "a"]
    assert drawn(ax, "corrected intervals") == [(0.93, 0), (0.95, 1)]
    assert drawn(ax, "perfect intervals") == [(0.94, 0), (0.96, 1)]
    assert ax.yaxis_inverted()


def test_replication_marks_groups_without_an_estimate(ax: Axes) -> None:
    plain, corrected = (Estimates([a, math.nan], [0.5, math.nan], [2.0, math.nan]) for a in (1.3, 1.1))
    inference.replication(ax, ["monday", "tuesday"], plain, corrected, {"plain": (1.3, 0.1), "corrected": (1.1, 0.05)})
    assert drawn(ax, "no estimate exists")[0][0] == 1
    assert drawn(ax, "corrected")[0] == (0, 1.1)
    assert "plain fit, mean: 1.30 ± 0.10" in legend(ax.figure)


@pytest.mark.parametrize("dodge", [0, 3])
def test_the_axes_hold_whole_intervals(ax: Axes, dodge: float) -> None:
    style.points(ax, [0, 1], Estimates([1.0, 2.0], [-5.0, 1.0], [3.0, 9.0]), dodge=dodge, fmt="o")
    low, high = ax.get_ylim()
    assert low < -5
    assert high > 9


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The figures of small fits, by solver."""
    folders = {}
    for solver, formats in FORMATS.items():
        folder = tmp_path_factory.mktemp(solver)
        params = yaml.safe_load((ROOT / "params.yaml").read_text())
        params["simulate"] |= {
            "n_factors": 4,
            "n_classes": 2,
            "n_trials": 300,
            "n_test_trials": 200,
            "weight_scale": 0.8,
        }
        params["train"] |= {"solver": solver, "num_epochs": 5, "device": "cpu"}
        params["plot"] |= {"class_index": 1, "dpi": 40, "formats": [*formats]}
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        with contextlib.chdir(folder):
            for stage in (simulate, train, evaluate, plot):
                stage.main()
        folders[solver] = folder
    return folders


FORMATS = {"adam": ("png", "svg"), "exact": ("svg",)}
BOTH = {"biases", "calibration", "probabilities", "recovery", "weights"}
EACH = {
    "adam": BOTH | {"loss", "trajectory"},
    "exact": BOTH | {"coverage", "forest", "intervals", "map", "planning", "predictions", "psychometric"},
}


def test_every_figure_is_drawn_in_the_formats_and_the_size_that_were_asked(drawings: dict[str, Path]) -> None:
    for solver, formats in FORMATS.items():
        found = {path.name for path in (drawings[solver] / "data/figures").iterdir()}
        assert found == {f"{name}.{kind}" for name in EACH[solver] for kind in formats}
    assert imread(drawings["adam"] / "data/figures/recovery.png").shape[:2] == (round(4.4 * 40), round(4.4 * 40))


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, style.MANY + 1).tolist()  # so many that a part is drawn as a picture

    def draw() -> dict[str, bytes]:
        with style.figure(tmp_path / "figure.png", 40, ("png", "svg", "pdf")) as [ax]:
            fits.recovery(ax, values, values, [False] * len(values), slope=1)
        return {path.suffix: path.read_bytes() for path in tmp_path.iterdir()}

    before = draw()
    assert before.keys() == {".png", ".svg", ".pdf"}
    assert not [kind for kind, content in before.items() if b"dc:date" in content or b"CreationDate" in content]
    assert draw() == before


@pytest.mark.parametrize("solver", EACH)
def test_no_key_of_a_table_is_a_label(drawings: dict[str, Path], solver: str) -> None:
    for path in (drawings[solver] / "data/figures").glob("*.svg"):
        labels = re.findall("<!-- (.*) -->", path.read_text())  # what each text says
        assert labels, path
        assert not [label for label in labels if "_" in label and "$" not in label], path


def test_where_the_chosen_class_is_left_out_another_is_drawn(
    drawings: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(drawings["exact"], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name in ("coefficients.csv", "inference/coefficients.csv", "inference/classes.csv"):
        path = tmp_path / "data" / name
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("1,")))
    plot.main()
    assert "Weights of class 0" in (tmp_path / "data/figures/forest.svg").read_text()
