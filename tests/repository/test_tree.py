"""Rules of the tree itself: no machine's paths, no registries, readable modules, telling names."""

from __future__ import annotations

import ast
import re
import subprocess
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Written apart, so that this file does not find itself.
MACHINE_PATHS = re.compile(rb"/(?:work|root|home)/[\w.-]+|[A-Z]:\\" + rb"Users")
REGISTRIES = re.compile(rb"pypi\.org|python" + rb"hosted\.org|registry\.npm" + rb"js|deb\.debian" + rb"\.org")
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "core"}
LONGEST_MODULE = 400
SCRIPTS = sorted(path for name in ("benchmarks", "experiments", "tools") for path in (ROOT / name).glob("*.py"))


@lru_cache
def _tracked() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there are no tracked files to look at")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def test_no_tracked_file_names_a_path_of_somebodys_machine() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in _tracked()
        for match in MACHINE_PATHS.finditer(path.read_bytes())
    }
    assert not found


def test_no_tracked_file_names_a_package_registry() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in _tracked()
        for match in REGISTRIES.finditer(path.read_bytes())
    }
    assert not found


def test_no_module_is_longer_than_one_sitting() -> None:
    lengths = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines())
        for path in _tracked()
        if path.suffix == ".py"
    }
    assert {path: length for path, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_no_module_or_folder_has_a_name_that_says_nothing() -> None:
    vague = {
        str(path.relative_to(ROOT))
        for path in _tracked()
        if VAGUE_NAMES & {*path.relative_to(ROOT).parent.parts, *([path.stem] if path.suffix == ".py" else [])}
    }
    assert not vague


def _names_of_commands(text: str) -> set[str]:
    """Folder/name of every script that a text runs, as a file or as a module."""
    named = re.findall(r"python (?:-m )?(benchmarks|experiments|tools)[/.](\w+)", text)
    return {"/".join(parts) for parts in named}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_docstring_of_a_script_names_its_command(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    commands = _names_of_commands(ast.get_docstring(ast.parse(source)) or "")
    own = f"{path.parent.name}/{path.stem}"
    if "__main__" in source:
        assert own in commands
    else:  # a part of other scripts: their commands
        assert commands - {own}
    assert commands <= {f"{script.parent.name}/{script.stem}" for script in SCRIPTS if "__main__" in script.read_text()}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_script_that_is_run_as_a_file_finds_the_other_scripts(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    if f"python {path.parent.name}/{path.name}" in source and re.search(
        r"^ *from (benchmarks|experiments|tools)\b", source, re.MULTILINE
    ):
        assert "sys.path.append(" in source  # the root of the tree; a module that is run with -m has it


def test_a_warning_from_our_own_modules_is_an_error() -> None:
    with pytest.raises(DeprecationWarning):
        warnings.warn_explicit("of our own", DeprecationWarning, "anything.py", 1, module="ecgmoe_edge.streaming")


def test_what_begins_first_and_what_stays_together_is_there(pytestconfig: pytest.Config) -> None:
    conftest: Any = pytestconfig.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    modules = [str(path.relative_to(ROOT)) for path in _tracked() if path.name.startswith("test_")]
    assert [part for part in conftest._FIRST if not any(module.startswith(part) for module in modules)] == []
    assert conftest._group("tests/converters/test_a.py::b") == conftest._group("tests/converters/test_c.py::d[1]")
    assert conftest._group("tests/cli/test_a.py::b") != conftest._group("tests/cli/test_c.py::d")
