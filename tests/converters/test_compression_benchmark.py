"""The compression benchmark with the shipped weights and without recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compression.py"
KEYS = [
    "static_vs_dense",
    "static_vs_teacher",
    "label_agreement",
    "route_agreement",
    "v_f1_lost_small",
    "v_f1_lost_nano",
    "nano_tflite_bytes",
    "nano_arena_bytes",
    "load_ms",
    "files",
]


def test_the_benchmark_reports_all_figures_and_files(tmp_path: Path) -> None:
    without_data = {name: value for name, value in os.environ.items() if name != "ECGMOE_DATA"}
    ran = subprocess.run(
        [sys.executable, SCRIPT, "--json", "--turns", "5", "--out", tmp_path],
        env=without_data, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "Accuracies are left out" in ran.stderr
    figures = json.loads(ran.stdout)
    assert list(figures) == KEYS
    assert figures["v_f1_lost_small"] is figures["v_f1_lost_nano"] is None
    assert figures["static_vs_dense"] < 1.0
    assert figures["static_vs_teacher"] < 0.1
    assert figures["label_agreement"] >= 0.998
    assert figures["route_agreement"] >= 0.995
    assert figures["nano_tflite_bytes"] <= 40 * 1024
    assert figures["nano_arena_bytes"] is None or figures["nano_arena_bytes"] <= 48 * 1024
    assert all(Path(path).stat().st_size > 10_000 for path in figures["files"].values())
