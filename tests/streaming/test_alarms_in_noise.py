"""Noise, steps and `?` beats raise no alarm; rates have hysteresis; clipping is no break of the signal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.decision import Decision, DecisionRule
from ecgmoe_edge.streaming.events import Beat, Clipping, Event, Flatline, Rhythm
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.rhythm.tracker import RhythmTracker
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

FS = 250.0
MINUTES = 10
ALARMS = ("pause", "asystole", "bradycardia", "tachycardia", "V run", "AF")

Signal = NDArray[np.float64]


def played(signal: Signal, fs: float = FS) -> list[Event]:
    monitor = Monitor(load_bundle(shipped_bundle()), fs)
    return [*monitor.push(signal), *monitor.flush()]


def alarms(events: Iterable[Event]) -> Counter[str]:
    begun = (e.label for e in events if isinstance(e, Rhythm) and e.phase == "begin")
    return Counter(label for label in begun if label in ALARMS)


def white(scale: float) -> Signal:
    noise: Signal = scale * np.random.default_rng(11).standard_normal((1, round(MINUTES * 60 * FS)))
    return noise


def muscle() -> Signal:
    bursts = 1 + np.sin(2 * np.pi * np.arange(white(1.0).size) / (7 * FS))
    noise: Signal = (2 * np.convolve(white(1.0)[0], np.ones(3) / 3, "same") * bursts)[None]
    return noise


def square() -> Signal:
    """A square wave of 1 Hz, the test signal of many amplifiers."""
    noise = white(0.001)
    noise += np.where(np.arange(noise.size) // round(FS / 2) % 2, 4.0, -4.0)
    return noise


@pytest.mark.parametrize(
    "noise",
    [white(1.0), white(0.01), muscle(), np.clip(white(40.0), -5, 5), square()],
    ids=["white", "10 uV", "muscle", "clipped", "square"],
)
def test_ten_minutes_of_noise_raise_no_alarm(noise: Signal) -> None:
    events = played(noise)
    assert not alarms(events)
    beats = [event for event in events if isinstance(event, Beat)]
    assert sum(beat.quality >= 0.5 for beat in beats) <= 0.01 * len(beats)


def telegraph(dwell_s: float, noise_mv: float, minutes: float = 3.0) -> Signal:
    """Random switching between two levels (telegraph noise)."""
    random = np.random.default_rng(3)
    n = round(minutes * 60 * FS)
    levels = np.where(np.cumsum(random.random(n) < 1.0 / (dwell_s * FS)) % 2, 1.0, -1.0)
    return np.asarray(levels + noise_mv * random.standard_normal(n))[None]


@pytest.mark.parametrize("dwell_s", [0.02, 0.04, 0.08, 0.2, 0.5])
@pytest.mark.parametrize("noise_mv", [0.0, 0.01])
def test_random_switching_between_two_levels_raises_no_alarm(dwell_s: float, noise_mv: float) -> None:
    assert not alarms(played(telegraph(dwell_s, noise_mv)))


@pytest.mark.parametrize("rate", [0.7, 1.5, 2.5])
def test_equal_spikes_at_random_times_raise_no_alarm(rate: float) -> None:
    random = np.random.default_rng(5)
    signal = 0.01 * random.standard_normal(round(5 * 60 * FS))
    for at in (FS * np.cumsum(random.exponential(1.0 / rate, round(290 * rate)))).astype(int).tolist():
        signal[at : at + 6] += np.array((1.0, 2.0, 3.0, 3.0, 2.0, 1.0))[: signal[at : at + 6].size]
    assert not alarms(played(signal[None]))


@pytest.mark.parametrize("name", ["em", "ma"])
@pytest.mark.parametrize("lead", [0, 1])
def test_half_an_hour_of_recorded_noise_raises_no_alarm(data_dir: Path, name: str, lead: int) -> None:
    from ecgmoe_edge.records.registry import open_recording

    if not (data_dir / "nstdb").is_dir():
        pytest.skip("needs nstdb")
    record = open_recording(data_dir / "nstdb" / name)
    signal = np.concatenate(list(record.blocks(60.0, leads=[lead])), axis=1)
    assert not alarms(played(signal, record.fs))


def begun(events: Iterable[Rhythm]) -> list[str]:
    return [event.label for event in events if event.phase == "begin"]


def ended(events: Iterable[Rhythm]) -> list[str]:
    return [event.label for event in events if event.phase == "end"]


class Beats:
    """A rhythm tracker that gets one beat after the other."""

    def __init__(self, limits: RhythmLimits | None = None) -> None:
        self.tracker = RhythmTracker((), limits)
        self.time_s = 0.0
        self.events: list[Rhythm] = []

    def beat(
        self,
        rr_s: float,
        label: str = "N",
        *,
        times: int = 1,
        quality: float = 1.0,
        recurrence: float | None = 1.0,
    ) -> list[Rhythm]:
        """Add equal beats, and return their events."""
        out: list[Rhythm] = []
        for _ in range(times):
            self.time_s += rr_s
            poor = label == "?"
            out += self.tracker.beat(
                self.time_s,
                1000 * rr_s,
                label,
                None,
                poor=poor,
                quality=0.001 if poor else quality,
                recurrence=recurrence,
            )
        self.events += out
        return out


def test_poor_beats_give_no_rate_and_no_pause() -> None:
    beats = Beats()
    beats.beat(0.8, times=30)
    assert not beats.beat(0.3, "?", times=40)
    assert not beats.beat(2.5, "?", times=40)
    assert not beats.beat(2.5, "N")
    assert not beats.beat(0.8, "N", times=20)


def test_a_poor_beat_ends_a_v_run() -> None:
    beats = Beats()
    beats.beat(0.8, times=30)
    for label in "VV?VV?":
        assert not beats.beat(0.7, label)
    assert begun(beats.beat(0.7, "V", times=3)) == ["V run"]
    assert ended(beats.beat(0.7, "?")) == ["V run"]


def test_a_v_run_of_low_quality_is_reported_if_beats_were_clear_before() -> None:
    beats = Beats()
    beats.beat(0.8, times=30)
    assert begun(beats.beat(0.3, "V", times=11, quality=0.02)) == ["V run"]


def test_nothing_is_reported_before_the_lead_has_shown_beats() -> None:
    beats = Beats()
    assert not beats.beat(0.4, "V", times=40, quality=0.05)
    assert not beats.tracker.silence(beats.time_s, 4.0, after_beat=True)


def test_asystole_after_noise_is_reported() -> None:
    beats = Beats()
    beats.beat(0.8, times=30)
    beats.beat(0.4, "?", times=20)
    assert not beats.tracker.silence(beats.time_s, 2.0, after_beat=True)
    assert begun(beats.tracker.silence(beats.time_s, 4.0, after_beat=True)) == ["asystole"]


def test_after_a_minute_of_noise_alone_no_asystole_is_reported() -> None:
    beats = Beats()
    beats.beat(0.8, times=30)
    beats.beat(0.8, "?", times=90)
    assert not beats.tracker.silence(beats.time_s, 4.0, after_beat=True)


def test_clear_beats_that_are_not_alike_raise_no_alarm() -> None:
    beats = Beats()
    assert not beats.beat(0.4, times=60, recurrence=0.5)
    assert not beats.tracker.silence(beats.time_s, 4.0, after_beat=True)


def test_beats_of_many_forms_raise_alarms_if_the_ecg_was_clear_for_long_before() -> None:
    beats = Beats()
    beats.beat(0.8, times=60)
    assert begun(beats.beat(0.3, times=20, recurrence=0.3)) == ["tachycardia"]
    assert begun(beats.tracker.silence(beats.time_s, 2.0, after_beat=True)) == ["pause"]


def test_after_noise_from_the_start_an_ecg_has_to_be_shown_for_longer() -> None:
    beats = Beats()
    beats.beat(0.8, "?", times=90)
    beats.beat(0.8, times=30)
    assert not beats.tracker.silence(beats.time_s, 4.0, after_beat=True)
    beats.beat(0.8, times=10)
    assert begun(beats.tracker.silence(beats.time_s, 4.0, after_beat=True)) == ["asystole"]


def test_after_noise_alarms_return_soon_if_the_ecg_was_clear_for_long_before() -> None:
    beats = Beats()
    beats.beat(0.8, times=60)
    beats.beat(0.8, "?", times=90)
    beats.beat(0.8, times=14)
    assert begun(beats.tracker.silence(beats.time_s, 4.0, after_beat=True)) == ["asystole"]


def test_a_rate_that_varies_around_its_limit_is_one_alarm() -> None:
    beats = Beats()
    for k in range(200):
        beats.beat(60 / 101 if k // 8 % 2 else 60 / 98)
    assert (begun(beats.events), ended(beats.events)) == (["tachycardia"], [])
    assert ended(beats.beat(60 / 92, times=8)) == ["tachycardia"]
    for k in range(200):
        beats.beat(60 / 49 if k // 8 % 2 else 60 / 53)
    assert begun(beats.events) == ["tachycardia", "bradycardia"]
    assert ended(beats.beat(60 / 58, times=8)) == ["bradycardia"]


def test_two_rates_never_overlap() -> None:
    random = np.random.default_rng(2)
    beats = Beats(RhythmLimits(bradycardia_bpm=70.0, tachycardia_bpm=72.0))
    open_now: set[str] = set()
    ended_s, seen = 0.0, 0
    for rr_s in random.uniform(0.6, 1.1, 2000):
        for event in beats.beat(float(rr_s)):
            (open_now.add if event.phase == "begin" else open_now.discard)(event.label)
            assert event.from_s >= ended_s or event.to_s is not None
            ended_s = event.to_s or ended_s
            seen += 1
        assert len(open_now) <= 1
    assert seen > 20


def test_a_tachycardia_ends_with_the_asystole_that_follows_it() -> None:
    beats = Beats()
    assert begun(beats.beat(0.4, times=20)) == ["tachycardia"]
    assert begun(beats.tracker.silence(beats.time_s, 2.0, after_beat=True)) == ["pause"]
    events = beats.tracker.silence(beats.time_s, 4.0, after_beat=True)
    assert [(e.label, e.phase) for e in events] == [("tachycardia", "end"), ("asystole", "begin")]
    assert events[0].to_s == beats.time_s


def test_noise_that_hides_the_rate_ends_its_alarm() -> None:
    beats = Beats()
    assert begun(beats.beat(0.4, times=20)) == ["tachycardia"]
    last_s = beats.time_s
    (end,) = beats.beat(0.4, "?", times=20)
    assert (end.label, end.to_s) == ("tachycardia", last_s)


def test_a_clipped_lead_still_reports_tachycardia(simulated_ecg: Callable[..., Any]) -> None:
    ecg = simulated_ecg(60.0, fs=FS, heart_rate=140.0)
    events = played(np.clip(ecg.signal, -0.5, 0.5)[None])
    assert any(isinstance(event, Clipping) for event in events)
    assert not any(isinstance(event, Flatline) for event in events)
    rates = [e for e in events if isinstance(e, Rhythm) and e.label == "tachycardia"]
    assert [e.phase for e in rates] == ["begin", "end"]
    assert rates[0].from_s < 5.0
    assert rates[1].to_s is not None
    assert rates[1].to_s > 57.0


def test_the_decision_rules_learn_nothing_from_a_poor_beat() -> None:
    classes, rhythms = ("N", "S", "V", "F"), ("N", "AF")
    features, points = np.zeros(15, np.float32), BEAT_GRID.size
    poor = (np.array([0.0, 5.0, 5.0, 0.0], np.float32), features, np.ones(points, np.float32), np.array([0.0, 9.0]))
    beat = (np.array([2.0, 1.0, 0.0, 0.0], np.float32), features, np.linspace(0, 1, points, dtype=np.float32))
    fresh, after = (Decision(DecisionRule(), classes, rhythms) for _ in range(2))
    for _ in range(50):
        after.apply(*poor, learn=False)
    rhythm = np.array([9.0, 0.0], np.float32)
    assert after.apply(*beat, rhythm).tolist() == fresh.apply(*beat, rhythm).tolist()
