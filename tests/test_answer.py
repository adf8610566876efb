"""The answer in words agrees with the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hdlogit.inference.comparison import Usefulness
from hdlogit.inference.families import MEMORY, PREVIOUS, TREND
from hdlogit.inference.questions import LINK, RISING, Question
from hdlogit.inference.replication import Replication, Slopes
from hdlogit.inference.result import ClassInference
from stages.tables.answer import Situation, together, trustworthy, unanswered
from stages.tables.remedies import remedy
from tests.coding import coded
from tests.conftest import Project, run_here


def groups(*slopes: float, common: float, error: float = 0.06, df: int = 9, q: float = 8.0) -> Replication:
    n, both = len(slopes), Slopes(np.array(slopes), np.full(len(slopes), 0.1), common, error, q, df)
    return Replication([*range(n)], [100] * n, [""] * n, both, both, np.ones(n))


USE = Usefulness(0.69, 0.6, 0.59, 0.1, 0.01, 300.0, 40, 1e-20)
FINE = Situation("choice=right", 2.2, 1.028, 0.001, 0.9496, 0.0003, USE)
SIGNAL = "signal 2.2 (sd of the true logit)"
USEFUL = "predictions are 0.10 ± 0.01 nats per trial better than a constant"
SQUARES = Question("squares of the factors", 40, 200.0, 1e-9, 0.02)
ODD = FINE._replace(name="b", asked=(SQUARES, Question(LINK, 2, 20.0, 1e-5, 0.003)))


def answer(*classes: Situation, n_trials: int = 3000, n_factors: int = 40) -> list[str]:
    return trustworthy(n_trials, n_factors, [one._replace(n_classes=len(classes)) for one in classes])


def sized(*classes: Situation) -> str:
    """The sentence on weights and intervals."""
    return next(line for line in answer(*classes) if "weights" in line and "come out" in line)


def test_a_plain_fit_is_good_enough_where_weights_and_intervals_are() -> None:
    assert answer(FINE) == [
        f"3 000 trials, 40 factors, {SIGNAL}: {USEFUL}, leave-one-out (R² 0.14)",
        "weights come out 2.8 ± 0.1 % too large and classical 95 % intervals cover 95 %: "
        "a plain logistic regression is good enough",
    ]


def test_the_corrected_column_is_recommended_where_they_are_not() -> None:
    for case, ending in (
        (
            FINE._replace(alpha=1.18),
            "18 % too large and classical 95 % intervals cover 95 %; use the corrected column",
        ),
        (FINE._replace(coverage=0.93), "use the corrected column"),
        (FINE._replace(coverage=0.9, level=0.9), "good enough"),
        (FINE._replace(coverage=0.985, level=0.995), "99.5 % intervals cover 98 %; use the corrected column"),
        (FINE._replace(exists=False), "intervals cover 95 %; use the corrected column"),  # but for shrinkage
    ):
        assert sized(case).endswith(ending)


@pytest.mark.parametrize(
    ("alpha", "coverage", "size", "good"),
    [
        (0.9996, 0.95, "of the right size and classical 95 % intervals cover 95 %", True),
        (1.0048, 0.9394, "0.5 % too large and classical 95 % intervals cover 94 %", True),
        (1.044, 0.9394, "4.4 % too large and classical 95 % intervals cover 94 %", True),
        (1.049, 0.9404, "4.9 % too large and classical 95 % intervals cover 94 %", True),
        (1.0504, 0.9351, "5 % too large and classical 95 % intervals cover 94 %", True),
        (1.0506, 0.9404, "5.1 % too large and classical 95 % intervals cover 94 %", False),
        (0.9494, 0.9404, "5.1 % too small and classical 95 % intervals cover 94 %", False),
        (1.044, 0.9349, "4.4 % too large and classical 95 % intervals cover 93 %", False),
    ],
)
def test_the_verdict_follows_from_the_numbers_as_printed(alpha: float, coverage: float, size: str, good: bool) -> None:
    line = sized(FINE._replace(alpha=alpha, coverage=coverage, alpha_error=0.0, coverage_error=0.0))
    assert f"weights come out {size}" in line
    assert line.endswith("good enough" if good else "use the corrected column")


def test_the_verdict_in_a_few_words() -> None:
    rising = Question(RISING, 0, 40.0, 1e-6, 0.02)
    useless = Usefulness(0.69, 0.7, 0.7, -0.01, 0.01, 3.0, 3, 0.4)
    untested = Usefulness(0.69, 0.6, 0.6, 0.09, 0.01, np.nan, 0, np.nan)  # by n_trials − 1 factors
    for case, verdict in (
        (FINE, "good enough"),
        (FINE._replace(alpha=1.18), "use corrected"),
        (FINE._replace(coverage=0.93), "use corrected"),
        (FINE._replace(alpha_error=1.3), "use corrected"),
        (FINE._replace(alpha=1.18, asked=(SQUARES,)), "model lacks squares of the factors"),
        (FINE._replace(asked=(rising, SQUARES)), "model lacks a rising function"),
        (FINE._replace(use=useless), "no effect shown"),
        (FINE._replace(use=useless._replace(p_value=0.01)), "factors predict no better than a constant"),
        (FINE._replace(use=untested), "good enough"),
        (FINE._replace(use=untested._replace(gain=-0.01)), "factors predict no better than a constant"),
        (FINE._replace(groups=groups(0.2, 1.9, common=1.0, q=50.0)), "groups of trials differ"),
        (FINE._replace(exists=False, unbounded={"cue": (1.0, np.inf)}), "separated by cue"),
    ):
        assert case.verdict == verdict


def test_where_no_effect_is_shown_nothing_is_told_of_the_size_of_weights() -> None:
    useless = Usefulness(0.69, 0.7, 0.7, -0.01, 0.01, 3.0, 3, 0.4)
    for case in (FINE, FINE._replace(asked=(SQUARES,))):
        assert not any("weights would come out" in line for line in answer(case._replace(use=useless)))
        assert not any("weights come out" in line for line in answer(case._replace(use=useless)))


def test_a_difference_below_its_own_error_is_none() -> None:
    vague = FINE._replace(alpha=0.92, alpha_error=0.09, coverage=0.92, coverage_error=0.04)
    assert sized(vague).endswith(
        "8 ± 9 % too small and classical 95 % intervals cover 92 ± 4 %: a plain logistic regression is good enough"
    )
    for certain in (vague._replace(alpha_error=0.07), vague._replace(coverage_error=0.02)):
        assert sized(certain).endswith("use the corrected column")
    for unknown in (vague._replace(alpha_error=1.3), vague._replace(coverage_error=0.08)):
        assert sized(unknown).endswith("use the corrected column")


def test_of_several_classes_all_verdicts_are_named_and_the_worst_is_told() -> None:
    classes = [FINE._replace(name=str(k), signal=1.0 + k, alpha=1 + 0.01 * k) for k in range(10)]
    verdicts, use, size = answer(*classes, n_trials=10_000, n_factors=256)
    assert verdicts == (
        "10 000 trials, 256 factors, 10 classes (yes/no responses): use corrected: class 6, class 7, class 8, class 9; "
        "good enough: class 0, class 1, class 2, class 3, class 4, class 5"
    )
    assert use.startswith(f"class 9, signal 10 (sd of the true logit): {USEFUL}")
    assert size.startswith("weights come out 9 ± 0.1 % too large")
    verdicts, use, lack, size = answer(FINE, ODD._replace(alpha=3.0), ODD._replace(name="7"))
    assert verdicts.endswith(": model lacks squares of the factors: b, class 7; good enough: choice=right")
    assert use.startswith(f"b: {USEFUL}")
    assert lack.startswith("the model lacks squares of the factors")
    assert size.startswith("if the model held")


def test_first_it_is_told_whether_the_factors_tell_anything() -> None:
    noise = FINE._replace(use=USE._replace(constant=0.6302, best=0.6315, gain=-0.0013, p_value=0.3))
    assert answer(noise) == [  # neither signal nor size of what may not exist
        "3 000 trials, 40 factors: no effect of the factors on the responses is shown (all factors together: p = 0.3; "
        "cross-entropy 0.6315 nats per trial against 0.6302, leave-one-out)"
    ]
    weak = noise._replace(use=noise.use._replace(p_value=1e-4))
    use, size = answer(weak)
    assert "the factors matter (all factors together: p = 0.0001), but so many weights predict" in use
    assert size.endswith("of what use they are is said above")


def test_where_the_model_lacks_something_nothing_is_good_enough_and_it_says_what_to_add() -> None:
    use, lack, size = answer(ODD)
    assert use.startswith(f"3 000 trials, 40 factors: {USEFUL}")  # no signal, which nobody knows
    assert lack == (
        "the model lacks squares of the factors (p = 1e-09; about 0.02 nats per trial would be gained, 20 % of what "
        "its factors gain); perhaps because of it, tests of guesses or lapses fail, too: weights and intervals, "
        "corrected ones too, may be far off. To add them: --formula (prepare.formula) with I(x ** 2) for each factor x"
    )
    assert size.startswith("if the model held, weights would come out 2.8 ± 0.1 % too large, and classical 95 %")
    named = answer(ODD._replace(terms={"tone": True, "C(side)": False}))[1]
    assert named.endswith("To add them: --formula (prepare.formula) with I(tone ** 2)")
    chance = ODD._replace(asked=(SQUARES._replace(p_value=0.02),))
    assert answer(chance)[-1].startswith("if the model held")
    assert answer(*[chance] * 10)[-1].endswith("good enough")  # one of many tests
    small = ODD._replace(asked=(SQUARES._replace(gain=0.001),))
    assert answer(small)[-1].endswith("good enough")


def test_good_enough_is_doubted_where_lapses_are_likely() -> None:
    """As of an observer who lapses in 20 % of 400 trials, whose test alone is significant, but not among seven."""
    asked = (Question(LINK, 2, 6.6, 0.039, 0.006, 1.93), *[SQUARES._replace(p_value=0.5)] * 6)
    likely = FINE._replace(asked=asked)
    assert likely.verdict == "good enough, unless it lapses"
    assert "good enough, unless the observer guesses or lapses (p = 0.04 that not" in sized(likely)
    assert "weights would be 2.9 times as large" in sized(likely)
    for of_chance in (asked[0]._replace(p_value=0.06), asked[0]._replace(steeper=0.01)):
        assert sized(FINE._replace(asked=(of_chance, *asked[1:]))).endswith("good enough")


WIDE = {f"x{j}_of_a_long_name": True for j in range(9)}


@pytest.mark.parametrize(
    ("family", "terms", "formula"),
    [
        (SQUARES.family, {"contrast": True, "side": False}, "contrast + side + I(contrast ** 2)"),
        (SQUARES.family, {"signal": False, "frame*": True}, "signal + frame* + I(frame* ** 2)"),
        ("products with signal", {"signal": False, "frame*": True}, "signal * frame*"),
        ("products with side[T.right]", {"contrast": True, "side": False}, "side * contrast"),
        ("products with side", {"a": True, "side": False, "b": True}, "side * (a + b)"),
        (MEMORY, {"contrast": True}, "contrast + lags(choice, 3)"),
        (PREVIOUS, {"contrast": True, "side": False}, "contrast + side + lag(contrast, 1) + lag(side, 1)"),
        (SQUARES.family, WIDE, None),
        (SQUARES.family, {"log(x)": True}, None),
        (PREVIOUS, {"frame*": True}, None),
        (TREND, {"contrast": True}, None),
    ],
)
def test_what_to_add_is_a_command_that_the_study_takes_where_it_is_short(
    family: str, terms: dict[str, bool], formula: str | None, tmp_path: Path
) -> None:
    said = remedy(family, "choice=right", terms)
    assert said.endswith(f"--formula '~ {formula}'") == (formula is not None)
    if formula is None:
        return
    rng = np.random.default_rng(0)
    columns = ["frame1", "frame2", *(name for name in terms if "*" not in name)]
    trials = pd.DataFrame({name: rng.normal(size=60) for name in columns})
    for name, words in (("side", ["left", "right"]), ("choice", ["left", "right"])):
        trials[name] = rng.choice(words, 60)
    trials.to_csv(tmp_path / "t.csv")
    names, *_ = coded(tmp_path / "t.csv", formula=f"~ {formula}")
    assert len(names) > len(terms)


def test_a_remedy_keeps_a_guess_rate_that_was_given_and_names_the_column() -> None:
    assert remedy(LINK, "choice", {}, guess_rate=0.5).startswith("--rates 0.5,estimate (")
    for name, column in (
        ("choice=right", "choice"),
        ("yes", "yes"),
        ("key_resp.keys=j", "`key_resp.keys`"),
        ("3", "response"),
    ):
        assert remedy(MEMORY, name, {}).endswith(f"with lags({column}, 3)")


def test_rates_are_told_and_their_model_must_hold_too() -> None:
    rates = FINE._replace(rates=(0.05, 0.02), alpha=0.53, coverage=2.9e-9)
    use, size = answer(rates)
    assert use.startswith(f"3 000 trials, 40 factors, {SIGNAL}, guess rate 0.05, lapse rate 0.02: {USEFUL}")
    assert size.endswith("47 % too small and classical 95 % intervals cover less than 1 %; use the corrected column")
    lines = answer(rates._replace(asked=(SQUARES,)))
    assert not any("use the corrected column" in line or "guess" in line for line in lines)


def test_families_are_told_but_not_single_factors_or_all_together() -> None:
    terms: dict[str, Any] = {"class": [*"aaa"], "term": ["tone", "frame…", "all"]}
    terms |= {"factors": [1, 8, 9], "p": [0.1, 0.00012, 0.1]}
    assert together(terms, 9) == ["factors tested together: frame… (8) p = 0.0001"]
    assert together(terms | {"p": [0.1, 1e-19, 0.1]}, 9)[0].endswith("frame… (8) p < 1e-12")
    assert together(terms | {"class": ["a", "b", "b"]}, 9) == together({}, 9) == []


def test_classes_without_an_answer_are_named_with_what_helps() -> None:
    missing = {"2": "separated", "5": "its responses are all alike"}
    results = {name: ClassInference.refused("r", 2) for name in "367"}
    assert unanswered(missing, results, {"2": ["a", "b"], "3": ["c"]}) == [
        "factors a, b separate the responses of class 2: train.shrinkage: auto gives an estimate",
        "factor c separates the responses of class 3; they were shrunk for the fit",
        "no estimate of class 5: its responses are all alike",
        "no corrections and intervals of class 3, class 6, class 7: r",
    ]
    assert unanswered({}, {}, {}) == answer() == []


def test_weights_without_bounds_are_told_with_their_finite_ends() -> None:
    inf = float("inf")
    both = FINE._replace(
        level=0.9, n_separated=30, unbounded={"a": (-inf, -0.51), "bias": (1.26, inf), "b": (-inf, inf)}
    )
    first, _, line = answer(both)
    assert first == "3 000 trials, 40 factors: without shrinkage there is no estimate; use the corrected column"
    assert line == (
        "factors a, b separate 30 of 3 000 trials of choice=right; without bounds (90 % intervals): a [−∞, −0.51], "
        "bias [1.3, ∞], b [−∞, ∞]; the other coefficients are what the trials that are left tell"
    )
    alone = FINE._replace(n_separated=1, unbounded={"a": (2.0, inf)}, asked=ODD.asked[1:])
    _, lack, line = answer(alone, n_trials=30, n_factors=0)
    assert "the model lacks guesses or lapses" in lack  # then the corrected column is none to use
    assert line == "factor a separates 1 of 30 trials of choice=right; without bounds (95 % intervals): a [2, ∞]"


def test_evaluate_writes_and_prints_it_and_so_does_the_summary(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set(train={"solver": "exact"})
    run_here("simulate")
    responses = np.load("data/train/responses.npy")
    responses[:, 1] = np.load("data/train/factors.npy")[:, 2] > 0
    np.save("data/train/responses.npy", responses)
    for shrinkage, line in (
        (0, "factor 2 separates the responses of class 1: train.shrinkage: auto gives an estimate"),
        ("auto", "separate 300 of 300 trials of class 1; without bounds (95 % intervals): factor 0 [−∞, ∞], "),
    ):
        project.set(train={"shrinkage": shrinkage})
        run_here("train", "evaluate")
        capsys.readouterr()
        run_here("summary")
        written = (project.data / "inference" / "answer.txt").read_text()
        assert written.startswith("300 trials, 4 factors, ")
        assert "nats per trial better than a constant" in written
        assert line in written
        assert capsys.readouterr().out.startswith(written)


def test_groups_that_differ_are_neither_alike_nor_good_enough() -> None:
    said = "corrected weights of one are 1.04 ± 0.06 times those of the others"
    for one, line in (
        (groups(0.6, 1.5, common=1.04), f"groups replicate one another: {said}"),
        (groups(0.6, 1.5, common=1.04, df=1, q=0.1), f"groups replicate one another: {said.replace(' ± 0.06', '')}"),
        (
            groups(0.6, 1.5, common=5.0, error=1.03),
            f"groups are too short to be compared: {said.replace('1.04 ± 0.06', '5.00 ± 1')}",
        ),
    ):
        _, size, last = answer(FINE._replace(groups=one))
        assert size.endswith("good enough")
        assert last == line
    for differing, lowest, highest in (
        (groups(-0.02, 1.72, common=1.1, error=0.2, q=86.0), "−0.02", "1.72"),
        (groups(1.2, 1.4, common=1.3, error=0.03), "1.20", "1.40"),
    ):
        _, size, last = answer(FINE._replace(groups=differing))
        assert size.endswith("but they are means over groups that differ")
        assert f"{lowest} to {highest} times those of the others" in last
        assert last.startswith("groups do not replicate one another")
