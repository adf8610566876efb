"""Inference from an exact fit, against the truth, refits, the textbook and published values."""

from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import kstest

from hdlogit.asymptotics.existence import existence_threshold
from hdlogit.asymptotics.predictions import best_logits, corrected_logits
from hdlogit.exact import fit as exact_fit
from hdlogit.inference import infer
from hdlogit.inference.terms import joint_test
from tests.inferred import covered, inferred, pooled_slope
from tests.problems import Experiment, fit, gaussian, notebook

Array = NDArray[np.float64]


class Fitted:
    """The notebook's own trials, the exact fit of all ten classes, and what inference makes of it."""

    def __init__(self) -> None:
        self.problem = notebook()
        self.coefficients = exact_fit(self.problem.factors, self.problem.responses).coefficients
        self.classes = inferred(self.problem.factors, self.problem.responses, self.coefficients)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return Fitted()


@pytest.fixture(scope="module")
def small() -> tuple[Experiment, Array]:
    problem = gaussian(3, 900, 60, 3, 2.0, 0.5)
    return problem, fit(problem.factors, problem.responses)


# --- on the notebook's trials


def test_on_the_notebooks_trials_corrected_intervals_cover(fitted: Fitted) -> None:
    weights = covered(fitted.classes, fitted.problem.observer)[:-1]
    assert 0.94 <= weights.mean() <= 0.975
    largest = np.abs(fitted.problem.observer[:-1]) > np.quantile(np.abs(fitted.problem.observer[:-1]), 0.9)
    assert 0.92 <= weights[largest].mean() <= 0.99  # the published form covers 0.82 of these
    classical = covered(fitted.classes, fitted.problem.observer, classical=True)[:-1]
    assert classical.mean() == pytest.approx(0.480, abs=0.002)


def test_on_the_notebooks_trials_the_bias_is_gone(fitted: Fitted) -> None:
    truth = fitted.problem.observer
    corrected = np.stack([c.corrected for c in fitted.classes], axis=1)
    assert pooled_slope(fitted.coefficients[:-1], truth[:-1]) == pytest.approx(1.256, abs=0.002)
    assert pooled_slope(corrected[:-1], truth[:-1]) == pytest.approx(1.0, abs=0.02)
    error = corrected - truth
    assert np.sqrt((error[:-1] ** 2).mean()) == pytest.approx(0.081, abs=0.002)  # 0.284 uncorrected
    assert np.sqrt((error[-1] ** 2).mean()) == pytest.approx(0.081, abs=0.005)  # 0.436 uncorrected


def test_on_the_notebooks_trials_the_best_prediction_wins_on_fresh_trials(fitted: Fitted) -> None:
    rng = np.random.default_rng(20_240_501)
    plain: list[float] = []
    corrected: list[float] = []
    best: list[float] = []
    for c, inference in enumerate(fitted.classes):
        w, beta = fitted.coefficients[:, c], fitted.problem.observer[:, c]
        # The logits of truth and fit on a trial with fresh normal factors are jointly normal: drawn as such.
        gram = np.array([[beta[:-1] @ beta[:-1], beta[:-1] @ w[:-1]], [beta[:-1] @ w[:-1], w[:-1] @ w[:-1]]])
        truth, new = np.linalg.cholesky(gram) @ rng.normal(size=(2, 400_000)) + np.array([[beta[-1]], [w[-1]]])
        p = expit(truth)
        for logits, results in (
            (new, plain),
            (corrected_logits(inference.theory, new), corrected),
            (best_logits(inference.theory, new), best),
        ):
            results.append((p * np.logaddexp(0, -logits) + (1 - p) * np.logaddexp(0, logits)).mean())
    assert np.mean(plain) == pytest.approx(0.1016, abs=5e-4)
    assert np.mean(corrected) == pytest.approx(0.0957, abs=5e-4)
    assert np.mean(best) <= 0.0945


def test_on_the_notebooks_trials_the_signal_is_found(fitted: Fitted) -> None:
    true_signal = np.linalg.norm(fitted.problem.observer[:-1], axis=0)
    log_error = np.log([c.theory.signal for c in fitted.classes] / true_signal)
    claimed = np.array([c.link.errors[0] for c in fitted.classes])
    assert 0.5 < np.sqrt((log_error**2).mean()) / np.sqrt((claimed**2).mean()) < 1.5
    h = [existence_threshold(c.theory.signal, c.theory.intercept) for c in fitted.classes]
    assert min(h) > 0.0256


# --- against the textbook and the definitions


def test_classical_errors_are_those_of_statsmodels(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    for c, inference in enumerate(inferred(problem.factors, problem.responses, coefficients)):
        model = sm.Logit(problem.responses[:, c].astype(float), np.column_stack([problem.factors, np.ones(900)]))
        reference = model.fit(disp=False, tol=1e-12)
        assert inference.estimate == pytest.approx(reference.params, abs=1e-6)
        assert inference.classical_error == pytest.approx(reference.bse, rel=1e-6)
        assert inference.classical_p_values() == pytest.approx(reference.pvalues, abs=1e-6)


def test_leave_one_out_logits_and_scores_are_those_of_refits() -> None:
    problem = gaussian(5, 150, 8, 1, 1.5)
    coefficients = fit(problem.factors, problem.responses)
    left_out = np.empty(150)
    for i in range(150):
        others = np.arange(150) != i
        refit = fit(problem.factors[others], problem.responses[others])
        left_out[i] = problem.factors[i] @ refit[:-1, 0] + refit[-1, 0]
    [inference] = inferred(problem.factors, problem.responses, coefficients)
    assert inference.theory.eta**2 == pytest.approx(np.var(left_out), rel=0.01)
    assert inference.theory.b == pytest.approx(float((problem.factors @ coefficients[:-1] + coefficients[-1]).mean()))
    plain, _, best = (np.logaddexp(0, np.where(problem.responses[:, 0], -z, z)) for z in inference.leave_one_out)
    assert inference.leave_one_out.plain == pytest.approx(left_out, abs=0.1)
    assert plain.mean() == pytest.approx(
        np.logaddexp(0, np.where(problem.responses[:, 0], -left_out, left_out)).mean(), rel=5e-3
    )
    assert best.mean() < plain.mean()


def test_few_factors_leave_the_textbook_as_it_is() -> None:
    problem = gaussian(6, 40_000, 4, 2, 1.0, 0.3)
    coefficients = fit(problem.factors, problem.responses)
    for inference in inferred(problem.factors, problem.responses, coefficients):
        assert inference.corrected == pytest.approx(inference.estimate, abs=0.003)
        assert inference.corrected_error == pytest.approx(inference.classical_error, rel=0.08)
        assert inference.theory.s**2 / inference.theory.lambda_ == pytest.approx(1.0, abs=1e-3)  # Wilks


# --- invariances


def test_memory_maps_and_rounded_coefficients_change_nothing(small: tuple[Experiment, Array], tmp_path: Path) -> None:
    problem, coefficients = small
    whole = inferred(problem.factors, problem.responses, coefficients)
    np.save(tmp_path / "factors.npy", problem.factors)
    mapped = np.load(tmp_path / "factors.npy", mmap_mode="r")
    for a, b in zip(whole, inferred(mapped, problem.responses, coefficients.astype(np.float32)), strict=True):
        assert a.corrected == pytest.approx(b.corrected, rel=1e-6, abs=1e-8)
        assert a.corrected_error == pytest.approx(b.corrected_error, rel=1e-6)
        assert a.estimate == pytest.approx(b.estimate, rel=1e-9, abs=1e-10)


def test_a_linear_map_and_a_shift_of_the_factors_map_the_answers(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    rng = np.random.default_rng(7)
    scale, shift = np.exp(rng.normal(size=60)), 3 * rng.normal(size=60)
    moved = coefficients / np.append(scale, 1.0)[:, None]
    moved[-1] -= shift @ moved[:-1]
    there = inferred(problem.factors * scale + shift, problem.responses, moved)
    for a, b in zip(inferred(problem.factors, problem.responses, coefficients), there, strict=True):
        assert (b.theory.signal, b.theory.intercept) == pytest.approx((a.theory.signal, a.theory.intercept), rel=1e-6)
        assert b.corrected[:-1] == pytest.approx(a.corrected[:-1] / scale, rel=1e-6, abs=1e-9)
        assert b.corrected_error[:-1] == pytest.approx(a.corrected_error[:-1] / scale, rel=1e-5)
        assert b.corrected[-1] == pytest.approx(a.corrected[-1] - shift @ b.corrected[:-1], rel=1e-6)
        assert b.corrected_error[-1] > a.corrected_error[-1]  # a bias far from the data is known less well


# --- tests


def test_p_values_of_weights_without_effect_are_uniform_where_the_classical_ones_are_not() -> None:
    rng = np.random.default_rng(11)
    n, p, k = 2000, 240, 5
    weights = np.zeros((p, k))
    weights[:60] = rng.normal(size=(60, k))
    weights *= 4.0 / np.linalg.norm(weights, axis=0)
    factors = rng.normal(size=(n, p))
    responses = rng.random((n, k)) < expit(factors @ weights)
    classes = inferred(factors, responses, fit(factors, responses))
    null = np.concatenate([c.p_values()[60:-1] for c in classes])
    classical = np.concatenate([c.classical_p_values()[60:-1] for c in classes])
    assert kstest(null, "uniform").pvalue > 0.01
    assert (null < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert (classical < 0.05).mean() > 0.07
    one, y = classes[0], responses[:, 0]
    assert joint_test(one, [0], factors, y) == pytest.approx((one.z[0] ** 2, one.p_values()[0]))


def test_joint_tests_are_the_textbooks_score_tests_but_for_the_dispersion(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    [inference] = inferred(problem.factors, problem.responses[:, :1], coefficients[:, :1])
    y, chosen = problem.responses[:, 0], [3, 17, 4]
    x = np.column_stack([np.delete(problem.factors, chosen, axis=1), np.ones(900)])
    null = sm.GLM(y.astype(float), x, family=sm.families.Binomial()).fit(tol=1e-12)
    textbook = null.score_test(exog_extra=problem.factors[:, chosen])
    p = null.fittedvalues
    d = p * (1 - p)
    h = d * np.vecdot(x @ np.linalg.inv((x.T * d) @ x), x)
    dispersion = np.mean((y - p) ** 2) / np.mean(d * (1 - h))
    assert dispersion > 1.05
    assert joint_test(inference, chosen, problem.factors, y)[0] == pytest.approx(textbook[0] / dispersion, rel=1e-5)


def test_joint_tests_of_many_factors_have_their_size_and_power() -> None:
    """By the fitted weights the statistic is half as large as it should be here, and nothing is ever rejected."""
    rng = np.random.default_rng(12)
    factors, weights = rng.normal(size=(300, 100)), np.zeros(100)
    weights[30:] = 0.7 * rng.normal(size=70) / np.sqrt(70)
    effect = np.append(0.8 * rng.normal(size=30) / np.sqrt(30), np.zeros(70))
    ratio, p_values = [], []
    for truth in (weights, weights + effect):
        responses = rng.random((300, 60)) < expit(factors @ truth)[:, None]
        classes = inferred(factors, responses, fit(factors, responses))
        tests = [joint_test(c, range(30), factors, y) for c, y in zip(classes, responses.T, strict=True)]
        ratio.append(np.mean([statistic for statistic, _ in tests]) / 30)
        p_values.append(np.array([p for _, p in tests]))
    assert ratio[0] == pytest.approx(1, abs=0.1)
    assert kstest(p_values[0], "uniform").pvalue > 0.01
    assert (p_values[1] < 0.05).mean() > 0.6


def test_all_factors_together_can_be_tested(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    [inference] = inferred(problem.factors, problem.responses[:, :1], coefficients[:, :1])
    assert joint_test(inference, range(60), problem.factors, problem.responses[:, 0])[1] < 1e-6


# --- what it refuses


def test_one_class_that_is_refused_leaves_the_others_theirs(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    wrong = coefficients.copy()
    wrong[:, 0] *= 1.05
    wrong[:, 2] = np.nan
    first, second, third = infer(problem.factors, problem.responses, wrong)
    assert first.reason is not None
    assert first.reason.startswith("the coefficients are")
    assert third.reason == "it has no estimate"
    [alone] = inferred(problem.factors, problem.responses[:, 1:2], coefficients[:, 1:2])
    assert second.corrected == pytest.approx(alone.corrected, rel=1e-12)


def test_a_trial_that_alone_decides_a_weight_is_a_reason() -> None:
    """60 trials of 20 factors, nearly separated: the fit is as exact as asked for, but not to that trial."""
    rng = np.random.default_rng(247)
    factors = rng.normal(size=(60, 20))
    responses = rng.random((60, 1)) < expit(factors @ np.full((20, 1), 1.2))
    fitted = fit(factors, responses)[:, 0]
    design = np.column_stack([factors, np.ones(60)])
    p = expit(design @ fitted)
    curvatures, directions = np.linalg.eigh(design.T @ (design * (p * (1 - p))[:, None]))
    fitted += 0.09 * directions[:, 0] / np.sqrt(curvatures[0])  # of a standard error
    [result] = infer(factors, responses, fitted[:, None])
    assert "separable but for a trial" in str(result.reason)


def test_what_is_wrong_with_the_factors_is_named(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small

    def reason(factors: Array) -> str:
        [result] = infer(factors, problem.responses[:, :1], np.zeros((factors.shape[1] + 1, 1)))
        return str(result.reason)

    x = problem.factors
    assert reason(np.column_stack([x, np.full(900, 0.1)])).startswith("factor 60 is constant")
    for dependent in (3 * x[:, 7] + 1, x[:, 1] - x[:, 4]):
        assert reason(np.column_stack([x, dependent])).endswith(
            "are linearly dependent: these data cannot tell them apart, omit one"
        )
    broken = x.copy()
    broken[17, 5] = np.nan
    assert "must be finite numbers" in reason(broken)
    assert "trials must outnumber" in str(infer(x[:50], problem.responses[:50], coefficients)[0].reason)
    with pytest.raises(ValueError, match="they must be"):
        infer(x, problem.responses[:-1], coefficients)
    with pytest.raises(ValueError, match="together below 1"):
        infer(x, problem.responses, coefficients, guess_rate=0.5, lapse_rate=0.5)


def test_factors_that_have_names_are_named(small: tuple[Experiment, Array]) -> None:
    problem, _ = small
    x, names = np.column_stack([problem.factors, np.full(900, 0.1)]), [f"f{j}" for j in range(61)]
    [result] = infer(x, problem.responses[:, :1], np.zeros((62, 1)), names=names)
    assert str(result.reason).startswith("factor f60 is constant")


def test_ridge_is_refused_with_unequal_units_or_correlated_factors_and_says_what_helps() -> None:
    problem = gaussian(15, 800, 40, 1, 2.0)
    unequal = problem.factors * np.repeat([1.0, 10.0], 20)
    correlated = problem.factors + 0.7 * np.roll(problem.factors, 1, axis=1)
    for factors in (unequal, correlated):
        [result] = infer(factors, problem.responses, fit(factors, problem.responses, 0.01), 0.01)
        assert "isotropic" in str(result.reason)
    standardised = unequal / unequal.std(axis=0)
    inferred(standardised, problem.responses, fit(standardised, problem.responses, 0.01), 0.01)


def test_a_class_without_signal_is_no_error() -> None:
    rng = np.random.default_rng(17)
    factors, responses = rng.normal(size=(1000, 100)), rng.random((1000, 12)) < 0.3
    classes = inferred(factors, responses, fit(factors, responses))
    assert any(c.theory.signal == 0 for c in classes)  # half of them, by chance
    assert all(np.isnan(c.link.errors[0]) for c in classes if c.theory.signal == 0)
    truth = np.zeros((101, 12))
    truth[-1] = np.log(0.3 / 0.7)
    assert 0.93 <= covered(classes, truth)[:-1].mean() <= 0.975
    assert covered(classes, truth)[-1].mean() >= 0.8


def test_the_signal_is_that_of_all_factors_also_where_one_dominates() -> None:
    """Levels of one stimulus carry the index, and are not normal."""
    rng = np.random.default_rng(12)
    x = np.column_stack([rng.choice([-1.0, 1.0], 3000), rng.normal(size=(3000, 3))])
    logit = x @ [2.0, 0.3, 0.3, 0.0]
    y = (rng.random(3000) < expit(logit))[:, None]
    [result] = infer(x, y, fit(x, y))
    assert len(result.dominant)
    assert result.signal == pytest.approx(logit.std(), rel=0.06)
    assert result.theory.signal < 0.6
