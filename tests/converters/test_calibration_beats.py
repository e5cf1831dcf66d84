from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.converters import calibration
from ecgmoe_edge.converters.calibration import CalibrationBeats, delay_gate, folder_beats, shipped_beats
from ecgmoe_edge.errors import RecordError

wfdb = pytest.importorskip("wfdb")


def write(folder: Path, name: str, signal: Any, fs: float) -> None:
    wfdb.wrsamp(name, fs=fs, units=["mV"], sig_name=["II"], p_signal=signal[:, None], fmt=["16"], write_dir=str(folder))


def test_the_shipped_recording_gives_every_kind_of_input_within_its_limits() -> None:
    beats = shipped_beats()
    assert 450 < len(beats) < 600
    assert beats.inputs["beat"].shape[1:] == (2, 103)
    assert beats.inputs["features"].shape[1:] == (27,)
    assert np.abs(beats.inputs["features"]).max() <= 4
    assert {len(batch[0]) for batch in beats.batches(64)} <= {64, len(beats) % 64}


def test_a_folder_of_recordings_at_any_rate_calibrates(
    simulated_ecg: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, fs in (("a", 250.0), ("b", 360.0)):
        ecg = simulated_ecg(40.0, fs=fs)
        write(tmp_path, name, ecg.signal, fs)
    beats = folder_beats(tmp_path)
    assert 80 < len(beats) < 100
    assert beats.source == f"2 recordings in {tmp_path.name}"
    monkeypatch.setattr(calibration, "MAX_BEATS", 30)
    assert 20 < len(folder_beats(tmp_path)) <= 30


def test_a_folder_without_beats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no recording"):
        folder_beats(tmp_path)
    write(tmp_path, "flat", np.zeros(3600), 360.0)
    with pytest.raises(RecordError, match="No beat"):
        folder_beats(tmp_path)


def test_the_label_delay_is_that_of_the_beats_and_fails_above_its_limit() -> None:
    beats = shipped_beats()
    assert len(beats.delays_ms) == len(beats)
    passed = delay_gate(beats, 600.0)
    assert (passed.status, passed.data, passed.unit) == ("passed", beats.source, "ms")
    assert passed.value is not None
    assert 400.0 < passed.value < 600.0
    assert delay_gate(beats, passed.value - 1.0).status == "failed"
    assert delay_gate(CalibrationBeats(beats.inputs, "numbers"), 600.0).status == "not run"
