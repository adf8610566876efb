"""The report of a change, with real git and DVC."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comparisons.ci import report
from comparisons.commands import finish
from tests.revisions import METRICS, PIPELINE, Repository


@pytest.fixture(scope="module")
def changed(pristine: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A second commit, with another parameter, worse metrics and other pictures. Not to be changed."""
    made = pristine.copy(tmp_path_factory.mktemp("changed") / "repository")
    made.write("params.yaml", "train: {epochs: 3, learning_rate: 0.1, solver: adam}\n")
    made.write("source.json", json.dumps({**METRICS, "test": {**METRICS["test"], "loss": 0.7}}))
    for name in ("picture", "docs/recovery.png", "docs/trajectory.png", "docs/map.png"):
        made.write(name, f"second picture {name if 'map' in name else ''}")
    assert made.repro() == ["evaluate"]
    made.commit()
    return made


def written(folder: Path) -> dict[str, str]:
    paths = [path for path in (folder / "report").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder / "report")): path.read_text() for path in paths}


def lines(page: str) -> str:
    return "\n".join(" ".join(line.split()) for line in page.splitlines())


def test_a_change_and_what_it_does_old_beside_new(
    changed: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = changed.copy(tmp_path / "here")
    monkeypatch.chdir(here.folder)
    summary = tmp_path / "summary.md"
    summary.write_text("what another step printed\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    here.write("report/old/stale.png", "of an earlier report")
    before = here.git("status", "--porcelain", "--", ":!report")
    assert report.main(["HEAD^"]) == 0  # although the gate fails
    assert here.git("status", "--porcelain", "--", ":!report") == before
    files = written(here.folder)
    page = lines(files.pop("report.md"))
    assert "The gate fails: 1 worse than allowed, 6 unchanged." in page
    assert "| test.loss | 0.5 | 0.7 | ↑ +0.2 | +0.05 | **worse than allowed** |" in page
    assert "| train.epochs | 10 | 3 |\n| train.learning_rate | - | 0.1 |" in page
    assert "| evaluate | train.epochs, train.learning_rate, picture, source.json |" in page
    for stem in ("loss", "recovery", "trajectory", "map"):
        name = f"{stem}.png"
        assert f"| {name} | ![old {stem}](old/{name}) | ![new {stem}](new/{name}) |" in page
        assert files.pop(f"old/{name}") == "first picture"
        assert files.pop(f"new/{name}").startswith("second picture")
    assert summary.read_text() == "what another step printed\n" + files.pop("summary.md")
    assert files == {}
    printed = lines(summary.read_text())
    assert printed.startswith("what another step printed\n# What this change does\n")
    assert "| map.png | old/map.png | new/map.png |" in printed
    assert "![" not in printed


def test_old_figures_that_are_not_at_hand_are_said_to_be(
    changed: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = changed.clone(tmp_path / "clone")
    clone.repro()
    monkeypatch.chdir(clone.folder)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert report.main([]) == 0
    files = written(clone.folder)
    page = lines(files["report.md"])
    assert "DVC's cache here lacks the old figures" in page
    assert "| loss.png | not at hand | ![new loss](new/loss.png) |" in page
    assert files["old/recovery.png"] == "first picture"  # docs/ has a copy
    assert "old/loss.png" not in files


def test_without_a_change_there_is_nothing_to_say(repository: Repository) -> None:
    assert report.main(["HEAD"]) == 0
    assert "## Metrics\n\nThe gate passes: 7 unchanged.\n\n## Parameters\n\nNone changed.\n" in page(repository)
    assert page(repository).endswith("## Stages that ran\n\nNone.")


def test_a_study_is_reported_by_itself(repository: Repository) -> None:
    """Its own metrics, parameters, stages and figures beside those it had, not beside the simulation's."""
    study = Repository(repository.folder / "studies" / "mine")
    study.write("dvc.yaml", PIPELINE)
    study.write("data/.gitignore", "/figures\n")
    for number in (0.5, 0.4):
        study.write("params.yaml", f"train: {{ridge: {number}}}\n")
        study.write("source.json", json.dumps({"loo": {"cross_entropy": number}}))
        study.write("picture", f"of {number}")
        assert study.repro() == ["evaluate"]
        study.commit()
    assert report.main(["HEAD^", "--folder", "studies/mine"]) == 0
    files = written(study.folder)
    page = lines(files["report.md"])
    assert "The gate passes: 1 better." in page
    assert "| train.ridge | 0.5 | 0.4 |" in page
    assert "| evaluate | train.ridge, picture, source.json |" in page
    assert files["old/loss.png"] == "of 0.5"
    assert files["new/loss.png"] == "of 0.4"


def test_an_unknown_base_leaves_the_last_report(repository: Repository) -> None:
    repository.write("report/report.md", "the last")
    with pytest.raises(SystemExit) as stop:
        finish(lambda: report.main(["nowhere"]))
    assert stop.value.code == 2
    assert written(repository.folder) == {"report.md": "the last"}


STAGE: dict[str, Any] = {"cmd": "a", "deps": [{"path": "x", "md5": "1"}], "params": {"params.yaml": {"s": {"k": 1}}}}


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (STAGE, ""),
        ({**STAGE, "cmd": "b"}, "its command"),
        ({**STAGE, "deps": []}, "x"),
        ({**STAGE, "deps": [{"path": "x", "md5": "2"}, {"path": "y", "md5": "1"}]}, "x, y"),
        ({**STAGE, "params": {"params.yaml": {"s": {"k": 2}}}}, "s.k"),
    ],
)
def test_why_a_stage_ran(after: dict[str, Any], reason: str) -> None:
    assert report.cause(STAGE, after) == reason
    assert report.cause(None, after) == "it is new"
