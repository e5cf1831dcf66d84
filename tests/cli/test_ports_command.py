"""`ports` lists the connected devices with stable names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecgmoe_edge.cli import ports as command
from ecgmoe_edge.firmware_bridge import PortInfo
from ecgmoe_edge.firmware_bridge import ports as listing

BOARD = PortInfo(
    "/dev/ttyUSB0",
    "USB Serial",
    serial_number="A9",
    vendor_id=0x1A86,
    product_id=0x7523,
    location="1-1",
    stable_path="/dev/serial/by-id/usb-1a86_USB_Serial_A9",
)


def test_a_port_is_listed_with_its_usb_identity_and_stable_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ecgmoe_edge.firmware_bridge.list_serial_ports", lambda: [BOARD])
    command.ports()
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "/dev/ttyUSB0  USB Serial  USB 1a86:7523, serial number A9",
        "    /dev/serial/by-id/usb-1a86_USB_Serial_A9",
    ]


def test_listening_reports_the_protocol_of_each_device_or_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ecgmoe_edge.firmware_bridge.list_serial_ports", lambda: [BOARD])
    command.ports(listen=True, as_json=True)
    (port,) = json.loads(capsys.readouterr().out)
    assert port["usb_id"] == "1a86:7523"
    assert port["protocol"] is None
    assert "There is no port /dev/ttyUSB0" in port["heard"]


def test_a_stable_path_is_found_for_its_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ttyUSB7").touch()
    (tmp_path / "by-id").mkdir()
    (tmp_path / "by-id" / "usb-board").symlink_to(tmp_path / "ttyUSB7")
    monkeypatch.setattr(listing, "STABLE_PATHS", tmp_path / "by-id")
    assert listing._stable_paths() == {str(tmp_path / "ttyUSB7"): str(tmp_path / "by-id" / "usb-board")}


def test_the_protocols_are_listed_with_their_required_options(capsys: pytest.CaptureFixture[str]) -> None:
    command.ports(protocols=True)
    out = capsys.readouterr().out
    assert "openview-ads1292r  ADS1292R shield" in out
    assert "Give --fs and --uv-per-lsb." in out
    assert "no counter and no CRC" in out
    command.ports(protocols=True, as_json=True)
    facts = {one["protocol"]: one for one in json.loads(capsys.readouterr().out)}
    assert facts["cyton"]["exact_below_samples"] == 256
    assert facts["ad8232"]["exact_below_samples"] is None
