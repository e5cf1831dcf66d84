"""Unexpected behaviour of devices and users: each case gives a sentence that says what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.errors import DeviceError, UsageError
from ecgmoe_edge.firmware_bridge import (
    ClockReading,
    ConsumerLag,
    EndOfStream,
    Faults,
    LinkItem,
    LinkStall,
    PortInfo,
    SampleLoss,
    Samples,
    SerialLink,
    Settings,
    StreamInfo,
    VirtualHolter,
    get_protocol,
    link,
    open_port,
)
from ecgmoe_edge.firmware_bridge.frame import FrameEncoder
from ecgmoe_edge.firmware_bridge.items import CommandStep
from ecgmoe_edge.firmware_bridge.open_port import holders_of, open_error
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice

MakeHolter = Callable[..., VirtualHolter]
NEVER = threading.Event()


@contextmanager
def repeating(device: PtyDevice, say: Callable[[], bytes], every_s: float = 0.02) -> Iterator[None]:
    stopped = threading.Event()

    def talk() -> None:
        while not stopped.wait(every_s):
            if device.reader()[0]:
                device.write(say(), stopped)

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    try:
        yield
    finally:
        stopped.set()
        talker.join(5.0)
        device.unplug()


def olimex() -> Callable[[], bytes]:
    encoder = get_protocol("olimex").make_encoder(Settings(uv_per_lsb=5.0))
    values = np.zeros((len(encoder.leads), encoder.per_frame))
    return lambda: b"".join(encoder.encode(values) for _ in range(10))


def failure_of(serial_link: SerialLink) -> str:
    with serial_link, pytest.raises(DeviceError) as failed:
        list(serial_link)
    return str(failed.value)


def test_a_wrong_protocol_is_reported_with_the_one_that_fits_the_bytes(port: Path) -> None:
    with repeating(PtyDevice(port), olimex()):
        message = failure_of(SerialLink(str(port), no_frame_after_s=1.0))
    assert "the bytes look like olimex, so try --protocol olimex" in message


def test_random_bytes_are_reported_as_a_probable_wrong_baud_rate(port: Path) -> None:
    rng = np.random.default_rng(1)
    with repeating(PtyDevice(port), lambda: rng.bytes(50)):
        message = failure_of(SerialLink(str(port), baud=9600, no_frame_after_s=0.5))
    assert "at 9600 baud" in message
    assert "The most likely cause is a wrong baud rate" in message


def test_endless_text_is_quoted_in_the_error(port: Path) -> None:
    with repeating(PtyDevice(port), lambda: b"ADC ready, waiting for SD card\r\n"):
        message = failure_of(SerialLink(str(port), no_frame_after_s=0.5))
    assert "it sends text, such as 'ADC ready, waiting for SD card'" in message


def test_a_long_boot_message_before_the_frames_is_no_error(port: Path, info: StreamInfo) -> None:
    device, encoder = PtyDevice(port), FrameEncoder(info, run=1)
    with SerialLink(str(port), no_frame_after_s=0.5) as serial_link:
        device.write(b"rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n" * 20, NEVER)
        device.write(encoder.info_frame(), NEVER)
        for _ in range(20):
            device.write(encoder.samples_frame(np.zeros((2, 50), dtype=np.int32)), NEVER)
            time.sleep(0.05)
        device.write(encoder.end_frame(), NEVER)
        items = list(serial_link)
    device.unplug()
    assert items[-1] == EndOfStream(1000)
    assert serial_link.stats()["junk_bytes"] > 1000
    assert not any(isinstance(item, SampleLoss) for item in items)


@pytest.mark.parametrize("answers", [True, False])
def test_a_device_that_does_not_confirm_its_stop_is_reported(
    port: Path, info: StreamInfo, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirming = replace(get_protocol("ecgmoe"), start=(), stop=(CommandStep(b"P", reply=b"OK", wait_s=0.3, tries=2),))
    monkeypatch.setattr(link, "get_protocol", lambda name: confirming)
    device, encoder = PtyDevice(port), FrameEncoder(info, run=1)
    got = bytearray()
    with SerialLink(str(port)) as serial_link:
        device.write(encoder.info_frame() + encoder.samples_frame(np.zeros((2, 50), dtype=np.int32)), NEVER)
        items: list[LinkItem] = []
        while not any(isinstance(item, Samples) for item in items):
            items.append(next(iter(serial_link)))
        serial_link.stop()
        deadline = time.monotonic() + 3.0
        while b"P" not in got and time.monotonic() < deadline:
            got += device.reader()[1]
            time.sleep(0.005)
        device.write(encoder.samples_frame(np.zeros((2, 50), dtype=np.int32)) + (b"OK" if answers else b""), NEVER)
        if answers:
            rest = list(serial_link)
        else:
            rest = []
            with pytest.raises(DeviceError, match="did not confirm that it stopped"):
                rest.extend(serial_link)
    device.unplug()
    if answers:
        assert sum(item.values.shape[1] for item in rest if isinstance(item, Samples)) == 50, "sent before it stopped"


def test_a_device_that_restarts_while_its_port_stays_open_gets_its_start_command_again(
    port: Path, info: StreamInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "START_EVERY_S", 0.5)
    device, encoder = PtyDevice(port), FrameEncoder(info, run=1)
    with SerialLink(str(port), stall_after_s=0.2) as serial_link:
        received = bytearray()
        deadline = time.monotonic() + 5.0
        while received.count(b"S") < 2 and time.monotonic() < deadline:
            received += device.reader()[1]
            time.sleep(0.01)
        device.write(encoder.info_frame() + encoder.end_frame(), NEVER)
        items = list(serial_link)
    device.unplug()
    assert received.count(b"S") >= 2
    assert [type(item) for item in items] == [LinkStall, StreamInfo, EndOfStream]


def test_a_slow_consumer_is_warned_before_samples_are_lost(holter: MakeHolter) -> None:
    with holter(25_000) as device:
        serial_link = SerialLink(device.port, queue_samples=5000)
        assert device.join(15.0)
        items = list(serial_link)
        serial_link.close()
    behind = next(place for place, item in enumerate(items) if isinstance(item, ConsumerLag))
    lost = next(place for place, item in enumerate(items) if isinstance(item, SampleLoss))
    assert behind < lost
    received = sum(item.values.shape[1] for item in items if isinstance(item, Samples))
    assert received + sum(item.samples or 0 for item in items if isinstance(item, SampleLoss)) == 25_000


def test_the_clock_is_read_at_the_start_and_after_an_interruption_and_never_goes_back(holter: MakeHolter) -> None:
    began = time.time()
    with holter(3000, speed=4.0, faults=Faults(unplug_at_s=(4.0,), unplug_s=2.0, jitter_s=0.02)) as device:
        serial_link = SerialLink(device.port)
        items = list(serial_link)
        serial_link.close()
    readings = [item.host_time_s for item in items if isinstance(item, ClockReading)]
    assert len(readings) == 2
    assert began - 1.0 <= readings[0] < readings[1] <= time.time()
    assert isinstance(items[1], ClockReading), "before the first samples"


def test_a_device_that_vanishes_without_an_end_is_given_up_after_the_time_limit(port: Path) -> None:
    settings = Settings(uv_per_lsb=5.0)
    signal = np.zeros((6, 512))
    with VirtualHolter([signal], 256, tuple("abcdef"), link=port, protocol="olimex", settings=settings, speed=0):
        serial_link = SerialLink(str(port), protocol="olimex", settings=settings, give_up_after_s=0.5)
        items: list[LinkItem] = []
        with serial_link, pytest.raises(DeviceError, match="did not come back within"):
            items.extend(serial_link)
    assert sum(item.values.shape[1] for item in items if isinstance(item, Samples)) >= 500
    assert "no" in serial_link.stats()["limits"]


def test_the_error_for_a_busy_port_names_the_program_that_uses_it(port: Path) -> None:
    device = PtyDevice(port)
    code = (
        "import sys, time, serial\n"
        "held = serial.Serial(sys.argv[1], exclusive=True)\n"
        "print('held', flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, device.port], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            assert any(str(other.pid) in holder for holder in holders_of(device.port))
            with pytest.raises(DeviceError, match=rf"in use by another program \(python.*, process {other.pid}\)"):
                SerialLink(device.port)
        finally:
            other.kill()
    device.unplug()


@pytest.mark.skipif(os.getuid() != 0, reason="needs to be root to make a port that is not its own")
@pytest.mark.parametrize(
    ("mode", "group", "words"),
    [
        (0o660, 20, "sudo usermod -aG dialout $USER"),
        (0o600, 0, 'ATTRS{idVendor}=="2341", ATTRS{idProduct}=="0043"'),
    ],
)
def test_the_error_for_a_forbidden_port_names_the_group_or_the_udev_rule(
    tmp_path: Path, mode: int, group: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ttyACM0"
    path.touch()
    os.chown(path, 0, group)
    path.chmod(mode)
    here = [PortInfo(str(path), "", vendor_id=0x2341, product_id=0x0043)]
    monkeypatch.setattr(open_port, "list_serial_ports", lambda: here)
    assert words in str(open_error(str(path), 115200, OSError(errno.EACCES, "denied")))


def test_a_missing_scale_is_an_error_that_names_its_option(port: Path) -> None:
    device = PtyDevice(port)
    with pytest.raises(UsageError, match="--uv-per-lsb"):
        SerialLink(str(port), protocol="openview-ads1292r")
    device.unplug()
