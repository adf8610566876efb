"""params.yaml: read as DVC reads it, checked whole; with any values in it a stage runs or reports one line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import evaluate, plot, simulate, train
from stages.files.documents import validate
from stages.files.errors import InputError
from stages.files.parameters import Evaluate, Plot, Section, Simulate, Simulation, Train, read_parameters
from tests.conftest import ROOT, Project

SECTIONS: dict[str, type[Section]] = {"simulate": Simulate, "train": Train, "evaluate": Evaluate, "plot": Plot}
SHIPPED: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "params.yaml").read_text())
GOOD = SHIPPED["train"]
Refuses = Callable[..., str]

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def complaint(section: type[Section], values: object) -> str:
    """The one line that is reported of these values."""
    with pytest.raises(InputError) as error:
        validate(section, values, "params.yaml, x")
    assert str(error.value).isprintable()
    return str(error.value).removeprefix("params.yaml, x: ")


# --- the shipped file


def test_the_shipped_file_is_valid_and_whole() -> None:
    assert read_parameters(ROOT / "params.yaml").model_dump() == SHIPPED


BOUNDS = {  # as comments write them, at the shipped values
    "2^32 - 1": 2**32 - 1,
    "n_classes - 1": SHIPPED["simulate"]["n_classes"] - 1,
    "1 - g": 1.0,
    "1 - guess_rate": 1.0,
}


def documented(section: str, key: str) -> str:
    """What the comment beside a key states of its values: all up to the semicolon, without what is in parentheses."""
    text = (ROOT / "params.yaml").read_text().split(f"\n{section}:\n")[1]
    found = re.search(rf"^  {key}: [^#]+ # (.*)$", text, re.MULTILINE)
    assert found, f"{section}.{key} has no comment"
    return re.sub(r" \(.*?\)", "", found[1].split(";")[0])


def bound(text: str) -> float:
    return BOUNDS.get(text) or float(text.replace(" ", ""))


@pytest.mark.parametrize(("section", "key"), [(section, key) for section in SHIPPED for key in SHIPPED[section]])
def test_the_comment_beside_a_key_names_the_values_that_are_accepted(section: str, key: str, project: Project) -> None:
    def accepted(value: object) -> bool:
        sections = {name: dict(values) for name, values in SHIPPED.items()}
        sections["train"]["solver"], sections["plot"]["class_index"] = "exact", 0  # what goes with every other value
        sections[section][key] = value
        project.params.write_text(yaml.safe_dump(sections))
        try:
            validate(Simulation, sections, "params.yaml")
        except InputError:
            return False
        return True

    comment = documented(section, key)
    listed = comment.startswith("any of ")
    for option in comment.removeprefix("any of ").split("," if listed else "|"):
        interval = re.match(r"([\[(]?)([-^\w. ]+?)(?:, | \.\. )([-^\w. ]+)([\])]?)", option.strip())
        if not interval:
            value = yaml.safe_load(option)
            assert accepted([value] if listed else value), option
            continue
        left, low, high, right = interval.groups()
        whole = isinstance(SHIPPED[section][key], int) and " .. " in option and key != "ridge"
        for end, closed, outwards in ((bound(low), left != "(", -1), (bound(high), right != ")", 1)):
            step = outwards if whole else outwards * 1e-9 * max(abs(end), 1)
            inside, outside = (end, end + step) if closed else (end - step, end)
            assert accepted(int(inside) if whole else inside)
            assert not accepted(int(outside) if whole else outside)
    assert not accepted("another")
    assert accepted(["another"]) is (key == "smooth")


# --- values


@pytest.mark.parametrize(
    ("key", "text", "number"),
    [
        ("learning_rate", "1e-5", 1e-5),  # PyYAML alone reads text
        ("learning_rate", "2.5E-3", 2.5e-3),
        ("learning_rate", "1e5", 1e5),
        ("learning_rate", "1", 1.0),
        ("num_epochs", "1e3", 1000),
        ("num_epochs", "1000.0", 1000),
        ("num_epochs", "0400", 400),  # PyYAML alone reads 256
        ("num_epochs", "0x10", 16),
    ],
)
def test_a_number_is_the_number_that_was_written(key: str, text: str, number: float, project: Project) -> None:
    written = project.params.read_text()
    project.params.write_text(re.sub(rf"  {key}: .*", f"  {key}: {text}", written))
    found = getattr(read_parameters().train, key)
    assert found == number
    assert type(found) is type(number)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", "fast"),
        ("learning_rate", True),
        ("learning_rate", 0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", "0.1"),  # in quotes
        ("learning_rate", None),
        ("learning_rate", [0.1]),
        ("num_epochs", 1.5),
        ("num_epochs", "12"),
        ("num_epochs", 10**400),
        ("amsgrad", 1),
        ("amsgrad", "true"),
        ("ridge", "autos"),
        ("ridge", -1),
        ("solver", "adamw"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(key: str, value: object) -> None:
    reported = complaint(Train, {**GOOD, key: value})
    assert reported.startswith(f"{key} = ")
    assert ", but it must " in reported


def test_an_unknown_key_comes_with_the_nearest_known_one() -> None:
    assert complaint(Train, {**GOOD, "learning_rat": 1}) == "learning_rat is unknown; the nearest is learning_rate"


def test_a_missing_key_is_named() -> None:
    values = {key: value for key, value in GOOD.items() if key != "beta2"}
    assert complaint(Train, values) == "beta2 is missing"


def test_the_old_name_of_the_exact_solver_is_refused_with_the_new_one() -> None:
    assert complaint(Train, {**GOOD, "solver": "lbfgs"}) == "solver = 'lbfgs', but it must be 'adam' or 'exact'"


def test_values_that_are_right_one_by_one_may_not_go_together() -> None:
    reported = complaint(Simulation, SHIPPED | {"train": {**GOOD, "solver": "adam", "ridge": 0.1}})
    assert reported == "train.ridge = 0.1, but solver adam has no ridge; it must be 0, or the solver exact"


@pytest.mark.parametrize("stage", [simulate, train, evaluate, plot])
def test_every_stage_checks_all_sections_before_it_works(
    stage: Any, project: Project, refuses: Callable[..., str]
) -> None:
    project.set(plot={"class_index": 20})
    reported = refuses(stage.main)
    assert reported == ("error: params.yaml: plot.class_index = 20, but it must be below the number of classes, 2")
    assert not project.data.exists()


# --- anything at all


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3)
)


@given(data=st.data(), name=st.sampled_from([*SECTIONS]))
def test_any_change_to_a_valid_section_is_accepted_or_named(data: st.DataObject, name: str) -> None:
    values = dict(SHIPPED[name])
    for key in data.draw(st.lists(st.sampled_from([*values, "unknown", "", "\x1b[31m"]), max_size=3)):
        values[key] = data.draw(anything | st.integers(-2, 3) | st.floats(0, 2))
    try:
        accepted, reported = set(validate(SECTIONS[name], values, "params.yaml, x").model_dump()), ""
    except InputError as error:
        accepted, reported = set(), str(error)
    assert accepted == set(values) or (reported.startswith("params.yaml, x: ") and reported.isprintable())
