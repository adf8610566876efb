"""The page of a run: it needs nothing else, tells everything, and works in a real browser."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from hdlogit.inference.questions import UNLIKELY
from stages import plot
from stages.page.paper import methods
from stages.page.render import MOST, fixed, largest, number, p_value
from stages.page.words import sentences
from tests.browser import CHROMIUM, Browser
from tests.coding import DEFAULTS
from tests.conftest import ROOT, SMALL, Project, run_here

SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text())
ODD = '<i>"tone" & noise</i>'  # a column that is no HTML
RUNS = ("adam", "exact", "study")


def simulation(solver: str) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(SHIPPED))
    plots = {**SMALL["plot"], "class_index": 1, "formats": ["svg"]}
    Project(Path.cwd()).set(**{**SMALL, "train": {**SMALL["train"], "solver": solver}, "plot": plots})
    run_here("simulate", "train", "evaluate", "plot")


def study() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({ODD: rng.normal(size=400), "b": rng.normal(size=400), "day": np.repeat(np.arange(8), 50)})
    table["choice"] = np.where(rng.random(400) < 1 / (1 + np.exp(-table[ODD])), "right", "left")
    table["same"] = 1.0  # no factor
    table.loc[[4, 9], "b"] = np.nan
    table.to_csv("t.csv", index=False)
    others = {key: SHIPPED[key] for key in ("train", "evaluate", "plot")}
    params = {"prepare": DEFAULTS | {"group": "day", "standardise": True}, **others}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    Project(Path.cwd()).set(train={**SMALL["train"], "solver": "exact"}, plot=SMALL["plot"])
    run_here("prepare", "train", "evaluate", "plot")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each kind of run."""
    folders = {name: tmp_path_factory.mktemp(name) for name in RUNS}
    for name, folder in folders.items():
        with contextlib.chdir(folder):
            study() if name == "study" else simulation(name)
    return folders


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest, runs: dict[str, Path]) -> Path:
    return runs[request.param]


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def report(run: Path) -> Path:
    return run / "data" / "report.html"


# --- without a browser


def test_it_carries_everything_with_it_and_every_figure(run: Path) -> None:
    page = Elements(report(run))
    addresses = [a[key] for _, a in page.found for key in ("src", "href") if key in a]
    assert [address for address in addresses if not address.startswith(("data:", "#"))] == []
    assert len(page.named("img")) == len([*(run / "data/figures").glob("*.png")])
    assert all(image["alt"] for image in page.named("img"))


def test_the_same_run_gives_the_same_bytes(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = shutil.copytree(runs["exact"], tmp_path / "elsewhere")
    monkeypatch.chdir(again)
    plot.main()
    assert report(again).read_bytes() == report(runs["exact"]).read_bytes()


@pytest.mark.parametrize(("solver", "others"), [("adam", {"trajectory"}), ("exact", {"intervals", "psychometric"})])
def test_every_figure_is_drawn_as_png_and_in_the_formats_that_were_asked(
    runs: dict[str, Path], solver: str, others: set[str]
) -> None:
    names = {"calibration", "recovery", "weights"} | others
    files = [*(runs[solver] / "data/figures").iterdir()]
    assert {path.name for path in files} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    for path in (path for path in files if path.suffix == ".svg"):
        labels = re.findall("<!-- (.*) -->", path.read_text())  # what each text says
        assert labels, path
        assert not [label for label in labels if "_" in label and "$" not in label], path  # no key of a table


def test_where_the_chosen_class_is_left_out_another_is_drawn(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs["exact"], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for name in ("coefficients.csv", "inference/coefficients.csv", "inference/classes.csv"):
        path = tmp_path / "data" / name
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("1,")))
    plot.main()
    assert "Weights of class 0" in (tmp_path / "data/figures/weights.svg").read_text()


def keys(metrics: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in metrics.items():
        yield from keys(value, f"{path}{key}.") if isinstance(value, dict) else [f"{path}{key}"]


def test_every_metric_is_shown_and_has_a_meaning(run: Path) -> None:
    text = Elements(report(run)).text
    for key in keys(json.loads((run / "data/metrics.json").read_text())):
        section, *fit, name = key.split(".")
        assert f"{section}.{name}" in text
        assert {"corrected": "corrected weights", "best": "best prediction"}.get("".join(fit), "") in text


def test_every_parameter_is_shown(run: Path) -> None:
    text = Elements(report(run)).text
    for section, values in yaml.safe_load((run / "params.yaml").read_text()).items():
        assert section in text
        assert [key for key in values if key not in text] == []


def test_names_are_text_and_what_was_left_out_is_told(runs: dict[str, Path]) -> None:
    page = Elements(report(runs["study"]))
    assert page.named("i") == []
    assert ODD in page.text
    assert "same is no factor" in page.text
    assert "In logits per standard deviation of a factor" in page.text
    assert "In logits per unit of a factor" in Elements(report(runs["exact"])).text
    assert "t.csv, line 6" in page.text  # the first that lacks a value


def test_it_names_the_trials_and_the_model_by_their_bytes(run: Path) -> None:
    text = Elements(report(run)).text
    for path in [run / "data/train/factors.npy", run / "data/model.safetensors", *run.glob("*.csv")]:
        assert hashlib.sha256(path.read_bytes()).hexdigest() in text


def test_of_very_many_coefficients_the_largest_are_shown() -> None:
    values = [float(i) for i in range(MOST + 3)]
    table = pd.DataFrame({"class": "0", "factor": [f"{v:g}" for v in values], "fitted": [-v for v in values]})
    shown = largest(table, ["fitted"])
    assert [[*shown.iloc[0]], len(shown)] == [["0", "3", "−3"], MOST]


def test_small_numbers_do_not_vanish() -> None:
    assert [fixed(value, 3) for value in (-1.23456, 0.0001234, 0.0)] == ["−1.235", "1.2e−04", "0.000"]
    found = [number(value) for value in (None, True, 10000, 0.0994625)]
    assert found == ["not defined", "yes", "10\N{NARROW NO-BREAK SPACE}000", "0.09946"]


def test_it_answers_in_the_order_in_which_a_person_asks(runs: dict[str, Path]) -> None:
    text = Elements(report(runs["study"])).text
    place = text.index("measured in nats per trial")
    for part in ("Is the model right?", "What the model may lack", "Table of weights", "Groups against one another"):
        place = text.index(part, place)
    for part in ("for weights that are right to 5 %", "is no factor", "prepare", "SHA-256"):
        place = text.index(part, place)
    asked = len(pd.read_csv(runs["study"] / "data/inference/questions.csv"))
    assert f"below {p_value(UNLIKELY / asked)} speaks against the model" in text  # as the answer has it
    corrected = text.index("corrected, with 95 % interval")
    assert corrected < text.index("classical, with 95 % interval")  # as a narrow window shows the first columns


def test_goals_are_counted_in_trials_and_in_groups(runs: dict[str, Path]) -> None:
    table = pd.read_csv(runs["study"] / "data/inference/goals.csv")
    more = np.maximum(table.n_trials - 398, 0)
    assert table.more.tolist() == more.tolist()
    assert table.groups.tolist() == np.ceil(more / (398 / 8)).tolist()


# --- for the paper


def test_the_paper_has_the_numbers_of_the_study(runs: dict[str, Path]) -> None:
    text = (runs["study"] / "data/paper.md").read_text()
    assert "We fitted the probability of choice=right in 398 trials as a logistic function of 2 factors" in text
    assert "2 trials were left out because a value was missing (b)." in text
    assert "Tests of weights: 2; 1 have p < 0.05" in text
    latex, csv = (text.split(f"```{kind}\n")[1].split("```")[0] for kind in ("latex", "csv"))
    assert r'$<$i$>$"tone" \& noise$<$/i$>$ & ' in latex
    assert {line.count(" & ") for line in latex.splitlines() if line.endswith(r" \\")} == {8}
    pd.testing.assert_frame_equal(
        pd.read_csv(io.StringIO(csv)), pd.read_csv(runs["study"] / "data/inference/coefficients.csv")
    )
    [use] = pd.read_csv(runs["study"] / "data/inference/usefulness.csv").itertuples()
    assert f"cross-entropy was {use.best:.3f} nats per trial ({use.constant:.3f} of a constant; R² " in text  # of best
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f"{citation['title']} Version {citation['version']}" in text
    assert "Adam, " in (runs["adam"] / "data/paper.md").read_text()


@pytest.mark.parametrize("joint", [True, False])
def test_the_paper_says_how_weights_were_corrected(joint: bool) -> None:
    shown = pd.DataFrame({"class": "yes", "factor": ["a", "b", "bias"]})
    rates = {"guess_rate": [0.5], "lapse_rate": [0.02], "alpha": [0.7], "rates_estimated": [1.0]}
    rates["fitted_jointly"] = [float(joint)]
    parameters = {
        "train": {"solver": "exact", "shrinkage": 0},
        "evaluate": {"asymptotes": "estimate", "guess_rate": 0.5, "lapse_rate": "auto"},
        "simulate": {"n_trials": 400},
    }
    metrics = {"fit": {"ridge": 0}, "theory": {"kappa": 0.005}, "inference": {"level": 0.95}}
    said = " ".join(methods(parameters, metrics, None, {"shown": shown, "inference/classes": pd.DataFrame(rates)}))
    assert "The guess rate was 0.500 (fixed), the lapse rate 0.020 (estimated)." in said
    assert ("Schütt et al. (2016)" in said, "Yadlowsky" in said) == (joint, not joint)


# --- in words


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"recovery": {"weight_slope": 1.0001, "weight_correlation": 0.9}}, "of the right size"),
        ({"recovery": {"weight_slope": 1.122, "weight_correlation": 0.9}}, "12 % too large"),
    ],
)
def test_numbers_in_words(metrics: dict[str, Any], words: str) -> None:
    assert words in " ".join(sentences([], metrics, pd.DataFrame()))


@pytest.mark.parametrize(("best", "said"), [(0.5, True), (0.6, False)])
def test_overfitting_is_told_where_it_happened(best: float, said: bool) -> None:
    trajectory = pd.DataFrame({"epoch": [0, 1, 7], "test_cross_entropy": [0.7, best, 0.6]})
    assert ("After epoch 2 of 8" in " ".join(sentences([], {}, trajectory))) is said


# --- in a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed, so the page is not tested in a browser")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 1200])
def test_it_shows_whole_at_any_width_and_the_console_is_empty(
    browser: Browser, run: Path, width: int, dark: bool
) -> None:
    browser.open(report(run), width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") == width
    assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map(heading => Number(heading.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert browser.trouble() == []


SHOWN = "[...document.querySelectorAll('.weights tbody tr')].filter(row => !row.hidden)"
COLUMN = f"{SHOWN}.map(row => Number(row.cells[{{}}].textContent.replace('−', '-')))"


def test_the_table_sorts_by_the_keyboard(browser: Browser, runs: dict[str, Path]) -> None:
    browser.open(report(runs["exact"]), 1200)
    before = browser.run(COLUMN.format(3))
    assert len(before) == 5  # of the class that is drawn
    for order, state in ((sorted(before), "ascending"), (sorted(before)[::-1], "descending")):
        browser.run("document.querySelector('.weights [data-column=\"3\"] button').focus()")
        browser.press("Enter")
        assert browser.run(COLUMN.format(3)) == order
        assert browser.run("document.querySelector('[data-column=\"3\"]').ariaSort") == state
    assert browser.trouble() == []


def test_it_selects_a_class_and_factors(browser: Browser, runs: dict[str, Path]) -> None:
    browser.open(report(runs["exact"]), 1200)
    change = "form.elements.{}.value = '{}', form.dispatchEvent(new Event('input')), {}.length"
    assert browser.run(change.format("class", "", SHOWN)) == 10
    assert browser.run(change.format("factor", "bias", SHOWN)) == 2
    assert browser.run("document.querySelector('output').value") == "2 of 10 rows"
    assert browser.trouble() == []


def test_the_contrast_of_text_is_enough(browser: Browser, runs: dict[str, Path]) -> None:
    """At least 4.5 to 1 (WCAG 2, AA) against the background of the page, in the light and in the dark."""
    colours = "[...new Set([...document.querySelectorAll('body *')].map(e => getComputedStyle(e).color))]"
    for dark in (False, True):
        browser.open(report(runs["exact"]), 1200, dark=dark)
        paper = browser.run("getComputedStyle(document.body).backgroundColor")
        for colour in browser.run(colours):
            light, dim = sorted((luminance(colour), luminance(paper)), reverse=True)
            assert (light + 0.05) / (dim + 0.05) >= 4.5, colour


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(…)", as WCAG defines it."""
    parts = [int(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))
