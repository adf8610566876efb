"""Smooth kernels of a study: evaluate.smooth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.special import expit

from hdlogit.smooth import fit_smooth
from stages import evaluate
from tests.coding import DEFAULTS
from tests.conftest import run_here
from tests.test_prepare import OTHERS

FRAMES = [f"frame[{j}]" for j in (10, 8, 6, 4, 2, 12)]  # not in their order
NAMES = [*FRAMES, *(f"level{j}" for j in range(4)), *(f"time{j}" for j in (1, 2, 4, 5)), "other"]


def ask(*patterns: str) -> None:
    asked = DEFAULTS | {"response": "choice=right", "factors": NAMES}
    evaluate, plot = OTHERS["evaluate"] | {"smooth": [*patterns]}, OTHERS["plot"] | {"axis": ["time (ms)", 5]}
    changed = {"prepare": asked, "evaluate": evaluate, "plot": plot, "train": OTHERS["train"] | {"solver": "exact"}}
    Path("params.yaml").write_text(yaml.safe_dump(OTHERS | changed))


def test_a_study_has_smooth_kernels_by_the_names_of_its_factors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refuses: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(500, len(NAMES))).round(3)
    yes = rng.random(500) < expit(x[:, :6] @ np.sin([5, 4, 3, 2, 1, 6]) + x[:, 6:10] @ [0.1, 0.2, 0.3, 0.4] + x[:, -1])
    pd.DataFrame(x, columns=NAMES).assign(choice=np.where(yes, "right", "left")).to_csv("t.csv", index=False)
    ask("frame[*", "level*")
    run_here("prepare", "train", "evaluate", "plot")
    said = capsys.readouterr().out
    order = [4, 3, 2, 1, 0, 5]
    expected = fit_smooth(x, yes, [order, [6, 7, 8, 9]])
    assert f"smooth kernel frame[…]: {expected.sentence(0)}" in said
    assert f"smooth kernel level…: {expected.sentence(1)}" in said
    written = pd.read_csv("data/inference/smooth.csv")
    assert [*written.factor] == [*(FRAMES[j] for j in order), *NAMES[6:10]]
    rows = [*order, 6, 7, 8, 9]
    np.testing.assert_allclose(written.smooth, expected.corrected[rows], rtol=1e-4)
    np.testing.assert_allclose(written[["smooth_low", "smooth_high"]], expected.interval()[rows], rtol=1e-4, atol=1e-5)
    for patterns, message in (
        (["fram"], "evaluate.smooth: fram: no factor has such a name; there are frame[10], frame[8]"),
        (["level*", "other"], "other: a kernel needs 4 factors whose names differ"),
        (["time*"], "a kernel's factors must be evenly spaced"),
    ):
        ask(*patterns)
        assert message in refuses(evaluate.main)
