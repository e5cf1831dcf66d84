"""Source, monitor and sinks with real threads: a slow, blocked or failing sink delays no other sink."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.errors import DeviceError, UsageError
from ecgmoe_edge.firmware_bridge import LinkItem, SerialLink, StreamInfo, VirtualHolter
from ecgmoe_edge.live import FirstSeconds, JsonLinesFile, JsonLinesSink, Session, Sink, samples_as_items
from ecgmoe_edge.streaming.events import Beat, End, Event
from ecgmoe_edge.streaming.monitor import Monitor


class Collector(Sink):
    """Keeps events and their times."""

    def __init__(self, name: str = "collector") -> None:
        self.name = name
        self.events: list[Event] = []
        self.times: list[float] = []
        self.threads: set[str] = set()
        self.closed = 0

    def write(self, event: Event) -> None:
        self.events.append(event)
        self.times.append(time.monotonic())
        self.threads.add(threading.current_thread().name)

    def close(self) -> None:
        self.closed += 1


class Slow(Collector):
    """Needs half a second per event."""

    def write(self, event: Event) -> None:
        time.sleep(0.5)
        super().write(event)


class Blocked(Collector):
    """Blocks until it is released."""

    def __init__(self, name: str = "blocked") -> None:
        super().__init__(name)
        self.let_go = threading.Event()

    def write(self, event: Event) -> None:
        self.let_go.wait(30)
        super().write(event)


class Breaks(Collector):
    """Raises on the third event."""

    def write(self, event: Event) -> None:
        if len(self.events) == 2:
            raise OSError(28, "No space left on device")
        super().write(event)


def make_monitor(info: StreamInfo) -> Monitor:
    return Monitor(None, info.fs, leads=info.leads)


def ecg(seconds: float) -> tuple[NDArray[np.float64], float, tuple[str, ...]]:
    held = load_calibration()
    return held.signal[:, : round(seconds * held.fs)], held.fs, tuple(held.leads)


def items(seconds: float = 20.0) -> Iterator[LinkItem]:
    signal, fs, leads = ecg(seconds)
    return samples_as_items(np.array_split(signal, 50, axis=1), fs, leads)


def beats_of(events: list[Event]) -> list[int]:
    return [event.sample for event in events if isinstance(event, Beat)]


def test_two_sinks_receive_the_same_events_as_a_session_without_sinks_yields() -> None:
    first, second, lines = Collector("first"), Collector("second"), io.StringIO()
    end = Session(items(), make_monitor, [first, JsonLinesSink(lines), second]).run()
    alone = list(Session(items(), make_monitor).events())
    assert len(first.events) > 20
    assert first.events == second.events
    assert beats_of(first.events) == beats_of(alone)
    assert first.events[-1] is second.events[-1] is end
    assert len(lines.getvalue().splitlines()) == len(first.events)
    assert first.threads == {"sink first"}
    assert first.closed == second.closed == 1


def test_a_slow_sink_delays_no_other_sink(port: Path) -> None:
    signal, fs, leads = ecg(40.0)
    slow, fast = Slow("slow"), Collector("fast")
    slow.wait_s = 0.1
    began = time.monotonic()
    with VirtualHolter([signal], fs, leads, link=port, speed=20) as device, SerialLink(device.port) as link:
        session = Session(link, make_monitor, [slow, fast])
        end = session.run()
    beats = [at for at, event in zip(fast.times, fast.events, strict=True) if isinstance(event, Beat)]
    assert len(beats) == sum(end.beats.values()) > 50
    # The slow sink needs 25 s for fifty beats; the fast one has them shortly after the device's 2 s.
    assert beats[-1] - began < 12.0
    assert len(slow.events) < len(fast.events) / 2
    report = session.reports[0]
    assert isinstance(report.failure, TimeoutError)
    assert report.written + report.dropped == len(fast.events)


def test_events_that_find_no_room_are_dropped_for_that_sink_and_counted() -> None:
    blocked, fast = Blocked(), Collector("fast")
    blocked.capacity = 5
    messages: list[str] = []

    class LetsGoAtTheEnd(Collector):
        def write(self, event: Event) -> None:
            if isinstance(event, End):
                blocked.let_go.set()
            super().write(event)

    watcher = LetsGoAtTheEnd("watcher")
    session = Session(items(), make_monitor, [blocked, fast, watcher], notify=messages.append)
    end = session.run()
    report = session.reports[0]
    assert report.dropped == len(fast.events) - len(blocked.events) > 10
    assert report.failure is None
    assert blocked.events[-1] is end, "the end event always finds room"
    assert end.link["sinks"]["blocked"] == {"dropped": report.dropped, "failure": None}
    assert end.link["sinks"]["fast"] == {"dropped": 0, "failure": None}
    assert len(messages) == 2
    assert "blocked is too slow and its queue is full" in messages[0]
    assert messages[1] == f"blocked: {report.dropped} events were not written."


def test_a_sink_that_raises_is_closed_and_reported_once_and_the_others_continue() -> None:
    messages: list[str] = []
    breaks, other = Breaks("breaks"), Collector("other")
    session = Session(items(), make_monitor, [breaks, other], notify=messages.append)
    end = session.run()
    assert len(breaks.events) == 2
    assert breaks.closed == 1
    assert other.events[-1] is end
    assert len(other.events) > 20
    assert messages[0] == "No more events for breaks: No space left on device."
    assert messages[1:] == [f"breaks: {len(other.events) - 2} events were not written."]
    broken, fine = session.reports
    assert (broken.written, fine.failure) == (2, None)
    assert isinstance(broken.failure, OSError)
    assert not broken.reader_left


def test_a_session_stops_reading_once_all_sinks_have_failed() -> None:
    taken = 0

    def endless() -> Iterator[LinkItem]:
        nonlocal taken
        signal, fs, leads = ecg(10.0)
        yield from list(samples_as_items([signal], fs, leads))[:2]
        for item in samples_as_items((signal for _ in range(1000)), fs, leads):
            taken += 1
            yield item
            time.sleep(0.02)

    session = Session(endless(), make_monitor, [Breaks("one"), Breaks("two")])
    session.run()
    assert taken < 500
    assert all(report.failure for report in session.reports)


def test_a_session_stopped_from_a_signal_ends_with_its_totals(port: Path) -> None:
    signal, fs, leads = ecg(300.0)
    with VirtualHolter([signal], fs, leads, link=port, speed=20) as device, SerialLink(device.port) as link:
        collector = Collector()
        session = Session(link, make_monitor, [collector])
        threading.Timer(1.5, session.stop).start()
        end = session.run()
    assert 0 < end.samples < signal.shape[1]
    assert collector.events[-1] is end
    assert session.fs == fs


def test_the_first_seconds_of_any_source_are_cut_to_the_sample() -> None:
    end = Session(FirstSeconds(items(20.0), 7.5), make_monitor).run()
    assert end.samples == round(7.5 * load_calibration().fs)


def test_sinks_receive_the_end_event_before_a_link_failure_is_raised() -> None:
    def failing() -> Iterator[LinkItem]:
        yield from list(items())[:-1]
        raise DeviceError("gone")

    collector = Collector()
    with pytest.raises(DeviceError, match="gone"):
        Session(failing(), make_monitor, [collector]).run()
    assert isinstance(collector.events[-1], End)
    assert collector.closed == 1


def test_two_sinks_with_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="unique name"):
        Session(items(), make_monitor, [Collector(), Collector()])


def test_an_event_file_gets_its_name_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    seen: list[bool] = []

    class Looks(Collector):
        def write(self, event: Event) -> None:
            seen.append(path.exists())
            super().write(event)

    looks = Looks()
    end = Session(items(), make_monitor, [looks, JsonLinesFile(path)]).run()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(looks.events)
    assert json.loads(lines[-1])["samples"] == end.samples
    assert not any(seen[:-1])
    assert not (tmp_path / "night.jsonl.part").exists()


def test_the_name_of_a_file_of_events_is_flushed_to_the_disk_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flushed = tmp_path / "night.jsonl", []

    def fsync(handle: int) -> None:
        flushed.append((os.fstat(handle).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    Session(items(), make_monitor, [JsonLinesFile(path)]).run()
    assert flushed == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_the_event_file_of_a_broken_stream_keeps_its_temporary_name(tmp_path: Path) -> None:
    def broken() -> Iterator[LinkItem]:
        yield from list(items())[:-1]
        raise RuntimeError("a defect")

    path = tmp_path / "night.jsonl"
    with pytest.raises(RuntimeError):
        Session(broken(), make_monitor, [JsonLinesFile(path)]).run()
    assert not path.exists()
    assert len((tmp_path / "night.jsonl.part").read_text().splitlines()) > 10


@pytest.mark.parametrize("taken", ["night.jsonl", "night.jsonl.part"])
def test_an_event_file_overwrites_nothing_and_the_stream_does_not_start(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("yesterday")
    other = Collector()
    with pytest.raises(UsageError, match="already exists"):
        Session(items(), make_monitor, [other, JsonLinesFile(tmp_path / "night.jsonl")]).run()
    assert other.closed == 1
    assert other.events == []
    assert (tmp_path / taken).read_text() == "yesterday"
