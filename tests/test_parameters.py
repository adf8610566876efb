"""params.yaml: whatever stands in it, a stage runs or says one line that a person can act on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import simulate
from stages.errors import InputError
from stages.parameters import Evaluate, Plot, Simulate, Train, check, read
from tests.conftest import ROOT

SECTIONS: list[type[Any]] = [Simulate, Train, Evaluate, Plot]
SHIPPED: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "params.yaml").read_text())
GOOD = SHIPPED["train"]


def complaint(section: type[Any], values: object) -> str:
    with pytest.raises(InputError) as error:
        check(section, values, where="params.yaml: x")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_shipped_file_has_exactly_the_sections_and_keys_that_the_stages_read() -> None:
    read_keys = {section.__name__.lower(): {f.name for f in dataclasses.fields(section)} for section in SECTIONS}
    assert {name: set(values) for name, values in SHIPPED.items()} == read_keys


def test_every_key_of_the_shipped_file_has_a_comment_with_its_range() -> None:
    lines = [line for line in (ROOT / "params.yaml").read_text().splitlines() if line.startswith("  ")]
    assert all("#" in line for line in lines)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_shipped_values_are_valid(section: type[Any]) -> None:
    assert dataclasses.asdict(read(section, ROOT / "params.yaml")) == SHIPPED[section.__name__.lower()]


@pytest.mark.parametrize(
    ("key", "value", "number"),
    [
        ("learning_rate", "1e-5", 1e-5),  # PyYAML reads these as text
        ("learning_rate", "2.5E-3", 2.5e-3),
        ("learning_rate", "1e5", 1e5),
        ("learning_rate", 1, 1.0),
        ("num_epochs", "1e3", 1000),
        ("num_epochs", 1000.0, 1000),
    ],
)
def test_a_number_is_the_number_that_was_written(key: str, value: object, number: float) -> None:
    converted = getattr(check(Train, {**GOOD, key: value}, "x"), key)
    assert converted == number
    assert type(converted) is type(number)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", "fast"),
        ("learning_rate", True),
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", "1e400"),
        ("learning_rate", None),
        ("learning_rate", [0.1]),
        ("beta1", 1.0),
        ("num_epochs", 1.5),
        ("num_epochs", 0),
        ("num_epochs", "12"),
        ("num_epochs", 10**400),
        ("amsgrad", 1),
        ("amsgrad", "true"),
        ("solver", "adamw"),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(key: str, value: object) -> None:
    said = complaint(Train, {**GOOD, key: value})
    assert said.startswith(f"params.yaml: x.{key} = ")
    assert "but it must be" in said


def test_an_unknown_key_comes_with_the_nearest_known_one() -> None:
    assert complaint(Train, {**GOOD, "learning_rat": 1}) == (
        "params.yaml: x.learning_rat is not a parameter; the nearest is learning_rate"
    )


def test_a_missing_key_comes_with_what_it_must_be() -> None:
    values = {key: value for key, value in GOOD.items() if key != "beta2"}
    assert complaint(Train, values) == "params.yaml: x.beta2 is missing; it must be a number in [0, 1)"


@pytest.mark.parametrize(
    "text", ["", "a: [", "\t", "- 1", "7", "simulate:", "simulate: 3", "\x00", "simulate: &a [*a]", "? {a: 1}\n: 2"]
)
def test_a_file_that_is_no_sections_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml") as error:
        read(Simulate, tmp_path / "params.yaml")
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("params.yaml", "absent.yaml"):
        with pytest.raises(InputError, match=name):
            read(Simulate, tmp_path / name)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3)
)
# Valid values stay small, so that whatever is accepted also runs at once.
nearly = {
    "seed": st.integers(-1, 2**32) | anything,
    "n_factors": st.integers(-1, 5) | anything,
    "n_classes": st.integers(-1, 3) | anything,
    "n_trials": st.integers(-1, 20) | st.sampled_from(["1e1", 7.0, 10**30]),
    "n_test_trials": st.integers(-1, 20) | st.sampled_from(["1e1", 7.0, 10**30]),
    "weight_scale": st.floats(-1, 10) | anything,
    "dtype": st.sampled_from(["float64", "float32", "float16"]) | anything,
    "streams": st.sampled_from(["independent", "notebook", "Notebook"]) | anything,
}


def too_large(section: dict[str, Any]) -> bool:
    """Whether it is valid, but more than a quick test should run."""
    sizes = [section.get(key) for key in ("n_factors", "n_classes")]
    return any(isinstance(size, int | float) and not size < 10 for size in sizes)


@given(
    section=st.fixed_dictionaries(nearly)
    | st.fixed_dictionaries({}, optional=nearly)
    | st.dictionaries(st.sampled_from([*nearly, "n_trial"]) | st.text(), anything, max_size=8)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
def test_any_mapping_runs_or_gives_one_line(
    section: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuses: Callable[[Callable[[], None]], str],
) -> None:
    if too_large(section):
        section = {**section, "n_factors": 2, "n_classes": 1}
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump({"simulate": section}, allow_unicode=True)
    Path("params.yaml").write_text(text, encoding="utf-8", errors="replace")
    try:
        read(Simulate)
    except InputError:
        assert "params.yaml" in refuses(simulate.main)
    else:
        simulate.main()


def test_values_that_are_right_one_by_one_may_not_go_together() -> None:
    said = complaint(Train, {**GOOD, "solver": "adam", "ridge": 0.1})
    assert said == "params.yaml: x.ridge = 0.1, but solver adam has no ridge; it must be 0, or the solver lbfgs"


@given(data=st.data(), section=st.sampled_from(SECTIONS))
def test_any_change_to_a_valid_section_is_accepted_or_named(data: st.DataObject, section: type[Any]) -> None:
    values = dict(SHIPPED[section.__name__.lower()])
    for key in data.draw(st.lists(st.sampled_from([*values, "unknown", "", "\x1b[31m"]), max_size=3)):
        values[key] = data.draw(anything | st.integers(-2, 3) | st.floats(0, 2))
    try:
        accepted, said = set(dataclasses.asdict(check(section, values, "params.yaml: x"))), ""
    except InputError as error:
        accepted, said = set(), str(error)
    assert accepted == set(values) or (said.startswith("params.yaml: x") and said.isprintable())


@pytest.mark.parametrize(
    "text", ['!!int ""', '!!float ""', "!!bool x", "!!timestamp x", "0x" + "f" * 5000, "!!python/x"]
)
def test_a_value_that_yaml_itself_chokes_on_is_one_line(text: str, tmp_path: Path) -> None:
    keys = [f"  {key}: {value}" for key, value in SHIPPED["simulate"].items() if key != "seed"]
    (tmp_path / "params.yaml").write_text("\n".join(["simulate:", f"  seed: {text}", *keys]))
    with pytest.raises(InputError, match=r"params\.yaml") as error:
        read(Simulate, tmp_path / "params.yaml")
    assert "\n" not in str(error.value)
