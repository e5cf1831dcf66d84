"""From wire to events with the real monitor: each loss is in the events once, and the totals add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge import (
    DeviceRestart,
    EndOfStream,
    Faults,
    LeadOffChange,
    LinkItem,
    LinkReconnect,
    LinkStall,
    SampleLoss,
    Samples,
    SerialLink,
    StreamInfo,
    VirtualHolter,
)
from ecgmoe_edge.live import Session
from ecgmoe_edge.streaming.events import Beat, End, Event, Gap, LeadOff, Reconnect, Stall
from ecgmoe_edge.streaming.monitor import Monitor

INFO = StreamInfo(Fraction(250), ("II", "V1"), (100_000, 100_000), "bench")


@dataclass
class Recorded:
    """A link with given items."""

    items: Sequence[LinkItem | DeviceError]

    def __iter__(self) -> Iterator[LinkItem]:
        for item in self.items:
            if isinstance(item, DeviceError):
                raise item
            yield item

    def stats(self) -> dict[str, Any]:
        return {"port": "bench"}


def make_monitor(info: StreamInfo) -> Monitor:
    return Monitor(None, info.fs, leads=info.leads)


def some(n: int) -> Samples:
    return Samples(np.zeros((2, n)), 0)


def heart(seconds: float, fs: float = 250.0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One lead with a QRS of 1 mV each 0.8 s, and a little noise."""
    t = np.arange(round(seconds * fs)) / fs
    phase = (t + 0.4) % 0.8 - 0.4
    x = np.exp(-((phase / 0.012) ** 2)) - 0.2 * np.exp(-(((phase - 0.03) / 0.012) ** 2))
    x += 0.2 * np.exp(-(((phase - 0.25) / 0.04) ** 2))
    return np.asarray(x + np.random.default_rng(0).normal(0, 0.005, t.size))[None, :]


def of_kind(events: Sequence[Event], *kinds: type) -> list[Event]:
    return [event for event in events if isinstance(event, kinds)]


def test_each_kind_of_item_becomes_its_event_at_its_position() -> None:
    link = Recorded(
        [
            LinkStall(2.0),
            INFO,
            some(500),
            SampleLoss(50, "link"),
            some(200),
            LeadOffChange((False, True), ("V1",)),
            LinkStall(3.0),
            LinkReconnect(4.0, "tty"),
            DeviceRestart(2),
            SampleLoss(None, "restart"),
            some(250),
            EndOfStream(250),
        ]
    )
    events = of_kind(list(Session(link, make_monitor).events()), Stall, Gap, LeadOff, Reconnect, End)
    assert events[:-1] == [
        Stall(0, 0.0, 2.0),
        Gap(500, 2.0, 50, "link"),
        LeadOff(750, 3.0, ("V1",)),
        Stall(750, 3.0, 3.0),
        Reconnect(750, 3.0, 4.0, "tty"),
        Gap(750, 3.0, None, "restart"),
    ]
    end = events[-1]
    assert isinstance(end, End)
    assert (end.samples, end.lost, end.gaps, end.duration_s) == (950, 50, 2, 4.0)
    assert end.link == {"port": "bench"}


def test_a_link_that_fails_still_gives_an_end_event() -> None:
    events = Session(Recorded([INFO, some(100), DeviceError("gone")]), make_monitor).events()
    end = next(event for event in events if isinstance(event, End))
    assert end.samples == 100
    with pytest.raises(DeviceError, match="gone"):
        next(events)


def test_a_device_that_changes_its_rate_ends_the_stream_with_a_reason() -> None:
    link = Recorded([INFO, some(100), replace(INFO, rate=Fraction(500)), some(100)])
    with pytest.raises(DeviceError, match="from 250 Hz, leads II, V1 to 500 Hz, leads II, V1"):
        list(Session(link, make_monitor).events())


def test_a_device_that_changes_only_its_scale_continues() -> None:
    link = Recorded([INFO, some(100), replace(INFO, picovolts_per_lsb=(1, 1)), some(100), EndOfStream(200)])
    end = list(Session(link, make_monitor).events())[-1]
    assert isinstance(end, End)
    assert end.samples == 200


def test_a_device_that_never_sent_its_rate_and_leads_is_an_error() -> None:
    with pytest.raises(DeviceError, match="before the device sent its sampling rate"):
        list(Session(Recorded([EndOfStream(0)]), make_monitor).events())


def test_a_faulty_recording_over_a_real_port_adds_up(port: Path) -> None:
    faults = Faults(drop=0.01, corrupt=0.01, unplug_at_s=(20.0,), unplug_s=5.0, seed=2)
    x = heart(80.0)
    with (
        VirtualHolter([x], 250, ("II",), link=port, speed=0, faults=faults) as device,
        SerialLink(device.port, stall_after_s=0.2) as link,
    ):
        events = list(Session(link, make_monitor).events())
    end = events[-1]
    assert isinstance(end, End)
    gaps = [event for event in events if isinstance(event, Gap)]
    assert end.samples + end.lost == x.shape[1]
    assert sum(gap.lost or 0 for gap in gaps) == end.lost == link.stats()["lost_samples"]
    assert end.gaps == len(gaps)
    assert end.lost >= device.totals.samples_dropped + device.totals.samples_corrupted
    assert len(of_kind(events, Reconnect)) == 1
    beats = [event.time_s for event in events if isinstance(event, Beat)]
    assert len(beats) > 30
    # Lost samples count: a beat after the gap has its position in the recording.
    away = (np.asarray(beats) + 0.4) % 0.8 - 0.4
    assert np.mean(np.abs(away) < 0.02) > 0.9


def test_a_clean_recording_over_a_real_port_gives_all_its_beats(port: Path) -> None:
    with VirtualHolter([heart(80.0)], 250, ("II",), link=port, speed=0) as device, SerialLink(device.port) as link:
        events = list(Session(link, make_monitor).events())
    end = events[-1]
    assert isinstance(end, End)
    assert (end.samples, end.lost, end.gaps) == (20_000, 0, 0)
    assert 98 <= len(of_kind(events, Beat)) <= 101
    assert end.link["samples"] == 20_000
