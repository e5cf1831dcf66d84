"""Mains hum: a notch is switched on and off automatically, costs no beat, and is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest
from event_lists import untimed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, Event, Mains
from ecgmoe_edge.streaming.signal.filters import Notch
from ecgmoe_edge.streaming.signal.mains import HumDetector, MainsChoice

Simulated: TypeAlias = Callable[..., tuple[NDArray[np.float64], NDArray[np.int64]]]


@pytest.fixture(scope="module")
def simulated(simulated_ecg: Callable[..., Any]) -> Simulated:
    """`simulated(seconds, fs, heart_rate=..., variability=...)`: an ECG of 1.1 mV with low noise, and its R peaks."""

    def simulate(seconds: float, fs: float, **more: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        ecg = simulated_ecg(seconds, fs=fs, noise_mv=0.01, **more)
        return ecg.signal, ecg.r_peaks

    return simulate


def hum(n: int, fs: float, hz: float, mv: float, start_s: float = 0.0, stop_s: float = np.inf) -> NDArray[np.float64]:
    t = np.arange(n) / fs
    return np.asarray(mv * np.sin(2.0 * np.pi * hz * t + 0.7) * ((t >= start_s) & (t < stop_s)))


def played(x: NDArray[np.float64], fs: float, cuts: Sequence[int] = (), *, mains: MainsChoice = "auto") -> list[Event]:
    monitor = Monitor(None, fs, mains=mains)
    events = [event for chunk in np.split(x, sorted(cuts)) for event in monitor.push(chunk[None])]
    return events + monitor.flush()


def on_mains(events: Sequence[Event]) -> list[Mains]:
    return [event for event in events if isinstance(event, Mains)]


def samples(events: Sequence[Event]) -> list[int]:
    return [event.sample for event in events if isinstance(event, Beat)]


def missed_and_false(events: Sequence[Event], r_peaks: NDArray[np.int64], fs: float) -> tuple[int, int]:
    found = np.array(samples(events), np.int64)
    near = np.abs(found[:, None] - r_peaks[None, :]) <= 0.05 * fs
    return int((~near.any(axis=0)).sum()), int((~near.any(axis=1)).sum())


@pytest.mark.parametrize("fs", [128.0, 250.0, 500.0])
@pytest.mark.parametrize(("hz", "mv"), [(50.0, 3.0), (60.0, 3.0), (49.7, 3.0), (50.0, 0.5), (16.7, 0.5), (16.6, 0.4)])
def test_hum_from_the_start_costs_no_beat(simulated: Simulated, hz: float, mv: float, fs: float) -> None:
    x, r_peaks = simulated(60.0, fs)
    events = played(x + hum(x.size, fs, hz, mv), fs)
    assert missed_and_false(events, r_peaks, fs) == (0, 0)


@pytest.mark.parametrize(("hz", "mv"), [(50.0, 3.0), (60.0, 3.0), (16.7, 0.5)])
def test_the_notch_is_switched_on_with_the_hum_and_off_after_it_and_both_are_reported(
    simulated: Simulated, hz: float, mv: float
) -> None:
    fs = 250.0
    x, r_peaks = simulated(90.0, fs)
    events = played(x + hum(x.size, fs, hz, mv, 30.3, 60.2), fs)
    notch_in, notch_out = on_mains(events)
    assert (notch_in.notch, notch_out.notch) == ("in", "out")
    assert notch_in.frequency_hz == notch_out.frequency_hz == hz
    assert 31.0 <= notch_in.time_s <= 34.0
    assert 69.0 <= notch_out.time_s <= 73.0
    assert notch_in.share is not None
    assert notch_in.share > 0.5
    missed, false = missed_and_false(events, r_peaks, fs)
    assert missed <= 3
    assert false <= 4
    after = played((x + hum(x.size, fs, hz, mv, 30.3, 60.2))[: round(60.0 * fs)], fs)
    steady = r_peaks[(r_peaks > 35 * fs) & (r_peaks < 59 * fs)]
    found = np.array(samples(after))
    assert missed_and_false(after, steady, fs)[0] == 0
    assert np.sum((found > 35 * fs) & (found < 59 * fs)) == steady.size


def test_railway_hum_and_its_notch_do_not_move_r_peaks(simulated: Simulated) -> None:
    fs = 500.0
    x, _ = simulated(60.0, fs)
    clean, filtered = samples(played(x, fs)), samples(played(x + hum(x.size, fs, 16.7, 0.4), fs))
    assert np.abs(np.array(clean) - np.array(filtered)).max() <= 0.004 * fs


def test_without_hum_there_is_no_notch_and_nothing_changes() -> None:
    recording = load_calibration()
    x = np.asarray(recording.signal[0], np.float64)
    events = played(x, recording.fs)
    assert not on_mains(events)
    assert untimed(events) == untimed(played(x, recording.fs, mains=None))


@pytest.mark.parametrize("rate_bpm", [150.0, 200.0, 250.0])
def test_a_fast_regular_heart_rate_is_no_railway_hum(simulated: Simulated, rate_bpm: float) -> None:
    fs = 250.0
    x, _ = simulated(40.0, fs, heart_rate=rate_bpm, variability=0.0)
    assert not on_mains(played(x, fs))


def test_muscle_noise_is_no_hum(simulated: Simulated) -> None:
    fs = 500.0
    x, _ = simulated(60.0, fs)
    assert not on_mains(played(x + np.random.default_rng(1).normal(0.0, 0.3, x.size), fs))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 40 * 250 - 1), max_size=40))
def test_any_chunking_gives_the_same_events(simulated: Simulated, cuts: list[int]) -> None:
    fs = 250.0
    x, _ = simulated(40.0, fs)
    x = x + hum(x.size, fs, 50.0, 2.0, 8.2, 22.0) + hum(x.size, fs, 16.7, 0.5)
    assert untimed(played(x, fs, cuts)) == untimed(played(x, fs))


def test_each_event_is_reported_with_the_sample_that_makes_it_certain(simulated: Simulated) -> None:
    fs = 250.0
    x, _ = simulated(20.0, fs)
    x = x + hum(x.size, fs, 50.0, 2.0, 8.2)
    monitor = Monitor(None, fs)
    for k, sample in enumerate(x):
        for event in monitor.push(np.array([[sample]])):
            if isinstance(event, Beat):
                assert k == event.sample + round(event.delay_ms * fs / 1000)
            elif isinstance(event, Mains):
                assert (
                    k + 1 == event.sample + HumDetector(fs).block
                )  # the notch starts at the beginning of the deciding block
    assert samples(played(x[:2000], fs)) == [r for r in samples(played(x, fs)) if r < 2000 - 60]


@pytest.mark.parametrize("seconds", [0.4, 0.9, 1.5])
def test_a_signal_that_ends_before_its_hum_is_known_gives_its_beats(simulated: Simulated, seconds: float) -> None:
    fs = 250.0
    x, _ = simulated(20.0, fs, heart_rate=150.0)
    x = x[: round(seconds * fs)]
    assert samples(played(x, fs)) == samples(played(x, fs, mains=None))


def test_the_notch_stays_on_over_a_gap_and_is_reported_once(simulated: Simulated) -> None:
    fs = 250.0
    x, r_peaks = simulated(60.0, fs)
    x = x + hum(x.size, fs, 50.0, 3.0)
    monitor = Monitor(None, fs)
    events = monitor.push(x[None, :7000]) + monitor.gap(500, "link") + monitor.push(x[None, 7500:]) + monitor.flush()
    assert [event.notch for event in on_mains(events)] == ["in"]
    whole = r_peaks[(r_peaks < 6900) | (r_peaks > 7600)]
    assert missed_and_false(events, whole, fs)[0] == 0


def test_only_the_lead_with_hum_has_a_notch(simulated: Simulated) -> None:
    fs = 250.0
    x, _ = simulated(30.0, fs)
    monitor = Monitor(None, fs, leads=("I", "II"))
    events = monitor.push(np.stack((x, 0.7 * x + hum(x.size, fs, 60.0, 2.0)))) + monitor.flush()
    assert [(event.lead, event.notch) for event in on_mains(events)] == [("II", "in")]


def test_a_notch_that_is_not_possible_at_the_rate_is_reported(simulated: Simulated) -> None:
    x, _ = simulated(10.0, 128.0)
    events = on_mains(played(x, 128.0, [100], mains=60))
    assert [(event.sample, event.frequency_hz, event.notch) for event in events] == [
        (0, 60, "not possible at this rate")
    ]
    assert not on_mains(played(x, 250.0, mains=60))


def test_hum_is_measured_even_if_no_notch_is_possible(simulated: Simulated) -> None:
    x, _ = simulated(30.0, 128.0)
    events = played(x + hum(x.size, 128.0, 60.0, 12.0), 128.0)
    assert [event.notch for event in on_mains(events)] == ["not possible at this rate"]


def test_a_notch_starts_without_a_transient() -> None:
    fs, phasor = 250.0, 3.0 * np.exp(0.9j)
    tone = np.real(phasor * np.exp(2j * np.pi * 50.0 / fs * np.arange(500)))
    notch = Notch(fs, 50.0)
    notch.start(50.0, complex(phasor))
    assert np.abs(notch.process(tone)).max() < 1e-9


def test_a_notch_is_not_changed_by_an_empty_piece() -> None:
    # A second notch that is switched on with the first one filters no samples before it searches its block again.
    notches = Notch(250.0, 50.0), Notch(250.0, 50.0)
    tone = np.cos(2 * np.pi * 50.0 / 250.0 * np.arange(100))
    for notch in notches:
        notch.start(50.0, 0.3 + 0.1j)
    assert notches[0].process(np.zeros(0)).size == 0
    assert np.array_equal(notches[0].process(tone), notches[1].process(tone))


def test_sums_of_a_block_are_in_the_order_of_its_samples() -> None:
    detector = HumDetector(250.0)
    waves, y = detector._waves, np.random.default_rng(2).normal(size=detector.block)
    parts = np.moveaxis(y.reshape(1, 1, 4, -1), 3, 0).copy()
    products = parts * waves
    total = np.zeros(products.shape[1:])
    for product in products:
        total = total + product
    assert np.array_equal(total, np.add.reduce(products, axis=0))
