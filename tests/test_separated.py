"""What a person sees where a factor separates some trials: weights without end, in words, tables and figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import yaml
from matplotlib.figure import Figure
from scipy.special import expit

from hdlogit import LogisticRegression
from stages import check, plan, predict, summary
from stages.figures.weights import weights
from tests.browser import CHROMIUM, Browser
from tests.coding import DEFAULTS
from tests.conftest import Project, run_here
from tests.test_prepare import OTHERS

STUDY = DEFAULTS | {"response": ["choice=right", "sure"], "formula": "~ contrast * cue"}
TRAIN = OTHERS["train"] | {"solver": "exact", "shrinkage": "auto"}
C, C_CONTRAST = "cue[T.c]", "contrast:cue[T.c]"  # of the latter the trials tell nothing at all


def trials() -> pd.DataFrame:
    """Where cue is c (20 of 400 trials) the choice is right; other responses follow a logistic function."""
    rng = np.random.default_rng(1)
    cue, contrast = np.repeat(["a", "b", "c"], [190, 190, 20]), rng.normal(size=400).round(3)
    right = (rng.random(400) < expit(contrast + 0.5 * (cue == "b"))) | (cue == "c")
    sure = rng.random(400) < expit(0.5 * contrast)
    return pd.DataFrame({"contrast": contrast, "cue": cue, "choice": np.where(right, "right", "left"), "sure": sure})


def run_study(table: pd.DataFrame, **keys: object) -> str:
    """Run all stages in the current folder; gives the answer."""
    table.to_csv("t.csv", index=False)
    Path("params.yaml").write_text(yaml.safe_dump({**OTHERS, "prepare": STUDY | keys, "train": TRAIN}))
    run_here("prepare", "train", "evaluate", "plot")
    return Path("data/inference/answer.txt").read_text()


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The answer of a study with two classes, of which one is separated; its folder is the current one."""
    with pytest.MonkeyPatch.context() as here:
        here.chdir(tmp_path_factory.mktemp("separated"))
        yield run_study(trials())


def coefficients() -> pd.DataFrame:
    """Of the separated class."""
    table = pd.read_csv("data/inference/coefficients.csv", index_col="factor")
    return table[table["class"] == "choice=right"]


def test_the_answer_tells_each_thing_once(answer: str) -> None:
    verdicts, exists, use, separated, _ = answer.splitlines()  # the last one is on thresholds
    assert verdicts.startswith("400 trials, 5 factors, 2 classes (yes/no responses): separated by")
    assert exists == "choice=right: without shrinkage there is no estimate; use the corrected column"
    assert "nats per trial better than a constant" in use
    assert separated == (
        f"factors {C}, {C_CONTRAST} separate 20 of 400 trials of choice=right; without bounds (95 % intervals): "
        f"{C} [{coefficients().low[C]:.2g}, ∞], {C_CONTRAST} [−∞, ∞]; "
        "the other coefficients are what the trials that are left tell"
    )
    assert "choice" not in Path("data/inference/left_out.txt").read_text()


def test_the_numbers_are_those_of_the_trials_that_are_left_and_of_score_tests(answer: str) -> None:
    table, found = trials(), coefficients()
    yes, b, c = (table.choice == "right").astype(float), 1.0 * (table.cue == "b"), 1.0 * (table.cue == "c")
    x = pd.DataFrame({"bias": 1.0, "contrast": table.contrast, "cue[T.b]": b, "contrast:cue[T.b]": b * table.contrast})
    left = sm.Logit(yes[c == 0], x[c == 0]).fit(disp=0)
    assert found.corrected[[*x]].to_numpy() == pytest.approx(left.params.to_numpy(), rel=0.03)
    assert found.error[[*x]].to_numpy() == pytest.approx(left.bse.to_numpy(), rel=0.05)
    assert found.corrected[C] == np.inf == found.high[C]
    assert np.isnan(found.corrected[C_CONTRAST])
    everything = x.assign(other=c * table.contrast)

    def score_p(value: float) -> float:
        model = sm.GLM(yes, everything, sm.families.Binomial(), offset=value * c).fit()
        return float(model.score_test(exog_extra=c.to_numpy()[:, None]).pvalue[0])

    assert found.p[C] == pytest.approx(score_p(0.0), rel=0.1)
    assert score_p(found.low[C]) == pytest.approx(0.05, rel=0.05)


def test_the_page_shows_infinity_and_sorts_by_it(answer: str, tmp_path: Path) -> None:
    page = Path("data/report.html").resolve()
    text = page.read_text()
    assert "<td>∞<" in text
    assert "<td>not determined<" in text
    assert ">inf<" not in text
    assert ">nan<" not in text
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    column = "[...document.querySelectorAll('.weights tbody tr')].filter(row => !row.hidden).map(row => row.cells[2]"
    with Browser(tmp_path / "profile") as browser:
        browser.open(page, 1200)
        browser.run("document.querySelector('.weights [data-column=\"2\"] button').click()")
        shown = browser.run(f"{column}.textContent)")
        assert browser.trouble() == []
    assert shown[-2:] == ["∞", "not determined"]
    numbers = [float(cell.replace("−", "-")) for cell in shown[:-2]]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (summary, []),
        (plan, ["--study", "."]),
        (predict, [".", "t.csv", "--out", "p.csv"]),
        (check, [".", "--repetitions", "4"]),
    ],
)
def test_commands_say_nothing_that_is_no_word(
    answer: str,
    command: ModuleType,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    command.main()
    words = set(capsys.readouterr().out.split())
    assert words
    assert not words & {"inf", "-inf", "nan"}
    if command is predict:
        assert np.isfinite(pd.read_csv("p.csv").to_numpy()).all()


def test_weights_without_end_run_to_the_edge_and_leave_the_axis_as_it_is() -> None:
    ends = {"classical_low": [2, 0.5, -9, 0], "classical_high": [9, 1.5, -3, 1]}
    ends |= {"low": [1.5, 0.5, -np.inf, -np.inf], "high": [np.inf, 1.5, -1, np.inf]}
    middle = {"estimate": [6, 1, -6, 0.5], "corrected": [np.inf, 1, -np.inf, np.nan]}
    table = pd.DataFrame({"class": "choice", "factor": ["up", "one", "down", "none"], **middle, **ends}).assign(
        family=None
    )
    weights(several := Figure(), table, {})
    [ax] = several.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["down", "none", "one", "up"]
    low, high = ax.get_xlim()
    assert -11 < low < high < 11
    bars = [np.transpose(line.get_data()).clip(low, high).tolist() for line in ax.get_lines()[-3:]]  # type: ignore[arg-type]
    assert [bar[0][0] for bar in bars] == [low, low, 1.5]
    assert [bar[1] for bar in bars] == [[-1, -0.15], [high, 0.85], [high, 2.85]]
    weights(alone := Figure(), table[:1], {})  # no weight is finite
    assert -1 < alone.axes[0].get_xlim()[0] < alone.axes[0].get_xlim()[1] < 11


def test_a_class_without_any_finite_weight_is_drawn_and_is_no_other_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = trials().query("cue != 'b'")
    assert (
        run_study(table, response="choice=right", formula="~ cue").splitlines()[0].endswith("use the corrected column")
    )
    assert coefficients().corrected[C] == np.inf
    bias = table.choice[table.cue == "a"].eq("right").mean()
    assert coefficients().corrected["bias"] == pytest.approx(np.log(bias / (1 - bias)), rel=1e-4)


def test_complete_separation_leaves_one_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = trials().assign(choice=lambda one: np.where(one.contrast > 0, "right", "left"))
    verdict, _, line, *_ = run_study(table, response="choice=right", formula="~ contrast + cue").splitlines()
    assert verdict == "400 trials, 3 factors: without shrinkage there is no estimate; use the corrected column"
    assert "separate 400 of 400 trials of choice=right; without bounds (95 % intervals): contrast [" in line
    assert line.endswith(", ∞], cue[T.b] [−∞, ∞], cue[T.c] [−∞, ∞], bias [−∞, ∞]")
    assert (coefficients().low["contrast"] > 1) & (coefficients().p["contrast"] < 1e-6)


def test_where_the_truth_is_known_finite_weights_are_compared_with_it(project: Project) -> None:
    project.set(train={"solver": "exact", "shrinkage": "auto"})
    run_here("simulate")
    factors, responses = (np.load(f"data/train/{name}.npy") for name in ("factors", "responses"))
    factors[:, 2] = factors[:, 2] > 1.8  # a rare dummy
    responses[factors[:, 2] == 1, 1] = True
    for name, array in (("factors", factors), ("responses", responses)):
        np.save(f"data/train/{name}.npy", array)
    run_here("train", "evaluate", "plot")
    assert "factor 2 separates" in Path("data/inference/answer.txt").read_text()
    assert Path("data/figures/intervals.png").exists()


def test_predictions_are_as_good_as_the_shrunken_fits() -> None:
    """Probabilities of new trials, mean over 20 experiments: no worse than σ of the fitted logit, in their interval."""
    losses = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, new = (np.column_stack([rng.normal(size=400), np.arange(400) < 12]) for _ in range(2))
        yes = (rng.random(400) < expit(x[:, 0])) | (x[:, 1] == 1)
        with pytest.warns(UserWarning, match="separated by x1"):
            model = LogisticRegression().fit(x, yes)
        true, found = np.where(new[:, 1], 0.999, expit(new[:, 0])), model.predict_proba(new)[:, 1]
        shrunken = expit(new @ model.classical_coef_[0] + model.classical_intercept_[0])
        losses.append([-np.mean(true * np.log(p) + (1 - true) * np.log1p(-p)) for p in (found, shrunken)])
        low, high = model.predict_interval(new).T
        assert ((low <= found) & (found <= high)).all()
    ours, theirs = np.mean(losses, axis=0)
    assert ours <= theirs + 0.001
