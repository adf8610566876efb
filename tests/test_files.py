"""Files on disk: what is damaged is refused by name, nothing half-written is ever seen, and bytes are everybody's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from stages import evaluate, simulate, train
from stages.files.errors import InputError
from stages.files.reading import read_model, read_trials
from stages.files.tables import read_json, read_table
from stages.files.writing import Outputs
from tests.conftest import Project, run_here

Array = NDArray[np.float64]

here = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- damage


def foreign(path: Path) -> None:
    path.write_bytes(b"not what it should be\n" * 30)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def not_a_number(path: Path) -> None:
    array = np.load(path)
    array[-1, -1] = np.nan
    np.save(path, array)


INPUTS = [
    ("train", "train/factors.npy"),
    ("train", "train/responses.npy"),
    ("evaluate", "observer_rates.npy"),
    ("evaluate", "model.safetensors"),
    ("evaluate", "checkpoints/epoch-000000.safetensors"),
    ("plot", "calibration.csv"),
    ("plot", "metrics.json"),
]


@pytest.mark.parametrize("damage", [foreign, truncated, Path.unlink])
@pytest.mark.parametrize(("stage", "name"), INPUTS)
def test_a_damaged_input_is_named_and_nothing_is_written(
    stage: str, name: str, damage: Callable[[Path], None], results: Project, refuses: Callable[..., str]
) -> None:
    damage(results.data / name)
    before = {p: p.stat().st_mtime_ns for p in results.data.rglob("*") if p.is_file()}
    assert f"data/{name}" in refuses(lambda: run_here(stage))
    assert {p: p.stat().st_mtime_ns for p in results.data.rglob("*") if p.is_file()} == before


READERS: dict[str, Callable[[], object]] = {
    "test/factors.npy": lambda: read_trials("test"),
    "model.safetensors": read_model,
    "metrics.json": lambda: read_json("metrics.json")["test"]["cross_entropy"],
    "calibration.csv": lambda: read_table("calibration.csv", "predicted"),
}


@given(st.sampled_from([*READERS]), st.data())
@settings(here, max_examples=100)
def test_a_file_that_is_cut_off_or_has_a_wrong_bit_is_read_or_named(
    simulated: Project, name: str, data: st.DataObject
) -> None:
    """Not every wrong bit can be noticed, and DVC compares hashes; but none is a traceback."""
    path = simulated.data / name
    content = path.read_bytes()
    start = data.draw(st.integers(0, min(len(content) - 1, data.draw(st.sampled_from([200, len(content)])))))
    flipped = bytes([content[start] ^ 1 << data.draw(st.integers(0, 7))])
    path.write_bytes(content[:start] + (flipped + content[start + 1 :] if data.draw(st.booleans()) else b""))
    message = ""
    try:
        with contextlib.chdir(simulated.folder):
            READERS[name]()
    except InputError as error:
        message = str(error)
    finally:
        path.write_bytes(content)
    assert not message or (f"data/{name.split('/')[0]}" in message and message.isprintable())


@pytest.mark.parametrize("solver", ["adam", "exact"])
def test_factors_that_are_not_finite_are_refused(solver: str, results: Project, refuses: Callable[..., str]) -> None:
    not_a_number(results.data / "train" / "factors.npy")
    results.set(train={"solver": solver})
    assert "data/train" in refuses(train.main)


def test_a_training_factor_that_is_not_finite_any_more_is_one_line(
    results: Project, refuses: Callable[..., str]
) -> None:
    results.set(train={"solver": "exact"})
    run_here("train")
    not_a_number(results.data / "train" / "factors.npy")
    assert "look for NaN" in refuses(evaluate.main)


def test_whoever_may_read_the_tables_may_read_the_models(results: Project) -> None:
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in results.data.rglob("*.*") if path.is_file()}
    assert modes[".safetensors"] == modes[".csv"]


def test_a_full_disk_is_one_line_and_leaves_no_model(results: Project) -> None:
    (results.data / "model.safetensors").unlink()
    ran = results.run("sh", "-c", "ulimit -f 0; exec python -m stages.train")
    assert ran.returncode == 1
    [line] = ran.stderr.splitlines()
    assert line.startswith("error: ")
    assert not (results.data / "model.safetensors").exists()
    assert list((results.data / ".partial").iterdir()) == []


def test_a_fit_that_no_memory_holds_is_refused_before_it_starts(project: Project, refuses: Callable[..., str]) -> None:
    project.set(
        simulate={"n_factors": 90_000, "n_trials": 2, "n_test_trials": 1, "n_classes": 1}, train={"solver": "exact"}
    )
    run_here("simulate")
    assert "needs 518 GB of memory" in refuses(train.main)


def test_trials_that_do_not_fit_on_the_disk_are_refused(project: Project, refuses: Callable[..., str]) -> None:
    project.set(simulate={"n_trials": 10**9, "n_factors": 100_000})
    assert "GB are free" in refuses(simulate.main)
    assert not (project.data / "train").exists()


# --- whole or not at all


WRITER = """
import sys
from stages.files.errors import run
from stages.files.writing import Outputs

def main():
    with Outputs("train") as outputs:
        outputs.table("loss.csv", {"epoch": [1]})
        print("written", flush=True)
        sys.stdin.readline()

run(main)
"""


@pytest.fixture
def writer(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A stage that has written its outputs and waits before it is done."""
    stage = subprocess.Popen(
        ["python", "-c", WRITER],
        cwd=project.folder,
        env=project.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert stage.stdout is not None
    assert stage.stdout.readline() == "written\n"
    yield stage
    with contextlib.suppress(ProcessLookupError):
        os.killpg(stage.pid, signal.SIGKILL)
    stage.communicate()


def test_a_stage_that_ends_well_has_written(writer: subprocess.Popen[str]) -> None:
    assert not Path("data/loss.csv").exists()
    writer.communicate("\n", timeout=60)
    assert read_table("loss.csv").to_dict("list") == {"epoch": [1]}
    assert list(Path("data/.partial").iterdir()) == []


def test_a_killed_stage_has_written_nothing_and_its_next_run_removes_what_it_left(
    writer: subprocess.Popen[str],
) -> None:
    os.killpg(writer.pid, signal.SIGKILL)
    writer.wait(60)
    assert [path.name for path in Path("data").iterdir()] == [".partial"]
    assert len(list(Path("data/.partial").glob("train-*/outputs/loss.csv"))) == 1
    with Outputs("train"):
        assert len(list(Path("data/.partial").iterdir())) == 1


def test_an_earlier_run_cannot_write_over_a_later_one(project: Project) -> None:
    def overtaken() -> None:
        with Outputs("train") as earlier:
            earlier.table("loss.csv", {"epoch": [1]})
            with Outputs("evaluate") as other, Outputs("train") as later:  # another stage's scratch is left alone
                later.table("loss.csv", {"epoch": [2]})
                other.table("other.csv", {"epoch": [3]})

    with pytest.raises(InputError, match="another run of train"):
        overtaken()
    assert read_table("loss.csv").to_dict("list") == {"epoch": [2]}
    assert read_table("other.csv").to_dict("list") == {"epoch": [3]}


def test_a_failure_leaves_the_older_outputs_and_success_replaces_whole_folders(project: Project) -> None:
    figures = project.data / "figures"
    with Outputs("plot") as outputs:
        outputs.path("figures/old.png").write_text("old")
    with contextlib.suppress(RuntimeError), Outputs("plot") as outputs:
        outputs.path("figures/new.png").write_text("new")
        raise RuntimeError
    assert [p.name for p in figures.iterdir()] == ["old.png"]
    with Outputs("plot") as outputs:
        outputs.path("figures/new.png").write_text("new")
    assert [p.name for p in figures.iterdir()] == ["new.png"]
    assert list((project.data / ".partial").iterdir()) == []


# --- numbers


@given(st.floats(-1e99, 1e99))
@here
def test_numbers_keep_six_significant_digits(project: Project, value: float) -> None:
    with Outputs("evaluate") as outputs:
        outputs.json("metrics.json", {"a": {"b": value}, "c": None, "d": [value, 7]})
        outputs.table("loss.csv", {"epoch": [7], "loss": [value]})
    stored = read_json("metrics.json")
    number = stored["a"]["b"]
    assert number == pytest.approx(value, rel=5.1e-6, abs=1e-310)
    assert float(f"{number:.5e}") == number
    assert stored == {"a": {"b": number}, "c": None, "d": [number, 7]}
    assert read_table("loss.csv").to_dict("list") == {"epoch": [7], "loss": [number]}


def test_names_that_look_like_numbers_stay_as_they_are(project: Project) -> None:
    with Outputs("evaluate") as outputs:
        outputs.table("loss.csv", {"class": ["1", "left"], "factor": ["007", "1e5"], "loss": [1, 2]})
    assert read_table("loss.csv").to_dict("list") == {"class": ["1", "left"], "factor": ["007", "1e5"], "loss": [1, 2]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_not_a_number_is_refused(value: float, project: Project) -> None:
    with pytest.raises(InputError, match="a metric is not finite"), Outputs("evaluate") as outputs:
        outputs.json("metrics.json", {"a": value})


# --- models


def stored(coefficients: Array, means: Array) -> Array:
    """Coefficients as they stand in the file."""
    with Outputs("train") as outputs:
        outputs.model("model.safetensors", coefficients, means)
    parts = load_file("data/model.safetensors")
    assert [parts[name].dtype.name for name in ("weight", "bias")] == ["float32", "float64"]
    return np.vstack([parts["weight"].T.astype(np.float64), parts["bias"]])


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.floats(-6, 3),
    offset=st.floats(0, 9.3),  # up to Unix time in seconds
    n_factors=st.integers(1, 6),
)
@here
def test_weights_in_single_precision_leave_the_logit_at_the_factors_means(
    project: Project, seed: int, size: float, offset: float, n_factors: int
) -> None:
    stream = np.random.default_rng(seed)
    means = 10**offset * stream.normal(size=n_factors)
    coefficients = stream.normal(size=(n_factors + 1, 2)) * 10**size
    coefficients[-1] -= means @ coefficients[:-1]  # the logits at the means are moderate, as in a fit
    found = stored(coefficients, means)
    for k in range(2):
        exact, kept = (logit_at(means, w[:, k]) for w in (coefficients, found))
        assert abs(exact - kept) < 1e-6 + 1e-15 * np.abs(means * coefficients[:-1, k]).sum()  # double's own rounding
    assert np.array_equal(found[:-1], coefficients[:-1].astype(np.float32))
    assert np.array_equal(found[-1] * 2**20, np.round(found[-1] * 2**20))


def logit_at(factors: Array, coefficients: Array) -> float:
    """In exact arithmetic."""
    pairs = zip([*factors, 1.0], coefficients, strict=True)
    return float(sum(Fraction(float(x)) * Fraction(float(w)) for x, w in pairs))


@pytest.mark.parametrize("weight", [1e39, -1e39, 1e-46, np.inf])
@pytest.mark.filterwarnings("error")
def test_weights_that_single_precision_cannot_hold_are_refused(
    weight: float, project: Project, refuses: Callable[..., str]
) -> None:
    coefficients = np.array([[weight, 1.0], [0.0, 0.0]])
    assert "data/model.safetensors: a weight is beyond" in refuses(lambda: stored(coefficients, np.zeros(1)))


def test_a_weight_of_zero_and_the_smallest_and_largest_are_kept(project: Project) -> None:
    coefficients = np.array([[0.0, 1e-44], [3e38, -3e38], [0.0, 0.0]])
    assert stored(coefficients, np.zeros(2))[:-1] == pytest.approx(coefficients[:-1], rel=0.1)


def test_the_same_model_has_the_same_bytes(project: Project) -> None:
    coefficients = np.arange(8.0).reshape(4, 2)
    bytes_of = []
    for evidence in ({"solver": "adam", "ridge": 0.1}, {"ridge": 0.1, "solver": "adam"}):
        with Outputs("train") as outputs:
            outputs.model("model.safetensors", coefficients, np.zeros(3), **evidence)
        bytes_of.append((project.data / "model.safetensors").read_bytes())
    assert bytes_of[0] == bytes_of[1]
    assert load_file(project.data / "model.safetensors")["weight"].tolist() == [[0, 2, 4], [1, 3, 5]]
