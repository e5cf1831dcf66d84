from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.contract import LIMITS, SHAPES
from ecgmoe_edge.converters import calibration
from ecgmoe_edge.converters.calibration import (
    LEAST_BEATS,
    CalibrationBeats,
    delay_gate,
    folder_beats,
    not_run_if_few,
    shipped_beats,
)
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.runtime.manifest import Gate

wfdb = pytest.importorskip("wfdb")


def write(folder: Path, name: str, signal: Any, fs: float) -> None:
    wfdb.wrsamp(name, fs=fs, units=["mV"], sig_name=["II"], p_signal=signal[:, None], fmt=["16"], write_dir=str(folder))


def test_the_shipped_recording_gives_all_inputs_within_their_limits() -> None:
    beats = shipped_beats()
    assert 450 < len(beats) < 600
    assert {name: x.shape[1:] for name, x in beats.inputs.items()} == SHAPES
    assert all(np.abs(x).max() <= LIMITS[name] for name, x in beats.inputs.items())
    assert {len(batch[0]) for batch in beats.batches(64)} <= {64, len(beats) % 64}


def test_recordings_at_different_sampling_rates_can_be_combined(
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
    with pytest.raises(RecordError, match="contains no recording"):
        folder_beats(tmp_path)
    write(tmp_path, "flat", np.zeros(3600), 360.0)
    with pytest.raises(RecordError, match="No beat"):
        folder_beats(tmp_path)


def test_unusable_recordings_are_left_out_with_a_reason_and_do_not_change_the_others(
    simulated_ecg: Callable[..., Any], tmp_path: Path
) -> None:
    good, mixed = tmp_path / "good", tmp_path / "mixed"
    ecg = simulated_ecg(40.0, fs=250.0).signal
    for folder in (good, mixed):
        folder.mkdir()
        write(folder, "a", ecg, 250.0)
    write(mixed, "flat", 0 * ecg, 250.0)
    write(mixed, "hiss", np.random.default_rng(4).standard_normal(ecg.size), 250.0)
    invalid = np.full((ecg.size, 1), -32768)  # the value that this format uses for invalid samples
    wfdb.wrsamp("none", fs=250.0, units=["mV"], sig_name=["II"], d_signal=invalid, fmt=["16"], adc_gain=[200.0],
                baseline=[0], write_dir=str(mixed))  # fmt: skip
    write(mixed, "short", ecg[:1000], 250.0)
    write(mixed, "slow", ecg, 64.0)
    wfdb.wrsamp("press", fs=250.0, units=["mmHg"], sig_name=["ABP"], p_signal=ecg[:, None], fmt=["16"],
                write_dir=str(mixed))  # fmt: skip
    (mixed / "broken.hea").write_text("broken 1 250 1000\nbroken.dat 16 200/mV 16 0 0 0 0 II\n")
    beats = folder_beats(mixed)
    assert set(beats.left_out) == {"flat", "hiss", "none", "short", "slow", "press", "broken"}
    assert "is constant" in beats.left_out["flat"]
    assert "lasts 4 s" in beats.left_out["short"]
    assert "no voltage" in beats.left_out["press"] or "is a voltage" in beats.left_out["press"]
    assert beats.source == "1 recording in mixed"
    alone = folder_beats(good)
    assert all(np.array_equal(beats.inputs[name], alone.inputs[name]) for name in alone.inputs)


def test_a_folder_without_usable_recordings_is_refused_with_all_reasons(
    simulated_ecg: Callable[..., Any], tmp_path: Path
) -> None:
    write(tmp_path, "flat", np.zeros(5000), 250.0)
    write(tmp_path, "short", simulated_ecg(3.0, fs=250.0).signal, 250.0)
    with pytest.raises(RecordError, match=r"No beat was found in .*flat: .*is constant.*short: .*It lasts 3 s"):
        folder_beats(tmp_path)


def test_each_requested_lead_is_processed_separately(simulated_ecg: Callable[..., Any], tmp_path: Path) -> None:
    ecg = simulated_ecg(40.0, fs=250.0).signal
    for name, leads in (("both", ["II", "V1"]), ("one", ["II"])):
        signal = np.stack([ecg, -0.6 * ecg][: len(leads)], 1)
        wfdb.wrsamp(name, fs=250.0, units=["mV"] * len(leads), sig_name=leads, p_signal=signal,
                    fmt=["16"] * len(leads), write_dir=str(tmp_path))  # fmt: skip
    first, v1, both = (folder_beats(tmp_path, leads) for leads in (None, ["V1"], "all"))
    assert set(first.left_out) == set(both.left_out) == set()
    assert "no lead 'V1'" in v1.left_out["one"]
    assert len(both) == len(first) + len(v1)
    assert both.location(0).startswith("both II at ")


@pytest.mark.parametrize(("beats", "status"), [(LEAST_BEATS - 1, "not run"), (LEAST_BEATS, "passed")])
def test_a_gate_on_too_few_beats_never_passes(beats: int, status: str) -> None:
    passed = Gate.judge("label agreement", 1.0, 0.9, "at least", data="2 recordings")
    gate = not_run_if_few(beats, passed)
    assert gate.status == status
    assert ("19 beats of 2 recordings are too few, 20 are needed" in gate.why) == (status == "not run")
    failed = Gate.judge("label agreement", 0.5, 0.9, "at least", data="2 recordings")
    assert not_run_if_few(beats, failed) == failed
    some = shipped_beats()
    later = slice(50, 50 + beats)  # the first beats have longer delays, while the front end adapts
    few = CalibrationBeats({name: x[later] for name, x in some.inputs.items()}, "few", (), some.delays_ms[later])
    assert delay_gate(few, 600.0).status == status
    assert delay_gate(few, 1.0).status == ("not run" if status == "not run" else "failed")


def test_the_delay_gate_uses_the_delays_of_the_beats() -> None:
    beats = shipped_beats()
    assert len(beats.delays_ms) == len(beats)
    passed = delay_gate(beats, 600.0)
    assert (passed.status, passed.data, passed.unit) == ("passed", beats.source, "ms")
    assert passed.value is not None
    assert 281.0 < passed.value <= 300.0
    assert delay_gate(beats, passed.value - 1.0).status == "failed"
    assert delay_gate(CalibrationBeats(beats.inputs, "numbers"), 600.0).status == "not run"
