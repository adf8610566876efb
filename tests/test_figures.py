"""The figures: the numbers that were given, complete labels, and the same bytes every time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from scipy.special import expit, logit
from scipy.stats import linregress

from stages.figures import FIGURES, coefficients, history, predictions, style, weights
from stages.files.families import families

SHARES = pd.DataFrame(
    {"predicted": [0.001, 0.4, 0.9], "observed": [0.0, 0.5, 0.8], "low": [0, 0.4, 0.7], "high": [0.01, 0.6, 0.9]}
)


@pytest.fixture
def figure() -> Figure:
    return Figure(layout="constrained")


def drawn(ax: Axes, label: str) -> list[tuple[float, float]]:
    """The points of the line, or of the estimates, whose label starts so."""
    lines = {str(line.get_label()): line for line in ax.get_lines()}
    lines |= {str(bars.get_label()): bars.lines[0] for bars in ax.containers if isinstance(bars, ErrorbarContainer)}
    line = next(line for name, line in lines.items() if name.startswith(label))
    return [*zip(*(np.asarray(data).tolist() for data in (line.get_xdata(), line.get_ydata())), strict=True)]


def bars(ax: Axes, label: str) -> list[list[float]]:
    """The ends of the intervals with this label, each [low, high]."""
    [found] = [each for each in ax.containers if isinstance(each, ErrorbarContainer) and each.get_label() == label]
    lines = found.lines[2][0].get_segments()
    across = 0 if lines[0][0][1] == lines[0][1][1] else 1
    return [[line[0][across], line[1][across]] for line in lines]


def words(figure: Figure) -> set[str]:
    """Every text of a figure, without those of its axes' ticks."""
    legends = [*figure.legends, *(legend for ax in figure.axes if (legend := ax.get_legend()))]
    of_axes = [text for ax in figure.axes for text in (*ax.texts, ax.title, ax._left_title)]  # type: ignore[attr-defined]
    return {text.get_text() for text in [*of_axes, *(text for one in legends for text in one.get_texts())]}


def rows(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def fitted(factors: list[str], middle: Any, **more: Any) -> pd.DataFrame:
    """Weights of class 4: classical ones twice as large as corrected, all ± 1."""
    middle = np.asarray(middle, float)
    ends = {"classical_low": 2 * middle - 1, "classical_high": 2 * middle + 1, "low": middle - 1, "high": middle + 1}
    columns = {"class": "4", "factor": factors, "estimate": 2 * middle, "corrected": middle, **ends, **more}
    return pd.DataFrame(columns).join(families(factors))


LEVEL = {"inference": {"level": 0.95}}


def test_names_that_differ_in_one_number_are_a_family_at_these_numbers() -> None:
    """And lags are in trials, whatever the axis."""
    frames = [f"signal[{s}]:frame{i:02d}" for i in (3, 1, 2, 4) for s in ("absent", "present")]
    lags = [f"lag(choice, {i})[T.2]" for i in (1, 2, 3, 4)]
    times = ["value[-200]", "value[0]", "value[0.5]", "value[400]"]
    few = ["tone_1", "tone_2", "tone_3", "I(contrast ** 2)", "bias"]
    table = families([*frames, *lags, *times, *few], ["time (ms)", 20])
    assert [*table.family[:2]] == ["signal[absent]:frame…", "signal[present]:frame…"]
    assert [*table.position[:8]] == [60, 60, 20, 20, 40, 40, 80, 80]
    assert {*table.family[8:12]} == {"lag(choice, …)[T.2]"}
    assert [*table.position[8:12]] == [1, 2, 3, 4]
    assert {*table.axis[8:12]} == {"trials back"}
    assert [*table.position[12:16]] == [-4000, 0, 10, 8000]
    assert table.family[16:].isna().all()
    assert [*families([f"tone-{i}" for i in range(1, 5)]).position] == [1, 2, 3, 4]  # a hyphen


def test_numbered_factors_are_drawn_in_their_order_with_a_band_and_others_in_named_rows(figure: Figure) -> None:
    table = fitted([*(f"frame{i}" for i in (2, 1, 3, 4)), "contrast", "7"], [0.2, 0.1, 0.3, 0.4, 1.5, -2])
    table.loc[3, ["high", "classical_high"]] = np.inf
    weights.weights(figure, table, LEVEL)
    ax, others = figure.axes
    assert drawn(ax, "corrected") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert drawn(ax, "classical") == [(1, 0.2), (2, 0.4), (3, 0.6), (4, 0.8)]
    assert band(ax, 1) == {-0.9, 1.1}
    assert ax.get_ylim()[1] < 3  # a weight without end leaves the axis as it is
    assert "95 % interval" in words(figure)
    assert rows(others) == ["factor 7", "contrast"]
    assert drawn(others, "corrected") == [(-2, -0.15), (1.5, 0.85)]
    assert bars(others, "corrected") == [[-3, -1], [0.5, 2.5]]
    assert bars(others, "classical") == [[-5, -3], [2, 4]]


def band(ax: Axes, x: float) -> set[float]:
    """Where the band begins and ends."""
    corners = np.asarray(ax.collections[0].get_paths()[0].vertices)
    return {*np.round(corners[corners[:, 0] == x, 1], 9)}


def test_a_smooth_kernel_has_its_own_band_over_the_corrected_weights(figure: Figure) -> None:
    kernel = {"smooth": [0.0, 1, 2, 3], "smooth_low": -1.0, "smooth_high": 5.0}
    weights.weights(figure, fitted([f"t{i}" for i in range(4)], [1, 1, 2, 2], **kernel), LEVEL)
    [ax] = figure.axes
    assert drawn(ax, "smooth") == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert drawn(ax, "corrected") == [(0, 1), (1, 1), (2, 2), (3, 2)]
    assert band(ax, 1) == {-1, 5}


def test_a_population_has_a_panel_for_each_family_and_thin_lines_of_all_observers(figure: Figure) -> None:
    names = [*(f"a{j}" for j in range(4)), *(f"b{j}" for j in (3, 2, 1, 0)), "x", "y"]
    table = fitted(names, np.arange(10)).drop(columns="estimate")
    weights.weights(figure, table, LEVEL, pd.DataFrame({"ann": 1.0, "ben": np.nan}, index=range(10)))
    a, b, others = figure.axes
    assert [ax.get_title(loc="left") for ax in (a, b)] == ["a…", "b…"]
    assert drawn(b, "population mean") == [(0, 7), (1, 6), (2, 5), (3, 4)]
    [lines] = [each for each in b.collections if each.get_label() == "observers"]
    assert np.asarray(lines.get_paths()[0].vertices).tolist() == [[0, 1], [1, 1], [2, 1], [3, 1]]
    assert rows(others) == ["x", "y"]
    assert "95 % interval between observers" in words(figure)


def test_of_many_factors_the_largest_are_named_and_where_the_rest_is_is_said(figure: Figure) -> None:
    weights.weights(figure, fitted([chr(0x4E00 + i) for i in range(101)], np.arange(101) - 50.5), {})
    shown = rows(figure.axes[0])
    assert (len(shown), shown[0], shown[-1]) == (style.ROWS, chr(0x4E00), chr(0x4E00 + 100))
    assert "the 60 largest; the other 41 are from -20 to 20" in words(figure)


def test_recovery_tells_weights_from_biases_on_equal_axes(figure: Figure) -> None:
    table = pd.DataFrame({"factor": ["0", "bias", "2"], "true": [1.0, 2, 3], "fitted": [1.1, 2.2, 3.3]})
    coefficients.recovery(figure, table, {"recovery": {"weight_slope": 1.1}})
    [ax] = figure.axes
    assert drawn(ax, "weights") == [(1, 1.1), (3, 3.3)]
    assert drawn(ax, "biases") == [(2, 2.2)]
    assert "slope 1.100" in words(figure)
    assert ax.get_xlim() == ax.get_ylim()


def test_intervals_that_miss_the_truth_are_counted(figure: Figure) -> None:
    coefficients.intervals(figure, fitted([*"abc"], [1, 2, 3], true=[1, 2, 3]), {"inference": {"level": 0.95}})
    assert {"holds the truth: 1 of 3", "misses it: 2 of 3", "holds the truth: 3 of 3"} <= words(figure)
    assert drawn(figure.axes[0], "misses it") == [(2, 4), (3, 6)]


def test_the_trajectory_marks_the_best_epoch_and_ends_near_the_overfitting(figure: Figure) -> None:
    columns = {"train_cross_entropy": [9.0, 0.5, 0.3, 0.2], "test_cross_entropy": [9.0, 0.7, 0.6, 0.8]}
    table = pd.DataFrame({"epoch": [0, 1, 3, 7], **columns, "weight_slope": 1.0})
    history.trajectory(figure, table, {"test": {"bayes_cross_entropy": 0.4}})
    ax, below = figure.axes
    assert np.allclose(drawn(ax, "best: epoch 4"), [(4, 0.2)])
    assert np.allclose(drawn(ax, "training trials")[-1], (8, -0.2))
    assert ax.get_ylim()[1] < 1
    assert any("Overfitting" in each for each in words(figure))
    assert below.get_lines()[0].get_ydata()[-1] == 1  # type: ignore[index]


def test_without_the_truth_or_overfitting_the_trajectory_claims_neither(figure: Figure) -> None:
    table = {"epoch": [0, 1], "train_cross_entropy": [0.6, 0.5], "test_cross_entropy": [0.7, 0.6]}
    history.trajectory(figure, pd.DataFrame(table), {})
    assert drawn(figure.axes[0], "held-out trials") == [(1, 0.7), (2, 0.6)]
    assert not [each for each in words(figure) if "Overfitting" in each or "true observer" in each]


def test_on_logit_axes_recalibration_is_a_line_and_a_share_of_0_stands_on_the_edge(figure: Figure) -> None:
    lines = {"classical": (0.5, 0.8), "best prediction": (-0.1, 1.0)}
    first, second = ({"calibration_intercept": a, "calibration_slope": b} for a, b in lines.values())
    scores = {"test": {**first, "best": second}}
    predictions.calibration(figure, SHARES, SHARES, metrics=scores)
    [ax] = figure.axes
    assert drawn(ax, "classical") == [(0.001, ax.get_xlim()[0]), (0.4, 0.5), (0.9, 0.8)]
    drawn_lines = [line for line in ax.get_lines() if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]  # type: ignore[arg-type]
    for line, wanted in zip(drawn_lines, lines.values(), strict=True):
        found = linregress(*map(logit, line.get_data()))
        assert (found.intercept, found.slope) == pytest.approx(wanted)
    assert ax.get_xscale() == ax.get_yscale() == "logit"
    assert "best prediction, slope 1.000" in words(figure)


def test_no_line_is_drawn_where_the_data_define_none(figure: Figure) -> None:
    scores = {"calibration_intercept": None, "calibration_slope": None}
    predictions.calibration(figure, SHARES, metrics={"loo": scores})
    assert {"Calibration of leave-one-out predictions", "classical"} <= words(figure)  # without a slope


def psychometric(figure: Figure, at: list[float], grid: Any, g: float, lapse: float) -> Axes:
    grid = np.asarray(grid, float)
    curve = {"class": "choice", "grid": grid, "fitted": g + (1 - g - lapse) * expit(grid), "logistic": expit(grid)}
    bins = {"index": at, "observed": 0.5, "low": 0.4, "high": 0.6}
    rates = {"class": ["other", "choice"], "guess_rate": [0.3, g], "lapse_rate": [0.3, lapse]}
    predictions.along_index(figure, pd.DataFrame(bins), pd.DataFrame(curve), pd.DataFrame(rates), {})
    return figure.axes[0]


def test_a_psychometric_curve_shows_bins_and_asymptotes(figure: Figure) -> None:
    ax = psychometric(figure, [0.0], [-9, 9], 0.05, 0.1)
    assert np.allclose(drawn(ax, "with guess rate"), [(-9, 0.05), (9, 0.9)], atol=1e-3)
    assert bars(ax, "responses") == [[0.4, 0.6]]
    assert {"with guess rate 0.05 and lapse rate 0.1", "logistic, without these rates"} <= words(figure)
    assert "true" not in words(figure)


def test_a_psychometric_curve_is_drawn_where_it_rises(figure: Figure) -> None:
    ax = psychometric(figure, [-40.0, 0.0, 40.0], range(-60, 61), 0, 0)
    assert -9 < ax.get_xlim()[0] < -7
    assert drawn(ax, "responses") == [(0, 0.5)]
    assert any("2 of 3 bins lie" in " ".join(each.split()) for each in words(figure))
    assert not any("logistic" in each for each in words(figure))  # it is the fitted one


def test_replication_marks_groups_without_an_estimate(figure: Figure) -> None:
    slopes = {"classical": [1.3, math.nan], "corrected": [1.1, math.nan]}
    table = pd.DataFrame({"group": ["monday", "tuesday"], **slopes, "classical_error": 0.1, "corrected_error": 0.05})
    means = {
        "classical_slope": 1.3,
        "classical_slope_error": 0.1,
        "corrected_slope": 1.1,
        "corrected_slope_error": None,
    }
    coefficients.replication(figure, table, {"replication": means})
    [ax] = figure.axes
    assert drawn(ax, "no estimate exists")[0][0] == 1
    assert drawn(ax, "corrected") == [(0.1, 1.1)]
    assert np.allclose(bars(ax, "classical"), [[1.3 - 0.196, 1.3 + 0.196]])
    assert "classical, all groups: 1.30 ± 0.10" in words(figure)


def test_an_interval_without_end_runs_to_the_edge_of_axes_that_hold_the_rest(figure: Figure) -> None:
    [ax] = style.panels(figure, 4, 3)
    style.points(ax, [0, 1], [[1.0, -5.0, 3.0], [np.inf, 11.0, np.inf]], fmt="o", color="black")
    low, high = ax.get_ylim()
    assert low < -5
    assert 11 < high < 20
    x, y = np.asarray(ax.get_lines()[-1].get_data())
    assert (x.tolist(), y[0], y[1] > high) == ([1, 1], 11, True)


# --- files


def test_a_figure_that_lacks_a_table_a_column_or_a_row_is_skipped() -> None:
    for each in FIGURES:
        whole = {name: pd.DataFrame(columns=text.split(), index=range(2)) for name, text in each.needs.items()}
        assert each.tables(whole)
        for name, text in each.needs.items():
            assert each.tables({key: table for key, table in whole.items() if key != name}) == []
            assert each.tables(whole | {name: whole[name].drop(columns=text.split()[-1])}) == []
        first = next(iter(each.needs))
        assert each.tables(whole | {first: whole[first][:0]}) == []


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, style.MANY + 1)  # so many that a part is drawn as a picture
    table = pd.DataFrame({"factor": "a", "true": values, "fitted": values})

    def draw() -> dict[str, bytes]:
        with style.saved(tmp_path / "figure.png", 40, ("png", "svg", "pdf")) as figure:
            coefficients.recovery(figure, table, {"recovery": {"weight_slope": 1}})
        return {path.suffix: path.read_bytes() for path in tmp_path.iterdir()}

    before = draw()
    assert before.keys() == {".png", ".svg", ".pdf"}
    assert not [kind for kind, content in before.items() if b"dc:date" in content or b"CreationDate" in content]
    assert draw() == before


def test_a_figure_for_a_column_is_as_wide_with_its_letters_in_the_file(tmp_path: Path) -> None:
    table = fitted([f"frame{i}" for i in range(1, 9)], np.arange(8))
    with style.saved(tmp_path / "figure.pdf", 40, ("pdf",), width=3.4) as figure:
        weights.weights(figure, table, LEVEL)
    content = (tmp_path / "figure.pdf").read_bytes()
    assert float(figure.get_figwidth()) == 3.4
    assert b"/FontFile2" in content  # TrueType, embedded
    assert b"/Type3" not in content


def test_dollar_signs_in_names_are_letters(tmp_path: Path) -> None:
    with style.saved(tmp_path / "f.svg", 40, ("svg",)) as figure:
        weights.weights(figure, fitted(["$$", "price_$_and_$", "US$ vs A$"], [1, 2, 3]), {})
    for name in ("$$", "price_$_and_$", "US$ vs A$"):
        assert f"<!-- {name} -->" in (tmp_path / "f.svg").read_text()
