"""The report of a change, with real git and DVC."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comparisons.ci import report
from comparisons.commands import finish
from tests.revisions import METRICS, PIPELINE, Repository


def page(repository: Repository) -> str:
    text = (repository.folder / "report/report.md").read_text()
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def test_a_change_and_what_it_does(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("params.yaml", "train: {epochs: 3, learning_rate: 0.1, solver: adam}\n")
    repository.write("source.json", json.dumps({**METRICS, "test": {**METRICS["test"], "loss": 0.7}}))
    repository.write("picture", "second picture")
    assert repository.repro() == ["evaluate"]
    repository.commit()
    summary = tmp_path / "summary.md"
    summary.write_text("what another step printed\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    repository.write("report/old/stale.png", "of an earlier report")
    before = repository.git("status", "--porcelain", "--", ":!report")
    assert report.main(["HEAD^"]) == 0  # although the gate fails
    assert repository.git("status", "--porcelain", "--", ":!report") == before
    assert "The gate fails: 1 worse than allowed, 6 unchanged." in page(repository)
    assert "| test.loss | 0.5 | 0.7 | ↑ +0.2 | +0.05 | **worse than allowed** |" in page(repository)
    assert "| train.epochs | 10 | 3 |\n| train.learning_rate | - | 0.1 |" in page(repository)
    assert "what another step printed\n# What this change does\n" in summary.read_text()
    pictures = sorted(path.read_text() for path in (repository.folder / "report").rglob("*recovery.png"))
    assert pictures == ["first picture", "second picture"]
    assert not (repository.folder / "report/old").exists()
    assert "report/report.md and report/plots/index.html show what changed" in capsys.readouterr().out


def test_without_a_change_there_is_nothing_to_say(repository: Repository) -> None:
    assert report.main(["HEAD"]) == 0
    assert page(repository).endswith("## Metrics\n\nThe gate passes: 7 unchanged.\n\n## Parameters\n\nNone changed.")


def test_a_study_is_reported_by_itself(repository: Repository) -> None:
    """Its own metrics and parameters beside those it had, not beside the simulation's."""
    study = Repository(repository.folder / "studies" / "mine")
    study.write("dvc.yaml", PIPELINE)
    study.write("data/.gitignore", "/figures\n")
    study.write("picture", "the same")
    for number in (0.5, 0.4):
        study.write("params.yaml", f"train: {{ridge: {number}}}\n")
        study.write("source.json", json.dumps({"loo": {"cross_entropy": number}}))
        assert study.repro() == ["evaluate"]
        study.commit()
    assert report.main(["HEAD^", "--folder", "studies/mine"]) == 0
    assert "The gate passes: 1 better." in page(study)
    assert "| train.ridge | 0.5 | 0.4 |" in page(study)


def test_an_unknown_base_leaves_the_last_report(repository: Repository) -> None:
    repository.write("report/report.md", "the last")
    with pytest.raises(SystemExit) as stop:
        finish(lambda: report.main(["nowhere"]))
    assert stop.value.code == 2
    assert page(repository) == "the last"
