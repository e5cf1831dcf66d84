"""A signal without a QRS complex has a low quality, even if it is not noisy."""

from __future__ import annotations

import numpy as np
import pytest

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat
from ecgmoe_edge.streaming.signal.quality import SignalQuality
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

R, POINTS = int(np.flatnonzero(BEAT_GRID == 0)[0]), BEAT_GRID.size
FULL = 1000  # points since the signal began


def of_window(window: object, seen: int = FULL) -> float:
    return SignalQuality().of_beat(np.array(window, np.float32), R, seen=seen, clipped=False)


def qrs(height_mv: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return height_mv * np.exp(-0.5 * ((np.arange(POINTS) - R) / 1.5) ** 2)


@pytest.mark.parametrize("height_mv", [0.0, 1e-7, 1e-5, 1e-4])
def test_a_window_without_content_has_no_quality(height_mv: float) -> None:
    assert of_window(qrs(height_mv)) < 0.005
    assert of_window(height_mv * np.arange(POINTS)) < 0.005


def test_a_clean_beat_of_thirty_microvolts_has_full_quality() -> None:
    assert of_window(qrs(0.03)) > 0.99


def test_the_time_before_the_start_of_the_signal_does_not_count_as_quiet() -> None:
    noise = np.random.default_rng(0).normal(0.0, 1.0, POINTS)
    noise[: R - 25] = 0.0  # the signal began 0.2 s before R
    assert of_window(noise, seen=25) < 0.005
    assert of_window(qrs(1.0), seen=12) == 0.5  # too little signal before R


def test_noise_of_ten_microvolts_gives_no_beat_of_quality() -> None:
    monitor = Monitor(None, 250.0)
    events = [*monitor.push(np.random.default_rng(0).normal(0.0, 0.01, (1, 5000))), *monitor.flush()]
    qualities = [event.quality for event in events if isinstance(event, Beat) and event.time_s > 0.5]
    assert len(qualities) > 5
    assert max(qualities) < 0.005


def test_a_square_wave_gives_no_beat_of_quality() -> None:
    n = 120 * 250
    steps = np.where(np.arange(n) // 125 % 2, 4.0, -4.0) + np.random.default_rng(0).normal(0.0, 0.001, n)
    monitor = Monitor(None, 250.0)
    events = [*monitor.push(steps[None]), *monitor.flush()]
    assert not [event for event in events if isinstance(event, Beat) and event.quality > 0.5]


def test_the_shipped_recording_keeps_its_quality() -> None:
    recording = load_calibration()
    monitor = Monitor(None, recording.fs)
    signal = np.asarray(recording.signal[:1], np.float64)
    qualities = [e.quality for e in [*monitor.push(signal), *monitor.flush()] if isinstance(e, Beat)]
    assert np.median(qualities) > 0.99
    # One peak of 0.14 mV among R peaks of 1.6 mV counts as noise.
    assert sum(quality < 0.005 for quality in qualities) <= 1
