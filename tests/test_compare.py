"""Studies of the same trials, side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.special import expit

from hdlogit import exact
from stages import compare
from tests.coding import DEFAULTS
from tests.conftest import run_here
from tests.test_prepare import OTHERS


def study(folder: Path, monkeypatch: pytest.MonkeyPatch, formula: str, seed: int = 1) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(800, 3)).round(3)
    choice = np.where(rng.random(800) < expit(x[:, 0] + 0.8 * (x[:, 1] ** 2 - 1)), "right", "left")
    folder.mkdir()
    monkeypatch.chdir(folder)
    pd.DataFrame({**dict(zip("abc", x.T, strict=True)), "choice": choice}).to_csv("t.csv", index=False)
    asked = DEFAULTS | {"response": "choice=right", "formula": formula}
    train = OTHERS["train"] | {"solver": "exact"}
    Path("params.yaml").write_text(yaml.safe_dump({**OTHERS, "prepare": asked, "train": train}))
    run_here("prepare", "train", "evaluate")
    monkeypatch.chdir("..")


def test_the_better_of_two_models_is_told_with_its_test_and_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refuses: Callable[..., str]
) -> None:
    study(tmp_path / "linear", monkeypatch, "~ a + b + c")
    study(tmp_path / "squared", monkeypatch, "~ a + b + c + I(b**2)")
    answer = (tmp_path / "linear/data/inference/answer.txt").read_text()
    assert "the model lacks squares of the factors" in answer
    assert "may be far off" not in (tmp_path / "squared/data/inference/answer.txt").read_text()
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["compare", "linear", "squared", "--out", "gains.png"])
    compare.main()
    said = capsys.readouterr().out
    assert "choice=right: squared predicts best: 0.06 ± 0.01 nats per trial better than linear" in said
    row = next(line.split() for line in said.splitlines() if line.split()[:1] == ["squared"])
    assert row[-2] == "1"
    assert float(row[-1]) < 1e-9
    assert Path("gains.png").read_bytes().startswith(b"\x89PNG")
    assert "--out gains.png: it must name a new file" in refuses(compare.main)
    monkeypatch.setattr(sys, "argv", ["compare", "linear", "squared", "--out", "gains.xyz"])
    assert "that ends in .png, .svg, .pdf" in refuses(compare.main)
    study(tmp_path / "others", monkeypatch, "~ a", seed=2)
    monkeypatch.setattr(sys, "argv", ["compare", "linear", "others"])
    assert "linear, others share no trials: they are not of one file" in refuses(compare.main)
    monkeypatch.setattr(sys, "argv", ["compare", "linear"])
    assert "two studies or more" in refuses(compare.main)


def test_where_a_lag_leaves_out_trials_all_are_fitted_to_those_that_are_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, formula in (("a", "~ a + b"), ("lagged", "~ a + b + lag(choice, 2)"), ("same", "~ a + b + lag(a, 2)")):
        study(tmp_path / name, monkeypatch, formula)
    monkeypatch.setattr(sys, "argv", ["compare", "a", "lagged", "same"])
    capsys.readouterr()
    compare.main()
    said = capsys.readouterr().out
    assert "all are fitted again to the 798 trials that they share" in said
    responses = np.load("lagged/data/train/responses.npy")
    factors = np.load("a/data/train/factors.npy")[2:]
    one = exact.fit(factors, responses)
    aic = next(line.split() for line in said.splitlines() if line.split()[:1] == ["a"])[3]
    assert float(aic) == pytest.approx(2 * 3 + 2 * 798 * one.loss[0], abs=0.05)
