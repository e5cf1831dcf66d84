"""A port that cannot be used gives one sentence that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from serial import SerialException

from ecgmoe_edge.errors import DeviceError, UsageError
from ecgmoe_edge.firmware_bridge import SerialLink, VirtualHolter, list_serial_ports, protocol_names
from ecgmoe_edge.firmware_bridge.open_port import open_error
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice


def test_the_error_for_a_missing_port_lists_the_existing_ones() -> None:
    with pytest.raises(DeviceError, match=r"There is no port /dev/ttyNOWHERE: plug the device in, or correct --port"):
        SerialLink("/dev/ttyNOWHERE")


def test_a_busy_port_is_an_error(holter: Callable[..., VirtualHolter]) -> None:
    with (
        holter(10**5, speed=1.0) as device,
        SerialLink(device.port),
        pytest.raises(DeviceError, match="in use by another program"),
    ):
        SerialLink(device.port)


def test_the_error_for_a_forbidden_port_names_the_group_to_join() -> None:
    message = str(open_error("/dev/ttyUSB0", 115200, SerialException(errno.EACCES, "could not open port")))
    assert "dialout" in message
    assert "/dev/ttyUSB0" in message


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_path_that_is_no_serial_port_is_an_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    path.mkdir() if kind == "folder" else path.write_text("not a port")
    with pytest.raises(DeviceError, match="give the path of a serial device"):
        SerialLink(str(path))


def test_an_impossible_baud_rate_is_an_error(port: Path) -> None:
    device = PtyDevice(port)
    try:
        with pytest.raises(DeviceError, match="at -5 baud"):
            SerialLink(device.port, baud=-5)
    finally:
        device.unplug()


def test_an_unknown_protocol_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Known: ecgmoe"):
        SerialLink("/dev/null", protocol="morse")
    assert protocol_names()[0] == "ecgmoe"


def test_listing_ports_works_whatever_is_plugged_in() -> None:
    ports = list_serial_ports()
    assert [info.port for info in ports] == sorted(info.port for info in ports)
