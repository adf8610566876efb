"""The exact fit against scikit-learn, autograd, an independent linear programme, and what must hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from hdlogit.exact import solver as exact
from hdlogit.exact.coordinates import Sample, sampled_rows, standardise
from hdlogit.exact.objective import Objective, Share
from hdlogit.exact.separation import exists_at, is_separable
from hdlogit.exact.solver import NoEstimate, NotConverged, fit

quick = settings(derandomize=True, deadline=None, max_examples=15)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The problems here are too small to share out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def problem(
    seed: int, n_trials: int, n_factors: int, n_classes: int, size: float = 2.0, bias: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Gaussian factors, logits of standard deviation `size`."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n_trials, n_factors))
    weights = rng.standard_normal((n_factors, n_classes)) * size / n_factors**0.5
    responses = rng.random((n_trials, n_classes)) < expit(factors @ weights + bias)
    return torch.from_numpy(factors), torch.from_numpy(responses)


def gradient(factors: Tensor, responses: Tensor, coefficients: Tensor, ridge: float) -> Tensor:
    """Of the sum over classes of each class's objective, by autograd: (n_factors + 1, n_classes)."""
    w = coefficients.double().clone().requires_grad_()
    logits = factors.double() @ w[:-1] + w[-1]
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, responses.double(), reduction="none")
    (losses.mean(0).sum() + ridge / 2 * w[:-1].square().sum()).backward()  # type: ignore[no-untyped-call]  # torch
    assert w.grad is not None
    return w.grad


# --- the estimate ----------------------------------------------------------------------------------------


@quick
@given(
    seed=st.integers(0, 10**6),
    n_trials=st.integers(300, 1000),
    n_factors=st.integers(1, 12),
    n_classes=st.integers(1, 4),
    size=st.floats(0.1, 4),
    bias=st.floats(-1.5, 1.5),
    ridge=st.sampled_from([0.0, 1e-4, 1e-2, 1.0]),
)
def test_agrees_with_scikit_learn(
    seed: int, n_trials: int, n_factors: int, n_classes: int, size: float, bias: float, ridge: float
) -> None:
    factors, responses = problem(seed, n_trials, n_factors, n_classes, size, bias)
    found = fit(factors, responses, ridge=ridge, tolerance=1e-9)
    C = 1 / (n_trials * ridge) if ridge else np.inf
    for k in range(n_classes):
        peer = LogisticRegression(C=C, tol=1e-10, max_iter=1000, solver="newton-cholesky")
        peer.fit(factors.numpy(), responses[:, k].numpy())
        theirs = np.append(peer.coef_[0], peer.intercept_)
        np.testing.assert_allclose(found.coefficients[:, k].numpy(), theirs, rtol=1e-4, atol=1e-5)


@quick
@given(seed=st.integers(0, 10**6), size=st.floats(0.5, 6), ridge=st.sampled_from([0.0, 1e-3, 0.3]))
def test_reports_the_gradient_and_loss_that_autograd_finds(seed: int, size: float, ridge: float) -> None:
    factors, responses = problem(seed, 500, 6, 3, size)
    found = fit(factors, responses, ridge=ridge)
    largest = gradient(factors, responses, found.coefficients, ridge).abs().amax(0)
    assert (largest <= 1e-6).all()
    torch.testing.assert_close(largest, found.max_gradient, rtol=1e-6, atol=1e-14)
    logits = factors @ found.coefficients[:-1] + found.coefficients[-1]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, responses.double(), reduction="none")
    torch.testing.assert_close(found.loss, loss.mean(0), rtol=1e-12, atol=1e-14)


@quick
@given(seed=st.integers(0, 10**6), n_trials=st.integers(2, 70), ridge=st.sampled_from([0.0, 0.1]))
def test_gradient_is_that_of_autograd_anywhere(seed: int, n_trials: int, ridge: float) -> None:
    factors, responses = problem(seed, n_trials, 5, 3)
    objective = Objective(Share.of(factors, responses), np.eye(6), np.array([ridge] * 5 + [0.0]))
    coefficients = np.random.default_rng(seed).standard_normal((3, 6)) * 10
    wanted = gradient(factors, responses, torch.from_numpy(coefficients).T, ridge).T.numpy()
    found = objective.evaluate(coefficients, np.arange(3))
    np.testing.assert_allclose(found.gradient, wanted, rtol=1e-12, atol=1e-13)
    some = objective.evaluate(coefficients[[2, 0]], np.array([2, 0]))
    np.testing.assert_allclose(some.gradient, wanted[[2, 0]], rtol=1e-12, atol=1e-13)


@quick
@given(seed=st.integers(0, 10**6), ridge=st.sampled_from([0.0, 0.1]))
def test_the_sample_is_the_same_objective_in_other_units(seed: int, ridge: float) -> None:
    factors, responses = problem(seed, 70, 5, 3)
    factors = factors * torch.tensor([1, 10, 0.1, 1, 1000]) + 3
    sample = Sample(factors, responses, 70)
    share = Share.of(factors, responses)
    coordinates = standardise(sample, share, ridge)
    objective = Objective(share, coordinates.basis(), np.array([ridge] * 5 + [0.0]))
    points = np.random.default_rng(seed).standard_normal((3, 6))
    residuals = torch.sigmoid(sample.logits(points)) - sample.responses
    wanted, found = objective.evaluate(points, np.arange(3)), sample.evaluate(points, residuals)
    np.testing.assert_allclose(found.gradient, wanted.gradient, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.worst, wanted.worst, rtol=1e-4)
    assert coordinates.inverse is not None
    np.testing.assert_allclose(coordinates.inverse @ coordinates.basis_of_sample(), np.eye(6), atol=1e-12)


def test_first_order_conditions() -> None:
    factors, responses = problem(1, 2000, 10, 4, size=3, bias=1)
    found = fit(factors, responses, tolerance=1e-10)
    residuals = torch.sigmoid(factors @ found.coefficients[:-1] + found.coefficients[-1]) - responses.double()
    assert (factors.T @ residuals / 2000).abs().max() < 1e-9
    torch.testing.assert_close(residuals.mean(0), torch.zeros(4).double(), rtol=0, atol=1e-9)


def notebook() -> tuple[Tensor, Tensor]:
    weights = np.random.RandomState(1973).randn(257, 10)
    stream = np.random.RandomState(1973)
    factors = stream.randn(10_000, 256)
    responses = expit(factors @ weights[:-1] + weights[-1]) > stream.rand(10_000, 10)
    return torch.from_numpy(factors), torch.from_numpy(responses)


def test_reaches_the_published_optimum_of_the_notebook() -> None:
    found = fit(*notebook())
    assert float(found.loss.mean()) == pytest.approx(0.0649467, abs=5e-8)
    assert float(found.max_gradient.max()) <= 1e-6


# --- invariances -----------------------------------------------------------------------------------------


@quick
@given(seed=st.integers(0, 10**6))
def test_order_of_trials_and_of_classes_does_not_matter(seed: int) -> None:
    factors, responses = problem(seed, 400, 5, 4)
    found = fit(factors, responses, tolerance=1e-10).coefficients
    generator = torch.Generator().manual_seed(seed)
    trials, classes = torch.randperm(400, generator=generator), torch.randperm(4, generator=generator)
    shuffled = fit(factors[trials], responses[trials][:, classes], tolerance=1e-10).coefficients
    torch.testing.assert_close(shuffled, found[:, classes], rtol=1e-6, atol=1e-7)


def test_a_class_is_fitted_as_if_it_were_alone() -> None:
    factors, easy = problem(2, 600, 8, 3, size=0.5)
    _, hard = problem(2, 600, 8, 1, size=6)
    responses = torch.cat([easy, hard], dim=1)
    together = fit(factors, responses, tolerance=1e-10)
    for k in range(4):
        alone = fit(factors, responses[:, [k]], tolerance=1e-10)
        torch.testing.assert_close(together.coefficients[:, [k]], alone.coefficients, rtol=1e-6, atol=1e-7)


@quick
@given(seed=st.integers(0, 10**6), shift=st.floats(-30, 30))
def test_without_ridge_an_affine_change_of_factors_changes_no_logit(seed: int, shift: float) -> None:
    factors, responses = problem(seed, 500, 4, 2)
    rng = np.random.default_rng(seed)
    change = torch.from_numpy(rng.standard_normal((4, 4)) + 4 * np.eye(4))
    changed = factors @ change + shift
    one, other = (fit(x, responses, tolerance=1e-9).coefficients for x in (factors, changed))
    logits = factors @ one[:-1] + one[-1]
    torch.testing.assert_close(changed @ other[:-1] + other[-1], logits, rtol=1e-4, atol=1e-4)


def test_the_bias_is_not_penalised() -> None:
    factors, responses = problem(3, 1000, 3, 2, bias=2.0)
    found = fit(factors, responses, ridge=1e6, tolerance=1e-9).coefficients
    frequency = responses.double().mean(0)
    torch.testing.assert_close(found[-1], torch.logit(frequency), rtol=1e-5, atol=1e-5)
    assert found[:-1].abs().max() < 1e-5


# --- difficult factors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e8])
@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_bad_scales_converge(condition: float, ridge: float) -> None:
    factors, responses = problem(4, 1000, 8, 2)
    scales = torch.logspace(0, -np.log10(condition), 8).double()
    found = fit(factors * scales, responses, ridge=ridge)
    assert gradient(factors * scales, responses, found.coefficients, ridge).abs().max() <= 1e-6
    if ridge == 0:
        plain = fit(factors, responses, tolerance=1e-8)
        torch.testing.assert_close(
            found.coefficients[:-1] * scales[:, None], plain.coefficients[:-1], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("gap", [1e-2, 1e-5, 1e-8])
def test_nearly_dependent_factors_converge(gap: float) -> None:
    factors, responses = problem(5, 1000, 6, 2)
    factors[:, 1] = factors[:, 0] + gap * factors[:, 1]
    found = fit(factors, responses)
    assert gradient(factors, responses, found.coefficients, 0).abs().max() <= 1e-6


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_duplicated_factors_share_the_weight(ridge: float) -> None:
    factors, responses = problem(6, 1000, 4, 2)
    doubled = torch.cat([factors, factors[:, :1]], dim=1)
    found = fit(doubled, responses, ridge=ridge, tolerance=1e-9)
    torch.testing.assert_close(found.coefficients[0], found.coefficients[4], rtol=1e-6, atol=1e-6)
    if ridge == 0:
        single = fit(factors, responses, tolerance=1e-9).coefficients
        torch.testing.assert_close(found.coefficients[0] * 2, single[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e6])
def test_a_constant_factor_is_left_to_the_bias(value: float, ridge: float) -> None:
    factors, responses = problem(7, 1000, 4, 2)
    widened = torch.cat([factors, torch.full((1000, 1), value, dtype=torch.float64)], dim=1)
    found = fit(widened, responses, ridge=ridge, tolerance=1e-6)
    plain = fit(factors, responses, ridge=ridge, tolerance=1e-9)
    assert (found.coefficients[4] == 0).all()
    torch.testing.assert_close(found.coefficients[[0, 1, 2, 3, 5]], plain.coefficients, rtol=1e-4, atol=1e-4)


def test_a_factor_that_varies_only_outside_the_sample_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "KEPT", 400)
    factors, responses = problem(8, 4000, 2, 1)
    outside = torch.ones(4000, dtype=torch.bool)
    outside[sampled_rows(4000, 400)] = False
    rare = torch.zeros(4000, 1).double()
    rare[outside.nonzero()[::400, 0]] = 1
    responses[outside.nonzero()[::800, 0]] = True
    responses[outside.nonzero()[400::800, 0]] = False
    widened = torch.cat([factors, rare], dim=1)
    assert len(standardise(Sample(widened, responses, 400), Share.of(widened, responses), 0.0).root) == 3
    found = fit(widened, responses, tolerance=1e-9)
    assert gradient(widened, responses, found.coefficients, 0).abs().max() <= 1.01e-9
    assert found.coefficients[2].abs() > 1e-3


def test_a_large_mean_does_no_harm() -> None:
    factors, responses = problem(9, 1000, 4, 2)
    found = fit(factors + 1e6, responses)
    plain = fit(factors, responses, tolerance=1e-9)
    torch.testing.assert_close(found.coefficients[:-1], plain.coefficients[:-1], rtol=1e-3, atol=1e-4)


# --- the estimate's existence ----------------------------------------------------------------------------


def separable(factors: np.ndarray, responses: np.ndarray) -> bool:
    """Independently: is there d with s x·d >= 0 everywhere and a positive sum? (Konis, 2007)"""
    signed = np.hstack([factors, np.ones((len(factors), 1))]) * (2 * responses - 1)[:, None]
    found = linprog(-signed.sum(0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1))
    return bool(-found.fun > 1e-6)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), n_trials=st.integers(4, 24), n_factors=st.integers(1, 3), size=st.floats(0, 8))
def test_says_that_no_estimate_exists_exactly_where_a_linear_programme_does(
    seed: int, n_trials: int, n_factors: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.integers(-2, 3, (n_trials, n_factors)).astype(float)  # few values: ties, quasi-separation
    responses = rng.random((n_trials, 2)) < expit(size * factors[:, :1])
    wanted = [k for k in range(2) if separable(factors, responses[:, k])]
    try:
        fit(torch.from_numpy(factors), torch.from_numpy(responses))
        found: list[int] = []
    except NoEstimate as error:
        found = error.classes
    assert found == wanted


@pytest.mark.parametrize("overlap", [-1e-2, -1e-4, 1e-4, 1e-2])
def test_both_sides_of_the_boundary(overlap: float) -> None:
    """One factor, in order but for one pair of trials that overlaps, or just does not."""
    x = torch.cat([torch.linspace(-2, -1, 20), torch.linspace(1, 2, 20)]).double()
    y = x > 0
    x = torch.cat([x, torch.tensor([overlap / 2, -overlap / 2], dtype=torch.float64)])
    y = torch.cat([y, torch.tensor([False, True])])
    if overlap < 0:
        with pytest.raises(NoEstimate):
            fit(x[:, None], y[:, None])
    else:
        found = fit(x[:, None], y[:, None])
        assert found.max_gradient.max() <= 1e-6


def test_quasi_separation_is_found_by_the_linear_programme() -> None:
    """Trials on both sides at 0, all others in order: the likelihood has a supremum, no maximum."""
    x = torch.tensor([-2.0, -1, 0, 0, 1, 2]).double()[:, None]
    y = torch.tensor([False, False, False, True, True, True])[:, None]
    with pytest.raises(NoEstimate, match="class 0: no maximum-likelihood estimate exists"):
        fit(x, y)
    assert fit(x, y, ridge=1e-3).converged.all()


def test_names_every_class_without_estimate() -> None:
    factors, responses = problem(10, 300, 3, 4)
    responses[:, 1] = True
    responses[:, 3] = factors[:, 0] > 0.3
    with pytest.raises(NoEstimate, match=r"classes 1, 3: .*ridge > 0") as raised:
        fit(factors, responses)
    assert raised.value.classes == [1, 3]
    assert fit(factors, responses, ridge=1e-3).converged.all()


@quick
@given(seed=st.integers(0, 10**6), n_trials=st.integers(6, 30), correlated=st.booleans())
def test_the_proof_of_existence_never_errs(seed: int, n_trials: int, correlated: bool) -> None:
    """At any coefficients, fitted or not, with any trials: if it succeeds, the linear programme agrees."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(-2, 3, (n_trials, 2)).astype(float)
    factors[:, 1] += 5 * correlated * factors[:, 0]
    responses = rng.random(n_trials) < expit(factors[:, 0])
    x, y = torch.from_numpy(factors), torch.from_numpy(responses)
    sample, share = Sample(x, y[:, None], n_trials), Share.of(x, y[:, None])
    basis = standardise(sample, share, 0.0).basis()
    objective = Objective(share, basis, np.zeros(3))
    for _ in range(5):
        points = rng.standard_normal((1, len(basis))) * rng.choice([0.1, 1, 10])
        residuals = torch.sigmoid(sample.logits(points)[0]) - sample.responses[0]
        slope = objective.evaluate(points, np.arange(1)).gradient[0]
        if exists_at(sample, residuals, slope, points[0], x, y, basis):
            assert not separable(factors, responses)
    assert is_separable(x, y, points[0] @ basis, basis) == separable(factors, responses)


def test_the_proof_is_needed_and_enough_in_the_ordinary_case(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise AssertionError("no linear programme is needed here")

    monkeypatch.setattr(exact, "is_separable", refuse)
    fit(*problem(11, 1000, 20, 5, size=4))
    monkeypatch.setattr(exact, "exists_at", refuse)
    fit(*problem(11, 1000, 20, 5, size=4), ridge=1e-3)


@pytest.mark.parametrize(("gap", "seed"), [(1e-6, 0), (1e-6, 1), (3e-6, 1), (1e-5, 2)])
def test_where_a_difference_of_nearly_equal_factors_separates_nothing_is_returned(gap: float, seed: int) -> None:
    """b - a is 0 but in five trials, where it has the sign of the response: rounding must not pass for variation."""
    rng = np.random.default_rng(seed)
    a, yes = rng.standard_normal(500), rng.random(500) < 0.5
    b = a.copy()
    b[:5] += gap * (2 * yes[:5] - 1)
    factors, responses = torch.from_numpy(np.column_stack([a, b])), torch.from_numpy(yes[:, None])
    with pytest.raises((NoEstimate, NotConverged)):
        fit(factors, responses)


# --- the machinery ---------------------------------------------------------------------------------------


def test_a_sample_to_steer_by_leads_to_the_same_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """More logits than may be kept, more trials than the pilot's sample: as with millions of trials."""
    factors, responses = problem(12, 6000, 6, 3, size=3)
    plain = fit(factors, responses, tolerance=1e-9)
    monkeypatch.setattr(exact, "KEPT", 3 * 600)
    sampled = fit(factors, responses, tolerance=1e-9)
    assert sampled.pilot_trials == 600
    assert plain.pilot_trials == 6000
    torch.testing.assert_close(sampled.coefficients, plain.coefficients, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("offset", "least", "most"), [(0, 1, 2), (1e4, 5, 20)])
def test_single_precision_goes_far_with_all_trials_if_it_can(
    offset: float, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a large mean would take its digits, double precision goes alone; the fit is the same."""
    factors, responses = problem(17, 20_000, 6, 3, size=3)
    plain = fit(factors, responses, tolerance=1e-7)
    monkeypatch.setattr(exact, "KEPT", 3 * 1000)
    found = fit(factors + offset, responses, tolerance=1e-7)
    weights = found.coefficients[:-1]
    torch.testing.assert_close(weights, plain.coefficients[:-1], rtol=1e-4, atol=1e-5)
    assert least <= int(found.evaluations.max()) <= most
    assert gradient(factors + offset, responses, found.coefficients, 0).abs().max() <= 1.01e-7


def test_as_many_yes_as_no_is_no_reason_to_leave_single_precision() -> None:
    """At the best bias alone all residuals then are exactly 1/2: none is on its right side, none on its wrong."""
    factors, _ = problem(19, 2000, 6, 1)
    ranks = (factors[:, 0] + torch.from_numpy(np.random.default_rng(19).logistic(size=2000))).argsort().argsort()
    assert fit(factors, (ranks >= 1000)[:, None]).evaluations.max() <= 2


def test_a_fit_goes_on_from_any_of_its_states_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    factors, responses = problem(18, 6000, 6, 3, size=3)
    monkeypatch.setattr(exact, "KEPT", 3 * 600)
    states: list[exact.State] = []
    whole = fit(factors, responses, tolerance=1e-11, keep=lambda state: states.append(state()))
    piloting = [bool(state["counts"][-1]) for state in states]
    assert piloting[0]
    assert not piloting[-1]
    for state in states:
        resumed = fit(factors, responses, tolerance=1e-11, start=state)
        for name, value in vars(whole).items():
            assert torch.equal(torch.as_tensor(getattr(resumed, name)), torch.as_tensor(value)), name


def test_a_sample_that_misleads_is_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few trials, none of them in the sample, are ten times as far out: steps come out too long."""
    factors, responses = problem(13, 3000, 4, 2)
    monkeypatch.setattr(exact, "KEPT", 2 * 300)
    outside = torch.ones(3000, dtype=torch.bool)
    outside[sampled_rows(3000, 300)] = False
    outside[300:] = False
    factors[outside] *= 10
    found = fit(factors, responses, tolerance=1e-7)
    assert found.evaluations.max() > found.iterations.max() - found.pilot_evaluations + 2  # steps were taken back
    assert gradient(factors, responses, found.coefficients, 0).abs().max() <= 1.01e-7


def test_single_precision_comes_close() -> None:
    factors, responses = problem(14, 2000, 10, 3)
    double = fit(factors.float().double(), responses, tolerance=1e-9)
    single = fit(factors.float(), responses, tolerance=1e-5)
    assert single.coefficients.dtype == torch.float64
    torch.testing.assert_close(single.coefficients, double.coefficients, rtol=1e-3, atol=1e-3)


def test_memory_mapped_factors_are_neither_copied_nor_changed(tmp_path: Path) -> None:
    factors, responses = problem(15, 1000, 5, 2)
    np.save(tmp_path / "factors.npy", factors.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "factors.npy", mmap_mode="c"))
    assert Share.of(mapped, responses).factors.data_ptr() == mapped.data_ptr()
    assert torch.equal(fit(mapped, responses).coefficients, fit(factors, responses).coefficients)
    assert torch.equal(mapped, factors)


def test_too_few_iterations_are_told() -> None:
    factors, responses = problem(16, 500, 10, 2, size=4)
    with pytest.raises(
        NotConverged, match=r"class \d: not converged, max \|gradient\| is .* after 2 iterations"
    ) as raised:
        fit(factors, responses, max_iterations=2)
    assert not raised.value.fit.converged.any()
    assert (raised.value.fit.max_gradient > 1e-6).all()


def test_an_unreachable_tolerance_is_told() -> None:
    with pytest.raises(NotConverged):
        fit(*problem(17, 300, 5, 1), tolerance=1e-30, max_iterations=40)


def test_progress_is_reported() -> None:
    seen: list[tuple[int, float]] = []
    found = fit(*problem(18, 500, 5, 2), progress=lambda iteration, left: seen.append((iteration, left)))
    assert [iteration for iteration, _ in seen] == list(range(1, int(found.iterations.max()) + 1))
    assert seen[0][1] > seen[-1][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"responses": torch.zeros(5, 2, dtype=torch.bool)}, "n_trials"),
        ({"responses": torch.zeros(4, dtype=torch.bool)}, "n_trials"),
        ({"responses": torch.zeros(4, 2)}, "bool"),
        ({"factors": torch.zeros(4, 3, dtype=torch.int64)}, "float64 or float32"),
        ({"factors": torch.full((4, 3), torch.nan)}, "finite"),
        ({"ridge": -1.0}, "ridge"),
        ({"ridge": float("nan")}, "ridge"),
        ({"tolerance": 0.0}, "tolerance"),
    ],
)
def test_refuses_what_does_not_fit_together(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "factors": torch.zeros(4, 3),
        "responses": torch.zeros(4, 2, dtype=torch.bool),
        "ridge": 0.0,
        "tolerance": 1e-6,
    }
    with pytest.raises(ValueError, match=message):
        fit(**(arguments | change))  # type: ignore[arg-type]  # the wrong types are the point
