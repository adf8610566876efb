"""From `dvc exp show --json` to points, tables and figures."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from rich.console import Console

from comparisons.experiments import chart, expected, results, show
from comparisons.experiments.grid import Value
from comparisons.experiments.results import Row
from hdlogit.asymptotics.planning import plan, smallest_n_trials
from stages.files.errors import InputError

PARAMS: dict[str, Value] = {
    "simulate.seed": 1973,
    "simulate.n_trials": 10000,
    "simulate.n_factors": 256,
    "simulate.weight_scale": 1.0,
    "simulate.guess_rate": 0,
    "simulate.lapse_rate": 0,
    "train.solver": "exact",
    "train.ridge": 0,
    "train.shrinkage": 0,
    "train.seed": 1973,
    "train.amsgrad": True,
    "evaluate.interval_level": 0.95,
}
BASE = Row("baseline", PARAMS, {})


def row(name: str, metrics: Mapping[str, Value | None], no_estimate: bool = False, **changes: Value) -> Row:
    return Row(
        name, {**PARAMS, **{key.replace("__", "."): value for key, value in changes.items()}}, metrics, no_estimate
    )


SIZES = [
    BASE,
    *(
        row(
            f"size-{n}-{seed}",
            {"test.cross_entropy": 1000 / n + seed / 100, "gone": None},
            simulate__n_trials=n,
            simulate__seed=seed,
        )
        for n in (5000, 10000)
        for seed in (1, 2, 3)
    ),
    row("size-2000-1", {}, no_estimate=True, simulate__n_trials=2000, simulate__seed=1),
]


def test_rows_are_read_from_what_dvc_shows() -> None:
    def data(seed: int, metrics: dict[str, Any] | None) -> dict[str, Any]:
        params = {"params.yaml": {"data": {"simulate": {"seed": seed}}}}
        return {"params": params, "metrics": metrics and {"data/metrics.json": {"data": metrics}}}

    shown: list[dict[str, Any]] = [
        {"rev": "workspace", "name": None, "data": data(0, None), "experiments": None},
        {
            "rev": "abc",
            "name": "main",
            "data": data(1, {"test": {"accuracy": 0.5}}),
            "experiments": [
                {"name": "good", "revs": [{"data": data(2, {"test": {"accuracy": None, "brier": 1}})}]},
                {"name": "without metrics", "revs": [{"data": data(3, None)}]},
                {"name": "queued", "revs": [{"data": None}]},
                {"name": "killed", "executor": {"state": "running"}, "revs": [{"data": data(4, {"test": {}})}]},
                {"name": "from a queue", "executor": {"state": "success"}, "revs": [{"data": data(5, None)}]},
                {"name": "failed", "executor": {"state": "failed"}, "revs": [{"data": data(6, None)}]},
            ],
        },
    ]
    assert results.rows(shown, "abc") == [
        Row("baseline", {"simulate.seed": 1}, {"test.accuracy": 0.5}),
        Row("good", {"simulate.seed": 2}, {"test.accuracy": None, "test.brier": 1}),
        Row("without metrics", {"simulate.seed": 3}, {}),
        Row("from a queue", {"simulate.seed": 5}, {}),
    ]
    with pytest.raises(InputError, match="lists nothing of commit"):
        results.rows(shown, "def")


def test_where_a_class_has_no_estimate_the_others_are_survivors_and_no_mean() -> None:
    def one(seed: int, slope: float, converged: bool) -> Row:
        metrics = {"recovery.weight_slope": slope, "fit.converged": converged}
        return row(f"seed-{seed}", metrics, train__solver="exact", simulate__n_trials=4500, simulate__seed=seed)

    rows = [one(1, 3.1, True), one(2, 2.7, False)]
    [line] = table(rows, "recovery.weight_slope", "simulate.n_trials")
    assert (line["seeds"], line["no estimate"], line["lowest"], line["highest"]) == (2, 1, 3.1, 3.1)
    assert np.isnan(line["mean"])


def test_experiments_of_another_folder_are_left_out() -> None:
    def data(root: int, rat: int) -> dict[str, Any]:
        files = {"params.yaml": root, "studies/rat/params.yaml": rat}
        return {"params": {file: {"data": {"seed": seed}} for file, seed in files.items()}, "metrics": None}

    changed = {"root": data(2, 1), "rat": data(1, 2), "nothing": data(1, 1)}
    experiments = [{"name": name, "revs": [{"data": each}]} for name, each in changed.items()]
    shown: list[dict[str, Any]] = [{"rev": "abc", "data": data(1, 1), "experiments": experiments}]
    assert [row.name for row in results.rows(shown, "abc")] == ["baseline", "root", "nothing"]
    assert [row.name for row in results.rows(shown, "abc", "studies/rat/")] == ["baseline", "rat", "nothing"]


def table(rows: Sequence[Row], metric: str, parameter: str) -> list[dict[str, Any]]:
    made = results.summary(results.points(rows, [metric], parameter)).to_dict("records")
    return [{str(key): value for key, value in line.items()} for line in made]


def test_seeds_are_averaged_and_where_no_estimate_exists_is_said(tmp_path: Path) -> None:
    chosen = results.choose(SIZES, "size-*", "simulate.n_trials")
    lines = table(chosen, "test.cross_entropy", "simulate.n_trials")
    values = [1000 / 5000 + seed / 100 for seed in (1, 2, 3)]
    assert [(line["value"], line["seeds"]) for line in lines] == [(2000, 1), (5000, 3), (10000, 3)]
    assert np.isnan(lines[0]["mean"])
    assert lines[1]["mean"] == pytest.approx(sum(values) / 3)
    assert lines[1]["sd"] == pytest.approx(statistics.stdev(values))
    _, path, _ = chart.make(SIZES, ["test.cross_entropy"], "simulate.n_trials", "size-*", tmp_path / "size")
    assert [line.split() for line in path.read_text().splitlines()][2][1::2] == ["2000", "1", "1", *"-----"]


def test_what_experiments_differ_in_besides_makes_series() -> None:
    rows = [BASE] + [
        row(f"{solver}-{n}", {"m": 1.0}, train__solver=solver, simulate__n_trials=n)
        for solver in ("adam", "exact")
        for n in (10, 20)
    ]

    def series(glob: str, parameter: str) -> list[str]:
        return [line["series"] for line in table(results.choose(rows, glob, parameter), "m", parameter)]

    assert series("*", "simulate.n_trials") == ["solver adam"] * 2 + ["solver exact"] * 2
    assert series("adam-*", "simulate.n_trials") == ["", ""]
    assert series("*-10", "train.solver") == ["", ""]


def test_equal_experiments_count_once() -> None:
    rows = [BASE, row("one", {"m": 1.0}), row("again", {"m": 2.0}), row("as a float", {"m": 3.0}, train__ridge=0.0)]
    [line] = table(results.choose(rows, "*", "train.solver"), "m", "train.solver")
    assert (line["seeds"], line["mean"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("metric", "parameter", "glob", "message"),
    [
        ("test.cross_entropi", "simulate.n_trials", "*", "the nearest is test.cross_entropy"),
        ("gone", "simulate.n_trials", "*", "none of these experiments has a number for the metric gone"),
        ("test.cross_entropy", "simulate.n_trial", "*", "the nearest is simulate.n_trials"),
        ("test.cross_entropy", "simulate.n_trials", "sise-*", "the nearest is size-"),
    ],
)
def test_what_does_not_exist_is_said_with_the_nearest_names(
    metric: str, parameter: str, glob: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as error:
        chart.make(SIZES, [metric], parameter, glob, tmp_path / "chart")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not [*tmp_path.iterdir()]


def test_the_theory_drawn_is_that_of_planning(tmp_path: Path) -> None:
    chart.make(SIZES, ["test.cross_entropy"], "simulate.n_trials", "size-*", tmp_path / "size")
    read = list(csv.DictReader(io.StringIO((tmp_path / "size.csv").read_text())))
    of_planning = plan(256, 16.0, 0.5, [2000, 5000, 10000])
    assert [line["theory"] for line in read] == [
        "" if p.held_out is None else f"{p.held_out:.12g}" for p in of_planning
    ]
    assert expected.threshold(PARAMS) == smallest_n_trials(256, 16.0)
    in_logits = expected.expected("recovery.weight_rmse", {**PARAMS, "simulate.weight_scale": 2.0}, [50000])
    error = plan(256, 32.0, 0.5, [50000])[0].weight_error
    assert error is not None
    assert in_logits is not None
    assert in_logits[0] == pytest.approx(2 * error)


@pytest.mark.parametrize(
    "other",
    [{"train.solver": "adam"}, {"train.ridge": 0.1}, {"train.shrinkage": "always"}, {"simulate.lapse_rate": 0.02}],
)
def test_theory_is_of_maximum_likelihood_for_an_observer_without_rates(other: dict[str, Value]) -> None:
    assert expected.applies(PARAMS)
    assert expected.applies(PARAMS | {"train.shrinkage": "auto"})  # of what has no estimate only
    assert not expected.applies(PARAMS | other)


def test_theory_is_silent_where_it_says_nothing(tmp_path: Path) -> None:
    assert expected.expected("test.brier", PARAMS, [10000]) is None
    assert expected.expected("inference.classical_coverage", {**PARAMS, "evaluate.interval_level": 0.9}, [9000]) is None
    adam = [
        BASE,
        *(row(f"a-{n}", {"test.cross_entropy": 0.1}, simulate__n_trials=n, train__solver="adam") for n in (1, 9)),
    ]
    chart.make(adam, ["test.cross_entropy"], "simulate.n_trials", "*", tmp_path / "adam")
    assert "theory" not in (tmp_path / "adam.md").read_text()


def test_the_csv_has_twelve_digits() -> None:
    found = pd.DataFrame({"series": 'a, "b"', "value": "1e-05", "metric": "m", "seeds": [1, 2], "y": [1 / 3, 1e9 / 7]})
    [read] = csv.DictReader(io.StringIO(results.to_csv(results.summary(found))))
    assert (read["series"], read["value"], read["seeds"], read["no estimate"]) == ('a, "b"', "1e-05", "2", "")
    assert (read["lowest"], read["highest"]) == ("0.333333333333", "142857142.857")


def printed(rows: Sequence[Row], base: Row) -> list[str]:
    console = Console(width=show.WIDTH, file=io.StringIO(), record=True)
    console.print(show.overview(rows, base))
    return console.export_text().splitlines()


def test_the_overview_has_100_columns_and_numbers_first() -> None:
    metrics: dict[str, Value | None] = {"test.cross_entropy": 0.099463, "test.accuracy": 0.95858, "fit.iterations": 9}
    metrics |= {"test.calibration_slope": 0.754, "recovery.weight_slope": 1.122, "inference.coverage": 0.9512}
    name = "sample-size-200000-seed-1974"
    rows = [BASE, row(name, metrics, simulate__n_trials=200000, simulate__seed=1974, train__solver="adam")]
    rows.append(row("none", {}, no_estimate=True, simulate__n_trials=2))
    lines = printed(rows, BASE)
    (found,) = (line.split() for line in lines if name in line)
    assert found[:6] == ["0.09946", "0.9586", "0.754", "1.122", "0.9512", name]
    assert max(map(len, lines)) <= 100
    assert "n_trials=200000" in " ".join(lines)
    assert "n_trials=2 (no" in " ".join(lines)
    assert "simulate.seed=1974" in " ".join(lines)
    assert " ".join(printed([row("mine", {}, train__ridge=0.5)], Row("baseline", {}, {}))).split()[-1] == "mine"


def test_where_no_trials_are_held_out_the_overview_has_leave_one_out_scores() -> None:
    metrics: dict[str, Value | None] = {"loo.cross_entropy": 0.617, "loo.accuracy": 0.6732}
    assert "0.617 0.6732 study" in " ".join(" ".join(printed([row("study", metrics)], BASE)).split())


@pytest.mark.parametrize("values", [[True, False], [0, 1e-4, "auto"], [0.001, 0.1], [0, 0.5], [7]])
def test_any_kind_of_parameter_is_drawn(values: list[Value], tmp_path: Path) -> None:
    rows = [BASE] + [row(f"e-{i}", {"m": 1.0 + i}, train__ridge=value) for i, value in enumerate(values)]
    png, _, table = chart.make(rows, ["m"], "train.ridge", "*", tmp_path / "chart")
    picture = matplotlib.image.imread(png)
    assert picture.std() > 0.01
    assert len(list(csv.DictReader(table.open()))) == len(values)


def points(values: dict[Any, dict[int, float]]) -> pd.DataFrame:
    lines = [("", value, "m", seed, y) for value, each in values.items() for seed, y in each.items()]
    return pd.DataFrame(lines, columns=["series", "value", "metric", "seeds", "y"])


def test_the_points_of_a_seed_are_joined_as_its_trials_are_the_same() -> None:
    ax = Figure().subplots()
    found = points({False: {1: 1.1, 2: 1.3, 3: 1.2}, True: {3: 1.15, 2: 1.25, 1: 1.0}})
    chart.draw(ax, found, theory=False)
    joined = {tuple(np.asarray(line.get_ydata())) for line in ax.lines if line.get_linestyle() == "-"}
    assert joined == {(1.1, 1.0), (1.3, 1.25), (1.2, 1.15)}
    assert [text.get_text() for text in ax.get_xticklabels()] == ["off", "on"]


def test_where_a_seed_has_no_estimate_there_is_a_cross_below_the_axis_and_no_mean() -> None:
    found = points({9: {1: np.nan, 2: np.nan}, 99: {1: np.nan, 2: 3.0}, 999: {1: 1.5, 2: 1.0}})
    figure = Figure()
    ax = figure.subplots()
    chart.draw(ax, found, theory=True)
    figure.draw_without_rendering()
    (crosses,) = [line for line in ax.lines if line.get_marker() == "x"]
    at = crosses.get_transform().transform(crosses.get_xydata())
    box = ax.get_window_extent()
    assert np.asarray(crosses.get_xdata()).tolist() == [9, 99]
    assert all(box.x0 < x < box.x1 and y < box.y0 for x, y in at)
    means = next(line for line in ax.lines if (line.get_marker(), line.get_markersize()) == ("s", 5))
    np.testing.assert_array_equal(np.asarray(means.get_ydata(orig=False)), [np.nan, np.nan, 1.25])


@pytest.mark.usefixtures("repository")
def test_where_nothing_was_run_it_says_so() -> None:
    with pytest.raises(InputError, match="make experiments"):
        results.choose(results.load(), "*", "train.epochs")
    with pytest.raises(InputError, match="nowhere is no commit"):
        results.load("nowhere")
