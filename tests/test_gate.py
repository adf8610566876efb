"""The gate: what passes, what fails, and against which revision, with real git and DVC; and its rules."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comparisons.ci import gate
from comparisons.ci.base import base
from comparisons.ci.gate import FAILURES, METRICS, Rule, compare, judge, read_rules, rule_of, rules_file
from comparisons.commands import finish
from stages.files.errors import InputError
from tests.conftest import ROOT
from tests.revisions import Repository

Say = Callable[[], str]


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Say:
    return lambda: capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "status", "lines"),
    [
        ({}, 0, ["7 unchanged."]),
        ({"loss": 0.4}, 0, ["| test.loss | 0.5 | 0.4 | ↓ -0.1 | +0.05 | better |"]),
        (
            {"loss": 0.54, "more": 3},
            0,
            [
                "| test.loss | 0.5 | 0.54 | ↑ +0.04 | +0.05 | worse within tolerance |",
                "| test.more | - | 3 | - | - | no rule |",
            ],
        ),
        ({"loss": 0.56}, 1, ["| test.loss | 0.5 | 0.56 | ↑ +0.06 | +0.05 | **worse than allowed** |"]),
        (
            {"accuracy": 0.8, "slope": 1.4},
            1,
            [
                "| test.accuracy | 0.9 | 0.8 | ↓ -0.1 | -0.01 | **worse than allowed** |",
                "| test.slope | 0.75 | 1.4 | ↑ +0.65 | +0.05 off 1 | **worse than allowed** |",
            ],
        ),
        ({"loss": None}, 1, ["| test.loss | 0.5 | - | - | +0.05 | **not a number** |"]),
        ({"loss": math.nan}, 1, ["| test.loss | 0.5 | nan | - | +0.05 | **not a number** |"]),
        (
            {"loss": "low", "more": None},
            1,
            [
                '| test.loss | 0.5 | "low" | - | +0.05 | **not a number** |',
                "| test.more | - | - | - | - | **not a number** |",
            ],
        ),
    ],
)
def test_the_gate_on_a_changed_metric(
    changes: dict[str, Any], status: int, lines: list[str], repository: Repository, printed: Say
) -> None:
    repository.metrics(**changes)
    assert gate.main(["HEAD"]) == status
    text = " ".join(printed().split())
    assert all(line in text for line in lines)


def test_a_metric_that_goes_fails_only_if_it_is_required(repository: Repository, printed: Say) -> None:
    repository.write("data/metrics.json", '{"test": {"accuracy": 0.9, "slope": 0.75}}')
    assert gate.main(["HEAD"]) == 1
    text = " ".join(printed().split())
    assert "| test.loss | 0.5 | - | - | +0.05 | **missing** |" in text
    assert "| test.optional | 2 | - | - | +0 | gone |" in text
    assert "Not good: test.loss. If that is intended, change rules.yaml" in text
    (repository.data / "metrics.json").unlink()
    assert gate.main(["HEAD"]) == 1
    assert "7 missing." in printed()


def test_metrics_of_other_parameters_are_not_judged(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.write("data/metrics.json", '{"test": {"cross_entropy": 0.123}}')
    repository.write("params.yaml", "train: {epochs: 11, solver: adam}\n")
    status, line = ends(lambda: gate.main(["HEAD"]), capsys)
    assert status == 2
    assert line.startswith("error: params.yaml: train is not what evaluate last ran with: all numbers are from ")
    done = repository.run("python", "-m", "comparisons.experiments.show", PYTHONPATH=str(ROOT))
    assert "Workspace: params.yaml: train is not what" in done.stdout
    assert "workspace epochs=11" in " ".join(done.stdout.split())
    assert "0.123" not in done.stdout


def test_where_the_base_has_no_metrics_all_are_new(repository: Repository, printed: Say) -> None:
    text = (repository.data / "metrics.json").read_text()
    repository.git("rm", "--quiet", "data/metrics.json")
    repository.commit()
    repository.write("data/metrics.json", text)
    assert gate.main(["HEAD"]) == 0
    assert ": 6 new, 1 unchanged.\n" in printed()  # null is as good as not there


def ends(main: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit status of a command, and the one line it prints on stderr."""
    with pytest.raises(SystemExit) as stop:
        finish(main)
    assert isinstance(stop.value.code, int)
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize("where", ["workspace", "base"])
def test_metrics_that_cannot_be_read_are_an_error(
    where: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (repository.data / "metrics.json").read_text()
    repository.write("data/metrics.json", '{"test": ')
    if where == "base":
        repository.commit()
        repository.write("data/metrics.json", good)
    status, line = ends(lambda: gate.main(["HEAD"]), capsys)
    assert status == 2
    assert line.startswith("error: data/metrics.json ")
    assert line.count("\n") == 1


def test_the_base_is_where_the_branch_left_or_else_the_parent(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def new(message: str) -> str:
        repository.git("commit", "--quiet", "--allow-empty", "-m", message)
        return repository.git("rev-parse", "HEAD")

    start = repository.git("rev-parse", "HEAD")
    repository.git("checkout", "--quiet", "-b", "change")
    new("on the branch")
    repository.git("checkout", "--quiet", "main")
    tip = new("on main")
    repository.git("checkout", "--quiet", "change")
    assert base("main") == base(None) == start  # no remote: the parent
    new("second on the branch")
    assert base("main") == start
    repository.git("checkout", "--quiet", "main")
    clone = repository.clone(tmp_path / "clone")
    monkeypatch.chdir(clone.folder)
    assert base(None) == start  # HEAD is on origin's branch
    for message in ("third", "fourth"):
        clone.git("commit", "--quiet", "--allow-empty", "-m", message)
    assert base(None) == tip


def test_what_cannot_be_compared_with(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="HEAD has no parent"):
        base(None)
    for unknown in ("nowhere", "", "--help", "HEAD:dvc.yaml"):
        with pytest.raises(InputError, match="is not a branch, tag or commit here"):
            base(unknown)
    repository.git("checkout", "--quiet", "--orphan", "stranger")
    repository.git("commit", "--quiet", "-m", "another beginning")
    with pytest.raises(InputError, match="no common history"):
        base("main")
    repository.git("commit", "--quiet", "--allow-empty", "-m", "second")
    monkeypatch.chdir(repository.clone(tmp_path / "shallow", "--depth", "1").folder)
    with pytest.raises(InputError, match="this clone is shallow"):
        base("HEAD")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="not a git repository"):
        base("HEAD")


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
        ("a.*: {better: lower, required: true}", "only a metric named in full can be"),
        ("a: {better: neither, absolute: 1}", "has a tolerance, but"),
    ],
)
def test_a_malformed_rule_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_rules(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_first_rule_that_fits_is_the_rule(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("a.b: {target: 1e-1}\na.*: {better: lower}\n")
    rules = read_rules(path)
    assert rule_of("a.b", rules) == Rule(target=0.1)
    assert rule_of("a.c", rules) == Rule(better="lower")
    assert rule_of("b", rules) is None


def ours(file: str) -> dict[str, object]:
    return gate.metrics((ROOT / file).read_bytes(), file)


SIMULATED = ["data/metrics.json", "docs/exact_metrics.json"]
OURS = [*SIMULATED, "studies/rat/data/metrics.json"]


def test_every_metric_of_ours_has_a_rule_and_no_rule_is_for_nothing() -> None:
    rules = read_rules(rules_file())
    for file in OURS:
        assert {comparison.verdict for comparison in compare(rules, ours(file), ours(file))} == {"unchanged"}
    for file in SIMULATED:
        assert {name for name, rule in rules.items() if rule.required} <= ours(file).keys()
    names = {name for file in OURS for name in ours(file)}
    assert {id(rule_of(name, rules)) for name in names} == {id(rule) for rule in rules.values()}


tolerances = {"absolute": st.floats(0, 10), "relative": st.floats(0, 10), "required": st.booleans()}
directed = st.builds(Rule, better=st.sampled_from(["lower", "higher"]), **tolerances) | st.builds(
    Rule, target=st.floats(-10, 10), **tolerances
)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)
RANK = ["better", "changed", "unchanged", "worse within tolerance", "worse than allowed"]


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
    ranks = [RANK.index(judge(rule, old, new)) for new in (good, bad)]
    assume(rule.badness(good) < rule.badness(bad))
    assert {2: 1}.get(ranks[0], ranks[0]) <= {2: 1}.get(ranks[1], ranks[1])  # unchanged is as good


@pytest.mark.parametrize("value", [True, None, "text", 3, 0.5])
def test_what_only_informs_may_be_anything_but_nan(value: object) -> None:
    assert judge(Rule(better="neither"), value, value) == "unchanged"
    assert judge(Rule(better="neither"), value, math.nan) == "not a number"
    assert judge(Rule(better="neither", required=True), value, None) == "not a number"


def test_what_is_no_number_fails_and_what_was_none_is_new() -> None:
    for rule in (Rule(better="lower", absolute=1), Rule(better="higher", relative=1), Rule(target=0, required=True)):
        bad: object
        for bad in (None, True, False, "", "1", math.nan, math.inf, []):
            assert judge(rule, 0.5, bad) == judge(None, 0.5, bad) == "not a number"
            assert judge(rule, bad, 0.5) == "new"


def test_exactly_what_is_allowed_passes() -> None:
    assert 0.8 - 0.7 > 0.1  # as floats
    assert judge(Rule(better="lower", absolute=0.1), 0.7, 0.8) == "worse within tolerance"
    assert judge(Rule(better="lower", absolute=0.1), 0.7, 0.800001) == "worse than allowed"
    assert judge(Rule(target=1), 0.9, 1.1) == "changed"


def test_the_names_are_those_of_dvc(repository: Repository) -> None:
    shown = json.loads(repository.run("dvc", "metrics", "diff", "--json", "--all", "HEAD").stdout)
    ours_too = ours(str(repository.folder / METRICS)).keys()
    assert {*shown[str(METRICS)], "fit.undefined"} == ours_too  # it leaves out null


def test_the_command_ends_with_2_where_nothing_was_decided(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("nope", "docs"):
        status, line = ends(lambda folder=folder: gate.main(["HEAD", "--folder", folder]), capsys)  # type: ignore[misc]
        assert status == 2
        assert line == f"error: {folder} holds no dvc.yaml; name the folder of a pipeline, as in: studies/rat\n"
    status, line = ends(lambda: gate.main(["nowhere"]), capsys)
    assert (status, line) == (
        2,
        "error: BASE = 'nowhere' is not a branch, tag or commit here: git fetch it\n",
    )


def test_a_folder_is_judged_by_its_own_rules(repository: Repository) -> None:
    repository.write("studies/rat/data/metrics.json", '{"test": {"slope": 1.0}}')
    repository.write("studies/rat/dvc.yaml", "stages: {}\n")
    repository.write("studies/rat/rules.yaml", "test.slope: {better: higher}\n")
    repository.commit()
    repository.write("studies/rat/data/metrics.json", '{"test": {"slope": 0.5}}')
    assert gate.main(["HEAD"]) == 0
    assert gate.main(["HEAD", "--folder", "studies/rat"]) == 1
