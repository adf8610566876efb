"""YAML as DVC reads it, and files that are no parameters at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from dvc.utils.serialize import ParseError, parse_yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stages.files.documents import read_yaml
from stages.files.errors import InputError
from stages.files.parameters import read_parameters

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


plain = st.text("0123456789.eE+-_:xobXOBafnyi~", min_size=1, max_size=8) | st.from_regex(
    r"[-+]?(0|0x|0o|0b)?[0-9_]{0,4}(\.[0-9_]{0,3})?([eE][-+]?[0-9]{1,2})?", fullmatch=True
)


@given(plain)
@example("1e-5").via("text in YAML 1.1")
@example("0400").via("256 in YAML 1.1")
@example("5:00").via("300 in YAML 1.1")
@example("yes").via("true in YAML 1.1")
@example("off")
@example("1_000")
@example("0o17")
@example("0b11")
@example("0x1F")
@example(".5")
@example("1.")
@example(".5e3")
@example(".5e+3")
@example("-.inf")
@example("TRUE")
@example("tRUE")
@example("null")
@example("2001-01-01")
@example("12:30:45")
@example("-_1").via("1 in DVC's reader")
@one_folder
def test_a_scalar_is_what_dvc_reads(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "scalar.yaml"
    path.write_text(f"key: {text}\n")
    try:
        expected = parse_yaml(path.read_text(), path)["key"]
    except (ParseError, ValueError):  # DVC lets through what int("") raises
        with pytest.raises(InputError, match=r"scalar\.yaml"):
            read_yaml(path)
        return
    found = read_yaml(path)["key"]
    assert type(found) is type(expected)
    assert found == expected or (found != found and expected != expected)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "a: {b: 1, b: 1}", "a: [{b: 1, b: 1}]"])
def test_a_key_that_stands_twice_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml, line [123]: not valid YAML: found duplicate key"):
        read_yaml(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "text",
    [
        *("", "a: [", "\t", "- 1", "7", "simulate:", "simulate: 3", "\x00", "simulate: &a [*a]", "? {a: 1}\n: 2"),
        *('a: !!int ""', 'a: !!float ""', "a: !!bool x", "a: !!timestamp x", "a: 0x" + "f" * 5000, "a: !!python/x"),
        *("a: " + "9" * 5000, "1: 2", "null: 2", "[1]: 2", "<<: 3", "a: *b"),
    ],
)
def test_a_file_that_is_no_sections_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InputError, match=r"params\.yaml") as error:
        read_parameters(tmp_path / "params.yaml")
    assert str(error.value).isprintable()


def test_bytes_that_are_no_text_and_an_absent_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("params.yaml", "absent.yaml"):
        with pytest.raises(InputError, match=name):
            read_parameters(tmp_path / name)
