"""The laws of the monitor, with one to three leads: any chunking, causality, a record cut short, bounded state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import numpy as np
import pytest
from event_lists import untimed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Beat, Event
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.signal.history import History
from ecgmoe_edge.streaming.state import lead_buffers, patient_buffers, table

FS = 250.0
SECONDS = 24
LENGTH = round(SECONDS * FS)
NAMES = ("II", "V1", "V5")

Kind = Literal["nan", "rail", "flat", "off", "gap"]


@dataclass(frozen=True)
class Fault:
    """A fault of one lead (0 to 2) or of all leads (3), from a sample on."""

    kind: Kind
    lead: int
    start: int
    length: int


def faults() -> st.SearchStrategy[list[Fault]]:
    kinds: list[Kind] = ["nan", "rail", "flat", "off", "gap"]
    fault = st.builds(
        Fault,
        st.sampled_from(kinds),
        st.integers(0, 3),
        st.integers(300, LENGTH - 300),
        st.sampled_from([1, 7, 60, 249, 250, 251, 400, 900]),
    )
    return st.lists(fault, max_size=4)


def heart(leads: int) -> NDArray[np.float64]:
    """An ECG (leads, samples) in mV; each lead has its own amplitude, polarity, delay and noise."""
    random = np.random.default_rng(4)
    t = np.arange(LENGTH) / FS
    times = 0.5 + np.cumsum(random.normal(0.8, 0.06, 40))
    waves = ((-0.17, 0.025, 0.12), (0.0, 0.012, 1.0), (0.03, 0.012, -0.2), (0.27, 0.05, 0.25))
    x = np.zeros(LENGTH)
    for r in times:
        for after, width, height in waves:
            x += height * np.exp(-(((t - r - after) / width) ** 2))
    rows = (x, -0.5 * np.roll(x, 3), 0.8 * np.roll(x, 1))
    return np.stack(rows[:leads]) + random.normal(0.0, 0.015, (leads, LENGTH))


def played(
    signal: NDArray[np.float64], what: Sequence[Fault], cuts: Sequence[int] = (), until: int = LENGTH
) -> tuple[list[Event], list[int]]:
    """Events of a stream with faults, up to sample `until`, in chunks that end at `cuts`.

    The second result is the number of samples that had arrived at each event.
    """
    leads = len(signal)
    x, calls = signal.copy(), dict[int, list[Fault]]()
    for fault in what:
        rows = slice(None) if fault.lead >= leads else slice(fault.lead, fault.lead + 1)
        part = x[rows, fault.start : fault.start + fault.length]
        if fault.kind == "nan":
            part[:] = np.nan
        elif fault.kind == "rail":
            part[:] = 4.0
        elif fault.kind == "flat":
            part[:] = np.nan_to_num(x[rows, fault.start : fault.start + 1])
        else:
            calls.setdefault(fault.start, []).append(fault)
            if fault.kind == "off":
                calls.setdefault(fault.start + fault.length, []).append(fault)
    monitor, off = Monitor(None, FS, leads=NAMES[:leads]), [False] * leads
    events, arrived_at = list[Event](), list[int]()
    stops = sorted({cut for cut in (*cuts, *calls, until) if 0 < cut <= until})
    at = 0
    for stop in stops:
        events += monitor.push(x[:, at:stop])
        at = stop
        for fault in calls.get(stop, []) if stop < until else []:
            if fault.kind == "gap":
                events += monitor.gap(fault.length, "link")
            else:
                for k in range(leads) if fault.lead >= leads else [fault.lead]:
                    off[k] = stop == fault.start
                events += monitor.lead_off(off)
        arrived_at += [stop] * (len(events) - len(arrived_at))
    return untimed(events), arrived_at


HEARTS = {leads: heart(leads) for leads in (1, 2, 3)}
SEARCH = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SEARCH
@given(leads=st.integers(1, 3), what=faults(), cuts=st.lists(st.integers(1, LENGTH - 1), max_size=40))
def test_any_chunking_gives_the_same_events(leads: int, what: list[Fault], cuts: list[int]) -> None:
    whole, _ = played(HEARTS[leads], what)
    assert played(HEARTS[leads], what, cuts)[0] == whole


@settings(SEARCH, max_examples=6)
@given(leads=st.integers(1, 3), what=faults(), until=st.integers(800, LENGTH - 1))
def test_a_record_cut_short_gives_the_same_events_up_to_the_cut(leads: int, what: list[Fault], until: int) -> None:
    events, _ = played(HEARTS[leads], what, range(0, LENGTH, 1), until=until)
    longer, arrived_at = played(HEARTS[leads], what, range(0, LENGTH, 1))
    earlier = [event for event, arrived in zip(longer, arrived_at, strict=True) if arrived <= until]
    assert events == earlier[: len(events)]


@SEARCH
@given(leads=st.integers(1, 3), what=faults(), at=st.integers(500, LENGTH - 1))
def test_later_samples_do_not_change_earlier_events(leads: int, what: list[Fault], at: int) -> None:
    changed = HEARTS[leads].copy()
    changed[:, at:] = np.random.default_rng(1).normal(0.0, 2.0, (leads, LENGTH - at))
    events, arrived_at = played(HEARTS[leads], what, [at])
    other_events, other_arrived_at = played(changed, what, [at])
    earlier = [event for event, arrived in zip(events, arrived_at, strict=True) if arrived <= at]
    assert earlier == [event for event, arrived in zip(other_events, other_arrived_at, strict=True) if arrived <= at]


@pytest.mark.parametrize("leads", [1, 2, 3])
def test_with_one_sample_a_push_each_beat_comes_out_exactly_its_delay_after_r(leads: int) -> None:
    what = [
        Fault("nan", 0, 1500, 400),
        Fault("rail", 3, 2600, 500),
        Fault("gap", 3, 4000, 250),
        Fault("nan", 3, 5000, 9),
    ]
    events, arrived_at = played(HEARTS[leads], what, range(1, LENGTH))
    lost = 0
    beats = 0
    for event, arrived in zip(events, arrived_at, strict=True):
        if isinstance(event, Beat):
            beats += 1
            lost = 250 if event.sample > 4100 else 0
            assert event.sample + round(event.delay_ms * FS / 1000) + 1 == arrived + lost
            assert event.delay_ms >= event.detection_delay_ms
    assert beats > 15


@pytest.mark.parametrize("leads", [1, 2, 3])
def test_no_beat_lies_at_the_start_of_a_signal_and_no_rr_interval_begins_with_a_possible_t_wave(leads: int) -> None:
    random = np.random.default_rng(3)
    for start in random.integers(1000, LENGTH - 1000, 20).tolist():
        events, _ = played(HEARTS[leads], [Fault("gap", 3, start, 500)])
        again = start + 500
        after = [event for event in events if isinstance(event, Beat) and event.sample >= again]
        assert not [beat for beat in after if beat.sample < again + round(0.06 * FS)]
        may_be_t_waves = {beat.sample for beat in after if beat.sample < again + round(0.4 * FS)}
        for beat, following in pairwise(after):
            if beat.sample in may_be_t_waves:
                assert following.rr_ms is None


@pytest.mark.parametrize("leads", [1, 2, 3])
def test_a_step_to_a_rail_is_no_beat(leads: int) -> None:
    random = np.random.default_rng(5)
    x = HEARTS[leads]
    truth = np.array([b.sample for b in played(x, [])[0] if isinstance(b, Beat)])
    false = 0
    for start in random.integers(1500, LENGTH - 1500, 30).tolist():
        events, _ = played(x, [Fault("rail", 3, start, 700)])
        near = [b.sample for b in events if isinstance(b, Beat) and start - 5 <= b.sample <= start + 705]
        false += sum(np.abs(truth - sample).min() > 15 for sample in near)
    assert false == 0


class _Forgetful(History):
    """A history that overwrites at once all samples that it may drop."""

    def append(self, x: NDArray[np.float64]) -> None:
        super().append(x)
        self._data[:, : max(0, self._used - x.shape[-1] - self.keep)] = np.nan


@pytest.mark.parametrize("leads", [1, 2])
def test_buffers_of_the_stated_length_are_enough(leads: int) -> None:
    x = HEARTS[leads].copy()
    x[:, 3000:] *= 0.12  # so that search-back and learning need old samples
    what = [Fault("nan", 3, 1500, 40)]
    whole, _ = played(x, what)
    assert any(isinstance(event, Beat) and event.search_back for event in whole)
    with (
        patch("ecgmoe_edge.streaming.signal.lead.History", _Forgetful),
        patch("ecgmoe_edge.streaming.qrs.candidates.History", _Forgetful),
    ):
        assert played(x, what, range(1, LENGTH))[0] == whole


def test_the_state_of_one_lead_at_250_hz_fits_28_kb_in_float32() -> None:
    assert 10_000 < sum(buffer.bytes for buffer in lead_buffers(250.0)) <= 28 * 1024
    assert sum(buffer.bytes for buffer in patient_buffers()) <= 10 * 1024


def test_the_documents_have_the_table_of_the_state() -> None:
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert table(250.0) in text
