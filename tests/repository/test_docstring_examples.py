"""Examples in docstrings and in the README run, and show what they say."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ecgmoe_edge"
WORKSTATION = ("torch", "torchao", "onnx", "tensorflow", "wfdb", "pandas", "neurokit2", "safetensors")
# The device half and what both halves read: their examples run where nothing of the workstation is installed.
DEVICE_HALF = (
    "calibration_data",
    "contract",
    "device_profiles",
    "firmware_bridge",
    "live",
    "profiling",
    "runtime",
    "streaming",
    "tasks",
)


def _modules_with_examples() -> list[str]:
    """Dotted names of the modules of the package, linked folders included, whose text holds an example."""
    folders = [PACKAGE, *(path for path in PACKAGE.iterdir() if path.is_dir())]
    files = {file for folder in folders for file in folder.rglob("*.py")}
    return sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if re.search(r"^ *>>> ", file.read_text(encoding="utf-8"), re.MULTILINE)
    )


MODULES = _modules_with_examples()
OF_DEVICE = [name for name in MODULES if name.split(".")[1] in DEVICE_HALF]


@pytest.mark.parametrize("name", [name for name in MODULES if name not in OF_DEVICE])
def test_the_examples_of_a_module_show_what_it_does(name: str) -> None:
    if name.split(".")[1] in ("model", "training", "compress", "converters"):
        pytest.importorskip("torch")
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_examples_of_the_device_half_run_where_nothing_else_is_installed(tmp_path: Path) -> None:
    code = f"""
import doctest, importlib, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WORKSTATION!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
results = [doctest.testmod(importlib.import_module(name)) for name in {OF_DEVICE!r}]
sys.exit(sum(result.failed for result in results) or not all(result.attempted for result in results))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("part", ["contract", "tasks", "records", "scoring"])
def test_the_parts_that_others_call_most_have_examples(part: str) -> None:
    of_part = [name for name in MODULES if name.split(".")[1] == part]
    finder = doctest.DocTestFinder(exclude_empty=True)
    shown = [test.name for name in of_part for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(shown) >= 3


def test_the_python_example_of_the_readme_prints_beats(tmp_path: Path) -> None:
    [example] = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    labels = [line.split()[-1] for line in done.stdout.splitlines()]
    assert len(labels) > 20
    assert set(labels) <= {"N", "S", "V", "F", "?"}
