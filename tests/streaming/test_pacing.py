"""Pacing spikes: each is an event and no beat, R is on the paced QRS complex, and loss of capture is a pause."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from event_lists import untimed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, Event, PacingSpike, Rhythm
from ecgmoe_edge.streaming.signal.pacing import LEAST_RATE_HZ, is_tail, r_on_tail

FINE = 1000  # sampling rate at which spikes are simulated, Hz; lower rates are averages of it
LOST = range(30, 37)  # numbers of the stimuli without capture: 6 s
# Waves of a paced complex: height in mV, time after the spike in s, width in s.
_COMPLEX = ((0.25, 0.02, 0.020), (-1.30, 0.075, 0.036), (0.45, 0.34, 0.075))
R_AFTER_S = 0.075


def paced(
    fs: float,
    *,
    lost: Sequence[int] = (),
    spike_mv: float = 3.0,
    atrial_mv: float = 0.0,
    tail: float = 0.1,
    seconds: float = 50.0,
    noise_mv: float = 0.01,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A simulated paced ECG (samples,) in mV, and the times of its paced complexes and ventricular spikes, s."""
    random = np.random.default_rng(4)
    t = np.arange(round(seconds * FINE)) / FINE
    x = noise_mv * random.normal(size=t.size) + 0.05 * np.sin(2 * np.pi * 0.23 * t)
    spikes = np.arange(0.8, seconds - 1.0, 60.0 / 70.0)
    for k, at in enumerate(spikes):
        if k not in lost:
            for mv, centre_s, sigma_s in _COMPLEX:
                x += mv * np.exp(-0.5 * ((t - at - centre_s) / sigma_s) ** 2)
        for when, mv in ((at - 0.16, atrial_mv), (at, spike_mv)):
            first = round(when * FINE)
            x[first] += mv
            x[first + 1 : first + 121] -= tail * mv * np.exp(-np.arange(120) / 30.0)
    beats = np.array([at + R_AFTER_S for k, at in enumerate(spikes) if k not in lost])
    return x.reshape(-1, round(FINE / fs)).mean(axis=1), beats, spikes


def played(x: NDArray[np.float64], fs: float, cuts: Sequence[int] = ()) -> list[Event]:
    monitor = Monitor(None, fs)
    events = [event for chunk in np.split(x, sorted(cuts)) for event in monitor.push(chunk[None])]
    return events + monitor.flush()


def of_kind(events: Sequence[Event], kind: type) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def r_times(events: Sequence[Event]) -> NDArray[np.float64]:
    return np.array([event.time_s for event in events if isinstance(event, Beat)])


@pytest.mark.parametrize("fs", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("atrial_mv", [0.0, 2.0])
def test_each_spike_is_an_event_and_each_complex_one_beat(fs: float, atrial_mv: float) -> None:
    x, beats, spikes = paced(fs, atrial_mv=atrial_mv)
    events = played(x, fs)
    found = r_times(events)
    assert found.size == beats.size
    assert np.abs(found - beats).max() <= 0.012  # on the complex, 75 ms after the spike
    reported = [event for event in events if isinstance(event, PacingSpike)]
    assert len(reported) == spikes.size * (2 if atrial_mv else 1)
    ventricular = np.array([event.time_s for event in reported[:: 2 if not atrial_mv else 1]])
    assert np.abs(ventricular[:, None] - np.concatenate((spikes, spikes - 0.16))).min(axis=1).max() <= 1.0 / fs
    assert all(event.width_ms <= 8.0 and event.amplitude_mv > 0.2 for event in reported)


@pytest.mark.parametrize("fs", [250.0, 500.0, 1000.0])
@pytest.mark.parametrize("tail", [0.0, 0.1])
def test_loss_of_capture_is_a_pause_and_no_beat_is_made_of_spikes(fs: float, tail: float) -> None:
    x, beats, spikes = paced(fs, lost=LOST, tail=tail)
    events = played(x, fs)
    found = r_times(events)
    assert found.size == beats.size
    assert np.abs(found - beats).max() <= 0.012
    in_loss = [
        event
        for event in events
        if isinstance(event, PacingSpike) and spikes[30] - 0.1 < event.time_s < spikes[36] + 0.1
    ]
    assert len(in_loss) == len(LOST)
    assert any(event.label == "pause" for event in events if isinstance(event, Rhythm))


@pytest.mark.parametrize("fs", [500.0, 1000.0])
def test_loss_of_capture_with_large_polarised_spikes(fs: float) -> None:
    x, beats, _ = paced(fs, lost=LOST, spike_mv=-12.0, atrial_mv=8.0, tail=0.25)
    assert r_times(played(x, fs)).size == beats.size


@pytest.mark.parametrize("fs", [500.0, 1000.0])
@pytest.mark.parametrize("spike_mv", [-12.0, 12.0, 8.0, -8.0])
@pytest.mark.parametrize("tail", [0.1, 0.25])
def test_r_is_on_the_complex_even_after_a_large_tail(fs: float, spike_mv: float, tail: float) -> None:
    x, beats, _ = paced(fs, spike_mv=spike_mv, tail=tail, seconds=20.0)
    found = r_times(played(x, fs))
    assert found.size == beats.size
    assert np.abs(found - beats).max() <= 0.012


def test_a_tail_alone_and_a_complex_alone_give_no_r_on_a_tail() -> None:
    t = np.arange(180) / 1000.0
    decay, bell = 3.0 * np.exp(-t / 0.03), -1.3 * np.exp(-0.5 * ((t - 0.075) / 0.03) ** 2)
    assert r_on_tail(decay + bell, 1000.0) == pytest.approx(75, abs=8)
    assert r_on_tail(bell, 1000.0) is None


def test_an_asystole_with_a_little_noise_has_no_beats() -> None:
    x, beats, _ = paced(250.0, lost=LOST, spike_mv=0.0)
    assert r_times(played(x, 250.0)).size == beats.size


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 20 * 500 - 1), max_size=40), around=st.integers(-3, 4))
def test_any_chunking_gives_the_same_events(cuts: list[int], around: int) -> None:
    x, _, spikes = paced(500.0, atrial_mv=2.0, seconds=20.0)
    near = [round(at * 500.0) + around for at in spikes]
    assert untimed(played(x, 500.0, sorted({*cuts, *near}))) == untimed(played(x, 500.0))


@pytest.mark.parametrize("fs", [250.0, 1000.0])
def test_with_one_sample_a_push_each_beat_comes_exactly_its_delay_after_r(fs: float) -> None:
    x, _, spikes = paced(fs, atrial_mv=2.0, seconds=12.0)
    # Steep steps all the time after a beat, so that samples wait whenever something becomes certain.
    rest = slice(round((spikes[4] + 0.2) * fs), round((spikes[4] + 0.5) * fs))
    x[rest] += 0.15 * (-1.0) ** np.arange(x[rest].size)
    monitor, one_by_one = Monitor(None, fs), []
    for k, sample in enumerate(x):
        for event in monitor.push(np.array([[sample]])):
            one_by_one.append(event)
            if isinstance(event, Beat):
                assert k == event.sample + round(event.delay_ms * fs / 1000)
    one_by_one += monitor.flush()
    assert untimed(one_by_one) == untimed(played(x, fs))


def test_without_spikes_nothing_is_reported() -> None:
    recording = load_calibration()
    assert not of_kind(played(np.asarray(recording.signal[0], np.float64), recording.fs), PacingSpike)


@pytest.mark.parametrize("fs", [250.0, 500.0, 1000.0])
def test_muscle_noise_gives_at_most_one_spike(fs: float) -> None:
    x, _, _ = paced(fs, spike_mv=0.0)
    noise = np.random.default_rng(6).normal(0.0, 0.3, x.size)
    assert len(of_kind(played(x + noise, fs), PacingSpike)) <= 1


def test_no_spikes_are_detected_below_the_least_rate() -> None:
    fs = 125.0
    assert fs < LEAST_RATE_HZ
    x, _, _ = paced(fs)
    assert not of_kind(played(x, fs), PacingSpike)


def test_spikes_are_reported_by_lead_and_not_for_a_lead_that_is_off() -> None:
    x, _, spikes = paced(500.0, seconds=20.0)
    monitor = Monitor(None, 500.0, leads=("I", "II"))
    both = np.stack((x, 0.8 * x))
    events = monitor.push(both[:, :5000]) + monitor.lead_off([False, True])
    events += monitor.push(both[:, 5000:]) + monitor.flush()
    by_lead = {name: [e for e in events if isinstance(e, PacingSpike) and e.lead == name] for name in ("I", "II")}
    assert len(by_lead["I"]) == spikes.size
    assert len(by_lead["II"]) == np.sum(spikes < 10.0)


def test_a_spike_across_the_end_of_the_signal_loses_no_sample() -> None:
    x, _, spikes = paced(1000.0, seconds=20.0)
    stop = round(spikes[10] * 1000.0) + 1
    monitor = Monitor(None, 1000.0)
    monitor.push(x[None, :stop])
    assert monitor.front_end.position == stop
    monitor.flush()
    assert monitor.front_end.position == stop


def test_a_tail_decays_and_a_complex_does_not() -> None:
    t = np.arange(80) / 1000.0
    assert is_tail(0.3 * np.exp(-t / 0.022), 1000.0)
    assert not is_tail(0.3 * np.exp(-t / 0.022) - np.exp(-0.5 * ((t - 0.06) / 0.02) ** 2), 1000.0)
