"""A device that comes back at another path, another device at the old path, and the time until samples come again."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ecgmoe_edge.firmware_bridge import (
    EndOfStream,
    Faults,
    LinkItem,
    LinkReconnect,
    PortInfo,
    Samples,
    SerialLink,
    StreamInfo,
    VirtualHolter,
    ports,
)
from ecgmoe_edge.firmware_bridge.frame import FrameEncoder
from ecgmoe_edge.firmware_bridge.ports import PortIdentity
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice

HOLTER = PortInfo("", "holter", serial_number="A1", vendor_id=0x2341, product_id=0x0043, location="1-1.2")
NEVER = threading.Event()


class Sockets:
    """The USB sockets of a machine, and the devices in them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.present: list[PortInfo] = []
        monkeypatch.setattr(ports, "list_serial_ports", lambda: list(self.present))

    def plug_in(self, who: PortInfo) -> PtyDevice:
        device = PtyDevice()
        self.present.append(replace(who, port=os.path.realpath(device.port)))
        return device

    def unplug(self, device: PtyDevice) -> None:
        self.present = [info for info in self.present if info.port != os.path.realpath(device.port)]
        device.unplug()


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Sockets:
    return Sockets(monkeypatch)


def until(items: list[LinkItem], kind: type, link: SerialLink, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    iterator = iter(link)
    while not any(isinstance(item, kind) for item in items):
        assert time.monotonic() < deadline
        items.append(next(iterator))


def test_a_usb_device_is_found_again_at_another_path(sockets: Sockets, info: StreamInfo) -> None:
    encoder = FrameEncoder(info, run=1)
    first = sockets.plug_in(HOLTER)
    with SerialLink(first.port) as link:
        first.write(encoder.info_frame(), NEVER)
        items: list[LinkItem] = []
        until(items, StreamInfo, link)
        sockets.unplug(first)
        time.sleep(0.3)
        # The kernel gives the old name to another device, whose serial number is not ours.
        other = sockets.plug_in(replace(HOLTER, serial_number="B2"))
        time.sleep(0.4)
        second = sockets.plug_in(HOLTER)
        until(items, LinkReconnect, link)
        back = next(item for item in items if isinstance(item, LinkReconnect))
        assert back.port == second.port
        assert back.away_s >= 0.6
        assert other.reader() == (False, b""), "another device was opened"
        second.write(encoder.info_frame() + encoder.end_frame(), NEVER)
        assert list(link)[-1] == EndOfStream(0)
    sockets.unplug(second)
    sockets.unplug(other)


def test_a_device_without_a_serial_number_is_identified_by_its_usb_socket() -> None:
    board = replace(HOLTER, serial_number=None, port="/dev/ttyUSB0")
    assert board.is_same_device(replace(board, port="/dev/ttyUSB1"))
    assert not board.is_same_device(replace(board, location="1-1.3"))
    assert not board.is_same_device(replace(board, product_id=1))
    assert not HOLTER.is_same_device(replace(HOLTER, serial_number=None))
    assert not PortInfo("/dev/ttyS0", "").is_same_device(PortInfo("/dev/ttyS0", ""))


def test_the_current_path_follows_the_device_and_not_its_old_path(monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[PortInfo] = []
    monkeypatch.setattr(ports, "list_serial_ports", lambda: here)
    usb = replace(HOLTER, port="/dev/ttyACM0")
    identity = PortIdentity("/dev/ttyACM0", usb=usb)
    assert identity.current_path() is None
    here.append(replace(usb, serial_number="B2"))
    assert identity.current_path() is None, "another device at the same path"
    here.append(replace(usb, port="/dev/ttyACM1"))
    assert identity.current_path() == "/dev/ttyACM1"
    nameless = PortIdentity("/dev/ttyUSB0", usb=replace(usb, port="/dev/ttyUSB0", serial_number=None))
    here[:] = [replace(usb, port="/dev/ttyUSB0", serial_number=None, location="2-9")]
    assert nameless.current_path() == "/dev/ttyUSB0", "the same kind of board at the same path"


def test_the_first_sample_comes_soon_after_replugging(holter: Callable[..., VirtualHolter], port: Path) -> None:
    with holter(5000, speed=5.0, faults=Faults(unplug_at_s=(4.0,), unplug_s=5.0)) as device:
        link = SerialLink(device.port)
        came: list[tuple[float, LinkItem]] = [(time.monotonic(), item) for item in link]
        link.close()
    back = next(place for place, (_, item) in enumerate(came) if isinstance(item, LinkReconnect))
    sample_at = next(at for at, item in came[back:] if isinstance(item, Samples))
    assert sample_at - came[back][0] < 1.0
    reconnected = came[back][1]
    assert isinstance(reconnected, LinkReconnect)
    assert reconnected.away_s == pytest.approx(1.0, abs=0.9)
