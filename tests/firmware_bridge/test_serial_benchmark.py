"""The benchmark of the serial side: losses are reported, and memory stays constant."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_benchmark_reports_no_lost_samples_and_constant_memory() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "serial.py", "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    counted = {name: each for name, each in figures["protocols"].items() if each["injected_lost"] is not None}
    assert {"ecgmoe", "cyton", "bitalino", "chords", "olimex", "shimmer3", "hp6"} <= counted.keys()
    assert all(each["injected_lost"] == each["reported_lost"] > 0 for each in counted.values())
    assert figures["replug_s"] < 3.0
    soak = figures["soak"]
    assert soak["samples_in"] == soak["samples_accounted"]
    assert soak["samples_lost"] >= soak["injected_lost_at_least"] > 0
    assert soak["rss_growth_mb"] < 20.0


def test_a_script_beside_the_benchmark_of_that_name_still_finds_pyserial() -> None:
    code = "import serial, serial.tools.list_ports; print(serial.Serial.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "serial.serialposix"
