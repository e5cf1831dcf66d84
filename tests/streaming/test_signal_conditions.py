"""Rails, flatlines, steps, gaps and lost electrodes are reported with their lengths, and give no beats and no RR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from event_lists import beats
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, Clipping, Event, Flatline, Gap, LeadOff
from ecgmoe_edge.streaming.signal.bridge import LONGEST_S
from ecgmoe_edge.streaming.signal.flatline import FlatlineDetector, FlatlineReport

FS = 250.0
LSB_MV = 0.005
RAIL_MV = 5.0


def ecg(seconds: float, fs: float = FS, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A simulated ECG in steps of 5 uV, (samples,) in mV, and the times of its R peaks, s."""
    random = np.random.default_rng(seed)
    r_times = np.cumsum(random.normal(0.85, 0.04, int(seconds / 0.8))) + 0.2
    r_times = r_times[r_times < seconds - 1.0]
    t = np.arange(round(seconds * fs)) / fs
    x = 0.01 * random.normal(size=t.size)
    for r in r_times:
        u = t - r
        x += np.exp(-((u / 0.012) ** 2)) - 0.15 * np.exp(-(((u - 0.03) / 0.012) ** 2))
        x += 0.12 * np.exp(-(((u + 0.16) / 0.025) ** 2)) + 0.25 * np.exp(-(((u - 0.28) / 0.05) ** 2))
    return np.round(x / LSB_MV) * LSB_MV, r_times


def played(x: NDArray[np.float64], fs: float = FS, cuts: Sequence[int] = ()) -> list[Event]:
    monitor = Monitor(None, fs)
    events = [event for chunk in np.split(x, sorted(cuts)) for event in monitor.push(chunk[None])]
    return events + monitor.flush()


def flatlines(events: Sequence[Event]) -> list[Flatline]:
    return [event for event in events if isinstance(event, Flatline)]


def false_beats(found: Sequence[Beat], r_times: NDArray[np.float64]) -> list[float]:
    """Times of detected beats that are none, s."""
    return [beat.time_s for beat in found if np.abs(r_times - beat.time_s).min() > 0.05]


@pytest.mark.parametrize("level_mv", [RAIL_MV, -RAIL_MV, 0.0])
@pytest.mark.parametrize("fs", [125.0, 250.0, 1000.0])
def test_a_flatline_gives_no_beats_and_no_rr_interval_across_it(level_mv: float, fs: float) -> None:
    x, r_times = ecg(60.0, fs)
    x[round(30.3 * fs) : round(40.3 * fs)] = level_mv
    events = played(x, fs)
    found = beats(events)
    assert not [b for b in found if 30.2 < b.time_s < 40.3]
    assert not false_beats(found, r_times)
    assert {b.time_s for b in found if b.rr_ms is None} == {
        found[0].time_s,
        min(b.time_s for b in found if b.time_s > 40),
    }
    first, whole = flatlines(events)
    assert first.kind == whole.kind == ("rail" if level_mv else "flat")
    assert first.samples == round(fs)
    assert whole.samples == pytest.approx(10 * fs, abs=2)
    assert np.sum(r_times > 41.0) - sum(b.time_s > 41.0 for b in found) <= 1


def test_beats_clipped_at_the_rail_are_detected_and_counted_with_low_quality() -> None:
    x, r_times = ecg(40.0)
    cut = np.clip(x, -RAIL_MV, 0.7)
    events = played(cut)
    found = beats(events)
    assert len(found) == len(r_times)
    assert not flatlines(events)
    clipped = [event for event in events if isinstance(event, Clipping)]
    assert clipped
    assert all(event.samples * 1000.0 / FS == pytest.approx(1000 * event.duration_s) for event in clipped)
    steep = sum(event.samples for event in clipped)
    assert 0 < steep <= np.sum(cut == 0.7)
    assert min(b.quality for b in found) <= 0.5 < min(b.quality for b in beats(played(x)))


def test_tops_of_waves_that_are_flat_by_the_steps_of_the_converter_are_not_clipped() -> None:
    t = np.arange(round(30 * FS)) / FS
    x = np.round(0.3 * np.sin(2 * np.pi * 0.7 * t) / 0.02) * 0.02
    assert not [report for report in FlatlineDetector(FS).process(x, 0) if report.event.samples < FS]
    recording = load_calibration()
    assert not FlatlineDetector(recording.fs).process(np.asarray(recording.signal[0], np.float64), 0)


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(1, round(12 * FS) - 1), max_size=40),
    stretches=st.lists(st.tuples(st.integers(0, 2900), st.integers(1, 700), st.booleans()), max_size=4),
)
def test_any_chunking_gives_the_same_flatline_reports(cuts: list[int], stretches: list[tuple[int, int, bool]]) -> None:
    x = np.clip(ecg(12.0)[0], -RAIL_MV, 0.7)
    for start, length, at_rail in stretches:
        x[start : start + length] = RAIL_MV if at_rail else x[start]
    whole = FlatlineDetector(FS).process(x, 0)
    parts: list[FlatlineReport] = []
    detector = FlatlineDetector(FS)
    due, arrived = 0, 0
    for chunk in np.split(x, sorted(set(cuts))):
        reports = detector.process(chunk, arrived)
        arrived += chunk.size
        assert arrived >= due or not reports
        assert all(report.known_at <= arrived for report in reports)
        due = detector.due(arrived)
        parts += reports
    assert parts == whole


@pytest.mark.parametrize("step_mv", [5.0, -3.0])
def test_a_step_of_the_baseline_costs_one_beat_at_most(step_mv: float) -> None:
    x, r_times = ecg(60.0)
    x[round(30.3 * FS) :] += step_mv
    found = beats(played(x))
    assert len(false_beats(found, r_times)) <= 1
    assert len(found) >= len(r_times)


def test_wander_of_the_baseline_costs_no_beat() -> None:
    x, r_times = ecg(60.0)
    x += 1.5 * np.sin(2 * np.pi * 0.3 * np.arange(x.size) / FS)
    found = beats(played(x))
    assert len(found) == len(r_times)
    assert not false_beats(found, r_times)


@settings(max_examples=40, deadline=None)
@given(at=st.integers(500, 6000), lost=st.integers(1, 1500), reported=st.booleans(), seed=st.integers(0, 3))
def test_no_gap_makes_a_false_rr_interval(at: int, lost: int, *, reported: bool, seed: int) -> None:
    """At any position, reported by the link or as NaN."""
    x, r_times = ecg(30.0, seed=seed)
    monitor = Monitor(None, FS)
    events = monitor.push(x[None, :at])
    events += monitor.gap(lost, "link") if reported else monitor.push(np.full((1, lost), np.nan))
    events += monitor.push(x[None, at + lost :])
    found = beats([*events, *monitor.flush()])
    true_rr_ms = 1000.0 * np.diff(r_times)
    bridged = lost <= LONGEST_S * FS
    for beat in found:
        if beat.rr_ms is not None:
            k = int(np.abs(r_times - beat.time_s).argmin())
            assert k > 0
            assert beat.rr_ms == pytest.approx(true_rr_ms[k - 1], abs=30.0)
            assert bridged or not r_times[k - 1] * FS < at < r_times[k] * FS
    # If the signal comes back after a QRS complex, its T wave cannot be distinguished from a beat.
    assert not false_beats([b for b in found if not 0 <= b.sample - at - lost < 0.45 * FS], r_times)
    assert bridged or not [b for b in found if at <= b.sample < at + lost]
    gaps = [event for event in events if isinstance(event, Gap)]
    assert sum(gap.lost or 0 for gap in gaps) == lost


def test_an_electrode_that_comes_back_starts_a_new_signal() -> None:
    x, r_times = ecg(40.0)
    monitor = Monitor(None, FS)
    events = monitor.push(x[None, : round(15 * FS)])
    events += monitor.lead_off((True,))
    events += monitor.push(np.random.default_rng(0).normal(0.0, 3.0, (1, round(5 * FS))))  # input without an electrode
    events += monitor.lead_off((False,))
    events += monitor.push(x[None, round(20 * FS) :])
    found = beats([*events, *monitor.flush()])
    assert not false_beats(found, r_times)
    assert not [b for b in found if 15.0 <= b.time_s < 20.0]
    assert next(b for b in found if b.time_s > 20.0).rr_ms is None
    assert len([b for b in found if b.time_s > 20.1]) == np.sum(r_times > 20.1)
    assert [(e.time_s, e.leads) for e in events if isinstance(e, LeadOff)] == [(15.0, ("II",)), (20.0, ())]


def several(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same ECG in one to three leads, (leads, samples), and the times of its R peaks, s."""
    x, r_times = ecg(30.0, seed=seed)
    random = np.random.default_rng(seed + 50)
    others = [0.01 * random.normal(size=x.size) + gain * np.roll(x, 2) for gain in (-0.5, 0.7)]
    return np.stack([x, *(np.round(other / LSB_MV) * LSB_MV for other in others)])[:count], r_times


PLACES = {"at": st.integers(1500, 5500), "length": st.integers(75, 900), "count": st.integers(1, 3)}


@settings(max_examples=60, deadline=None)
@given(**PLACES, seed=st.integers(0, 4), rail=st.sampled_from([-RAIL_MV, RAIL_MV]), which=st.integers(0, 3))
def test_a_step_to_a_rail_and_back_is_no_beat(
    at: int, length: int, count: int, seed: int, rail: float, which: int
) -> None:
    """At any position, of any length, in one lead or in all."""
    x, r_times = several(count, seed)
    x[slice(None) if which >= count else which, at : at + length] = rail
    monitor = Monitor(None, FS, leads=("I", "II", "III")[:count])
    assert not false_beats(beats([*monitor.push(x), *monitor.flush()]), r_times)


@settings(max_examples=60, deadline=None)
@given(**PLACES, seed=st.integers(0, 4), how=st.sampled_from(["link", "nan", "off"]))
def test_after_a_break_no_r_peak_comes_at_once_and_no_rr_begins_with_a_possible_t_wave(
    at: int, length: int, count: int, seed: int, how: str
) -> None:
    x, _ = several(count, seed)
    monitor = Monitor(None, FS, leads=("I", "II", "III")[:count])
    events = monitor.push(x[:, :at])
    if how == "link":
        events += monitor.gap(length, "link")
    elif how == "nan":
        events += monitor.push(np.full((count, length), np.nan))
    else:
        events += monitor.lead_off([True] * count)
        events += monitor.push(x[:, at : at + length])
        events += monitor.lead_off([False] * count)
    found = beats([*events, *monitor.push(x[:, at + length :]), *monitor.flush()])
    after = [beat.sample - at - length for beat in found]
    assert not [since for since in after if 0 <= since < 0.06 * FS]
    for since, following in zip(after, found[1:], strict=False):
        if 0 <= since < 0.4 * FS:
            assert following.rr_ms is None


@pytest.mark.parametrize("end", ["flush", "gap", "nan", "off"])
def test_a_flatline_at_the_end_of_a_signal_is_reported_with_its_length(end: str) -> None:
    x, _ = ecg(20.0)
    x[round(12.5 * FS) :] = RAIL_MV
    monitor = Monitor(None, FS)
    events = monitor.push(x[None])
    if end == "flush":
        events += monitor.flush()
    elif end == "gap":
        events += monitor.gap(100, "link")
    elif end == "nan":
        events += monitor.push(np.full((1, 100), np.nan))
    else:
        events += [*monitor.lead_off((True,)), *monitor.push(np.zeros((1, 10)))]
    assert [(e.sample, e.samples, e.kind) for e in flatlines(events)] == [
        (round(12.5 * FS), round(FS), "rail"),
        (round(12.5 * FS), round(7.5 * FS), "rail"),
    ]


def test_a_flatline_of_the_whole_record_has_its_length() -> None:
    events = played(np.zeros(round(9 * FS)))
    assert [(e.samples, e.kind) for e in flatlines(events)] == [(round(FS), "flat"), (round(9 * FS), "flat")]


@pytest.mark.parametrize(("level_mv", "kind"), [(187.5, "rail"), (-187.5, "rail"), (0.0, "flat"), (0.3, "flat")])
def test_an_input_at_its_rail_from_the_start_is_recognised_by_a_level_that_no_ecg_reaches(
    level_mv: float, kind: str
) -> None:
    events = played(np.full(round(5 * FS), level_mv))
    assert {e.kind for e in flatlines(events)} == {kind}


def test_a_rail_right_after_a_break_is_recognised_by_the_signal_before_it() -> None:
    x, _ = ecg(20.0)
    for level_mv, kind in ((RAIL_MV, "rail"), (-RAIL_MV, "rail"), (0.0, "flat")):
        monitor = Monitor(None, FS)
        events = [*monitor.push(x[None]), *monitor.gap(100, "link")]
        events += [*monitor.push(np.full((1, round(3 * FS)), level_mv)), *monitor.flush()]
        assert {e.kind for e in flatlines(events)} == {kind}
