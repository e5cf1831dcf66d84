"""What importing the package costs, and what it must never bring along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKSTATION = ("torch", "torchao", "onnx", "tensorflow", "wfdb", "pandas", "neurokit2", "safetensors")
DEVICE_HALF = ("streaming", "runtime", "firmware_bridge", "device_profiles", "calibration_data", "live", "profiling")


def _python(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_takes_under_half_a_second_and_brings_nothing_heavy(tmp_path: Path) -> None:
    code = """
import json, sys, time
start = time.perf_counter()
import ecgmoe_edge
took = time.perf_counter() - start
print(json.dumps([took, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
    took, modules = json.loads(_python(code, tmp_path))
    assert took < 0.5
    assert not {"numpy", "scipy", "typer", *WORKSTATION} & set(modules)


def test_the_monitor_comes_on_first_use_without_the_workstation(tmp_path: Path) -> None:
    code = """
import sys
from ecgmoe_edge import Monitor, load_bundle
print(Monitor.__name__, load_bundle.__name__, *sys.modules)
"""
    output = _python(code, tmp_path).split()
    assert output[:2] == ["Monitor", "load_bundle"]
    assert not set(WORKSTATION) & set(output)


def test_an_unknown_name_of_the_package_is_an_attribute_error(tmp_path: Path) -> None:
    import ecgmoe_edge

    with pytest.raises(AttributeError, match="no attribute 'Monitr'"):
        _ = ecgmoe_edge.Monitr


def test_the_device_half_imports_where_nothing_else_is_installed(tmp_path: Path) -> None:
    code = f"""
import importlib, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WORKSTATION!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
for part in {DEVICE_HALF!r}:
    importlib.import_module("ecgmoe_edge." + part)
import ecgmoe_edge.cli
print("done")
"""
    assert _python(code, tmp_path).strip() == "done"


def test_the_command_line_starts_without_anything_heavy(tmp_path: Path) -> None:
    modules = _python("import sys, ecgmoe_edge.cli; print(*sys.modules)", tmp_path).split()
    assert not {"numpy", "scipy", "onnxruntime", "serial", *WORKSTATION} & set(modules)
