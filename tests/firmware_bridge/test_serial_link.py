"""The serial link on a real pseudo terminal: everything arrives, losses are exact, nothing hangs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge import (
    DeviceRestart,
    EndOfStream,
    Faults,
    LinkItem,
    LinkReconnect,
    LinkStall,
    SampleLoss,
    Samples,
    SerialLink,
    StreamInfo,
    VirtualHolter,
)
from ecgmoe_edge.firmware_bridge.frame import FrameEncoder
from ecgmoe_edge.firmware_bridge.ports import PortIdentity
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice

Everything = Callable[[SerialLink], list[LinkItem]]
MakeHolter = Callable[..., VirtualHolter]
MakeSignal = Callable[[int], NDArray[np.float64]]


def received(items: Sequence[LinkItem]) -> NDArray[np.float64]:
    return np.concatenate([item.values for item in items if isinstance(item, Samples)], axis=1)


def losses(items: Sequence[LinkItem]) -> list[SampleLoss]:
    return [item for item in items if isinstance(item, SampleLoss)]


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.01)


def test_five_minutes_arrive_completely(holter: MakeHolter, signal: MakeSignal, everything: Everything) -> None:
    with holter(108_000) as device:
        link = SerialLink(device.port)
        items = everything(link)
    assert isinstance(items[0], StreamInfo)
    assert items[-1] == EndOfStream(108_000)
    np.testing.assert_allclose(received(items), signal(108_000), rtol=0, atol=1e-12)
    stats = link.stats()
    assert stats["samples"] == 108_000
    assert stats["lost_samples"] == stats["bad_frames"] == stats["junk_bytes"] == stats["lost_in_host"] == 0
    assert device.totals.samples_sent == 108_000


def test_ten_times_real_time_takes_a_tenth_of_the_time(holter: MakeHolter, everything: Everything) -> None:
    with holter(2500, speed=10.0) as device:
        started = time.monotonic()
        items = everything(SerialLink(device.port))
        took_s = time.monotonic() - started
    assert received(items).shape == (2, 2500)
    assert 0.9 < took_s < 4.0


def test_dropped_and_damaged_frames_equal_the_reported_losses(holter: MakeHolter, everything: Everything) -> None:
    with holter(25_000, faults=Faults(drop=0.05, corrupt=0.05, seed=1)) as device:
        link = SerialLink(device.port)
        items = everything(link)
    totals = device.totals
    assert totals.frames_dropped > 20
    assert totals.frames_corrupted > 20
    injected = totals.samples_dropped + totals.samples_corrupted
    assert sum(lost.samples or 0 for lost in losses(items)) == injected == link.stats()["lost_samples"]
    assert received(items).shape[1] + injected == 25_000
    assert link.stats()["bad_frames"] >= totals.frames_corrupted


def test_unplugging_gives_a_stall_a_reconnect_and_an_exact_gap(holter: MakeHolter, everything: Everything) -> None:
    with holter(5000, speed=20.0, faults=Faults(unplug_at_s=(5.0, 10.0), unplug_s=3.0)) as device:
        link = SerialLink(device.port)
        items = everything(link)
    names = [type(item) for item in items if isinstance(item, LinkStall | LinkReconnect | SampleLoss)]
    assert names == [LinkStall, LinkReconnect, SampleLoss] * 2
    assert {lost.reason for lost in losses(items)} == {"reconnect"}
    assert received(items).shape[1] + sum(lost.samples or 0 for lost in losses(items)) == 5000
    assert sum(lost.samples or 0 for lost in losses(items)) >= device.totals.samples_dropped >= 2 * 3 * 250
    assert link.stats()["reconnects"] == device.totals.unplugs == 2
    back = next(item for item in items if isinstance(item, LinkReconnect))
    assert back.port == device.port
    assert 0.0 < back.away_s < 5.0


def test_a_device_that_restarts_when_replugged_gives_a_gap_of_unknown_length(
    holter: MakeHolter, everything: Everything
) -> None:
    faults = Faults(unplug_at_s=(2.0,), unplug_s=1.0, restart_on_replug=True)
    with holter(2500, speed=20.0, faults=faults) as device:
        items = everything(SerialLink(device.port))
    assert [lost.samples for lost in losses(items)] == [None]
    assert [type(item) for item in items if isinstance(item, LinkReconnect | DeviceRestart)] == [
        LinkReconnect,
        DeviceRestart,
    ]
    after = items[items.index(losses(items)[0]) :]
    assert received(after).shape[1] > 1000


def test_a_new_replay_at_the_same_path_is_read(holter: MakeHolter) -> None:
    with holter(10**5, speed=5.0) as first:
        link = SerialLink(first.port)
        items = iter(link)
        assert isinstance(next(items), StreamInfo)
    with holter(500, run=8) as second:
        rest = list(items)
        link.close()
    assert second.port == first.port
    assert [type(item) for item in rest if isinstance(item, LinkStall | LinkReconnect | DeviceRestart)] == [
        LinkStall,
        LinkReconnect,
        DeviceRestart,
    ]
    assert rest[-1] == EndOfStream(500)


def test_a_silent_device_gives_one_stall_and_then_continues(holter: MakeHolter, everything: Everything) -> None:
    with holter(1000, faults=Faults(stall_at_s=(2.0,), stall_s=1.5)) as device:
        items = everything(SerialLink(device.port, stall_after_s=0.6))
    stalls = [item for item in items if isinstance(item, LinkStall)]
    assert len(stalls) == 1
    assert stalls[0].waited_s >= 0.6
    assert received(items).shape[1] == 1000
    assert losses(items) == []


def test_a_sleeping_consumer_does_not_delay_reading(holter: MakeHolter, everything: Everything) -> None:
    with holter(25_000) as device:
        link = SerialLink(device.port, queue_samples=2000)
        assert device.join(10.0), "the device was held up by a consumer that reads nothing"
        items = everything(link)
    assert received(items).shape[1] <= 2000
    assert losses(items) == [SampleLoss(25_000 - received(items).shape[1], "host overflow")]
    assert link.stats()["lost_in_host"] == losses(items)[0].samples


def test_back_pressure_loses_nothing_however_slow_the_consumer(holter: MakeHolter) -> None:
    with holter(10_000) as device, SerialLink(device.port, queue_samples=300, backpressure=True) as link:
        items: list[LinkItem] = []
        for item in link:
            if len(items) % 100 == 0:
                time.sleep(0.01)
            items.append(item)
    assert received(items).shape[1] == 10_000
    assert losses(items) == []


def test_random_bytes_are_an_error_that_names_protocol_and_baud(port: Path) -> None:
    device = PtyDevice(port)
    stopped = threading.Event()

    def talk_nonsense() -> None:
        noise = np.random.default_rng(0)
        while device.write(noise.bytes(500), stopped) and not stopped.wait(0.02):
            pass

    talker = threading.Thread(target=talk_nonsense, daemon=True)
    with SerialLink(device.port, no_frame_after_s=0.3) as link:
        talker.start()
        with pytest.raises(DeviceError, match=r"without a valid ecgmoe frame at 115200 baud: check --protocol"):
            list(link)
    stopped.set()
    talker.join(5.0)
    device.unplug()
    assert link.stats()["bytes"] > 1000
    assert link.stats()["frames"] == link.stats()["samples"] == 0


def test_a_port_that_sent_only_invalid_bytes_and_vanished_is_not_waited_for(port: Path) -> None:
    device = PtyDevice(port)
    with SerialLink(device.port) as link:
        device.write(b"\x55" * 300, threading.Event())
        deadline = time.monotonic() + 5.0
        while link.stats()["bytes"] < 300 and time.monotonic() < deadline:
            time.sleep(0.01)
        device.unplug()
        with pytest.raises(DeviceError, match="without a valid ecgmoe frame"):
            list(link)


def test_a_boot_message_and_a_long_silence_before_the_first_frame_are_no_error(port: Path, info: StreamInfo) -> None:
    device, encoder = PtyDevice(port), FrameEncoder(info, run=1)
    with SerialLink(device.port, no_frame_after_s=0.2, stall_after_s=0.5) as link:
        device.write(b"boot v1.2, self test ...\r\n", threading.Event())
        items = iter(link)
        assert isinstance(next(items), LinkStall)
        device.write(encoder.info_frame() + encoder.end_frame(), threading.Event())
        assert list(items) == [info, EndOfStream(0)]
    device.unplug()


def next_owners_of(terminal: str) -> list[PtyDevice]:
    """New devices; the last has the number of `terminal`, which has gone."""
    others: list[PtyDevice] = []
    while not others or (others[-1].port != terminal and len(others) < 20):
        others.append(PtyDevice())
    if others[-1].port != terminal:
        for other in others:
            other.unplug()
        pytest.skip("the kernel gave the terminal's number to another process")
    return others


def test_a_stale_symlink_never_leads_to_the_next_owner_of_its_terminal(holter: MakeHolter, port: Path) -> None:
    killed = PtyDevice(port)
    terminal = os.path.realpath(port)
    link = SerialLink(killed.port)
    os.close(killed._master)  # as SIGKILL does: the symlink stays
    assert killed._lock is not None
    killed._lock.close()
    time.sleep(0.05)
    others = next_owners_of(terminal)
    time.sleep(0.5)
    assert others[-1].reader() == (False, b"")
    with holter(500):
        items = list(link)
    link.close()
    assert [type(item) for item in items if isinstance(item, LinkStall | LinkReconnect)] == [LinkStall, LinkReconnect]
    assert items[-1] == EndOfStream(500)
    for other in others:
        other.unplug()


def test_a_reused_terminal_number_never_leads_to_its_next_owner() -> None:
    device = PtyDevice()
    with SerialLink(device.port) as link:
        device.unplug()
        assert isinstance(next(iter(link)), LinkStall)
        others = next_owners_of(device.port)
        time.sleep(0.5)
        assert others[-1].reader() == (False, b"")
    for other in others:
        other.unplug()


def test_the_next_owner_of_a_terminal_is_distinguished_however_soon_it_comes() -> None:
    for _ in range(20):  # many of them within one tick of the kernel's clock, by which a terminal's times go
        device = PtyDevice()
        identity = PortIdentity.of(device.port)
        assert identity.current_path() == device.port
        device.unplug()
        assert identity.current_path() is None
        others = next_owners_of(device.port)
        assert identity.current_path() is None
        for other in others:
            other.unplug()


def test_a_symlink_that_leads_elsewhere_is_not_the_same_terminal(tmp_path: Path) -> None:
    first, second = PtyDevice(), PtyDevice()
    outer, inner = tmp_path / "outer", tmp_path / "inner"
    inner.symlink_to(first.port)
    outer.symlink_to(inner)
    identity = PortIdentity.of(str(outer))
    assert identity.current_path() == str(outer)
    inner.unlink()
    assert identity.current_path() is None
    inner.symlink_to(second.port)  # the outer link, the one that was named, is as it was
    assert identity.current_path() is None
    for device in (first, second):
        device.unplug()


def test_a_closed_link_keeps_no_file_open(holter: MakeHolter, everything: Everything) -> None:
    def handles() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, links = handles(), []
    for _ in range(3):
        with holter(50) as device:
            links.append(SerialLink(device.port))
            everything(links[-1])
            links[-1].close()
    assert handles() == before


def test_after_a_passing_error_only_the_samples_lost_in_it_are_missing(holter: MakeHolter) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    with holter(5000, speed=5.0) as device, SerialLink(device.port) as link:
        items = []
        for item in link:
            items.append(item)
            if len(items) == 5:
                os.dup2(null, link._serial.fileno())  # the next read is an error, and the device is still there
    os.close(null)
    assert [type(item) for item in items if isinstance(item, LinkStall | LinkReconnect)] == [LinkStall, LinkReconnect]
    assert received(items).shape[1] + sum(lost.samples or 0 for lost in losses(items)) == 5000
    assert received(items).shape[1] > 4000


def test_stopping_ends_the_iteration_and_keeps_items_read_so_far(holter: MakeHolter) -> None:
    with holter(10**5, speed=1.0) as device, SerialLink(device.port) as link:
        items: list[LinkItem] = []
        for item in link:
            items.append(item)
            if len(items) == 5:
                link.stop()
    assert 5 <= len(items) < 50
    assert losses(items) == []


def test_a_port_that_appears_later_is_waited_for_if_requested(holter: MakeHolter, port: Path) -> None:
    plugged_in = threading.Timer(0.3, lambda: holter(500).play())
    plugged_in.start()
    link = SerialLink(str(port), wait_for_port_s=10.0)
    assert list(link)[-1] == EndOfStream(500)
    link.close()
    plugged_in.join(5.0)


def test_closing_releases_the_port(holter: MakeHolter, everything: Everything) -> None:
    with holter(2500, speed=5.0) as device:
        with SerialLink(device.port) as first:
            next(iter(first))
        items = everything(SerialLink(device.port))
    assert items[-1] == EndOfStream(2500)


def test_a_port_that_does_not_come_back_is_given_up_if_requested(holter: MakeHolter) -> None:
    with holter(10**5, speed=1.0) as device:
        link = SerialLink(device.port, give_up_after_s=0.3)
        items = iter(link)
        next(items)
    with pytest.raises(DeviceError, match=r"did not come back within 0\.3 s"):
        list(items)
    link.close()
