"""A sample beyond what an electrode or a converter can give is unusable like NaN, and reported as out of range."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from event_lists import untimed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import Beat, End, Event, Gap, LeadChange
from ecgmoe_edge.streaming.unusable import LARGEST_MV

FS = 360.0
AT = 3600


@pytest.fixture(scope="module")
def signal() -> NDArray[np.float64]:
    return np.asarray(load_calibration().signal[:1, : 30 * 360], np.float64)


def played(signal: NDArray[np.float64], cuts: Iterable[int] = ()) -> list[Event]:
    monitor = Monitor(None, FS, [f"L{k}" for k in range(len(signal))])
    events: list[Event] = []
    for chunk in np.split(signal, sorted({cut for cut in cuts if 0 < cut < signal.shape[1]}), axis=1):
        events += monitor.push(chunk)
    return [event for event in (*events, *monitor.flush()) if not isinstance(event, End)]


def of_beats(events: Iterable[Event]) -> list[tuple[int, float]]:
    return [(event.sample, event.quality) for event in events if isinstance(event, Beat)]


def of_gaps(events: Iterable[Event]) -> list[tuple[int, int | None, str]]:
    return [(event.sample, event.lost, event.reason) for event in events if isinstance(event, Gap)]


@pytest.mark.parametrize("value", [1.01 * LARGEST_MV, -1e20, 1e100, -1e300, np.inf, -np.inf])
def test_a_sample_out_of_range_has_the_effect_of_nan(signal: NDArray[np.float64], value: float) -> None:
    large, nan = signal.copy(), signal.copy()
    large[0, AT], nan[0, AT] = value, np.nan
    events, expected = played(large), played(nan)
    assert of_beats(events) == of_beats(expected)
    assert max(sample for sample, _ in of_beats(events)) > 29 * FS
    assert of_gaps(events) == [(AT, 1, "range")]
    assert of_gaps(expected) == [(AT, 1, "nan")]


def test_the_largest_usable_sample_costs_the_beats_of_four_seconds(signal: NDArray[np.float64]) -> None:
    """It is usable, since the numbers of a converter can be so large; detection has to go on after it."""
    spoiled = signal.copy()
    spoiled[0, AT] = LARGEST_MV
    events = played(spoiled)
    assert not of_gaps(events)
    late = {sample for sample, _ in of_beats(events) if sample > AT + 4 * FS}
    assert late == {sample for sample, _ in of_beats(played(signal)) if sample > AT + 4 * FS}


def test_the_numbers_of_a_24_bit_converter_are_usable(signal: NDArray[np.float64]) -> None:
    counts = np.rint(1e5 * signal) + 2**23 - 1 - np.rint(1e5 * signal).max()
    events = played(counts)
    assert not of_gaps(events)
    assert {sample for sample, _ in of_beats(events)} == {sample for sample, _ in of_beats(played(signal))}


def test_a_signal_that_is_all_out_of_range_is_reported_once_a_minute() -> None:
    monitor = Monitor(None, FS)
    events = [*monitor.push(np.full((1, 61 * 360), 1e9)), *monitor.flush()]
    assert of_gaps(events) == [(0, 60 * 360, "range"), (60 * 360, 360, "range")]
    end = events[-1]
    assert isinstance(end, End)
    assert (end.samples, end.lost, end.unusable, end.gaps) == (61 * 360, 0, 61 * 360, 2)


def test_each_gap_has_the_reason_of_its_own_samples(signal: NDArray[np.float64]) -> None:
    spoiled = signal.copy()
    spoiled[0, 3600:3650] = np.nan
    spoiled[0, 3650:3700] = 1e9
    spoiled[0, 3700:3720] = np.nan
    assert of_gaps(played(spoiled)) == [(3600, 50, "nan"), (3650, 50, "range"), (3700, 20, "nan")]


def test_a_lead_that_is_off_is_not_reported_as_out_of_range(signal: NDArray[np.float64]) -> None:
    monitor = Monitor(None, FS)
    monitor.push(signal[:, :3600])
    events = monitor.lead_off((True,)) + monitor.push(np.full((1, 100), 1e9)) + monitor.flush()
    assert of_gaps(events) == [(3600, 100, "nan")]


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "nan"), (1e9, "range"), (-np.inf, "range")])
def test_of_several_leads_the_one_out_of_range_is_named(signal: NDArray[np.float64], value: float, reason: str) -> None:
    two = np.concatenate((signal, -0.5 * signal))
    two[0, AT : AT + 720] = value
    events = played(two)
    changes = [event for event in events if isinstance(event, LeadChange) and event.sample == AT + 1]
    assert [(change.leads, change.others) for change in changes] == [(("L1",), {"L0": reason})]
    assert not of_gaps(events)
    assert [sample for sample, _ in of_beats(events) if AT < sample < AT + 720]


@settings(max_examples=15, deadline=None)
@given(
    cuts=st.lists(st.integers(3500, 4400), max_size=40),
    stretches=st.lists(
        st.tuples(st.integers(3550, 4300), st.integers(1, 90), st.sampled_from((np.nan, 1e9, np.inf)), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    leads=st.sampled_from((1, 2)),
)
def test_any_chunking_gives_the_same_events_around_samples_out_of_range(
    signal: NDArray[np.float64],
    cuts: list[int],
    stretches: list[tuple[int, int, float, bool]],
    leads: int,
) -> None:
    spoiled = np.concatenate((signal, -0.5 * signal))[:leads, : 20 * 360]
    for start, length, value, everywhere in stretches:
        spoiled[slice(None) if everywhere else slice(0, 1), start : start + length] = value
    whole = played(spoiled)
    assert any(isinstance(event, (Gap, LeadChange)) for event in whole)
    assert [repr(event) for event in untimed(played(spoiled, cuts))] == [repr(event) for event in untimed(whole)]
