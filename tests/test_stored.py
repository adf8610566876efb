"""What was inferred, as a file: predictions are the same, and so are its bytes on every processor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hdlogit.exact import fit
from hdlogit.inference import ClassInference, infer
from stages.files import DATA
from stages.tables.stored import FILE, read_inference, to_bytes


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, dict[str, ClassInference]]:
    """Factors far from 0 in very different units. No inference of c, whose responses are all alike; d is separated."""
    rng = np.random.default_rng(0)
    unit = 10.0 ** np.arange(-4, 5, 2)
    t = rng.standard_normal((800, 5))
    y = rng.random((800, 3)) < 1 / (1 + np.exp(-t @ rng.standard_normal((5, 3))))
    y[:, 2] = True
    x = unit * (t + 100)
    results = dict(zip("abc", infer(x, y, fit(x, y).coefficients), strict=True))
    x[:, 4] = unit[4] * (t[:, 4] > 1)
    separated = y[:, :1] | (x[:, 4:] > 0)
    [results["d"]] = infer(x, separated, fit(x, 0.99 * separated + 0.005).coefficients, shrinkage=0.01)
    return x, results


def test_what_is_read_predicts_as_what_was_written(
    drawn: tuple[np.ndarray, dict[str, ClassInference]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, results = drawn
    monkeypatch.chdir(tmp_path)
    (DATA / FILE).parent.mkdir(parents=True)
    (DATA / FILE).write_bytes(to_bytes(results))
    found = read_inference()
    assert list(found) == ["a", "b", "c", "d"]
    assert found["d"].separated
    assert found["c"].reason == results["c"].reason is not None
    for name in "abd":
        for ours, theirs in zip(found[name].predict(x), results[name].predict(x), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        np.testing.assert_allclose(found[name].corrected[:-1], results[name].corrected[:-1], rtol=1e-6)
        assert found[name].theory.signal == pytest.approx(results[name].theory.signal, rel=1e-6)


def test_its_bytes_do_not_depend_on_last_bits(drawn: tuple[np.ndarray, dict[str, ClassInference]]) -> None:
    rng, results = np.random.default_rng(1), drawn[1]

    def elsewhere(c: ClassInference) -> ClassInference:
        """As another processor would sum."""
        arrays = ("estimate", "corrected", "predictor", "noise", "covariance", "centre", "scale", "z")
        return replace(c, **{key: getattr(c, key) * (1 + 1e-15 * rng.choice([-1, 1])) for key in arrays})

    assert to_bytes({name: elsewhere(c) for name, c in results.items()}) == to_bytes(results)


def test_weights_without_end_keep_their_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (DATA / FILE).parent.mkdir(parents=True)
    rng = np.random.default_rng(2)
    x = np.column_stack([rng.normal(size=300), np.arange(300) < 12])
    y = (rng.random(300) < 1 / (1 + np.exp(-x[:, 0]))) | (x[:, 1] == 1)  # the second factor separates
    [c] = infer(x, y[:, None], fit(x, 0.99 * y[:, None] + 0.005).coefficients, shrinkage=0.01)
    (DATA / FILE).write_bytes(to_bytes({"a": c}))
    found = read_inference()["a"]
    for ours, theirs in zip((*found.interval(), found.p_values()), (*c.interval(), c.p_values()), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert found.interval()[1][1] == np.inf > found.interval()[0][1]
