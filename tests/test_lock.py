"""Whether the committed lock is the code's, with real git and DVC."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from comparisons.ci import lock, pictures
from comparisons.commands import reason
from stages.files.errors import InputError
from tests.revisions import METRICS, PIPELINE, Repository

GOOD = "dvc.lock, data/metrics.json and the pictures in docs/ (recovery, trajectory) are those of the committed code.\n"


def test_a_lock_that_is_the_codes_is_good_also_in_a_fresh_clone(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repository.clone(tmp_path / "clone").folder)
    assert lock.main([]) == 0
    assert capfd.readouterr().out.endswith(GOOD)


def test_a_stale_lock_names_its_stages_also_where_the_data_are_not(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in CI, where no stage's outputs are: neither what the stale stage reads nor what it wrote."""
    plot = "  plot:\n    cmd: {}\n    deps: [data/figures]\n    outs: [data/plot]\n"
    repository.write("dvc.yaml", PIPELINE + plot.format("cp -r data/figures data/plot"))
    repository.write("data/.gitignore", "/figures\n/plot\n")
    assert repository.repro() == ["plot"]
    repository.commit()
    monkeypatch.chdir(repository.clone(tmp_path / "good").folder)
    assert lock.stale() == []
    repository.write("dvc.yaml", PIPELINE + plot.format("cp -r data/figures/. data/plot"))
    repository.write("params.yaml", "train: {epochs: 11, solver: adam}\n")
    repository.commit()
    monkeypatch.chdir(repository.clone(tmp_path / "stale").folder)
    assert lock.main([]) == 1
    expected = "dvc.lock is stale: `dvc repro` would run evaluate, plot. Run it and commit dvc.lock and data/.\n"
    assert capfd.readouterr().out == expected
    assert repository.git("status", "--porcelain") == ""  # nothing ran


def test_metrics_that_the_code_does_not_give_are_not_good(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Better numbers, written by hand into metrics.json and the lock: only running the code brings it out."""
    forged = json.dumps({**METRICS, "test": {"loss": 0.1}})
    before = (repository.data / "metrics.json").read_bytes()
    recorded = (repository.folder / "dvc.lock").read_text()
    old, new = (hashlib.md5(text).hexdigest() for text in (before, forged.encode()))
    metrics, deps = recorded.rsplit(old, 1)  # source.json has the same hash, and comes first
    repository.write("dvc.lock", metrics + new + deps)
    repository.write("data/metrics.json", forged)
    repository.commit()
    monkeypatch.chdir(repository.clone(tmp_path / "clone").folder)
    assert lock.main([]) == 1  # not stale, but
    printed = capfd.readouterr().out
    assert f"-      md5: {new}" in printed
    assert "gives: data/metrics.json, dvc.lock. Run" in printed


def test_a_picture_that_is_not_the_figure_of_its_name_is_not_good(repository: Repository) -> None:
    repository.write("docs/recovery.png", "another")
    assert pictures.outdated() == ["docs/recovery.png"]
    assert lock.main([]) == 1


def test_what_cannot_be_decided_is_an_error(repository: Repository) -> None:
    (repository.folder / "picture").unlink()
    with pytest.raises(InputError, match="`dvc repro` failed"):
        lock.main([])  # that a file is not there is no finding about the lock
    repository.write("dvc.lock", "<<<<<<< HEAD")
    with pytest.raises(InputError, match=r"dvc\.lock"):
        lock.main([])


def test_why_dvc_failed_is_one_line() -> None:
    assert reason("WARNING: old\nERROR: './dvc.yaml' is invalid.\n\nwhile parsing") == "'./dvc.yaml' is invalid."
    assert reason("") == "it gives no reason"
