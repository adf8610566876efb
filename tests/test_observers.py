"""The summary of observers who were fitted each alone: verdicts, and the population, from what was stored of each."""

from __future__ import annotations

import contextlib
import shutil
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.special import expit

from hdlogit import fit, infer, population
from stages import study, summary
from tests.conftest import run_here

FRAMES = [f"frame{j}" for j in range(1, 5)]
FACTORS = [*FRAMES, "tone", "rare"]
WHO = ["ann", "ben", "eve", "max"]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of four observers that has been run. Max always says yes where `rare` is 1; Eve has no `tone`."""
    folder, rng, tables = tmp_path_factory.mktemp("observers"), np.random.default_rng(5), []
    for k, who in enumerate(WHO):
        x = np.column_stack([rng.normal(size=(150 + 50 * k, 5)), rng.random(150 + 50 * k) < 0.1])
        y = rng.random(len(x)) < expit(x @ [0.0, 1.0, 0.5, 0.0, 0.4, 0.3])
        tables.append(pd.DataFrame(x, columns=FACTORS))
        tables[-1]["tone"] *= who != "eve"
        tables[-1]["choice"] = (y | (x[:, 5] > 0) if who == "max" else y).astype(int)
        tables[-1]["who"] = who
    pd.concat(tables).to_csv(folder / "trials.csv", index=False)
    parameters = yaml.safe_load(study.PARAMETERS.read_text())
    parameters["prepare"] |= {"trials": "trials.csv", "response": "choice", "by": "who"}
    parameters["prepare"]["factors"] = FACTORS
    parameters["train"]["shrinkage"] = "auto"
    parameters["observers"] = {f"who-{who}": who for who in WHO}
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters))
    for who in WHO:
        (folder / f"observers/who-{who}").mkdir(parents=True)
        with contextlib.chdir(folder / f"observers/who-{who}"):
            run_here("prepare", "train", "evaluate")
    return folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "study"))


def test_a_verdict_on_each_and_the_population_of_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary.main(folder)
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.split() and line.split()[0] in WHO}
    assert [*rows] == WHO
    assert rows["max"].rstrip().endswith("separated by rare")
    for who in WHO[:3]:
        own = pd.read_csv(folder / f"observers/who-{who}/data/inference/classes.csv")
        assert rows[who].rstrip().endswith(str(own.verdict[0]))
    [sentence] = [line for line in lines if "population mean" in line]
    assert sentence.startswith("4 observers: the population mean differs from 0 for ")
    assert "not of the population, as some observers lack them: tone" in lines

    table = pd.read_csv(folder / "data/population.csv")
    assert table.factor.tolist() == [*FRAMES, "rare"]
    assert ((table.low < table["mean"]) & (table["mean"] < table.high)).all()
    assert (folder / "data/population.png").stat().st_size > 10_000

    page = (folder / "data/index.html").read_text()
    assert f"<p>{escape(sentence)}.</p>" in page
    assert "data:image/png;base64," in page
    assert 'href="../observers/who-eve/data/report.html"' in page
    for part in (
        "separated by rare",
        "sd between observers",
        '<th scope="row">frame…</th>',
        '<th scope="row">frame2</th>',
    ):
        assert part in page


def test_the_population_is_that_of_the_library_and_goes_where_there_is_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget(folder, "eve", "max")
    summary.main(folder)
    results = []
    for who in WHO[:2]:
        x, y = (np.load(folder / f"observers/who-{who}/data/train/{name}.npy") for name in ("factors", "responses"))
        results += infer(x, y, fit(x, y, polish=True).coefficients)
    expected = population(results, FACTORS, {"frames": FRAMES, "others": ["tone", "rare"]})
    table = pd.read_csv(folder / "data/population.csv")
    assert table.factor.tolist() == FACTORS
    for name, values in (("mean", expected.mean), ("error", expected.error), ("low", expected.interval()[0])):
        np.testing.assert_allclose(table[name], values, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(table.heterogeneity_p, expected.heterogeneity_p_values(), rtol=1e-3)
    own = pd.read_csv(folder / "data/coefficients.csv").query("observer == 'ben' and factor != 'bias'")
    np.testing.assert_allclose(own.pooled, expected.shrunk[1], rtol=1e-3, atol=1e-4)

    forget(folder, "ben")
    capsys.readouterr()
    summary.main(folder, ["who-ben: a factor separates"])
    shown = capsys.readouterr().out
    assert "ben: a factor separates\n" in shown
    assert "max: data/model.safetensors is missing: the last run has not come to its end" in shown
    assert "no population mean: a population needs two observers with an inference; there are 1" in shown
    assert shown.count("no estimate") == 3
    assert sorted(path.name for path in (folder / "data").glob("[!.]*")) == ["coefficients.csv", "index.html"]


def forget(folder: Path, *observers: str) -> None:
    """As DVC does before it trains again."""
    for who in observers:
        (folder / f"observers/who-{who}/data/model.safetensors").unlink()
