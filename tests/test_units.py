"""What a person is told does not depend on the units of the factors: neither on their size nor on where zero is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray
from scipy.special import expit

from hdlogit.exact import fit
from hdlogit.inference.check import check
from tests.coding import DEFAULTS
from tests.conftest import ROOT, run_here
from tests.inferred import inferred

SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())
Units = Mapping[str, tuple[float, float]]  # of a factor: what to multiply with, and to add then


def psychophysics(rng: np.random.Generator) -> pd.DataFrame:
    """A contrast, a side, the previous response, and a jitter in ms, which has no effect."""
    found = pd.DataFrame(
        {
            "contrast": rng.choice([0, 0.05, 0.1, 0.2, 0.4], 1000),
            "side": rng.integers(0, 2, 1000),
            "previous": rng.integers(0, 2, 1000),
            "jitter": rng.uniform(0, 500, 1000),
        }
    )
    logit = 3 * found.contrast + found.side + 0.5 * found.previous - 1
    return found.assign(choice=responses(rng, logit))


def many(rng: np.random.Generator) -> pd.DataFrame:
    """Correlated and skewed factors, so many that weights come out too large, and one that takes its time."""
    factors = rng.standard_normal((400, 30)) + rng.standard_normal((400, 1))
    factors[:, 3] = np.exp(factors[:, 3])
    found = pd.DataFrame(factors, columns=[f"x{j}" for j in range(30)])
    return found.assign(choice=responses(rng, factors @ rng.standard_normal(30) * 0.3))


def responses(rng: np.random.Generator, logit: Any) -> NDArray[np.str_]:
    return np.where(rng.random(len(logit)) < expit(logit), "right", "left")


def told(table: pd.DataFrame, units: Units, **evaluated: Any) -> dict[str, Any]:
    """Everything that is said of these trials with the factors in other units, by the name of its file."""
    changed = table.assign(**{name: size * table[name] + shift for name, (size, shift) in units.items()})
    changed.to_csv("t.csv", index=False)
    parameters = {
        "prepare": DEFAULTS,
        "train": SHIPPED["train"] | {"solver": "exact"},
        "evaluate": SHIPPED["evaluate"] | evaluated,
        "plot": SHIPPED["plot"] | {"class_index": 0},
    }
    Path("params.yaml").write_text(yaml.safe_dump(parameters))
    run_here("prepare", "train", "evaluate")
    folder = Path("data/inference")
    found: dict[str, Any] = {path.name: path.read_text() for path in folder.glob("*.txt")}
    found |= {path.name: pd.read_csv(path) for path in folder.glob("*.csv")}
    weights = found["coefficients.csv"].query("factor != 'bias'").set_index("factor")
    per_unit = [name for name in weights if name not in ("class", "p", "classical_p")]
    sizes = pd.Series({name: size for name, (size, _) in units.items()})
    weights[per_unit] = weights[per_unit].mul(sizes.reindex(weights.index, fill_value=1.0), axis=0)
    metrics = json.loads(Path("data/metrics.json").read_text())
    return found | {"coefficients.csv": weights, "metrics": {name: metrics[name] for name in metrics if name != "fit"}}


def assert_same(one: Any, other: Any, where: str) -> None:
    if isinstance(one, pd.DataFrame):
        one, other = one.to_dict("list"), other.to_dict("list")
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where} {key}")
    elif isinstance(one, str) or (isinstance(one, list) and isinstance(one[0], str)):
        assert one == other, where
    else:
        # weights are stored in single precision, and tables have six digits
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5, err_msg=where)


@pytest.mark.parametrize(
    ("design", "evaluated"), [(psychophysics, {}), (many, {}), (many, {"guess_rate": 0.02, "lapse_rate": 0.01})]
)
def test_everything_told_is_the_same_in_other_units(
    design: Callable[[np.random.Generator], pd.DataFrame],
    evaluated: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(12)
    table = design(rng)
    factors = table.columns[:-1]
    sizes, shifts = 10 ** rng.uniform(-4, 4, len(factors)), rng.uniform(-3, 3, len(factors))
    units = {name: (size, size * shift) for name, size, shift in zip(factors, sizes, shifts, strict=True)}
    whole = told(table, {}, **evaluated)
    assert "answer.txt" in whole
    assert_same(whole, told(table, units, **evaluated), "")


def test_coverage_in_repetitions_is_the_same_in_other_units() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 6))
    y = (rng.random(300) < expit(x @ rng.standard_normal(6)))[:, None]
    sizes = np.array([1e-4, 1, 30, 5, 1e5, 0.2])
    one, other = (check(z, inferred(z, y, fit(z, y).coefficients)[0], repetitions=20) for z in (x, sizes * (x + 2)))
    for kind in ("classical", "corrected"):
        assert getattr(one, kind).by_factor.tolist() == getattr(other, kind).by_factor.tolist()
        assert getattr(one, kind).slope == pytest.approx(getattr(other, kind).slope, rel=1e-5)
