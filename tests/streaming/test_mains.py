"""Mains hum: a notch goes in and out by itself, costs no beat, and is reported; without hum nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, Event, Mains
from ecgmoe_edge.streaming.signal.filters import Notch
from ecgmoe_edge.streaming.signal.mains import HumDetector, MainsChoice

Drawn: TypeAlias = Callable[..., tuple[NDArray[np.float64], NDArray[np.int64]]]


@pytest.fixture(scope="module")
def drawn(simulated_ecg: Callable[..., Any]) -> Drawn:
    """`drawn(seconds, fs, heart_rate=..., variability=...)`: an ECG of 1.1 mV with a little noise, and its R peaks."""

    def draw(seconds: float, fs: float, **more: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        ecg = simulated_ecg(seconds, fs=fs, noise_mv=0.01, **more)
        return ecg.signal, ecg.r_peaks

    return draw


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


def untimed(events: Sequence[Event]) -> list[object]:
    return [(e.sample, e.rr_ms, e.quality, e.delay_ms) if isinstance(e, Beat) else e for e in events[:-1]]


def missed_and_false(events: Sequence[Event], r_peaks: NDArray[np.int64], fs: float) -> tuple[int, int]:
    found = np.array(samples(events), np.int64)
    near = np.abs(found[:, None] - r_peaks[None, :]) <= 0.05 * fs
    return int((~near.any(axis=0)).sum()), int((~near.any(axis=1)).sum())


@pytest.mark.parametrize("fs", [128.0, 250.0, 500.0])
@pytest.mark.parametrize(("hz", "mv"), [(50.0, 3.0), (60.0, 3.0), (49.7, 3.0), (50.0, 0.5), (16.7, 0.5), (16.6, 0.4)])
def test_hum_from_the_start_costs_no_beat(drawn: Drawn, hz: float, mv: float, fs: float) -> None:
    x, r_peaks = drawn(60.0, fs)
    events = played(x + hum(x.size, fs, hz, mv), fs)
    assert missed_and_false(events, r_peaks, fs) == (0, 0)


@pytest.mark.parametrize(("hz", "mv"), [(50.0, 3.0), (60.0, 3.0), (16.7, 0.5)])
def test_the_notch_goes_in_with_the_hum_and_out_after_it_and_both_are_reported(
    drawn: Drawn, hz: float, mv: float
) -> None:
    fs = 250.0
    x, r_peaks = drawn(90.0, fs)
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


def test_railway_hum_and_its_notch_leave_r_where_it_was(drawn: Drawn) -> None:
    fs = 500.0
    x, _ = drawn(60.0, fs)
    clean, filtered = samples(played(x, fs)), samples(played(x + hum(x.size, fs, 16.7, 0.4), fs))
    assert np.abs(np.array(clean) - np.array(filtered)).max() <= 0.004 * fs


def test_without_hum_there_is_no_notch_and_nothing_changes() -> None:
    recording = load_calibration()
    x = np.asarray(recording.signal[0], np.float64)
    events = played(x, recording.fs)
    assert not on_mains(events)
    assert untimed(events) == untimed(played(x, recording.fs, mains=None))


@pytest.mark.parametrize("rate_bpm", [150.0, 200.0, 250.0])
def test_a_fast_regular_heart_is_no_railway_hum(drawn: Drawn, rate_bpm: float) -> None:
    fs = 250.0
    x, _ = drawn(40.0, fs, heart_rate=rate_bpm, variability=0.0)
    assert not on_mains(played(x, fs))


def test_muscle_noise_is_no_hum(drawn: Drawn) -> None:
    fs = 500.0
    x, _ = drawn(60.0, fs)
    assert not on_mains(played(x + np.random.default_rng(1).normal(0.0, 0.3, x.size), fs))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 40 * 250 - 1), max_size=40))
def test_the_same_events_for_any_chunking(drawn: Drawn, cuts: list[int]) -> None:
    fs = 250.0
    x, _ = drawn(40.0, fs)
    x = x + hum(x.size, fs, 50.0, 2.0, 8.2, 22.0) + hum(x.size, fs, 16.7, 0.5)
    assert untimed(played(x, fs, cuts)) == untimed(played(x, fs))


def test_each_event_comes_out_with_the_sample_by_which_it_is_known(drawn: Drawn) -> None:
    fs = 250.0
    x, _ = drawn(20.0, fs)
    x = x + hum(x.size, fs, 50.0, 2.0, 8.2)
    monitor = Monitor(None, fs)
    for k, sample in enumerate(x):
        for event in monitor.push(np.array([[sample]])):
            if isinstance(event, Beat):
                assert k == event.sample + round(event.delay_ms * fs / 1000)
            elif isinstance(event, Mains):
                assert k + 1 == event.sample + HumDetector(fs).block  # it acts on the block that decided, too
    assert samples(played(x[:2000], fs)) == [r for r in samples(played(x, fs)) if r < 2000 - 60]


@pytest.mark.parametrize("seconds", [0.4, 0.9, 1.5])
def test_a_signal_that_ends_before_its_hum_is_known_gives_its_beats(drawn: Drawn, seconds: float) -> None:
    fs = 250.0
    x, _ = drawn(20.0, fs, heart_rate=150.0)
    x = x[: round(seconds * fs)]
    assert samples(played(x, fs)) == samples(played(x, fs, mains=None))


def test_the_notch_stays_in_over_a_gap_and_is_reported_once(drawn: Drawn) -> None:
    fs = 250.0
    x, r_peaks = drawn(60.0, fs)
    x = x + hum(x.size, fs, 50.0, 3.0)
    monitor = Monitor(None, fs)
    events = monitor.push(x[None, :7000]) + monitor.gap(500, "link") + monitor.push(x[None, 7500:]) + monitor.flush()
    assert [event.notch for event in on_mains(events)] == ["in"]
    whole = r_peaks[(r_peaks < 6900) | (r_peaks > 7600)]
    assert missed_and_false(events, whole, fs)[0] == 0


def test_of_several_leads_the_one_with_hum_has_the_notch(drawn: Drawn) -> None:
    fs = 250.0
    x, _ = drawn(30.0, fs)
    monitor = Monitor(None, fs, leads=("I", "II"))
    events = monitor.push(np.stack((x, 0.7 * x + hum(x.size, fs, 60.0, 2.0)))) + monitor.flush()
    assert [(event.lead, event.notch) for event in on_mains(events)] == [("II", "in")]


def test_a_notch_that_the_rate_does_not_allow_is_reported(drawn: Drawn) -> None:
    x, _ = drawn(10.0, 128.0)
    events = on_mains(played(x, 128.0, [100], mains=60))
    assert [(event.sample, event.frequency_hz, event.notch) for event in events] == [
        (0, 60, "not possible at this rate")
    ]
    assert not on_mains(played(x, 250.0, mains=60))


def test_hum_is_measured_where_no_notch_is_possible(drawn: Drawn) -> None:
    x, _ = drawn(30.0, 128.0)
    events = played(x + hum(x.size, 128.0, 60.0, 12.0), 128.0)
    assert [event.notch for event in on_mains(events)] == ["not possible at this rate"]


def test_a_notch_starts_as_if_the_hum_had_always_been_there() -> None:
    fs, phasor = 250.0, 3.0 * np.exp(0.9j)
    tone = np.real(phasor * np.exp(2j * np.pi * 50.0 / fs * np.arange(500)))
    notch = Notch(fs, 50.0)
    notch.start(50.0, complex(phasor))
    assert np.abs(notch.process(tone)).max() < 1e-9


def test_sums_of_a_block_are_in_the_order_of_its_samples() -> None:
    watch = HumDetector(250.0)
    waves, y = watch._waves, np.random.default_rng(2).normal(size=watch.block)
    parts = np.moveaxis(y.reshape(1, 1, 4, -1), 3, 0).copy()
    products = parts * waves
    total = np.zeros(products.shape[1:])
    for product in products:
        total = total + product
    assert np.array_equal(total, np.add.reduce(products, axis=0))
