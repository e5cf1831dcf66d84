"""The device's clock and the host's over a link with delays: the drift is estimated, and time never decreases."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgmoe_edge.firmware_bridge import Samples
from ecgmoe_edge.firmware_bridge.clock import BUCKETS, ClockFit, StreamClock


def arrivals(
    gains_ppm: float, seconds: float, seed: int = 0, jitter_s: float = 0.02, every_s: float = 0.1
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Device times of samples, and their arrival times."""
    device_s = np.arange(0.0, seconds, every_s)
    delays_s = 0.003 + np.random.default_rng(seed).exponential(jitter_s, device_s.size)
    return device_s, 1000.0 + device_s / (1 + gains_ppm * 1e-6) + delays_s


@pytest.mark.parametrize("gains_ppm", [-120.0, -20.0, 0.0, 35.0, 400.0])
def test_the_drift_is_estimated_within_a_few_ppm_in_ten_minutes(gains_ppm: float) -> None:
    fit = ClockFit()
    for device_s, arrived_s in zip(*arrivals(gains_ppm, 600.0), strict=True):
        fit.add(device_s, arrived_s)
    assert fit.drift_ppm == pytest.approx(gains_ppm, abs=5.0)


@pytest.mark.parametrize("gains_ppm", [-2800.0, 0.0, 300.0])
@pytest.mark.parametrize("chunk_s", [0.016, 0.5, 1.5, 4.0])
def test_a_driver_that_delivers_batches_of_seconds_changes_the_drift_by_less_than_300_ppm(
    gains_ppm: float, chunk_s: float
) -> None:
    rng = np.random.default_rng(5)
    fit = ClockFit()
    for chunk in range(int(60.0 / chunk_s)):
        at_s = 50.0 + (chunk + 1) * chunk_s / (1 + gains_ppm * 1e-6) + rng.exponential(0.002)
        for part in (0.33, 0.66, 1.0):  # a burst is read in pieces, whose ends were measured long before
            fit.add((chunk + part) * chunk_s, at_s + 0.001 * part)
    assert fit.drift_ppm == pytest.approx(gains_ppm, abs=150.0)


def test_over_eight_hours_memory_stays_constant_and_the_drift_becomes_more_exact() -> None:
    fit = ClockFit()
    for device_s, arrived_s in zip(*arrivals(17.0, 8 * 3600.0, every_s=1.0), strict=True):
        fit.add(device_s, arrived_s)
        assert len(fit._buckets) <= BUCKETS
    assert fit.drift_ppm == pytest.approx(17.0, abs=0.5)


def test_no_drift_is_reported_before_enough_time_has_been_observed() -> None:
    fit = ClockFit()
    for device_s, arrived_s in zip(*arrivals(0.0, 25.0), strict=True):
        fit.add(device_s, arrived_s)
    assert fit.drift_ppm is None


def test_a_sample_s_host_time_is_before_its_arrival_and_within_the_constant_delay() -> None:
    fit = ClockFit()
    for device_s, arrived_s in zip(*arrivals(50.0, 300.0), strict=True):
        fit.add(device_s, arrived_s)
    true_s = 1000.0 + 290.0 / (1 + 50e-6)
    assert true_s <= fit.host_time(290.0) <= true_s + 0.006


@pytest.mark.parametrize(("speed", "known"), [(1.0, True), (20.0, False)])
def test_a_clock_reading_comes_each_minute_and_a_replay_not_in_real_time_has_no_drift(
    speed: float, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream, readings = StreamClock(), []
    for frame in range(1500):  # 0.1 s each
        now = 50.0 + frame * 0.1 / speed
        readings.append(stream.on_samples(Samples(np.zeros((1, 25)), 25 * frame), 250.0))
    given = [reading for reading in readings if reading is not None]
    assert len(given) == (3 if known else 1)
    assert readings[0] is not None
    assert (stream.drift_ppm is not None) == known
    stream.on_interruption()
    after = stream.on_samples(Samples(np.zeros((1, 25)), 25 * 1500), 250.0)
    assert after is not None
    assert after.host_time_s > given[-1].host_time_s


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 100.0), st.floats(-50.0, 50.0), st.sampled_from(["add", "ask", "restart"])),
        min_size=1,
        max_size=80,
    )
)
def test_host_time_never_decreases_whatever_the_clocks_do(steps: list[tuple[float, float, str]]) -> None:
    fit, device_s, host_times = ClockFit(), 0.0, []
    fit.add(0.0, 0.0)
    for ahead_s, delay_s, what in steps:
        device_s += ahead_s
        if what == "restart":
            fit.restart()
            device_s = 0.0
        fit.add(device_s, device_s + delay_s)
        if what == "ask":
            host_times.append(fit.host_time(device_s))
    assert host_times == sorted(host_times)
