"""Short holes are bridged: counted, reported, and with lower quality; beats and RR intervals span them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from beat_models import random_model
from event_lists import beats, untimed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import NEW_SIGNAL, End, Event, Gap, LeadChange, Rhythm
from ecgmoe_edge.streaming.signal.bridge import LONGEST_S

FS = 360
LONGEST = int(LONGEST_S * FS)
AT = 3600


@pytest.fixture(scope="module")
def signal() -> NDArray[np.float64]:
    return np.asarray(load_calibration().signal[:1, : 60 * FS], np.float64)


def played(
    signal: NDArray[np.float64], cuts: Iterable[int] = (), lost: Sequence[tuple[int, int]] = (), *, model: bool = False
) -> list[Event]:
    """Events of a signal in chunks that end at `cuts`; the samples `lost` (first, number) never arrive."""
    monitor = Monitor(random_model() if model else None, FS, [f"L{k}" for k in range(len(signal))])
    stops = {cut for cut in cuts if 0 < cut < signal.shape[1]} | {start for start, _ in lost} | {signal.shape[1]}
    events: list[Event] = []
    at, missing = 0, dict(lost)
    for stop in sorted(stops):
        events += monitor.push(signal[:, at:stop]) if stop > at else []
        at = max(at, stop)
        if stop in missing:
            events += monitor.gap(missing[stop], "link")
            at = stop + missing[stop]
    return untimed([*events, *monitor.flush()])


def gaps(events: Iterable[Event]) -> list[Gap]:
    return [event for event in events if isinstance(event, Gap)]


def with_holes(signal: NDArray[np.float64], holes: Iterable[tuple[int, int]]) -> NDArray[np.float64]:
    out = signal.copy()
    for start, length in holes:
        out[:, start : start + length] = np.nan
    return out


@pytest.mark.parametrize("share", [0.001, 0.01])
def test_single_samples_that_are_missing_cost_no_beat(signal: NDArray[np.float64], share: float) -> None:
    missing = np.flatnonzero(np.random.default_rng(3).random(signal.shape[1]) < share)
    events = played(with_holes(signal, ((at, 1) for at in missing.tolist())))
    whole = beats(played(signal))
    found = beats(events)
    assert [beat.rr_ms is None for beat in found] == [beat.rr_ms is None for beat in whole]
    assert np.abs(np.array([b.sample for b in found]) - [b.sample for b in whole]).max() <= 3
    end = events[-1]
    assert isinstance(end, End)
    assert end.bridged == end.unusable == missing.size
    assert sum(gap.lost or 0 for gap in gaps(events)) == missing.size
    assert all(gap.bridged and gap.reason == "nan" for gap in gaps(events))


@pytest.mark.parametrize("kind", ["nan", "range", "link"])
def test_a_hole_in_a_qrs_complex_is_reported_keeps_its_beat_and_lowers_its_quality(
    signal: NDArray[np.float64], kind: str
) -> None:
    whole = beats(played(signal))
    before, hit, after = [b for b in whole if b.sample >= 10 * FS][:3]
    start, length = hit.sample - 4, 9
    if kind == "link":
        events = played(signal, lost=[(start, length)])
    else:
        spoiled = with_holes(signal, [(start, length)])
        spoiled[np.isnan(spoiled)] = np.nan if kind == "nan" else 1e9
        events = played(spoiled)
    assert gaps(events) == [Gap(start, start / FS, length, kind, bridged=True)]  # type: ignore[arg-type]
    found = {beat.sample: beat for beat in beats(events)}
    near = min(found, key=lambda sample: abs(sample - hit.sample))
    assert abs(near - hit.sample) <= 12
    assert found[near].rr_ms == pytest.approx(hit.rr_ms, abs=1000 * 12 / FS)
    assert found[near].quality < 0.8 * hit.quality
    assert found[after.sample].rr_ms is not None
    assert before.sample in found


def test_a_hole_before_a_beat_lowers_its_quality_by_the_missing_fraction(signal: NDArray[np.float64]) -> None:
    hit = next(b for b in beats(played(signal)) if b.sample > AT)
    found = beats(played(with_holes(signal, [(hit.sample - 80, 8)])))
    same = next(b for b in found if b.sample == hit.sample)
    assert 0.8 * hit.quality < same.quality < hit.quality


def test_a_longer_hole_is_one_gap_and_no_rr_interval_spans_it(signal: NDArray[np.float64]) -> None:
    for length in (LONGEST + 1, 750, 5000):
        events = played(with_holes(signal, [(AT, length)]))
        assert [(gap.sample, gap.lost, gap.bridged) for gap in gaps(events)] == [(AT, length, False)]
        assert next(b for b in beats(events) if b.sample > AT + length).rr_ms is None
        assert gaps(played(signal, lost=[(AT, length)])) == [Gap(AT, AT / FS, length, "link")]


def test_lost_samples_among_unusable_ones_are_one_hole_and_keep_their_reason(signal: NDArray[np.float64]) -> None:
    spoiled = with_holes(signal, [(AT - 3, 3)])
    events = played(spoiled, lost=[(AT, 5)])
    assert gaps(events) == [
        Gap(AT - 3, (AT - 3) / FS, 3, "nan", bridged=True),
        Gap(AT, AT / FS, 5, "link", bridged=True),
    ]
    end = events[-1]
    assert isinstance(end, End)
    assert (end.lost, end.unusable, end.bridged, end.gaps) == (5, 3, 8, 2)


def test_losses_one_after_another_are_one_hole_that_is_too_long(signal: NDArray[np.float64]) -> None:
    monitor = Monitor(None, FS)
    events = monitor.push(signal[:, :AT])
    for _ in range(4):
        events += monitor.gap(6, "link")
    events += monitor.push(signal[:, AT + 24 :])
    assert [(gap.sample, gap.lost, gap.bridged) for gap in gaps(events)] == [(AT, 24, False)]


@pytest.mark.parametrize("reason", NEW_SIGNAL)
def test_after_a_reconnect_the_signal_is_a_new_one(signal: NDArray[np.float64], reason: str) -> None:
    monitor = Monitor(None, FS)
    monitor.push(signal[:, :AT])
    (*_, gap) = monitor.gap(1, reason)  # type: ignore[arg-type]
    assert gap == Gap(AT, AT / FS, 1, reason)  # type: ignore[arg-type]


def test_a_loss_with_a_lower_limit_only_is_not_bridged(signal: NDArray[np.float64]) -> None:
    monitor = Monitor(None, FS)
    monitor.push(signal[:, :AT])
    (*_, gap) = monitor.gap(1, "link", at_least=True)
    assert gap == Gap(AT, AT / FS, 1, "link", at_least=True)


def test_a_hole_in_one_of_two_leads_names_it_and_does_not_affect_the_other(signal: NDArray[np.float64]) -> None:
    two = np.concatenate((signal, -0.6 * signal))
    spoiled = two.copy()
    spoiled[1, AT : AT + 5] = np.nan
    events = played(spoiled)
    assert gaps(events) == [Gap(AT, AT / FS, 5, "nan", bridged=True, lead="L1")]
    assert not [e for e in events if isinstance(e, LeadChange) and e.sample > 5 * FS]
    assert [b.sample for b in beats(events)] == [b.sample for b in beats(played(two))]
    end = events[-1]
    assert isinstance(end, End)
    assert (end.unusable, end.bridged) == (0, 5)


def test_a_hole_in_an_asystole_delays_no_alarm(signal: NDArray[np.float64]) -> None:
    stopped = signal.copy()
    rs = [b.sample for b in beats(played(signal))]
    last = next(r for r, following in pairwise(rs) if r > 15 * FS and following - r > 250)
    noise = np.random.default_rng(0).normal(0.0, 0.002, signal.shape[1] - last - 200)
    stopped[0, last + 200 :] = stopped[0, last + 200] + noise
    holes = [(at, 5) for at in range(last + 300, last + 6 * FS, 200)]

    def alarms(events: Iterable[Event]) -> list[tuple[str, str, float]]:
        return [(e.label, e.phase, e.from_s) for e in events if isinstance(e, Rhythm)]

    assert ("asystole", "begin", last / FS) in alarms(played(stopped))
    assert alarms(played(with_holes(stopped, holes))) == alarms(played(stopped))


def test_beats_just_before_a_gap_are_too_poor_for_a_label(signal: NDArray[np.float64]) -> None:
    """Their window is not complete; for an R peak it is enough that its top has arrived."""
    whole = [b.sample for b in beats(played(signal)) if 5 * FS < b.sample < 50 * FS]
    given_beats = 0
    for r in whole:
        for ms in (70, 130, 230):
            stop = r + round(ms * FS / 1000)
            found = beats(played(signal[:, :stop], model=True))
            near = [b for b in found if abs(b.sample - r) <= 18]
            given_beats += len(near)
            assert all(b.label == "?" and b.quality == 0.0 for b in near)
            assert all(b.sample < stop for b in found)
    assert given_beats >= 0.97 * 3 * len(whole)


@settings(max_examples=25, deadline=None)
@given(
    holes=st.lists(st.tuples(st.integers(500, 9000), st.integers(1, LONGEST + 3)), max_size=12),
    lost=st.lists(st.tuples(st.integers(500, 9000), st.integers(1, LONGEST + 3)), max_size=2),
    cuts=st.lists(st.integers(1, 9999), max_size=40),
    leads=st.integers(1, 2),
)
def test_any_chunking_gives_the_same_events(
    signal: NDArray[np.float64],
    holes: list[tuple[int, int]],
    lost: list[tuple[int, int]],
    cuts: list[int],
    leads: int,
) -> None:
    x = np.concatenate((signal[:, :10000], -0.6 * signal[:, :10000]))[:leads]
    for k, (start, length) in enumerate(holes):
        x[k % leads, start : start + length] = np.nan
    lost = sorted(lost)[:1] if len(lost) == 2 and abs(lost[0][0] - lost[1][0]) < 100 else lost
    inside = {cut for start, length in lost for cut in range(start, start + length + 1)}
    cuts = [cut for cut in cuts if cut not in inside]
    assert played(x, cuts, lost, model=True) == played(x, (), lost, model=True)


@pytest.mark.parametrize("cut", [15, 16])
def test_the_delay_of_an_r_peak_in_a_hole_is_that_of_the_hole_for_any_chunking(
    signal: NDArray[np.float64], cut: int
) -> None:
    """The beat of sample 1132 becomes certain in each of these holes, and comes out when the hole is long over."""
    for first in range(1203, 1212):
        whole = played(signal[:, :3600], (), [(first, 14)], model=True)
        assert played(signal[:, :3600], [first + cut], [(first, 14)], model=True) == whole
        delay_ms = next(beat.detection_delay_ms for beat in beats(whole) if beat.sample == 1132)
        assert delay_ms == pytest.approx(1000 * (first + 14 - 1132) / FS)


def test_with_one_sample_a_push_each_beat_comes_out_exactly_its_delay_after_r(signal: NDArray[np.float64]) -> None:
    random = np.random.default_rng(5)
    x = with_holes(signal[:, : 20 * FS], ((int(at), 9) for at in random.integers(FS, 20 * FS, 60)))
    monitor = Monitor(random_model(), FS)
    seen = waited = 0
    usual = {b.sample: b.delay_ms for b in beats(played(signal[:, : 20 * FS], model=True))}
    for at in range(x.shape[1]):
        for beat in beats(monitor.push(x[:, at : at + 1])):
            if beat.label != "?":
                assert beat.sample + round(beat.delay_ms * FS / 1000) == at
                seen += 1
                waited += beat.delay_ms > usual.get(beat.sample, 1e9)
    assert seen > 15
    assert waited  # some had to wait for the end of a hole
