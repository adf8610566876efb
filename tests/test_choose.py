"""Which columns become factors where nobody names any: nothing that gives the answer away, and no false alarms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from stages.trials.choose import by_threshold, choose, question
from stages.trials.design import learn
from tests import coding

RNG = np.random.default_rng(0)
N = 400
SIDE, CONTRAST = RNG.choice(["l", "r"], N), RNG.choice([0.05, 0.1, 0.2, 0.4], N)
SIGNED = np.where(SIDE == "r", CONTRAST, -CONTRAST)
YES = (RNG.random(N) < 1 / (1 + np.exp(-6 * SIGNED))).astype(float)
STIMULI = {"side": SIDE, "contrast": CONTRAST, "signed": SIGNED + 0.01 * RNG.normal(size=N)}
GOOD = ((YES == 1) == (SIDE == "r")).astype(float)  # whether it was right


def asked(columns: Mapping[str, object], yes: NDArray[np.float64] = YES) -> tuple[dict[str, str], dict[str, str]]:
    table = pd.DataFrame(columns)
    return choose(table, table, yes[:, None], frozenset())


LEFT = {  # column, what it holds, and why it is left out
    "zeit": (np.cumsum(RNG.random(N)), "it rises from row to row"),
    "lfd": (np.arange(N) % 100 + 1.0, "it rises from row to row"),
    "q": (np.where(YES == 1, "j", "f"), "it alone determines the response"),
    "z": (YES + 0.1 * RNG.random(N), "it alone determines the response"),
    "RT": (RNG.random(N), "a reaction time"),
    "Stimulus.RT": (RNG.random(N), "a reaction time"),
    "response_time": (RNG.random(N), "a reaction time"),
    "key_resp.keys": (RNG.choice(["f", "j", "k"], N), "a key or response"),
    "key_resp.corr": (GOOD, "correctness"),
    "isCorrect": (GOOD, "correctness"),
    "feedbackType": (GOOD, "feedback"),
    "trials.thisTrialN": (RNG.random(N), "an index"),
    "trials.thisN": (RNG.random(N), "an index"),
    "TrialNumber": (RNG.random(N), "an index"),
    "block": (RNG.integers(0, 9, N).astype(float), "an index"),
    "time_elapsed": (RNG.random(N), "a time"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_no_stimulus_is_left_out(name: str) -> None:
    held, why = LEFT[name]
    left_out, doubts = asked(STIMULI | {name: held})
    assert [*left_out] == [name]
    assert why in left_out[name]
    assert not doubts


@pytest.mark.parametrize("name", ["prev_response", "lastChoice", "correct_response", "block_type", "n_dots"])
def test_what_may_be_a_stimulus_or_history_is_taken(name: str) -> None:
    words = RNG.choice(["a", "b"], N) if name == "block_type" else RNG.integers(0, 2, N).astype(float)
    assert asked(STIMULI | {name: words}) == ({}, {})


def test_two_columns_that_determine_the_response_together_are_asked_about() -> None:
    """Of the two, the one that tells less by itself is not proposed: here whether the choice was right."""
    for stimulus in ("side", "signed"):
        columns = {"contrast": CONTRAST, "x": GOOD, stimulus: STIMULI[stimulus]}
        left_out, doubts = asked(columns)
        assert doubts == {"x": f"{stimulus} and x together determine the response"}
        assert question(columns, left_out, doubts).endswith(f"as in: --factors contrast {stimulus}")


@pytest.mark.parametrize("held", [np.arange(N) // 50, -(np.arange(N) // 7), np.arange(N) % 120 // 30])
def test_a_column_that_counts_with_the_rows_is_asked_about(held: NDArray[np.int64]) -> None:
    """A block, a countdown, blocks that begin again in each session; under names that do not tell."""
    assert asked(STIMULI | {"durchgang": held.astype(float)})[1] == {
        "durchgang": "durchgang counts up or down in the order of the rows, as a block or a clock does"
    }


def test_where_nothing_is_left_the_question_names_all() -> None:
    columns = {"a key": YES, "rt": RNG.random(N)}
    asking = question(columns, *asked(columns))
    assert "rt is left out: it is by its name a reaction time" in asking
    assert asking.endswith("--factors 'a key' rt")


def test_what_is_named_is_fitted_and_what_it_gives_away_is_said(tmp_path: Path) -> None:
    table = pd.DataFrame(STIMULI | {"key": np.where(YES == 1, "j", "f"), "y": YES})
    table.to_csv(tmp_path / "t.csv", index=False)
    for named, notes in (
        ({"formula": "~ side + contrast + lag(y, 1)"}, ()),
        ({"factors": ["contrast", "key"]}, ("key: it alone determines the response",)),
    ):
        study = learn(coding.asked(response="y", **named), tmp_path / "t.csv")
        assert study.table.notes == notes
        assert len(study.names) == (3 if "formula" in named else 2)


def test_few_trials_of_a_steep_observer_raise_no_alarm() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=60)
        yes = (rng.random(60) < 1 / (1 + np.exp(-6 * x))).astype(float)
        columns = {"x": x, "side": rng.choice(["l", "r"], 60), "level": rng.integers(0, 5, 60).astype(float)}
        assert asked(columns, yes)[1] == {}


def test_what_a_threshold_tells_is_what_trying_all_of_them_finds() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        x, yes = rng.integers(0, 6, 30).astype(float), rng.integers(0, 2, 30).astype(float)
        told = [max(((x <= t) == yes).mean(), ((x > t) == yes).mean()) for t in range(-1, 7)]
        assert by_threshold(pd.Series(x), yes) == pytest.approx(max(told), abs=1e-12)
