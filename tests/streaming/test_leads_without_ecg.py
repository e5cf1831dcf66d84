"""A lead without an ECG has no weight, labels no beat and is reported, until it shows an ECG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from event_lists import beats, untimed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Event, LeadChange

FS = 250.0
SECONDS = 60
N = round(SECONDS * FS)
SHOWN_S = 4.0  # by then, a lead with an ECG has shown it
Signal = NDArray[Any]

NORMAL = ((-0.16, 0.022, 0.12), (0.0, 0.011, 1.0), (0.03, 0.011, -0.2), (0.27, 0.05, 0.3))
WIDE = ((0.0, 0.034, 1.45), (0.085, 0.03, -0.5), (0.31, 0.075, -0.42))


def simulated(
    with_waves: Iterable[tuple[float, Sequence[tuple[float, float, float]]]], seconds: float = SECONDS
) -> Signal:
    """An ECG of beats at given times with given waves (delay s, width s, height mV)."""
    t = np.arange(round(seconds * FS)) / FS
    x = 0.01 * np.random.default_rng(1).normal(size=t.size) + 0.05 * np.sin(2 * np.pi * 0.23 * t)
    for r, waves in with_waves:
        for after, width, height in waves:
            x += height * np.exp(-0.5 * ((t - r - after) / width) ** 2)
    return x


def steady_beats(rr_s: float = 0.83, seconds: float = SECONDS) -> NDArray[np.float64]:
    return np.asarray(0.6 + rr_s * np.arange(int((seconds - 1.5) / rr_s)), np.float64)


def bigeminal_beats() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times of normal beats, and of wide, early beats that begin after ten normal ones."""
    normal = np.concatenate((0.6 + 0.86 * np.arange(10), 0.6 + 8.6 + 1.72 * np.arange(28)))
    return normal, normal[10:] + 0.5


def an_ecg(name: str) -> tuple[Signal, NDArray[np.float64]]:
    """The signal (n,), mV, and the times of its R peaks, s."""
    if name == "steady":
        times = steady_beats()
        return simulated((r, NORMAL) for r in times), times
    normal, wide = bigeminal_beats()
    return simulated([(r, NORMAL) for r in normal] + [(r, WIDE) for r in wide]), np.sort(np.concatenate((normal, wide)))


def random() -> np.random.Generator:
    return np.random.default_rng(4)


t = np.arange(N) / FS
WITHOUT_ECG: dict[str, Callable[[], Signal]] = {
    "seconds": lambda: np.round(t, 3),
    "milliseconds": lambda: 1000.0 * t,
    "byte counter": lambda: np.arange(N) % 256 * 1.0,
    "fast counter": lambda: np.arange(N) % 100 * 0.01,
    "breathing": lambda: 0.5 * np.sin(2 * np.pi * 0.25 * t + 1),
    "breathing with harmonics": lambda: (
        0.5 * np.sin(2 * np.pi * 0.25 * t) + 0.2 * np.sin(np.pi * t + 1) + 0.002 * random().normal(size=N)
    ),
    "slow ramp": lambda: 0.02 * t,
    "random drift": lambda: np.cumsum(0.02 * random().normal(size=N)),
    "small noise": lambda: 0.01 * random().normal(size=N),
    "large noise": lambda: random().normal(size=N),
    "mains hum": lambda: 0.3 * np.sin(2 * np.pi * 50 * t),
    "strong mains hum": lambda: 3.0 * np.sin(2 * np.pi * 49.8 * t),
    "constant with dither": lambda: 0.005 * random().integers(0, 2, N),
    "square wave": lambda: np.where(np.arange(N) // 125 % 2, 4.0, -4.0) + 0.001 * random().normal(size=N),
}


def played(x: NDArray[np.float64], leads: Sequence[str], cuts: Sequence[int] = ()) -> list[Event]:
    monitor = Monitor(None, FS, leads=leads)
    events = [event for chunk in np.split(x, sorted(set(cuts)), axis=1) for event in monitor.push(chunk)]
    return untimed([*events, *monitor.flush()])


def changes(events: Iterable[Event]) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    return [(event.leads, dict(event.others)) for event in events if isinstance(event, LeadChange)]


def missed_and_false(events: Iterable[Event], truth: NDArray[np.float64]) -> tuple[int, int]:
    apart = np.abs(np.array([beat.time_s for beat in beats(events)])[:, None] - truth[None])
    return int((apart.min(axis=0) > 0.06).sum()), int((apart.min(axis=1) > 0.06).sum())


@pytest.mark.parametrize("ecg", ["steady", "bigeminy"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", WITHOUT_ECG)
def test_a_lead_without_an_ecg_beside_one_with_costs_no_beat_and_labels_none(kind: str, first: bool, ecg: str) -> None:
    x, truth = an_ecg(ecg)
    other = WITHOUT_ECG[kind]()
    names, signal = (("other", "II"), np.stack((other, x))) if first else (("II", "other"), np.stack((x, other)))
    events = played(signal, names)
    missed, false = missed_and_false(events, truth)
    assert missed == 0
    assert false <= 1  # in the first two seconds, when nothing is known of the leads
    assert {beat.lead for beat in beats(events) if beat.time_s > SHOWN_S} == {"II"}
    assert changes(events)[-1] == (("II",), {"other": "no ECG"})
    reported = next(event for event in events if isinstance(event, LeadChange) and event.others == {"other": "no ECG"})
    assert reported.time_s == 10.0


def test_among_three_leads_two_without_an_ecg_cost_no_beat() -> None:
    x, truth = an_ecg("bigeminy")
    signal = np.stack((WITHOUT_ECG["seconds"](), WITHOUT_ECG["byte counter"](), x))
    events = played(signal, ("time", "counter", "II"))
    assert missed_and_false(events, truth) == (0, 0)
    assert {beat.lead for beat in beats(events)} == {"II"}
    assert changes(events)[-1] == (("II",), {"time": "no ECG", "counter": "no ECG"})


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("inputs", [2, 4, 7])
def test_open_inputs_with_strong_mains_hum_do_not_outvote_the_lead_with_the_ecg(inputs: int, shared: bool) -> None:
    x, truth = an_ecg("steady")
    noise = 0.005 * np.random.default_rng(3).normal(size=(inputs, N))
    if shared:
        noise[:] = noise[0]
    amplitudes = np.linspace(40.0, 12.0, inputs)[:, None]
    hum = amplitudes * np.sin(2 * np.pi * 50 * t + np.linspace(0.3, 5.0, inputs)[:, None]) + noise
    names = ("II", *(f"open{k}" for k in range(inputs)))
    events = played(np.vstack((x - 20.0, hum)), names)
    missed, false = missed_and_false(events, truth)
    assert missed == 0
    assert false <= 1  # in the first two seconds, when nothing is known of any
    assert {beat.lead for beat in beats(events) if beat.time_s > SHOWN_S} == {"II"}
    assert changes(events)[-1][0] == ("II",)


def test_a_lead_that_stops_showing_beats_loses_its_weight_while_others_go_on() -> None:
    x, truth = an_ecg("bigeminy")
    opened = np.where(t < 25, 0.8 * x, 0.8 * x[round(25 * FS)] + 0.05 * (t - 25))  # an electrode falls off
    for signal, names in ((np.stack((opened, x)), ("V1", "II")), (np.stack((x, opened)), ("II", "V1"))):
        events = played(signal, names)
        assert missed_and_false(events, truth) == (0, 0)
        assert changes(events) == [(("II",), {"V1": "no ECG"})]
        reported = next(event for event in events if isinstance(event, LeadChange))
        assert 25.0 < reported.time_s < 35.0
        assert {beat.lead for beat in beats(events) if beat.time_s > 25.0} == {"II"}


def test_a_lead_votes_once_it_shows_the_beats_of_the_others() -> None:
    x, truth = an_ecg("steady")
    late = np.where(t < 20, 0.02 * t, 0.4 + 0.6 * x)
    events = played(np.stack((late, x)), ("V1", "II"))
    assert missed_and_false(events, truth) == (0, 0)
    assert changes(events) == [(("II",), {"V1": "no ECG"}), (("V1", "II"), {})]
    back = [event for event in events if isinstance(event, LeadChange)][-1]
    assert 20.0 < back.time_s < 28.0
    assert {beat.lead for beat in beats(events) if beat.time_s > 30.0} == {"V1"}


@pytest.mark.parametrize("kind", WITHOUT_ECG)
def test_a_single_lead_without_an_ecg_is_reported_and_its_beats_have_no_quality(kind: str) -> None:
    events = played(WITHOUT_ECG[kind]()[None], ("II",))
    assert changes(events) == [((), {"II": "no ECG"})]
    assert next(event.time_s for event in events if isinstance(event, LeadChange)) == 10.0
    assert all(beat.quality < 0.005 for beat in beats(events) if beat.time_s > 10.0)
    assert sum(beat.quality > 0.5 for beat in beats(events)) == 0


@pytest.mark.parametrize("kind", ["breathing", "small noise", "byte counter", "mains hum"])
def test_an_ecg_that_begins_in_a_single_lead_is_reported(kind: str) -> None:
    x, truth = an_ecg("steady")
    events = played(np.where(t < 20, WITHOUT_ECG[kind](), x)[None], ("II",))
    assert changes(events) == [((), {"II": "no ECG"}), (("II",), {})]
    came = [event for event in events if isinstance(event, LeadChange)][-1]
    assert 20.0 < came.time_s < 30.0
    after = [beat for beat in beats(events) if beat.time_s > 30.0]
    assert len(after) == np.sum(truth > 30.0)
    assert min(beat.quality for beat in after) > 0.9


@pytest.mark.parametrize("rr_s", [0.3, 0.83, 2.0, 3.5])
def test_a_single_lead_with_the_beats_of_a_heart_always_shows_an_ecg(rr_s: float) -> None:
    times = steady_beats(rr_s)
    waves = NORMAL[1:3] if rr_s < 0.5 else NORMAL
    events = played(simulated((r, waves) for r in times)[None], ("II",))
    assert not changes(events)
    assert len(beats(events)) >= len(times) - 1


@pytest.mark.parametrize("after", ["asystole", "fibrillation"])
def test_a_lead_that_showed_beats_keeps_its_ecg_when_the_heart_stops(after: str) -> None:
    x = simulated((r, NORMAL) for r in steady_beats() if r < 20)
    if after == "fibrillation":
        slow = np.convolve(random().normal(size=N + 30), np.hanning(31), "valid")
        x += np.where(t > 20, 0.3 * slow / slow.std(), 0.0)
    assert not changes(played(x[None], ("II",)))


def test_a_gap_does_not_end_an_ecg() -> None:
    x = simulated((r, NORMAL) for r in steady_beats() if r < 20)
    monitor = Monitor(None, FS)
    events = [*monitor.push(x[None, :5000]), *monitor.gap(100, "link"), *monitor.push(x[None, 5100:])]
    assert not changes([*events, *monitor.flush()])


@settings(max_examples=12, deadline=None)
@given(
    cuts=st.lists(st.integers(1, N - 1), max_size=50),
    kind=st.sampled_from(["byte counter", "random drift", "seconds", "square wave"]),
    alone=st.booleans(),
)
def test_any_chunking_gives_the_same_events(cuts: list[int], kind: str, alone: bool) -> None:
    x, _ = an_ecg("bigeminy")
    late = np.where(t < 15, WITHOUT_ECG[kind](), x)
    late = np.where(t < 40, late, WITHOUT_ECG[kind]())
    signal, names = (late[None], ("II",)) if alone else (np.stack((late, x)), ("V1", "II"))
    assert played(signal, names, cuts) == played(signal, names)


def test_with_one_sample_a_push_a_change_of_leads_comes_with_its_sample() -> None:
    x, _ = an_ecg("steady")
    signal = np.stack((np.where(t < 15, 0.02 * t, x), x))[:, : round(25 * FS)]
    monitor = Monitor(None, FS, leads=("V1", "II"))
    came = []
    for at in range(signal.shape[1]):
        came += [(event, at) for event in monitor.push(signal[:, at : at + 1]) if isinstance(event, LeadChange)]
    assert len(came) == 2
    assert all(event.sample == at + 1 for event, at in came)


def test_when_the_only_ecg_is_lost_another_lead_can_begin_to_show_one() -> None:
    x, truth = an_ecg("steady")
    first = np.where(t < 20, x, np.nan)
    second = np.where(t < 25, 0.02 * t, 0.5 + x)
    events = played(np.stack((first, second)), ("II", "V1"))
    late = [beat for beat in beats(events) if beat.time_s > 36.0]
    assert len(late) == np.sum(truth > 36.0)
    assert {beat.lead for beat in late} == {"V1"}
    assert min(beat.quality for beat in late) > 0.9
    assert changes(events)[-1] == (("V1",), {"II": "nan"})
