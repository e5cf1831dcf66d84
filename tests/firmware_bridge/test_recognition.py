"""Recognition by listening: each protocol is recognised by its bytes, and an unknown device receives no byte."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge import (
    EndOfStream,
    PortInfo,
    Samples,
    SerialLink,
    Settings,
    VirtualHolter,
    get_protocol,
    ports,
    recognise,
    recognise_any,
    recognition,
)
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice

GIVEN = Settings(rate=Fraction(250), uv_per_lsb=5.0)


@contextmanager
def talking(
    device: PtyDevice, say: Callable[[], bytes], every_s: float = 0.02, answer: Callable[[bytes], bytes] | None = None
) -> Iterator[bytearray]:
    """A device that sends without a command; yields the bytes that it receives."""
    stopped, got = threading.Event(), bytearray()

    def talk() -> None:
        while not stopped.wait(every_s):
            attached, received = device.reader()
            got.extend(received)
            if attached:
                device.write((answer(received) if answer and received else b"") + say(), stopped)

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    try:
        yield got
    finally:
        stopped.set()
        talker.join(5.0)
        device.unplug()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short time limits, for devices that are silent or never recognised."""
    monkeypatch.setattr(recognition, "SILENCE_S", 1.0)
    monkeypatch.setattr(recognition, "LISTEN_S", 1.0)


def heart(seconds: float, fs: float, leads: int) -> NDArray[np.float64]:
    t = np.arange(round(seconds * fs)) / fs
    one = np.exp(-((((t + 0.4) % 0.8 - 0.4) / 0.015) ** 2)) + 0.1 * np.sin(2 * np.pi * 0.3 * t)
    return np.asarray(np.stack([one * (1 - 0.1 * lead) for lead in range(leads)]))


def voice_of(name: str) -> Callable[[], bytes]:
    """A started device of this protocol, frame by frame."""
    wire_format = get_protocol(name)
    encoder = wire_format.make_encoder(GIVEN)
    for step in wire_format.start:
        encoder.receive(step.data)
    signal = heart(60.0, float(encoder.rate), len(encoder.leads))
    at = 0

    def say() -> bytes:
        nonlocal at
        data = encoder.announce() if at == 0 else b""
        for _ in range(max(1, round(float(encoder.rate) * 0.05 / encoder.per_frame))):
            data += encoder.encode(signal[:, at : at + encoder.per_frame])
            at = (at + encoder.per_frame) % (signal.shape[1] - encoder.per_frame)
        return data

    return say


UNMISTAKABLE = [one.name for one in all_protocols() if one.name not in ("openview-ads1293", "openview-max30001")]


@pytest.mark.parametrize("name", UNMISTAKABLE)
def test_each_protocol_is_recognised_by_listening_and_nothing_is_sent(name: str, port: Path) -> None:
    with talking(PtyDevice(port), voice_of(name)) as got:
        found = recognise(str(port))
        time.sleep(0.05)
        found.close()
    assert found.protocol == name
    assert bytes(got) == b""


class Line:
    """A port with correct bytes at one baud rate only; a pseudo terminal cannot simulate this."""

    def __init__(self, voice: Callable[[], bytes], rate: int) -> None:
        self.baudrate = 0
        self.tried: list[int] = []
        self.in_waiting = 1
        self._voice, self._rate = voice, rate
        self._noise = np.random.default_rng(0)

    def reset_input_buffer(self) -> None:
        self.tried.append(self.baudrate)

    def read(self, size: int) -> bytes:
        time.sleep(0.02)
        data = self._voice()
        return data if self.baudrate == self._rate else self._noise.bytes(len(data) // 2)

    def write(self, data: bytes) -> int:
        raise AssertionError(f"sent {data!r}")

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "rate"), [(one.name, rate) for one in all_protocols() if one.name in UNMISTAKABLE for rate in one.bauds]
)
def test_recognition_listens_at_each_baud_rate_of_a_protocol(
    name: str, rate: int, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(voice_of(name), rate)
    monkeypatch.setattr(recognition, "open_port", lambda *_: line)
    found = recognise("/dev/ttyUSB0")
    assert (found.protocol, found.baud) == (name, rate)
    assert line.tried[-1] == rate


def test_a_device_with_an_unknown_protocol_receives_no_byte_and_is_an_error(port: Path, impatient: None) -> None:
    rng = np.random.default_rng(5)
    with (
        talking(PtyDevice(port), lambda: rng.bytes(40)) as got,
        pytest.raises(DeviceError, match="fits no known protocol"),
    ):
        recognise(str(port), baud=115200)
    assert bytes(got) == b""


def test_a_silent_device_receives_no_byte_unless_queries_are_allowed(port: Path, impatient: None) -> None:
    with talking(PtyDevice(port), lambda: b"") as got:
        with pytest.raises(DeviceError, match=r"sends nothing, and no query was sent.*--probe"):
            recognise(str(port))
        assert bytes(got) == b""


@pytest.mark.parametrize("name", [one.name for one in all_protocols() if one.probe])
def test_a_silent_device_is_recognised_by_its_reply_if_queries_are_allowed(
    name: str, port: Path, impatient: None
) -> None:
    wire_format = get_protocol(name)
    encoder = wire_format.make_encoder(GIVEN)

    def answer(question: bytes) -> bytes:
        return encoder.receive(question) + (encoder.announce() if encoder.streaming else b"")

    with talking(PtyDevice(port), lambda: b"", answer=answer):
        found = recognise(str(port), probe=True, protocols=[wire_format])
        found.close()
    assert (found.protocol, found.baud) == (name, wire_format.baud)


def test_text_is_quoted_in_the_error(port: Path, impatient: None) -> None:
    with (
        talking(PtyDevice(port), lambda: b"temperature is fine\r\n"),
        pytest.raises(DeviceError, match="sends text, such as 'temperature is fine'"),
    ):
        recognise(str(port), baud=9600)


def test_both_candidates_are_named_if_the_bytes_fit_two_protocols(port: Path, impatient: None) -> None:
    frame = bytes([0x0A, 0xFA, 12, 0, 2, *bytes(8), *bytes(4), 0x00, 0x0B])
    with (
        talking(PtyDevice(port), lambda: frame * 5),
        pytest.raises(DeviceError, match=r"openview-.* or openview-.*--protocol"),
    ):
        recognise(str(port), baud=115200)


def test_a_port_that_vanishes_during_recognition_is_an_error(port: Path) -> None:
    device = PtyDevice(port)
    plug = threading.Timer(0.5, device.unplug)
    plug.start()
    with pytest.raises(DeviceError, match="went away during recognition"):
        recognise(str(port))
    plug.join()


def test_bytes_received_during_recognition_are_not_lost(port: Path) -> None:
    signal = heart(60.0, 250.0, 2)
    with VirtualHolter([signal], 250, ("II", "V1"), link=port, speed=20.0):
        link = SerialLink("", opened=recognise(str(port)))
        items = list(link)
        link.close()
    assert items[-1] == EndOfStream(15_000)
    assert sum(item.values.shape[1] for item in items if isinstance(item, Samples)) == 15_000


def test_the_only_device_is_found_among_the_ports(
    port: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    silent = PtyDevice(tmp_path / "silent")
    talker = PtyDevice(port)
    usb = [
        PortInfo(os.path.realpath(path), "bench", vendor_id=0x1A86, product_id=0x7523, serial_number=str(path))
        for path in (silent.port, talker.port)
    ]
    for module in (ports, recognition):
        monkeypatch.setattr(module, "list_serial_ports", lambda: usb)
    with talking(talker, voice_of("olimex")) as got:
        found = recognise_any()
        found.close()
    silent.unplug()
    assert (found.protocol, found.port) == ("olimex", usb[1].port)
    assert bytes(got) == b""


def test_without_a_usb_device_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "list_serial_ports", list)
    with pytest.raises(DeviceError, match="There is no USB serial port"):
        recognise_any()
