"""Smooth kernels of a study, by a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.special import expit

from hdlogit.smooth import fit_smooth
from stages import smooth
from tests.coding import DEFAULTS
from tests.conftest import run_here
from tests.test_prepare import OTHERS

FRAMES, LEVELS = [f"frame[{j}]" for j in (10, 8, 6, 4, 2, 12)], ["level1", "level2", "level3"]  # not in their order
NAMES = [*FRAMES, *LEVELS, "time1", "time2", "time4", "other"]


def study(folder: Path) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(500, len(NAMES))).round(3)
    kernel = np.sin([5, 4, 3, 2, 1, 6])  # of frames, by their numbers
    yes = rng.random(500) < expit(x[:, :6] @ kernel + x[:, 6:9] @ [0.2, 0.3, 0.4] + x[:, -1])
    trials = pd.DataFrame(x, columns=NAMES).assign(choice=np.where(yes, "right", "left"))
    trials.to_csv(folder / "t.csv", index=False)
    asked = DEFAULTS | {"response": "choice=right", "factors": NAMES}
    train, plot = OTHERS["train"] | {"solver": "exact"}, OTHERS["plot"] | {"axis": ["time (ms)", 5]}
    (folder / "params.yaml").write_text(yaml.safe_dump({**OTHERS, "prepare": asked, "train": train, "plot": plot}))
    return trials


def test_a_study_has_smooth_kernels_by_the_names_of_its_factors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refuses: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    trials = study(tmp_path)
    run_here("prepare", "train", "evaluate")
    capsys.readouterr()

    def ask(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["smooth", ".", *arguments])

    ask("frame[*", "level*", "--table", "--out", "kernels")
    smooth.main()
    said = capsys.readouterr().out
    x, order = trials[NAMES].to_numpy(), [4, 3, 2, 1, 0, 5]
    expected = fit_smooth(x, (trials.choice == "right").to_numpy(), [order, [6, 7, 8]])
    assert f"choice=right, frame[…]: {expected.sentence(0)}" in said
    assert f"choice=right, level…: {expected.sentence(1)}" in said
    assert f"α = {expected.alpha:.2f}" in said
    assert "frame[10]" in said
    written = pd.read_csv("kernels/kernel.csv")
    assert [*written.factor] == [*(FRAMES[j] for j in order), *LEVELS]
    assert [*written.position] == [10, 20, 30, 40, 50, 60, 5, 10, 15]
    rows = [*order, 6, 7, 8]
    np.testing.assert_allclose(written.smooth, expected.corrected[rows], rtol=1e-4)
    np.testing.assert_allclose(written[["smooth_low", "smooth_high"]], expected.interval()[rows], rtol=1e-4, atol=1e-5)
    corrected = pd.read_csv("data/inference/coefficients.csv").set_index("factor").corrected
    np.testing.assert_allclose(written.corrected, corrected[written.factor], rtol=1e-4)
    assert Path("kernels/kernel.png").read_bytes().startswith(b"\x89PNG")

    assert "kernels exists already" in refuses(smooth.main)
    ask("fram")
    assert "fram: no factor has such a name; there are frame[10], frame[8]" in refuses(smooth.main)
    ask("level*", "other")
    assert "other: a kernel needs 3 factors whose names differ" in refuses(smooth.main)
    ask("time*")
    assert "must be evenly spaced, but time2 and time4 are not" in refuses(smooth.main)
