"""The house: who may import whom, that dvc.yaml names what a stage imports, and that its parts stay small.

All is found in the source, by its syntax, but for what importing a stage costs.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, STAGES

PIPELINE: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STUDY: dict[str, Any] = yaml.safe_load((ROOT / "stages" / "study.yaml").read_text())
OF_A_STUDY = ("prepare", *STAGES[1:])

ROOMS: dict[str, set[str]] = {  # of hdlogit, and which other rooms each may import
    "adam": {"compute"},
    "asymptotics": {"psychometric"},
    "compute": set(),
    "estimator": {"exact", "inference"},
    "exact": {"compute"},
    "inference": {"asymptotics", "compute", "exact", "psychometric", "scores"},
    "observers": {"asymptotics", "inference"},
    "psychometric": {"compute"},
    "scores": {"compute", "exact", "psychometric"},
    "smooth": {"asymptotics", "compute", "inference"},
}
PACKAGES = {"numpy", "scipy", "torch", "threadpoolctl", "tqdm"}  # that hdlogit may import
ALSO = {"estimator": {"pandas", "sklearn"}}  # in one room, which needs them
FILES = {"csv", "io", "json", "pathlib", "shutil", "tempfile"}  # of the standard library, and hdlogit knows no files


def sources(*folders: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def file_of(module: str) -> str | None:
    """The file of a module of ours, relative to ROOT."""
    path = module.replace(".", "/")
    return next((name for name in (f"{path}.py", f"{path}/__init__.py") if (ROOT / name).is_file()), None)


@cache
def syntax(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


@cache
def imported(file: str) -> frozenset[str]:
    """The modules that a file names in imports, at its top or inside functions, but for types only."""
    names, left = set[str](), list[ast.AST]([syntax(file)])
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inner if file_of(name)}
            names |= modules or {str(node.module)}
            names |= {str(node.module)} if inner - modules else set()
    return frozenset(names)


def neighbours(file: str) -> set[str]:
    """Our files that a file imports."""
    return {found for module in imported(file) if (found := file_of(module))}


def reached(file: str, seen: set[str]) -> set[str]:
    """Our files that run when `file` is imported and all its functions are called; with the packages they are in."""
    if file not in seen:
        seen.add(file)
        parents = {str(parent / "__init__.py") for parent in Path(file).parents}
        for other in neighbours(file) | {name for name in parents if (ROOT / name).is_file()}:
            reached(other, seen)
    return seen


# --- imports


def test_imports_have_no_circles() -> None:
    TopologicalSorter({file: neighbours(file) for file in sources("hdlogit", "stages")}).prepare()


def test_every_room_is_known() -> None:
    assert {file.split("/")[1] for file in sources("hdlogit")} - {"__init__.py"} == set(ROOMS)


@pytest.mark.parametrize("file", sources("hdlogit"))
def test_mathematics_imports_its_own_packages_and_the_rooms_below(file: str) -> None:
    room = file.split("/")[1]
    ours = {module.split(".")[1] for module in imported(file) if module.startswith("hdlogit.")}
    assert file == "hdlogit/__init__.py" or ours <= ROOMS[room] | {room}
    others = {module.split(".")[0] for module in imported(file)} - {"hdlogit"}
    assert others - sys.stdlib_module_names <= PACKAGES | ALSO.get(room, set())
    assert others.isdisjoint(FILES)
    calls = [node.func for node in ast.walk(syntax(file)) if isinstance(node, ast.Call)]
    assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}


@pytest.mark.parametrize("file", sources("stages"))
def test_stages_import_mathematics_room_by_room_and_nothing_above_them(file: str) -> None:
    assert "hdlogit" not in imported(file)  # what it exports comes from rooms that dvc.yaml would not see
    assert {module.split(".")[0] for module in imported(file)}.isdisjoint({"tests", "comparisons", "benchmarks"})


# --- dvc.yaml


def dependencies(stage: str) -> set[str]:
    """What a stage must name in dvc.yaml: the library, the rooms and files of ours that it imports, the packages."""
    files = reached(f"stages/{stage}.py", set()) - {"stages/__init__.py"}
    rooms = {"hdlogit" if file.startswith("hdlogit/") else "/".join(file.split("/")[:2]) for file in files}
    torch = any("torch" in imported(file) for file in files)
    return rooms | {"requirements.lock"} | ({"requirements-torch.lock"} if torch else set())


def code_of(pipeline: dict[str, Any], stage: str) -> list[str]:
    deps = [dep.removeprefix("${root}/") for dep in pipeline["stages"][stage]["deps"]]
    return [dep for dep in deps if not dep.startswith(("data/", "$"))]


@pytest.mark.parametrize(("stage", "pipeline"), [*((s, PIPELINE) for s in STAGES), *((s, STUDY) for s in OF_A_STUDY)])
def test_a_stage_depends_on_the_code_that_it_imports_and_on_no_other(stage: str, pipeline: dict[str, Any]) -> None:
    declared = code_of(pipeline, stage)
    assert declared == sorted(dependencies(stage))


def test_the_pipeline_has_these_stages() -> None:
    assert list(PIPELINE["stages"]) == list(STAGES)
    assert list(STUDY["stages"]) == list(OF_A_STUDY)


# --- what importing costs


def test_an_import_brings_torch_and_scipy_only_where_they_are_needed() -> None:
    """In one process, those first that need the least."""
    script = """
import importlib, sys
for names, may in (
    ("hdlogit hdlogit.psychometric.simulation hdlogit.scores.calibration hdlogit.scores.recovery", set()),
    ("hdlogit.compute.threads stages.simulate stages.plot", set()),
    ("hdlogit.inference.infer stages.plan stages.evaluate stages.study stages.predict", {"scipy"}),
    ("stages.train hdlogit.adam.training", {"scipy", "torch"}),
):
    for name in names.split():
        importlib.import_module(name)
        brought = {"torch", "scipy"} & sys.modules.keys()
        assert brought <= may, f"{name} imports {brought - may}"
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


# --- sizes


LONGEST_FILE, LONGEST_FUNCTION = 400, 60  # lines


def test_files_and_functions_are_short() -> None:
    code = sources("hdlogit", "stages", "comparisons", "benchmarks")
    lengths = {file: len((ROOT / file).read_text().splitlines()) for file in code}
    assert {file: lines for file, lines in lengths.items() if lines > LONGEST_FILE} == {}
    functions = {
        f"{file}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for file in code
        for node in ast.walk(syntax(file))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: lines for name, lines in functions.items() if lines > LONGEST_FUNCTION} == {}
