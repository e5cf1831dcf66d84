"""The benchmarks that time models side by side: what they build, and what they print."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_sharing_prints_one_pass_beside_a_model_a_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr(sys, "argv", ["sharing.py", "--rounds", "3", "--json"])
    importlib.import_module("benchmarks.sharing").main()
    rows = json.loads(capsys.readouterr().out)["sharing"]
    assert [row["batch"] for row in rows] == [1, 32]
    assert all(row["shared_ms"] < row["single_task_models_ms"] for row in rows)


@pytest.mark.slow
def test_a_width_is_written_three_times_and_each_file_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ecgmoe_edge.converters.calibration import shipped_beats

    monkeypatch.syspath_prepend(str(ROOT))
    widths, beats = importlib.import_module("benchmarks.widths"), shipped_beats()
    files = widths.write("8/16", beats, tmp_path)
    feeds = [{name: x[:1] for name, x in beats.inputs.items()}]
    dense, static, integer = (widths.timed(files[kind], feeds)(0) for kind in widths.KINDS)
    assert len(dense) == len(static) == len(integer) == 4
    np.testing.assert_allclose(dense[2], static[2], atol=1e-4)  # the routers come before the experts
    assert files["uint8 static"].stat().st_size < files["float32 static"].stat().st_size
