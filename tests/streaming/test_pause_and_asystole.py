"""Pause and asystole are reported while they last, by the time of the signal, if the lead has shown an ECG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.streaming import Monitor, RhythmLimits
from ecgmoe_edge.streaming.events import Beat, Event, Gap, Rhythm
from ecgmoe_edge.streaming.rhythm.tracker import RhythmTracker

FS = 250.0
LATEST_S = 0.3  # longest time from the limit to the report, since an R peak is certain only 0.25 s after R
PAUSES = ("pause", "asystole")

Signal = NDArray[np.float64]


def ecg(seconds: float, r_times: Iterable[float], seed: int = 0) -> Signal:
    """A simulated ECG (1, n) in mV with R peaks at these times, s, and 10 uV of noise."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * FS)) / FS
    x = 0.01 * random.normal(size=t.size)
    for r in r_times:
        u = t - r
        x += np.exp(-((u / 0.012) ** 2)) - 0.15 * np.exp(-(((u - 0.03) / 0.012) ** 2))
        x += 0.12 * np.exp(-(((u + 0.16) / 0.025) ** 2)) + 0.25 * np.exp(-(((u - 0.28) / 0.05) ** 2))
    return x[None]


def beats_until(stop: float, rr: float = 0.85, first: float = 0.35) -> list[float]:
    return np.arange(first, stop, rr).tolist()


STOP_S, RESUME_S, END_S = 20.0, 27.0, 36.0
BEFORE = beats_until(STOP_S)
LAST_R = BEFORE[-1]
HELD = ecg(END_S, [*BEFORE, *beats_until(END_S - 1, first=RESUME_S)])  # 7 s without a beat


def played(signal: Signal, cuts: Sequence[int] = (), **more: Any) -> list[Event]:
    monitor = Monitor(None, FS, leads=("I", "II")[: len(signal)], **more)
    pieces = np.split(signal, sorted({c for c in cuts if 0 < c < signal.shape[1]}), axis=1)
    return [*(event for piece in pieces for event in monitor.push(piece)), *monitor.flush()]


def timed(signal: Signal, **more: Any) -> list[tuple[float, Event]]:
    """Events of a signal that is pushed sample by sample, each with the time of the signal at its report, s."""
    monitor = Monitor(None, FS, leads=("I", "II")[: len(signal)], **more)
    return [((at + 1) / FS, event) for at in range(signal.shape[1]) for event in monitor.push(signal[:, at : at + 1])]


def pauses(events: Iterable[Event]) -> list[Rhythm]:
    return [event for event in events if isinstance(event, Rhythm) and event.label in PAUSES]


def rounded(events: Iterable[Event]) -> list[tuple[str, str, float, float | None]]:
    return [
        (e.label, e.phase, round(e.from_s, 1), None if e.to_s is None else round(e.to_s, 1)) for e in pauses(events)
    ]


def test_a_pause_comes_at_two_seconds_and_asystole_at_four_while_they_last() -> None:
    reported = {(e.label, e.phase): at for at, e in timed(HELD) if isinstance(e, Rhythm) and e.label in PAUSES}
    assert LAST_R + 2.0 <= reported["pause", "begin"] <= LAST_R + 2.0 + LATEST_S
    assert LAST_R + 4.0 <= reported["asystole", "begin"] <= LAST_R + 4.0 + LATEST_S
    assert RESUME_S < reported["asystole", "end"] == reported["pause", "end"] < RESUME_S + 0.6
    last, resumed = round(LAST_R, 1), round(RESUME_S, 1)
    assert rounded(played(HELD)) == [
        ("pause", "begin", last, None),
        ("asystole", "begin", last, None),
        ("asystole", "end", last, resumed),
        ("pause", "end", last, resumed),
    ]


def test_events_come_in_the_order_of_time() -> None:
    events = [e for e in played(HELD) if isinstance(e, Rhythm) or (isinstance(e, Beat) and e.quality > 0.03)]
    labels = [e.label if isinstance(e, Rhythm) else "beat" for e in events]
    begin = labels.index("pause")
    assert labels[begin - 1] == "beat"
    assert labels[begin : begin + 5] == ["pause", "asystole", "beat", "asystole", "pause"]


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(1, round(END_S * FS) - 1), max_size=40),
    hole=st.one_of(st.none(), st.tuples(st.integers(4500, 7000), st.integers(1, 900), st.sampled_from("nfr"))),
)
def test_any_chunking_gives_the_same_pauses_in_the_same_push(
    cuts: list[int], hole: tuple[int, int, str] | None
) -> None:
    signal = HELD.copy()
    if hole is not None:
        at, n, kind = hole
        signal[:, at : at + n] = {"n": np.nan, "f": signal[0, at], "r": 5.0}[kind]
    whole = [event for event in played(signal) if isinstance(event, Rhythm)]
    assert [event for event in played(signal, cuts) if isinstance(event, Rhythm)] == whole
    stop = max(cuts, default=1000)  # a recording that ends here has the same events up to here
    monitor = Monitor(None, FS)
    by_block = [event for event in monitor.push(signal[:, :stop]) if isinstance(event, Rhythm)]
    monitor = Monitor(None, FS)
    by_tenth = [e for part in np.array_split(signal[:, :stop], 30, axis=1) for e in monitor.push(part)]
    assert [event for event in by_tenth if isinstance(event, Rhythm)] == by_block


@pytest.mark.parametrize("rr_s", [1.6, 1.9, 1.98])
def test_slow_beats_within_the_limit_are_no_pause(rr_s: float) -> None:
    r_times = beats_until(59.0, rr_s)
    assert not pauses(played(ecg(r_times[-1] + 1.0, r_times)))


@pytest.mark.parametrize("rr_s", [2.03, 2.15, 2.4])
def test_every_interval_above_the_limit_is_a_pause(rr_s: float) -> None:
    before = beats_until(14.0)
    events = pauses(played(ecg(22.0, [*before, *beats_until(21.0, first=before[-1] + rr_s)])))
    assert [(e.label, e.phase) for e in events] == [("pause", "begin"), ("pause", "end")]
    assert events[1].to_s is not None
    assert events[1].to_s - events[1].from_s == pytest.approx(rr_s, abs=0.02)


@pytest.mark.parametrize("kind", ["gap", "off", "nan", "rail", "flush"])
def test_pause_and_asystole_end_with_the_signal(kind: str) -> None:
    at = round(25.5 * FS)
    monitor = Monitor(None, FS)
    events = monitor.push(HELD[:, :at])
    if kind == "gap":
        events += monitor.gap(500, "link")
    elif kind == "off":
        events += monitor.lead_off((True,))
        events += monitor.push(HELD[:, at : at + 1])
    elif kind == "nan":
        events += monitor.push(np.full((1, 100), np.nan))
    elif kind == "rail":
        events += monitor.push(np.full((1, round(FS) + 1), 5.0))
    else:
        events += monitor.flush()
    assert rounded(events)[2:] == [("asystole", "end", 19.9, 25.5), ("pause", "end", 19.9, 25.5)]


@pytest.mark.parametrize("kind", ["off", "nan", "rail", "flat", "gap"])
def test_a_lead_that_fell_off_or_samples_that_were_lost_are_no_pause(kind: str) -> None:
    """From 0.3 s after an R peak on there is no signal for 7 s; then there are beats again."""
    at, stop = round((LAST_R + 0.3) * FS), round(RESUME_S * FS)
    monitor = Monitor(None, FS)
    events = monitor.push(HELD[:, :at])
    if kind == "gap":
        events += monitor.gap(stop - at, "link")
    elif kind == "off":
        events += [*monitor.lead_off((True,)), *monitor.push(HELD[:, at:stop]), *monitor.lead_off((False,))]
    else:
        level = {"nan": np.nan, "rail": -5.0, "flat": HELD[0, at - 1]}[kind]
        events += monitor.push(np.full((1, stop - at), level))
    events += [*monitor.push(HELD[:, stop:]), *monitor.flush()]
    assert sum(isinstance(event, Beat) for event in events) > 30
    assert not pauses(events)


def test_no_pause_is_counted_across_a_gap() -> None:
    at = round((LAST_R + 1.5) * FS)
    monitor = Monitor(None, FS)
    events = [*monitor.push(HELD[:, :at]), *monitor.gap(200, "link")]
    events += [*monitor.push(HELD[:, at + 200 : at + 200 + round(1.8 * FS)])]
    assert not pauses(events)


def test_asystole_goes_on_after_lost_samples() -> None:
    at = round((LAST_R + 1.5) * FS)
    monitor = Monitor(None, FS)
    events = [*monitor.push(HELD[:, :at]), *monitor.gap(200, "link")]
    quiet = ecg(10.0, [], seed=5)
    events += monitor.push(quiet)
    assert rounded(events) == [("asystole", "begin", round((at + 200) / FS, 1), None)]
    assert sum(isinstance(event, Gap) for event in events) == 1


def test_after_lead_off_a_lead_has_to_show_beats_before_asystole_is_reported() -> None:
    monitor = Monitor(None, FS)
    at = round(LAST_R * FS) + 100
    events = [*monitor.push(HELD[:, :at]), *monitor.lead_off((True,)), *monitor.push(HELD[:, at : at + 500])]
    events += [*monitor.lead_off((False,)), *monitor.push(ecg(20.0, [], seed=5))]
    assert not pauses(events)


def test_a_signal_that_never_showed_a_beat_is_no_asystole() -> None:
    assert not pauses(played(ecg(60.0, [])))


@pytest.mark.parametrize("noise_mv", [0.005, 0.02, 0.05])
def test_low_noise_hides_no_asystole(noise_mv: float) -> None:
    random = np.random.default_rng(8)
    events = played(ecg(60.0, BEFORE) + noise_mv * random.normal(size=(1, round(60 * FS))))
    assert [e[:2] for e in rounded(events)][:2] == [("pause", "begin"), ("asystole", "begin")]
    assert [e[3] for e in rounded(events)][2:] == [60.0, 60.0]  # until the stream ends


def test_a_sudden_loss_of_gain_is_no_asystole() -> None:
    signal = ecg(40.0, beats_until(39.0))
    signal[:, round(15 * FS) :] *= 0.15
    events = played(signal)
    assert "asystole" not in {event.label for event in pauses(events)}
    assert len([e for e in events if isinstance(e, Beat) and e.time_s > 15]) > 20


def test_a_beat_that_is_found_later_ends_the_pause_at_its_r_peak() -> None:
    tracker = RhythmTracker(())
    for time_s in range(5):
        tracker.beat(time_s, 1000.0 if time_s else None, "N", None)
    (begin,) = tracker.silence(4.0, 2.0, after_beat=True)
    (end,) = tracker.beat(5.5, 1500.0, "N", None)
    assert (begin.label, begin.from_s, begin.to_s) == ("pause", 4.0, None)
    assert (end.label, end.from_s, end.to_s) == ("pause", 4.0, 5.5)


def test_one_lead_of_two_is_enough_for_asystole(simulated_ecg: Callable[..., Any]) -> None:
    both = np.concatenate((HELD, -0.5 * HELD))
    monitor = Monitor(None, FS, leads=("I", "II"))
    at = round(10 * FS)
    events = [*monitor.push(both[:, :at]), *monitor.lead_off((True, False)), *monitor.push(both[:, at:])]
    assert rounded(events) == rounded(played(HELD))
    monitor = Monitor(None, FS, leads=("I", "II"))
    at = round((LAST_R + 1.0) * FS)
    events = [*monitor.push(both[:, :at]), *monitor.lead_off((True, True)), *monitor.push(both[:, at:])]
    assert not pauses(events)


def test_the_limits_can_be_set() -> None:
    limits = RhythmLimits(pause_s=3.0, asystole_s=6.5)
    begins = {(e.label, e.limit): at for at, e in timed(HELD, limits=limits) if isinstance(e, Rhythm) and not e.to_s}
    pause, asystole = begins["pause", "RR > 3000 ms"], begins["asystole", "no R peak for 6500 ms"]
    assert 3.0 <= pause - LAST_R <= 3.0 + LATEST_S
    assert 6.5 <= asystole - LAST_R <= 6.5 + LATEST_S
    fast = RhythmLimits(tachycardia_bpm=60.0)
    assert "tachycardia" in {e.label for e in played(HELD, limits=fast) if isinstance(e, Rhythm)}


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"pause_s": 5.0}, "Asystole .* longer than a pause"),
        ({"pause_s": 0.2}, "A pause is 1 to 10 s"),
        ({"asystole_s": float("nan")}, "Asystole is"),
        ({"bradycardia_bpm": 120.0}, "must lie below tachycardia"),
        ({"tachycardia_bpm": 1e9}, "Tachycardia is 10 to 400"),
        ({"v_run_beats": 2}, "A V run is 3 to 100"),
        ({"v_run_beats": 3.5}, "whole number"),
    ],
)
def test_impossible_limits_are_refused_with_a_sentence(limits: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        RhythmLimits(**limits)


# -- ventricular standstill


def ventricles_stop(p_mv: float, qrs_s: float, noise_mv: float = 0.01, *, end_s: float = 40.0) -> Signal:
    """P waves at 70/min, followed by QRS complexes and T waves except from 20 s to 8 s before the end."""
    random = np.random.default_rng(1)
    t = np.arange(round(end_s * FS)) / FS
    x = noise_mv * random.normal(size=t.size)
    for p in np.arange(0.3, end_s - 1.0, 60 / 70):
        x += p_mv * np.exp(-(((t - p) / 0.028) ** 2))
        if not 20.0 < p < end_s - 8.0:
            u = t - p - 0.18
            x += np.exp(-((u / qrs_s) ** 2)) - 0.15 * np.exp(-(((u - 0.03) / qrs_s) ** 2))
            x += 0.25 * np.exp(-(((u - 0.28) / 0.05) ** 2))
    return np.asarray(x)[None]


@pytest.mark.parametrize("qrs_s", [0.012, 0.02, 0.03])
@pytest.mark.parametrize("p_mv", [0.1, 0.15, 0.2])
@pytest.mark.parametrize("two_leads", [False, True])
def test_p_waves_without_qrs_complexes_are_a_pause_and_asystole(p_mv: float, qrs_s: float, two_leads: bool) -> None:
    signal = ventricles_stop(p_mv, qrs_s)
    if two_leads:
        signal = np.concatenate((signal, -0.7 * signal), axis=0)
    events = played(signal)
    assert [(label, phase) for label, phase, _, _ in rounded(events)] == [
        ("pause", "begin"),
        ("asystole", "begin"),
        ("asystole", "end"),
        ("pause", "end"),
    ]
    begin, asystole, end, _ = pauses(events)
    assert begin.from_s == asystole.from_s == pytest.approx(19.33, abs=0.05)
    assert end.to_s is not None
    assert end.to_s > 32.0


@pytest.mark.parametrize("gain", [0.15, 0.25])
def test_qrs_complexes_that_become_small_are_no_p_waves(gain: float) -> None:
    signal = ecg(END_S, beats_until(END_S - 1))
    signal[:, round(STOP_S * FS) :] *= gain
    assert not pauses(played(signal))


def test_small_slow_waves_that_go_on_for_minutes_become_beats() -> None:
    events = played(ventricles_stop(0.15, 0.012, end_s=300.0))
    ends = [event for event in pauses(events) if event.label == "asystole" and event.phase == "end"]
    assert len(ends) == 1
    assert ends[0].to_s is not None
    assert 230.0 < ends[0].to_s < 260.0
