"""The front end: the same R peaks with and without windows, no delay by collected samples, quality falls with noise."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly, sosfilt, sosfilt_zi

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.qrs.detector import RPeakDetector
from ecgmoe_edge.streaming.signal.filters import CausalFilter, monitoring_band
from ecgmoe_edge.streaming.signal.median import RunningMedian
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID, WIDE_GRID

R_PEAKS_ONLY = None


@pytest.fixture(scope="module")
def recording() -> tuple[NDArray[np.float64], float]:
    calibration = load_calibration()
    return np.asarray(calibration.signal[0], np.float64), calibration.fs


def beats_of(x: NDArray[np.float64], fs: float, grid: NDArray[np.int64] | None = R_PEAKS_ONLY) -> list[BeatContext]:
    front = FrontEnd(fs, grid=grid)
    return [item for item in [*front.push(x[None]), *front.flush()] if isinstance(item, BeatContext)]


def test_r_peaks_and_quality_are_the_same_with_and_without_windows(
    recording: tuple[NDArray[np.float64], float],
) -> None:
    alone, narrow, wide = (beats_of(*recording, grid) for grid in (R_PEAKS_ONLY, BEAT_GRID, WIDE_GRID))
    assert len(alone) > 300
    for other in (narrow, wide):
        for a, b in zip(alone, other, strict=True):
            assert (a.sample, a.known_at, a.search_back, a.rr_s) == (b.sample, b.known_at, b.search_back, b.rr_s)
            assert a.quality == pytest.approx(b.quality) or not b.complete
            assert a.window.size == 0 < b.window.size
            assert a.ready_at <= b.ready_at


def test_without_windows_an_r_peak_is_reported_as_soon_as_it_is_certain(
    recording: tuple[NDArray[np.float64], float],
) -> None:
    found = beats_of(*recording)
    waits = [beat.ready_at - beat.known_at for beat in found]
    assert min(waits) == 0
    assert sum(wait > 0 for wait in waits) <= 0.01 * len(found)  # only for an earlier beat that took longer


@pytest.mark.parametrize("chunk", [1, 7, 36])
def test_the_work_does_not_grow_with_the_number_of_pushes(
    recording: tuple[NDArray[np.float64], float], chunk: int
) -> None:
    x, fs = recording
    seconds = 20
    with patch.object(RPeakDetector, "process", autospec=True, side_effect=RPeakDetector.process) as process:
        front = FrontEnd(fs)
        for at in range(0, round(seconds * fs), chunk):
            front.push(x[None, at : at + chunk])
    assert process.call_count < 20 * seconds


def test_the_array_of_the_caller_can_be_reused(recording: tuple[NDArray[np.float64], float]) -> None:
    x, fs = recording[0][: 20 * 360], recording[1]
    front, buffer = FrontEnd(fs, grid=R_PEAKS_ONLY), np.empty(8)
    items = []
    for at in range(0, x.size, 8):
        buffer[:] = x[at : at + 8]
        items += front.push(buffer[None])
        buffer[:] = 1e3
    found = [item.sample for item in [*items, *front.flush()] if isinstance(item, BeatContext)]
    assert found == [beat.sample for beat in beats_of(x, fs)]


def test_the_position_includes_collected_samples() -> None:
    front = FrontEnd(250.0)
    front.push(np.zeros((1, 3)))
    front.push(np.zeros((1, 4)))
    assert front.position == 7
    front.gap(10, "link")
    assert front.position == 17


@pytest.mark.parametrize("fs", [100.0, 360.0, 1000.0])
def test_the_filter_equals_second_order_sections(fs: float) -> None:
    from scipy.signal import butter

    sos = butter(2, (0.5, 40.0), "bandpass", fs=fs, output="sos")
    x = 5.0 + np.random.default_rng(0).normal(size=round(60 * fs))
    expected, _ = sosfilt(sos, x, zi=sosfilt_zi(sos) * x[0])
    np.testing.assert_allclose(CausalFilter(sos).process(x), expected, atol=1e-9)


@pytest.mark.parametrize("mains", [None, 50, 60])
def test_a_constant_signal_is_zero_after_the_filter(mains: int | None) -> None:
    assert np.abs(monitoring_band(500.0, mains).process(np.full(5000, 4.0))).max() < 1e-9


def test_the_running_median_is_the_median_of_the_last_numbers() -> None:
    numbers = np.random.default_rng(0).integers(0, 9, 200).astype(float)
    running = RunningMedian(16)
    for k, number in enumerate(numbers):
        running.add(number)
        assert running.value() == np.median(numbers[max(0, k - 15) : k + 1])


def noise_of(kind: str, n: int) -> NDArray[np.float64]:
    """Simulated noise (n,) of RMS 1 at 360 Hz: white like muscle noise, or slow like electrode motion."""
    white = np.random.default_rng(7).normal(size=n)
    slow = CausalFilter(np.array([[0.05, 0.0, 0.0, 1.0, -0.95, 0.0]])).process(white)
    noise = white if kind == "muscle" else slow
    return np.asarray(noise / noise.std())


@pytest.mark.parametrize("kind", ["muscle", "motion"])
def test_quality_falls_with_noise_and_recovers_after_it(
    recording: tuple[NDArray[np.float64], float], kind: str
) -> None:
    x, fs = recording[0][: 60 * 360], recording[1]
    noise = noise_of(kind, x.size)
    medians = []
    for snr_db in (30.0, 18.0, 6.0, -6.0):
        loud = noise * x.std() * 10 ** (-snr_db / 20)
        loud[40 * 360 :] = 0.0
        quality = np.array([(beat.sample / fs, beat.quality) for beat in beats_of(x + loud, fs)])
        medians.append(float(np.median(quality[quality[:, 0] < 40.0, 1])))
        assert np.median(quality[quality[:, 0] > 46.0, 1]) > 0.9
    assert medians == sorted(medians, reverse=True)
    assert medians[0] > 0.9
    assert medians[-1] < 0.02


def test_beats_in_recorded_noise_have_less_quality_than_clean_beats() -> None:
    folder = os.environ.get("ECGMOE_DATA")
    if not folder or not (Path(folder) / "nstdb").is_dir():
        pytest.skip("needs ECGMOE_DATA with mitdb and nstdb")
    pytest.importorskip("wfdb")
    from ecgmoe_edge.records.registry import open_recording

    ecg_record = open_recording(Path(folder) / "mitdb" / "122")  # of ds1-val
    fs = ecg_record.fs
    x = ecg_record.read(leads=[0])[0][: round(300 * fs)]
    clean = np.array([beat.quality for beat in beats_of(x, fs) if beat.complete])
    assert np.mean(clean < 0.02) == 0.0
    for kind in ("em", "ma"):
        noise = open_recording(Path(folder) / "nstdb" / kind).read(leads=[0])[0][: x.size]
        noise -= noise.mean()
        at_0_db = np.array([beat.quality for beat in beats_of(x + noise * x.std() / noise.std(), fs)])
        better = np.mean(clean[:, None] > at_0_db[None])
        assert better > 0.97, kind


@pytest.mark.parametrize("rate", [100, 128, 250, 500, 1000])
def test_the_same_recording_at_another_rate_has_the_same_beats(
    recording: tuple[NDArray[np.float64], float], rate: int
) -> None:
    x, fs = recording
    expected = np.array([beat.sample for beat in beats_of(x, fs)]) / fs
    resampled = resample_poly(x, rate, round(fs), padtype="line")
    found = np.array([beat.sample for beat in beats_of(resampled, float(rate))]) / rate
    apart = np.abs(found[:, None] - expected[None])
    assert np.mean(apart.min(axis=0) <= 1.0 / min(rate, 128)) > 0.97
    assert np.sum(apart.min(axis=0) > 0.15) <= 3  # of about 510 beats, in a record with many V and F
    assert np.sum(apart.min(axis=1) > 0.15) <= 3
