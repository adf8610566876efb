"""Files on disk: what is damaged is refused by name, and nothing half-written is ever seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stages.storage import FileRows, Outputs

from stages import evaluate, plot, simulate, storage, train
from stages.errors import InputError
from tests.conftest import Project

OWN_CHANGE: dict[str, dict[str, dict[str, object]]] = {
    "simulate": {"simulate": {"n_test_trials": 199}},
    "train": {"train": {"seed": 3}},
    "evaluate": {"evaluate": {"histogram_bins": 4}},
    "plot": {"plot": {"dpi": 42}},
}
MAINS = {"simulate": simulate.main, "train": train.main, "evaluate": evaluate.main, "plot": plot.main}


def foreign(path: Path) -> None:
    path.write_bytes(b"not what it should be\n" * 30)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def other_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.int16))


def big_endian(path: Path) -> None:
    np.save(path, np.load(path).astype(">f8"))


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def not_a_number(path: Path) -> None:
    array = np.load(path)
    array[-1, -1] = np.nan
    np.save(path, array)


def words(path: Path) -> None:
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *rows[:-1], ",".join(["word"] * len(header.split(",")))]) + "\n")


def fewer_lines(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def no_metrics(path: Path) -> None:
    path.write_text('{"test": {"calibration_slope": "steep"}}')


def one_dimension(path: Path) -> None:
    np.save(path, np.load(path).ravel())


def fewer_rows(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def fewer_columns(path: Path) -> None:
    np.save(path, np.load(path)[:, :-1])


def whole_file(*damages: Callable[[Path], None]) -> list[Callable[[Path], None]]:
    return [foreign, truncated, empty, missing, *damages]


DAMAGED: list[tuple[str, str, list[Callable[[Path], None]]]] = [
    ("train", "train/factors.npy", whole_file(pickled, archive, other_type, one_dimension, fewer_rows)),
    ("train", "train/responses.npy", whole_file(pickled, other_type, one_dimension, fewer_rows)),
    ("evaluate", "test/factors.npy", whole_file(other_type, big_endian, fewer_rows, fewer_columns, not_a_number)),
    ("evaluate", "test/responses.npy", whole_file(other_type, fewer_rows, fewer_columns)),
    ("evaluate", "observer.npy", [foreign, truncated, empty, fewer_rows, fewer_columns, one_dimension, not_a_number]),
    ("evaluate", "model.safetensors", whole_file()),
    ("evaluate", "checkpoints/epoch-000000.safetensors", whole_file()),
    ("plot", "loss.csv", whole_file(words, fewer_lines)),
    ("plot", "coefficients.csv", whole_file(words, fewer_lines)),
    ("plot", "calibration.csv", whole_file(words, fewer_lines)),
    ("plot", "trajectory.csv", whole_file(words)),
    ("plot", "metrics.json", whole_file(no_metrics)),
]


@pytest.mark.parametrize(
    ("stage", "name", "damage"), [(s, n, damage) for s, n, damages in DAMAGED for damage in damages]
)
def test_a_damaged_input_is_named_and_nothing_is_written(
    stage: str,
    name: str,
    damage: Callable[[Path], None],
    copy: Project,
    monkeypatch: pytest.MonkeyPatch,
    refuses: Callable[[Callable[[], None]], str],
) -> None:
    path = copy.data / name
    copied = path.read_bytes()
    path.unlink()  # DVC may have linked it to its cache
    path.write_bytes(copied)
    damage(path)
    before = {p: p.stat().st_mtime_ns for p in copy.data.rglob("*") if p.is_file()}
    monkeypatch.chdir(copy.folder)
    said = refuses(MAINS[stage])
    assert f"data/{name}" in said or f"data/{name.split('/')[0]}" in said
    assert {p: p.stat().st_mtime_ns for p in copy.data.rglob("*") if p.is_file()} == before


def test_a_class_that_is_not_there_is_refused(
    copy: Project, monkeypatch: pytest.MonkeyPatch, refuses: Callable[[Callable[[], None]], str]
) -> None:
    copy.set(plot={"class_index": 2})
    monkeypatch.chdir(copy.folder)
    assert refuses(plot.main) == (
        "error: params.yaml: plot.class_index = 2, but it must be below the number of classes, 2"
    )


def test_factors_that_are_not_numbers_are_refused(
    copy: Project, monkeypatch: pytest.MonkeyPatch, refuses: Callable[[Callable[[], None]], str]
) -> None:
    path = copy.data / "train" / "factors.npy"
    factors = np.load(path)
    factors[7, 1] = np.nan
    path.unlink()
    np.save(path, factors)
    monkeypatch.chdir(copy.folder)
    assert "data/train" in refuses(train.main)


def test_trials_without_a_known_observer_are_evaluated_and_drawn(
    copy: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy.data / "observer.npy").unlink()
    with_truth = json.loads((copy.data / "metrics.json").read_text())
    monkeypatch.chdir(copy.folder)
    evaluate.main()
    plot.main()
    assert "data/observer.npy is absent" in capsys.readouterr().out
    metrics = json.loads((copy.data / "metrics.json").read_text())
    assert "recovery" not in metrics
    left_out = {"bayes_cross_entropy", "excess_cross_entropy"}
    assert metrics["test"] == {key: value for key, value in with_truth["test"].items() if key not in left_out}
    assert (copy.data / "figures" / "weights.png").exists()
    assert not (copy.data / "figures" / "recovery.png").exists()


def test_a_stage_that_does_not_fit_on_the_disk_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Callable[[Callable[[], None]], str], project: Project
) -> None:
    project.set(simulate={"n_trials": 10**9, "n_factors": 100_000})
    monkeypatch.chdir(project.folder)
    assert "GB are free" in refuses(simulate.main)
    assert not (project.data / "train").exists()


@pytest.mark.parametrize("stage", list(MAINS))
def test_a_stage_killed_midway_leaves_nothing_and_repro_then_completes(stage: str, copy: Project) -> None:
    """SIGKILL while the stage holds its scratch folder: the older outputs stand or are gone, never half of them."""
    whole = {p.name: p.read_bytes() for p in copy.data.iterdir() if p.is_file()}
    script = (
        "import os, signal, sys\n"
        "from stages import storage\n"
        "storage.Outputs._commit = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"  # all is written, none renamed
        f"from stages import {stage}\n"
        f"{stage}.main()\n"
    )
    killed = copy.run("python", "-c", script)
    assert killed.returncode == -signal.SIGKILL
    assert list((copy.data / ".partial").glob(f"{stage}-*"))
    assert {p.name: p.read_bytes() for p in copy.data.iterdir() if p.is_file()} == whole
    copy.set(**OWN_CHANGE[stage])
    assert stage in copy.repro()
    assert not list((copy.data / ".partial").glob(f"{stage}-*"))
    assert copy.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"


def test_killing_dvc_leaves_no_output_that_looks_whole(copy: Project) -> None:
    copy.set(train={"num_epochs": 100_000})
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(copy.folder)}
    dvc = subprocess.Popen(
        ["dvc", "repro"], cwd=copy.folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not list((copy.data / ".partial").glob("train-*/outputs")) and time.monotonic() < deadline:
            time.sleep(0.02)
        dvc.kill()
        dvc.wait()
        assert not (copy.data / "model.safetensors").exists()  # DVC had removed it, and the orphan has not finished
        copy.set(train={"num_epochs": 4})
        assert "train" in copy.repro()  # while the orphan goes on
        assert copy.run("dvc", "status").stdout == "Data and pipelines are up to date.\n"
    finally:
        os.killpg(dvc.pid, signal.SIGKILL)


def test_an_orphan_of_dvc_does_not_write_over_what_was_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train")
    orphan = Outputs("train")
    orphan.__enter__().table("loss.csv", {"epoch": [1]})
    monkeypatch.setattr(os, "getppid", lambda: 1)
    with pytest.raises(InputError, match="DVC was killed"):
        orphan.__exit__(None, None, None)
    assert not Path("data/loss.csv").exists()


def test_an_earlier_run_cannot_write_over_a_later_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    earlier = Outputs("train")
    earlier.__enter__()
    earlier.table("loss.csv", {"epoch": [1]})
    with Outputs("evaluate") as other, Outputs("train") as later:  # another stage's scratch is left alone
        later.table("loss.csv", {"epoch": [2]})
        other.table("other.csv", {"epoch": [3]})
    with pytest.raises(InputError, match="another run of train"):
        earlier.__exit__(None, None, None)
    assert storage.read_table("loss.csv") == {"epoch": [2]}
    assert storage.read_table("other.csv") == {"epoch": [3]}


def test_a_failure_leaves_the_older_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Outputs("plot") as outputs:
        outputs.path("figures/old.png").write_text("old")
    failing = Outputs("plot")
    failing.__enter__().path("figures/new.png").write_text("new")
    failing.__exit__(RuntimeError, RuntimeError(), None)
    assert [p.name for p in Path("data/figures").iterdir()] == ["old.png"]
    with Outputs("plot") as outputs:
        outputs.path("figures/new.png").write_text("new")
    assert [p.name for p in Path("data/figures").iterdir()] == ["new.png"]
    assert not list(Path("data/.partial").iterdir())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_six_significant_digits(value: float) -> None:
    rounded = storage._rounded({"a": {"b": value}, "c": None})
    assert rounded["a"]["b"] == pytest.approx(value, rel=5.1e-6, abs=1e-310)
    assert len(f"{rounded['a']['b']:e}".split("e")[0].replace("-", "").replace(".", "").rstrip("0")) <= 6
    assert rounded["c"] is None


def test_a_metric_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InputError, match="nan"):
        storage._rounded({"a": float("nan")})


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.bool_])
def test_rows_written_to_the_file_are_rows_of_the_array(
    dtype: type[np.generic], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = np.random.default_rng(0).integers(0, 2, (30, 3)).astype(dtype)
    with Outputs("simulate") as outputs:
        array = outputs.array("train/factors.npy", (30, 3), dtype)
        with FileRows(array) as rows:
            for start in (20, 0, 10):
                rows[start : start + 10] = expected[start : start + 10]
        assert np.array_equal(array, expected)
    assert np.array_equal(np.load("data/train/factors.npy"), expected)


def test_a_model_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weight, bias = np.arange(6.0).reshape(2, 3), np.array([7.0, 8.0])
    with Outputs("train") as outputs:
        outputs.model("model.safetensors", weight, bias, solver="adam", epochs=3, other=None)
        first = outputs.path("model.safetensors").read_bytes()
        outputs.model("model.safetensors", weight, bias, other=None, epochs=3, solver="adam")
        assert outputs.path("model.safetensors").read_bytes() == first
    model = storage.read_model()
    assert model.coefficients.tolist() == [[0, 3], [1, 4], [2, 5], [7, 8]]
    assert model.evidence == {"solver": "adam", "epochs": 3, "other": None}
