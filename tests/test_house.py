"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("clipper", "frontends", "containers", "benchmarks", "demo", "tests", "proto", "docs", ".ci")
MAX_LINES = 350
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".lua", ".svg", ".sh", ".proto", ""}
MACHINE_PATH = re.compile(r"(?<![\w.}$])/(?:home|root|Users|work|opt)/\w")
CONTAINER_MAY_IMPORT = {"clipper_container", "numpy", "msgspec", "cloudpickle"}
DISTRIBUTIONS = {"clipper-serving": ROOT, "clipper-container": ROOT / "containers"}
TOP_LEVEL = {"clipper-serving": {"clipper", "clipper_frontends"}, "clipper-container": {"clipper_container"}}


def _files(*suffixes: str) -> list[Path]:
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    at_the_top = [path for path in ROOT.iterdir() if path.is_file()]
    wanted = set(suffixes)
    return sorted(path for path in inside + at_the_top if path.suffix in wanted and "__pycache__" not in path.parts)


def test_no_source_file_is_longer_than_one_concept_needs() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in _files(".py", ".lua")}
    too_long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MAX_LINES}
    assert not too_long


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    mentions = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in _files(*TEXT_SUFFIXES)
        if path != Path(__file__) and (found := MACHINE_PATH.search(path.read_text()))
    ]
    assert not mentions


def test_the_version_is_written_once() -> None:
    assignments = [path for path in _files(".py") if re.search(r'^__version__ = "', path.read_text(), re.MULTILINE)]
    assert assignments == [ROOT / "containers" / "clipper_container" / "version.py"]
    for folder in DISTRIBUTIONS.values():
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert "version" in project["dynamic"]


def test_imports_point_one_way_and_policies_are_pure() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_container_runtime_imports_little() -> None:
    allowed = CONTAINER_MAY_IMPORT | set(sys.stdlib_module_names)
    foreign = {
        f"{path.relative_to(ROOT)}: {module}"
        for path in (ROOT / "containers").rglob("*.py")
        for module in _imported_at_the_top(path)
        if module not in allowed
    }
    assert not foreign


def _imported_at_the_top(path: Path) -> set[str]:
    modules = set()
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module is not None:
            modules.add(statement.module.partition(".")[0])
    return modules


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_brings_nothing_generic_into_site_packages(name: str, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(build, cwd=DISTRIBUTIONS[name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top_level = {entry.partition("/")[0] for entry in names}
    assert {entry for entry in top_level if not entry.endswith(".dist-info")} == TOP_LEVEL[name]
    assert {f"{package}/py.typed" for package in TOP_LEVEL[name]} <= set(names)
    assert any(entry.endswith("/licenses/LICENSE") for entry in names) or name == "clipper-container"
