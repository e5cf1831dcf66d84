from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import BundleError, UsageError
from ecgmoe_edge.profiling import ProfileReport, StageTimes, profile_bundle, render_text
from ecgmoe_edge.profiling.latency import _signal
from ecgmoe_edge.streaming import c_engine
from ecgmoe_edge.streaming.c_engine.stages import CStages
from ecgmoe_edge.streaming.engines import NOT_BUILT
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.reference_stages import ReferenceStages


@pytest.fixture(scope="module")
def report(tiny_bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ProfileReport:
    """Sixty seconds, on a machine without a single sensor."""
    return profile_bundle(tiny_bundle_folder, seconds=60.0, sysfs_root=tmp_path_factory.mktemp("bare"))


def test_every_push_and_every_beat_is_timed(report: ProfileReport) -> None:
    recording = load_calibration()
    monitor = Monitor(None, recording.fs)
    events = monitor.push(recording.signal[:, : 60 * 360])
    beats = sum(isinstance(event, Beat) for event in events)
    assert report.stages["push"].count == report.stages["front_end"].count == 600
    assert abs(report.beats - beats) <= 1  # R peaks without labels come slightly earlier
    assert report.stages["inference"].count == report.stages["features"].count == report.beats > 60


def test_the_stages_add_up_to_a_push_and_percentiles_are_ordered(report: ProfileReport) -> None:
    for times in report.stages.values():
        assert times.p50 is not None
        assert times.p95 is not None
        assert times.p99 is not None
        assert times.max is not None
        assert 0.0 < times.p50 <= times.p95 <= times.p99 <= times.max
    push, front_end = report.stages["push"], report.stages["front_end"]
    assert push.max is not None
    assert front_end.p50 is not None
    assert front_end.p50 <= push.max
    assert report.signal_s == 60.0
    assert report.real_time_factor > 1.0
    assert 0.0 < report.cpu_share < 1.0
    assert report.first_inference_ms > 0.0


def test_a_missing_sensor_is_unavailable_and_never_zero(report: ProfileReport) -> None:
    held = report.to_json()
    assert held["peak_memory_mib"] == held["power_w"] == "unavailable"
    sensors = ("cpu", "cores", "cpu_mhz", "gpu_mhz", "temperature_c", "throttling", "power_mode")
    assert {held["machine"][name] for name in sensors} == {"unavailable"}
    text = render_text(report)
    assert text.count("unavailable") == 9
    assert " 0.0 " not in text


def test_the_json_is_strict_and_names_units_and_the_machine(report: ProfileReport) -> None:
    held = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert held["measured"] == "on this machine"
    assert set(held["stages"]) == {"front_end", "features", "inference", "push"}
    assert set(held["stages"]["push"]) == {"count", "p50", "p95", "p99", "max"}
    assert held["bundle"]["engine"]["runtime"] == "onnxruntime"
    assert held["machine"]["architecture"]


def test_the_text_names_this_machine_and_not_the_board(report: ProfileReport) -> None:
    text = render_text(report)
    assert "measured on this machine" in text
    assert "Jetson" not in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_memory_is_read_from_the_kernel(tiny_bundle_folder: Path) -> None:
    report = profile_bundle(tiny_bundle_folder, seconds=2.0)
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc, which this system has not")
    assert report.peak_memory_mib is not None
    assert 20.0 < report.peak_memory_mib < 20_000.0


def test_the_recording_is_cut_or_repeated_to_the_requested_length() -> None:
    recording = load_calibration()
    assert _signal(recording, None) is recording.signal
    assert _signal(recording, 10.0).shape == (1, 3600)
    long = _signal(recording, 301.0)
    assert long.shape == (1, 301 * 360)
    assert np.array_equal(long[:, 108_000:], recording.signal[:, :360])


def test_invalid_lengths_and_missing_bundles_are_errors(tiny_bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="greater than 0"):
        profile_bundle(tiny_bundle_folder, chunk_ms=0.0)
    with pytest.raises(UsageError, match="greater than 0"):
        profile_bundle(tiny_bundle_folder, seconds=-1.0)
    with pytest.raises(BundleError, match="does not exist"):
        profile_bundle(tmp_path / "absent")


def test_a_stage_that_never_ran_has_no_times() -> None:
    assert StageTimes.of([]) == StageTimes(0, None, None, None, None)


@pytest.mark.parametrize("engine", ["numpy", "c"])
def test_the_stages_of_the_engine_that_runs_are_timed(
    tiny_bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    if engine == "c" and c_engine.extension() is None:
        pytest.skip(NOT_BUILT)
    monkeypatch.setenv("ECGMOE_ENGINE", engine)
    used: list[type] = []
    for stages in (ReferenceStages, CStages):
        monkeypatch.setattr(stages, "detect", _noting(stages.detect, used, stages))
        monkeypatch.setattr(stages, "label", _noting(stages.label, used, stages))
    report = profile_bundle(tiny_bundle_folder, seconds=20.0)
    assert (report.streaming_engine, report.streaming_engine_reason) == (engine, None)
    assert set(used) == {ReferenceStages if engine == "numpy" else CStages}
    assert len(used) == 2 * report.stages["push"].count
    assert f"stages: {engine} engine" in render_text(report)


def _noting(method: Callable[..., Any], used: list[type], stages: type) -> Callable[..., Any]:
    def noting(*arguments: Any) -> Any:
        used.append(stages)
        return method(*arguments)

    return noting
