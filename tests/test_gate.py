"""What decides about a change, with real git and DVC: the gate and its rules, the report, the check of the lock."""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.flatten import flatten
from hypothesis import assume, given
from hypothesis import strategies as st

from comparisons.ci import gate
from comparisons.ci.gate import FAILURES, Rule, compare, judge, read_rules, rule_of
from comparisons.experiments import show
from comparisons.git import base, reason
from stages.files.errors import InputError
from tests.conftest import ROOT
from tests.revisions import METRICS as NUMBERS
from tests.revisions import Repository

Gate = Callable[..., tuple[int, str]]


@pytest.fixture
def judged(repository: Repository, capsys: pytest.CaptureFixture[str]) -> Gate:
    """The gate's exit status and what it prints, after changes of metrics."""

    def call(**changes: Any) -> tuple[int, str]:
        if changes:
            repository.metrics(**changes)
        with pytest.raises(SystemExit) as stop:
            gate.main(["HEAD"])
        return int(stop.value.code or 0), " ".join(capsys.readouterr().out.split())

    return call


@pytest.mark.parametrize(
    ("changes", "status", "lines"),
    [
        ({}, 0, ["passes: 7 unchanged."]),
        ({"loss": 0.4}, 0, ["| test.loss | 0.5 | 0.4 | -0.1 | +0.05 | better |"]),
        (
            {"loss": 0.54, "more": 3},
            0,
            [
                "| test.loss | 0.5 | 0.54 | +0.04 | +0.05 | worse within tolerance |",
                "| test.more | - | 3 | - | - | changed |",
            ],
        ),
        (
            {"accuracy": 0.8, "slope": 1.4},
            1,
            [
                "fails: 2 worse than allowed, 5 unchanged.",
                "| test.accuracy | 0.9 | 0.8 | -0.1 | -0.01 | worse than allowed |",
                "| test.slope | 0.75 | 1.4 | +0.65 | +0.05 off 1 | worse than allowed |",
                "Not good: test.accuracy, test.slope. If that is intended, change rules.yaml",
            ],
        ),
        ({"loss": math.nan}, 1, ["| test.loss | 0.5 | nan | - | +0.05 | not a number |"]),
        (
            {"loss": "low"},
            1,
            ['| test.loss | 0.5 | "low" | - | +0.05 | not a number |'],
        ),
    ],
)
def test_the_gate_on_a_changed_metric(changes: dict[str, Any], status: int, lines: list[str], judged: Gate) -> None:
    found, text = judged(**changes)
    assert found == status
    assert all(line in text for line in lines)


def test_a_metric_that_goes_fails_only_if_it_is_required(
    repository: Repository, judged: Gate, refuses: Callable[..., str]
) -> None:
    repository.write("data/metrics.json", '{"test": {"accuracy": 0.9, "slope": 0.75}}')
    status, text = judged()
    assert status == 1
    assert "| test.loss | 0.5 | - | - | +0.05 | missing |" in text
    assert "| test.optional | 2 | - | - | +0 | gone |" in text
    (repository.data / "metrics.json").unlink()
    assert refuses(lambda: gate.main(["HEAD"])).startswith("error: data/metrics.json is missing: `dvc repro`")


def test_metrics_of_other_parameters_are_not_judged(
    repository: Repository, refuses: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("data/metrics.json", '{"test": {"cross_entropy": 0.123}}')
    repository.write("params.yaml", "train: {epochs: 11, solver: adam}\n")
    line = refuses(lambda: gate.main(["HEAD"]))
    assert line.startswith("error: params.yaml: train is not what evaluate last ran with; `dvc repro`")
    show.main()
    printed = " ".join(capsys.readouterr().out.split())
    assert "Workspace: params.yaml: train is not what" in printed
    assert "workspace train.epochs=11" in printed
    assert "0.123" not in printed


def test_where_the_base_has_no_metrics_all_are_new(repository: Repository, judged: Gate) -> None:
    text = (repository.data / "metrics.json").read_text()
    repository.git("rm", "--quiet", "data/metrics.json")
    repository.commit()
    repository.write("data/metrics.json", text)
    status, said = judged()
    assert status == 0
    assert "4 new" in said


@pytest.mark.parametrize("where", ["workspace", "base"])
def test_metrics_that_cannot_be_read_are_an_error(where: str, repository: Repository) -> None:
    good = (repository.data / "metrics.json").read_text()
    repository.write("data/metrics.json", '{"test": ')
    if where == "base":
        repository.commit()
        repository.write("data/metrics.json", good)
    with pytest.raises(InputError, match=r"^data/metrics.json [^\n]*does not hold metrics by name"):
        gate.main(["HEAD"])


def test_the_base_is_where_the_branch_left_or_else_the_parent(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def new(where: Repository) -> str:
        where.git("commit", "--quiet", "--allow-empty", "-m", secrets.token_hex())
        return where.git("rev-parse", "HEAD")

    start = repository.git("rev-parse", "HEAD")
    with pytest.raises(InputError, match=r"no common history with 'refs/remotes/origin/HEAD' nor 'HEAD\^'"):
        base(None)
    repository.git("checkout", "--quiet", "-b", "change")
    new(repository)
    repository.git("checkout", "--quiet", "main")
    tip = new(repository)
    repository.git("checkout", "--quiet", "change")
    assert base("main") == base(None) == start  # no remote: the parent
    new(repository)
    assert base("main") == start
    with pytest.raises(InputError, match="no common history with 'nowhere'"):
        base("nowhere")
    repository.git("checkout", "--quiet", "main")
    clone = repository.clone(tmp_path / "clone")
    monkeypatch.chdir(clone.folder)
    assert base(None) == start  # HEAD is on origin's branch
    for _ in range(2):
        new(clone)
    assert base(None) == tip
    monkeypatch.chdir(repository.clone(tmp_path / "shallow", "--depth", "1").folder)
    with pytest.raises(InputError, match="git fetch --unshallow"):
        base(None)


def test_why_git_or_dvc_failed_is_one_line() -> None:
    assert reason("WARNING: old\nERROR: './dvc.yaml' is invalid.\n\nwhile parsing") == "'./dvc.yaml' is invalid."
    assert reason("") == "it gives no reason"


# --- rules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: lower", "a"),
        ("a: {better: lower, relativ: 1}", "relativ is unknown; the nearest is relative"),
        ("a: {}", "must have either better: lower | higher | neither, or target"),
        ("a: {better: lower, target: 1}", "must have either better: lower | higher | neither, or target"),
        ("a: {better: up}", "better = 'up', but it must be 'lower', 'higher' or 'neither'"),
        ("a: {target: .nan}", "target = nan, but it must be a finite number"),
        ("a: {better: lower, relative: -1e-3}", "relative = -0.001, but it must be greater than or equal to 0"),
    ],
)
def test_a_malformed_rule_is_one_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text(text)
    line = refuses(read_rules)
    assert line.startswith("error: rules.yaml")
    assert message in line


def test_the_first_rule_that_fits_is_the_rule() -> None:
    rules = {"a.b": Rule(target=0.1), "a.*": Rule(better="lower")}
    assert rule_of("a.b", rules) == Rule(target=0.1)
    assert rule_of("a.c", rules) == Rule(better="lower")
    assert rule_of("b", rules) == Rule(better="neither")


def ours(file: str) -> dict[str, object]:
    return dict(flatten(json.loads((ROOT / file).read_text())))


SIMULATED = ["data/metrics.json", "docs/exact_metrics.json"]
OURS = [*SIMULATED, "studies/rat/data/metrics.json"]


def test_every_metric_of_ours_has_a_rule_and_no_rule_is_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, rules = read_rules()
    for file in OURS:
        assert {*compare(rules, ours(file), ours(file))["verdict"]} == {"unchanged"}
    for file in SIMULATED:
        assert {name for name, rule in rules.items() if rule.required} <= ours(file).keys()
    names = {name for file in OURS for name in ours(file)}
    assert {id(rule_of(name, rules)) for name in names} == {id(rule) for rule in rules.values()}


tolerances = {"absolute": st.floats(0, 10), "relative": st.floats(0, 10), "required": st.booleans()}
directed = st.builds(Rule, better=st.sampled_from(["lower", "higher"]), **tolerances) | st.builds(
    Rule, target=st.floats(-10, 10), **tolerances
)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)
RANK = ["better", "unchanged", "worse within tolerance", "worse than allowed"]


@given(directed, numbers, numbers)
def test_an_improvement_never_fails(rule: Rule, old: float, new: float) -> None:
    if rule.target is not None:
        assume(abs(new - rule.target) < abs(old - rule.target))
    else:
        assume(new < old if rule.better == "lower" else new > old)
    assert judge(rule, old, new) not in FAILURES


@given(directed, st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_the_worse_the_value_the_worse_the_verdict(rule: Rule, old: float, one: float, other: float) -> None:
    good, bad = sorted((one, other), key=rule.badness)
    assume(rule.badness(good) < rule.badness(bad) and old not in (one, other))
    first, second = (RANK.index(judge(rule, old, new)) for new in (good, bad))
    assert first <= second


def test_what_is_no_number_fails_and_what_was_none_is_new() -> None:
    for rule in (Rule(better="lower", absolute=1), Rule(better="higher", relative=1), Rule(target=0, required=True)):
        bad: object
        for bad in (None, True, False, "", "1", math.nan, math.inf, []):
            assert judge(rule, 0.5, bad) == "not a number"
            assert judge(rule, bad, 0.5) == "new"
            assert judge(Rule(better="neither"), 0.5, bad) == "changed"


def test_what_only_informs_has_no_tolerance() -> None:
    lines = compare({"fit.*": Rule(better="neither")}, {"fit.steps": 12}, {"fit.steps": 10})
    assert [*lines.iloc[0]] == ["fit.steps", "10", "12", "+2", "-", "changed"]


def test_the_names_are_those_of_dvc(repository: Repository) -> None:
    shown = json.loads(repository.run("dvc", "metrics", "diff", "--json", "--all", "HEAD").stdout)
    ours_too = ours(str(repository.data / "metrics.json")).keys()
    assert {*shown["data/metrics.json"], "fit.undefined"} == ours_too  # it leaves out null


# --- the report


def page(repository: Repository) -> str:
    text = (repository.folder / "report/report.md").read_text()
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def test_a_report_says_what_a_change_does(repository: Repository) -> None:
    repository.write("params.yaml", "train: {epochs: 3, learning_rate: 0.1, solver: adam}\n")
    repository.write("source.json", json.dumps({**NUMBERS, "test": {**NUMBERS["test"], "loss": 0.7}}))
    repository.write("picture", "second picture")
    assert repository.repro() == ["evaluate"]
    repository.commit()
    repository.write("report/old/stale.png", "of an earlier report")
    gate.main(["--report", "HEAD^"])  # although the gate fails
    assert repository.git("status", "--porcelain", "--", ":!report") == ""
    assert "The gate fails: 1 worse than allowed, 6 unchanged." in page(repository)
    assert "| test.loss | 0.5 | 0.7 | +0.2 | +0.05 | worse than allowed |" in page(repository)
    assert "## Rules\n\nNone changed.\n" in page(repository)
    assert "| params.yaml | train.epochs | 10 | 3 |" in page(repository)
    pictures = sorted(path.read_text() for path in (repository.folder / "report").rglob("*recovery.png"))
    assert pictures == ["first picture", "second picture"]
    assert not (repository.folder / "report/old").exists()
    with pytest.raises(InputError, match="no common history"):
        gate.main(["--report", "nowhere"])
    assert "The gate fails" in page(repository)  # the last report is still there


def test_a_study_is_judged_by_its_own_rules(
    repository: Repository, judged: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.folder / "docs")
    repository.write("docs/rules.yaml", "loo.*: {better: lower}\n")
    repository.write("docs/params.yaml", "train: {}\n")
    repository.write("docs/data/metrics.json", '{"loo": {"loss": 0.5}}')
    repository.commit()
    repository.write("docs/data/metrics.json", '{"loo": {"loss": 0.4}}')
    assert "The gate passes: 1 better." in judged()[1]


# --- the lock


def lock_check(clone: Repository) -> tuple[bool, str]:
    """Whether `make lock-check` finds it good, and what it prints."""
    if not (clone.folder / ".venv").exists():
        (clone.folder / ".venv").symlink_to(sys.prefix)
    done = clone.run("make", f"--file={ROOT / 'Makefile'}", "--old-file=.venv/installed", "lock-check")
    return done.returncode == 0, done.stdout


def test_a_lock_is_good_if_the_code_gives_it_and_the_metrics_and_pictures(
    repository: Repository, tmp_path: Path
) -> None:
    clone = repository.clone(tmp_path / "clone")
    good, printed = lock_check(clone)
    assert good
    assert "Running stage 'evaluate'" in printed
    clone.write("docs/recovery.png", "another")
    good, printed = lock_check(clone)
    assert not good
    assert "docs/recovery.png data/figures/recovery.png differ" in printed


def test_metrics_that_the_code_does_not_give_are_not_good(repository: Repository, tmp_path: Path) -> None:
    """Better numbers, written by hand into metrics.json and the lock: only running the code brings it out."""
    forged = json.dumps({**NUMBERS, "test": {"loss": 0.1}})
    before = (repository.data / "metrics.json").read_bytes()
    recorded = (repository.folder / "dvc.lock").read_text()
    old, new = (hashlib.md5(text).hexdigest() for text in (before, forged.encode()))
    metrics, deps = recorded.rsplit(old, 1)  # source.json has the same hash, and comes first
    repository.write("dvc.lock", metrics + new + deps)
    repository.write("data/metrics.json", forged)
    repository.commit()
    good, printed = lock_check(repository.clone(tmp_path / "clone"))
    assert not good
    assert f"-      md5: {new}" in printed
