from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import kstest

import hdlogit.inference.infer
from hdlogit.asymptotics.existence import OutsideTheory, existence_threshold
from hdlogit.asymptotics.predictions import best_logits, best_ridge, debiased_logits
from hdlogit.asymptotics.theory import solve
from hdlogit.inference.infer import ClassInference, UntrustedFit, infer, likelihood_ratio_p_values
from tests.problems import Experiment, fit, gaussian, notebook

Array = NDArray[np.float64]


class Fitted:
    """The notebook's own trials, the exact fit of all ten classes, and what inference makes of it."""

    def __init__(self) -> None:
        self.problem = notebook()
        self.coefficients = fit(self.problem.factors, self.problem.responses)
        self.classes = infer(self.problem.factors, self.problem.responses, self.coefficients)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return Fitted()


@pytest.fixture(scope="module")
def small() -> tuple[Experiment, Array]:
    problem = gaussian(3, 900, 60, 3, 2.0, 0.5)
    return problem, fit(problem.factors, problem.responses)


def covered(classes: list[ClassInference], observer: Array, *, classical: bool = False) -> NDArray[np.bool_]:
    """(p + 1, k): whether the 95 % interval holds the truth."""
    limits = [c.classical_interval() if classical else c.interval() for c in classes]
    low, high = np.stack([x[0] for x in limits], axis=1), np.stack([x[1] for x in limits], axis=1)
    return np.asarray((low < observer) & (observer < high))


def pooled_slope(estimates: Array, weights: Array) -> float:
    return float((estimates * weights).sum() / (weights**2).sum())


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
    debiased: list[float] = []
    best: list[float] = []
    for c, inference in enumerate(fitted.classes):
        w, beta = fitted.coefficients[:, c], fitted.problem.observer[:, c]
        # The logits of truth and fit on a trial with fresh normal factors are jointly normal: drawn as such.
        gram = np.array([[beta[:-1] @ beta[:-1], beta[:-1] @ w[:-1]], [beta[:-1] @ w[:-1], w[:-1] @ w[:-1]]])
        truth, new = np.linalg.cholesky(gram) @ rng.normal(size=(2, 400_000)) + np.array([[beta[-1]], [w[-1]]])
        p = expit(truth)
        for logits, results in (
            (new, plain),
            (debiased_logits(inference.theory, new), debiased),
            (best_logits(inference.theory, new), best),
        ):
            results.append((p * np.logaddexp(0, -logits) + (1 - p) * np.logaddexp(0, logits)).mean())
    assert np.mean(plain) == pytest.approx(0.1016, abs=5e-4)
    assert np.mean(debiased) == pytest.approx(0.0957, abs=5e-4)
    assert np.mean(best) <= 0.0945


def test_on_the_notebooks_trials_the_signal_is_found_and_the_estimate_proved_to_exist(fitted: Fitted) -> None:
    true_signal = np.linalg.norm(fitted.problem.observer[:-1], axis=0)
    log_error = np.log([c.theory.signal for c in fitted.classes] / true_signal)
    claimed = np.array([c.signal_error for c in fitted.classes])
    assert 0.5 < np.sqrt((log_error**2).mean()) / np.sqrt((claimed**2).mean()) < 1.5
    assert all(c.exists for c in fitted.classes)
    h = [existence_threshold(c.theory.signal, c.theory.intercept) for c in fitted.classes]
    assert min(h) > 0.0256


# --- against the textbook and the definitions


def test_classical_errors_are_those_of_statsmodels(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    classes = infer(problem.factors, problem.responses, coefficients)
    for c, inference in enumerate(classes):
        model = sm.Logit(problem.responses[:, c].astype(float), np.column_stack([problem.factors, np.ones(900)]))
        reference = model.fit(disp=False, tol=1e-12)
        assert inference.estimate == pytest.approx(reference.params, abs=1e-6)
        assert inference.classical_error == pytest.approx(reference.bse, rel=1e-6)
        assert inference.classical_p_values() == pytest.approx(reference.pvalues, abs=1e-6)


def test_the_leave_one_out_logits_are_those_of_refits() -> None:
    problem = gaussian(5, 150, 8, 1, 1.5)
    coefficients = fit(problem.factors, problem.responses)
    left_out = []
    for i in range(150):
        keep = np.arange(150) != i
        refit = fit(problem.factors[keep], problem.responses[keep])
        left_out.append(float(problem.factors[i] @ refit[:-1, 0] + refit[-1, 0]))
    theory = infer(problem.factors, problem.responses, coefficients)[0].theory
    assert theory.eta**2 == pytest.approx(np.var(left_out), rel=0.01)
    assert theory.b == pytest.approx(float((problem.factors @ coefficients[:-1] + coefficients[-1]).mean()))


def test_few_factors_leave_the_textbook_as_it_is() -> None:
    problem = gaussian(6, 40_000, 4, 2, 1.0, 0.3)
    coefficients = fit(problem.factors, problem.responses)
    for inference in infer(problem.factors, problem.responses, coefficients):
        assert inference.corrected == pytest.approx(inference.estimate, abs=0.003)
        assert inference.corrected_error == pytest.approx(inference.classical_error, rel=0.08)
        assert inference.theory.likelihood_ratio_factor == pytest.approx(1.0, abs=1e-3)


# --- invariances


def test_blocks_and_memory_maps_change_nothing(
    small: tuple[Experiment, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, coefficients = small
    whole = infer(problem.factors, problem.responses, coefficients)
    np.save(tmp_path / "factors.npy", problem.factors)
    monkeypatch.setattr(hdlogit.inference.infer, "BLOCK", 77)
    mapped = np.load(tmp_path / "factors.npy", mmap_mode="r")
    for a, b in zip(whole, infer(mapped, problem.responses, coefficients), strict=True):
        assert a.corrected == pytest.approx(b.corrected, rel=1e-9, abs=1e-10)
        assert a.corrected_error == pytest.approx(b.corrected_error, rel=1e-6)


def test_a_linear_map_and_a_shift_of_the_factors_map_the_answers(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    rng = np.random.default_rng(7)
    scale, shift = np.exp(rng.normal(size=60)), 3 * rng.normal(size=60)
    moved = coefficients / np.append(scale, 1.0)[:, None]
    moved[-1] -= shift @ moved[:-1]
    there = infer(problem.factors * scale + shift, problem.responses, moved)
    for a, b in zip(infer(problem.factors, problem.responses, coefficients), there, strict=True):
        assert (b.theory.signal, b.theory.intercept) == pytest.approx((a.theory.signal, a.theory.intercept), rel=1e-6)
        assert b.corrected[:-1] == pytest.approx(a.corrected[:-1] / scale, rel=1e-6, abs=1e-9)
        assert b.corrected_error[:-1] == pytest.approx(a.corrected_error[:-1] / scale, rel=1e-5)
        assert b.corrected[-1] == pytest.approx(a.corrected[-1] - shift @ b.corrected[:-1], rel=1e-6)
        assert b.corrected_error[-1] > a.corrected_error[-1]  # a bias far from the data is known less well


# --- tests and ridge


def test_p_values_of_weights_without_effect_are_uniform_where_the_classical_ones_are_not() -> None:
    rng = np.random.default_rng(11)
    n, p, k = 2500, 300, 4
    weights = np.zeros((p, k))
    weights[:60] = rng.normal(size=(60, k))
    weights *= 4.0 / np.linalg.norm(weights, axis=0)
    factors = rng.normal(size=(n, p))
    responses = rng.random((n, k)) < expit(factors @ weights)
    classes = infer(factors, responses, fit(factors, responses))
    null = np.concatenate([c.p_values()[60:-1] for c in classes])
    classical = np.concatenate([c.classical_p_values()[60:-1] for c in classes])
    assert kstest(null, "uniform").pvalue > 0.01
    assert (null < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert (classical < 0.05).mean() > 0.07


def test_the_likelihood_ratio_test_is_rescaled() -> None:
    a = solve(0.2, 3.0)
    classical, corrected = likelihood_ratio_p_values(a, 1.9207294, 1)
    assert classical == pytest.approx(0.05, abs=1e-6)
    assert corrected > classical
    assert likelihood_ratio_p_values(a, 1.9207294 * a.likelihood_ratio_factor, 1)[1] == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("factor", [0.3, 1.0, 10.0])
def test_with_ridge_corrected_intervals_cover(factor: float) -> None:
    n, p, k, signal = 1500, 150, 8, 4.0
    ridge = factor * best_ridge(p / n, signal, 1.0)
    problem = gaussian(13, n, p, k, signal, 1.0)
    scaled = Experiment(problem.observer, 0.5 * problem.factors, problem.responses)  # variance 1/4: ridge means more
    classes = infer(scaled.factors, scaled.responses, fit(scaled.factors, scaled.responses, ridge / 4), ridge / 4)
    observer = problem.observer / np.append(np.full(p, 0.5), 1.0)[:, None]
    assert 0.93 <= covered(classes, observer)[:-1].mean() <= 0.975
    corrected = np.stack([c.corrected for c in classes], axis=1)
    assert pooled_slope(corrected[:-1], observer[:-1]) == pytest.approx(1.0, abs=0.08)
    assert all(c.exists for c in classes)


# --- what it refuses


def test_ridge_with_correlated_factors_is_refused() -> None:
    problem = gaussian(15, 800, 40, 1, 2.0)
    factors = problem.factors + 0.7 * np.roll(problem.factors, 1, axis=1)
    coefficients = fit(factors, problem.responses, 0.01)
    with pytest.raises(OutsideTheory, match="isotropic"):
        infer(factors, problem.responses, coefficients, 0.01)


def test_a_fit_that_is_not_exact_is_refused(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    with pytest.raises(UntrustedFit, match=r"class 0: the coefficients are .* from the minimum"):
        infer(problem.factors, problem.responses, 1.05 * coefficients)


def test_data_that_do_not_determine_a_fit_are_refused(small: tuple[Experiment, Array]) -> None:
    problem, coefficients = small
    twice, doubled = (
        np.hstack([problem.factors[:, :1], problem.factors]),
        np.vstack([coefficients[:1], coefficients]),
    )
    with pytest.raises(UntrustedFit, match="do not determine the coefficients"):
        infer(twice, problem.responses, doubled)
    with pytest.raises(UntrustedFit, match="more trials than"):
        infer(problem.factors[:50], problem.responses[:50], coefficients)
    with pytest.raises(ValueError, match="they must be"):
        infer(problem.factors, problem.responses[:-1], coefficients)


def test_a_class_without_signal_is_no_error() -> None:
    rng = np.random.default_rng(17)
    factors, responses = rng.normal(size=(1000, 100)), rng.random((1000, 12)) < 0.3
    classes = infer(factors, responses, fit(factors, responses))
    assert any(c.theory.signal == 0 for c in classes)  # half of them, by chance
    assert all(np.isnan(c.signal_error) for c in classes if c.theory.signal == 0)
    truth = np.zeros((101, 12))
    truth[-1] = np.log(0.3 / 0.7)
    assert 0.93 <= covered(classes, truth)[:-1].mean() <= 0.975
    assert covered(classes, truth)[-1].mean() >= 0.8
