"""A real `ecgmoe-edge train` process that is killed and restarted, or stopped by its time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_teacher import TINY_TEACHER

CONFIG = f"""
[[data]]
name = "ward"
folder = "ward"
validation = ["p3"]
rhythm = true

[draw]
normal = 40
s = 30
v = 20
rhythm = 20

{TINY_TEACHER}

[fit]
epochs = 5
batch = 16
validate_from = 0.0
validate_every = 1
"""


def _start(patients: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    config = out.parent / "config.toml"
    config.write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("ecgmoe-edge")), "train", "--config", str(config)]
    return subprocess.Popen(
        [*command, "--data", str(patients), "-o", str(out), "--jobs", "1", "--device", "cpu", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _finish(process: subprocess.Popen[str]) -> dict[str, object]:
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == 0, stderr
    answer: dict[str, object] = json.loads(stdout)
    return answer


def _kill_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    """Kill the process as soon as `ready` returns True; it must still be running then."""
    end = time.monotonic() + 120.0
    while not ready() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()[1]
    process.send_signal(signal.SIGKILL)
    process.communicate()


def _weights(out: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(out / "teacher.safetensors")
    return tensors


@pytest.fixture(scope="module")
def unbroken(patients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    assert _finish(_start(patients, out, "--json"))["weights"] == str(out / "teacher.safetensors")
    return out


@pytest.mark.slow
def test_a_run_killed_at_several_stages_gives_the_same_weights(patients: Path, unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    checkpoint = out / "teacher.checkpoint.safetensors"
    _kill_when(_start(patients, out), lambda: any((out / "examples").glob("ward-p1*")))  # while examples are made
    _kill_when(_start(patients, out), lambda: bool(list(out.glob("*.checkpoint*.partial"))) or checkpoint.exists())
    stamp = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    _kill_when(_start(patients, out), lambda: checkpoint.exists() and checkpoint.stat().st_mtime_ns != stamp)
    _finish(_start(patients, out, "--json"))
    one, two = _weights(unbroken), _weights(out)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (out / "teacher.metrics.csv").read_text().count("\n") == 1 + 5
    assert (out / "teacher.curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_reaches_its_time_limit_reports_it_and_succeeds(patients: Path, tmp_path: Path) -> None:
    assert _finish(_start(patients, tmp_path / "run", "--json", "--minutes", "0.0001")) == {
        "finished": False,
        "out": str(tmp_path / "run"),
        "left_out": {},
        "remarks": {},
    }


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands for a full disk")
def test_a_full_disk_is_reported_in_one_sentence(patients: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code = (
        "import resource, sys\n"
        "from ecgmoe_edge.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "sys.argv = ['ecgmoe-edge', 'train', *sys.argv[1:]]\n"
        "main()\n"
    )
    config = tmp_path / "config.toml"
    config.write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", config, "--data", patients, "-o", out, "--jobs", "1"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 3
    assert "Free space" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.rglob("*.partial"))
