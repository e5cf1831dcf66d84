"""R peaks are found at their samples, at any sampling rate and either polarity."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat


def train_of_beats(
    fs: float, seconds: float, *, seed: int = 0, t_wave_mv: float = 0.25
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A simulated ECG (samples,) in mV with P, QRS and T waves and noise, and the exact times of its R peaks, s."""
    random = np.random.default_rng(seed)
    r_times = np.cumsum(random.normal(0.85, 0.06, int(seconds / 0.85))) + 0.5
    r_times = r_times[r_times < seconds - 1.0]
    t = np.arange(round(seconds * fs)) / fs
    x = 0.01 * random.normal(size=t.size)
    for r in r_times:
        near = slice(max(0, int((r - 0.4) * fs)), int((r + 0.6) * fs))
        u = t[near] - r
        x[near] += np.exp(-((u / 0.012) ** 2)) - 0.15 * np.exp(-(((u - 0.03) / 0.012) ** 2))
        x[near] += 0.12 * np.exp(-(((u + 0.16) / 0.025) ** 2)) + t_wave_mv * np.exp(-(((u - 0.28) / 0.05) ** 2))
    return x, r_times


def found_r_times(x: NDArray[np.float64], fs: float) -> NDArray[np.float64]:
    monitor = Monitor(None, fs)
    events = [*monitor.push(x[None]), *monitor.flush()]
    return np.array([e.time_s for e in events if isinstance(e, Beat)])


@pytest.mark.parametrize("fs", [100.0, 128.0, 125.0, 250.0, 360.0, 500.0, 1000.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_every_beat_is_found_at_its_place_at_any_rate_and_polarity(fs: float, sign: float) -> None:
    x, truth = train_of_beats(fs, 60.0)
    found = found_r_times(sign * x, fs)
    assert found.size == truth.size
    assert np.abs(found - truth).max() < 0.020


def test_a_t_wave_as_tall_as_the_qrs_is_not_a_beat() -> None:
    x, truth = train_of_beats(250.0, 60.0, t_wave_mv=1.0)
    assert found_r_times(x, 250.0).size == truth.size


def test_a_sudden_loss_of_gain_costs_a_few_beats_at_most() -> None:
    x, truth = train_of_beats(250.0, 90.0)
    x[round(40 * 250.0) :] *= 0.1
    found = found_r_times(x, 250.0)
    assert truth.size - found.size <= 2
    assert np.sum(found > 45.0) == np.sum(truth > 45.0)


def test_beats_are_found_again_after_a_burst_of_artefact() -> None:
    x, truth = train_of_beats(250.0, 60.0)
    x[(30 * 250) : round(30.4 * 250)] += 20.0 * np.random.default_rng(1).normal(size=100)
    found = found_r_times(x, 250.0)
    assert np.sum(found > 34.0) == np.sum(truth > 34.0)


def test_noise_of_the_converter_gives_no_beats() -> None:
    x = np.random.default_rng(5).normal(0.0, 0.0005, 250 * 30)
    assert found_r_times(x, 250.0).size == 0


def test_beats_of_the_first_two_seconds_are_reported_with_their_true_delay() -> None:
    x, truth = train_of_beats(250.0, 20.0)
    monitor = Monitor(None, 250.0)
    found = [e for e in monitor.push(x[None]) if isinstance(e, Beat)]
    early = [b for b in found if b.time_s < 1.6]
    assert len(early) == np.sum(truth < 1.6) > 0
    for beat in early:
        assert beat.time_s + beat.delay_ms / 1000.0 == pytest.approx(2.0, abs=0.2)
    assert max(b.delay_ms for b in found if b.time_s > 2.0) < 300.0
