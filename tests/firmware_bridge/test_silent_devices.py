"""A device that is silent, uses another protocol or has fewer channels than named gives advice within seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgmoe_edge.errors import DeviceError, EcgmoeError, UsageError
from ecgmoe_edge.firmware_bridge import (
    Advice,
    LinkItem,
    Samples,
    SerialLink,
    Settings,
    StreamInfo,
    VirtualHolter,
    get_protocol,
    recognise,
)
from ecgmoe_edge.firmware_bridge.clock import ClockFit
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice
from ecgmoe_edge.firmware_bridge.simulated_stream import example_settings

SOON: dict[str, Any] = {"no_frame_after_s": 0.3, "no_samples_after_s": 1.0}
DAISY_BANNER = (
    b"OpenBCI V3 8-16 channel\r\nOn Board ADS1299 Device ID: 0x3E\r\nOn Daisy ADS1299 Device ID: 0x3E\r\n"
    b"LIS3DH Device ID: 0x33\r\nFirmware: v3.1.2\r\n$$$"
)


@contextmanager
def device_that(port: Path, answer: Callable[[bytes], bytes]) -> Iterator[bytearray]:
    """A device that replies to the bytes it receives; yields the received bytes."""
    device, stopped, received = PtyDevice(port), threading.Event(), bytearray()

    def talk() -> None:
        while not stopped.wait(0.01):
            attached, data = device.reader()
            received.extend(data)
            if attached and (message := answer(data)):
                device.write(message, stopped)

    talker = threading.Thread(target=talk, daemon=True)
    talker.start()
    try:
        yield received
    finally:
        stopped.set()
        talker.join(5.0)
        device.unplug()


def failure_of(port: Path, **options: Any) -> tuple[str, list[LinkItem]]:
    items: list[LinkItem] = []
    with SerialLink(str(port), **{**SOON, **options}) as link, pytest.raises(EcgmoeError) as failed:
        items.extend(link)
    return str(failed.value), items


@pytest.mark.parametrize("wire_format", all_protocols(), ids=lambda wire_format: wire_format.name)
def test_a_device_that_sends_nothing_is_given_up_with_advice(port: Path, wire_format: Any) -> None:
    began = time.monotonic()
    with device_that(port, lambda data: b""):
        message, items = failure_of(port, protocol=wire_format.name, settings=example_settings(wire_format))
    assert "sent nothing within" in message
    assert "battery" in message or "switched on and charged" in message
    assert not any(isinstance(item, Samples | StreamInfo) for item in items)
    assert time.monotonic() - began < 8.0


def test_the_message_of_a_dongle_without_its_board_is_quoted(port: Path) -> None:
    report = b"Failure: Communications timeout - Device failed to poll Host$$$"
    with device_that(port, lambda data: report if data else b""):
        message, _ = failure_of(port, protocol="cyton")
    assert "the dongle reports 'Failure: Communications timeout - Device failed to poll Host'" in message
    assert "Switch it to PC" in message


def test_a_probe_does_not_recognise_a_dongle_without_its_board_and_quotes_it(port: Path) -> None:
    report = b"Failure: Communications timeout - Device failed to poll Host$$$"
    cyton = [get_protocol("cyton")]
    with (
        device_that(port, lambda data: report if data else b""),
        pytest.raises(DeviceError, match=r"Device failed to poll Host.*Switch it to PC"),
    ):
        recognise(str(port), probe=True, protocols=cyton)


def test_a_board_with_a_daisy_is_rejected_by_its_banner_and_stopped(port: Path) -> None:
    with device_that(port, lambda data: DAISY_BANNER if b"v" in data else b"") as received:
        message, items = failure_of(port, protocol="cyton")
        time.sleep(0.1)
    assert "16 channels at 125 Hz" in message
    assert "Take the Daisy off" in message
    assert items == []
    assert received.endswith(b"s")


@pytest.mark.parametrize("name", ["cyton"])
def test_alternating_frames_of_two_boards_are_rejected_without_a_banner_too(port: Path, name: str) -> None:
    encoder = get_protocol(name).make_encoder(Settings())
    rng = np.random.default_rng(3)
    offsets = rng.normal(0, 20, (2, 8, 1))  # electrode offsets, mV
    count = 0

    def frames(data: bytes) -> bytes:
        nonlocal count
        out = b""
        for _ in range(20):
            out += encoder.encode(offsets[count % 2] + np.sin(count / 30) + rng.normal(0, 0.01, (8, 1)))
            count += 1
        return out

    with device_that(port, frames):
        message, _ = failure_of(port, protocol=name)
    assert "16 channels at 125 Hz" in message


def test_an_ecg_with_noise_and_hum_is_not_rejected_as_two_boards() -> None:
    decoder = get_protocol("cyton").make_decoder(Settings())
    encoder = get_protocol("cyton").make_encoder(Settings())
    t = np.arange(1000) / 250
    values = np.random.default_rng(1).normal(0, 0.1, (8, 1000)) + 40 * np.sin(2 * np.pi * 60 * t)
    decoder.feed(b"".join(encoder.encode(values[:, [k]]) for k in range(1000)))
    assert decoder.incompatibility is None  # type: ignore[attr-defined]


def test_another_sketch_is_detected_by_its_error_reply(port: Path) -> None:
    with device_that(port, lambda data: b"UNKNOWN COMMAND\r\n" * data.count(b"\n")):
        message, _ = failure_of(port, protocol="chords", settings=Settings(uv_per_lsb=5.0))
    assert "the board replies 'UNKNOWN COMMAND', so it runs another sketch" in message
    assert "Load the Chords firmware" in message


def chords_board(name: bytes, frame: bytes) -> Callable[[bytes], bytes]:
    count, on = 0, False

    def answer(data: bytes) -> bytes:
        nonlocal count, on
        on = (on or b"START" in data) and b"STOP" not in data
        out = name + b"\r\n" if b"WHORU" in data else b""
        for _ in range(100 if on else 0):  # far more bytes than the search for a name keeps
            out += b"\xc7\x7c" + bytes([count % 256]) + frame + b"\x01"
            count += 1
        return out

    return answer


def test_an_unknown_board_name_requires_the_rate_and_is_decoded_with_it(port: Path) -> None:
    board = chords_board(b"UNO-R4-WIFI", b"\x20\x00" * 6)
    with device_that(port, board):
        message, items = failure_of(port, protocol="chords", settings=Settings(uv_per_lsb=5.0))
    assert "UNO-R4-WIFI" in message
    assert "give --fs" in message
    assert items == []
    given = Settings(rate=example_settings(get_protocol("ad8232")).rate, uv_per_lsb=5.0)
    with device_that(port, board), SerialLink(str(port), protocol="chords", settings=given, **SOON) as link:
        assert isinstance(next(item for item in link if isinstance(item, Samples | Advice)), Samples)


def test_a_short_text_followed_by_silence_is_quoted(port: Path) -> None:
    texts = [b"SD card missing\r\n"]
    with device_that(port, lambda data: texts.pop() if texts else b""):
        message, _ = failure_of(port)
    assert "sent no samples within" in message
    assert "'SD card missing'" in message


def test_a_silent_device_is_waited_for_if_requested(port: Path) -> None:
    with device_that(port, lambda data: b""), SerialLink(str(port), no_samples_after_s=None) as link:
        time.sleep(1.2)
        link.stop()
        assert not [item for item in link if isinstance(item, Samples)]


@pytest.mark.parametrize("wire_format", all_protocols(), ids=lambda wire_format: wire_format.name)
def test_a_dash_omits_the_first_channel_and_too_many_names_are_an_error(port: Path, wire_format: Any) -> None:
    example = example_settings(wire_format)
    signal = np.random.default_rng(2).normal(0, 0.2, (3, 1600))
    names = Settings(rate=example.rate, leads=("-", "ECG"), uv_per_lsb=example.uv_per_lsb)
    rate = wire_format.make_encoder(example).rate
    playing = VirtualHolter(
        [signal], rate, ("a", "b", "c"), link=port, protocol=wire_format.name, settings=example, speed=0.0
    )
    with playing as holter:
        one_channel = len(wire_format.make_encoder(example).leads) == 1 and wire_format.name != "ecgmoe"
        if one_channel:
            with (
                pytest.raises(UsageError, match=r"--leads -,ECG names .* channels"),
                SerialLink(holter.port, protocol=wire_format.name, settings=names) as link,
            ):
                list(link)
            return
        with SerialLink(holter.port, protocol=wire_format.name, settings=names, give_up_after_s=0.3) as link:
            items = []
            for item in link:
                items.append(item)
                if sum(one.values.shape[1] for one in items if isinstance(one, Samples)) >= 500:
                    break
    info = next(item for item in items if isinstance(item, StreamInfo))
    assert info.leads == ("ECG",)
    got = np.concatenate([item.values for item in items if isinstance(item, Samples)], axis=1)
    assert got.shape[0] == 1
    step_mv = info.picovolts_per_lsb[0] * 1e-9
    sent = signal[1, : got.shape[1]]
    if wire_format.name != "bitalino":  # its channels have different numbers of bits
        assert np.abs(got[0, :100] - sent[:100]).max() <= 0.51 * step_mv


def test_a_wrong_sampling_rate_gives_one_advice(port: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClockFit, "drift_ppm", property(lambda fit: -250_000.0 if fit._buckets else None))
    settings = Settings(uv_per_lsb=5.0)
    holter = VirtualHolter([np.zeros((6, 1024))], 256, tuple("abcdef"), link=port, protocol="olimex", speed=0.0)
    with holter, SerialLink(str(port), protocol="olimex", settings=settings, give_up_after_s=0.3) as link:
        items: list[LinkItem] = []
        with pytest.raises(DeviceError, match="did not come back"):
            items.extend(link)
    advice = [item.text for item in items if isinstance(item, Advice)]
    assert len(advice) == 1
    assert "192.0 samples a second" in advice[0]
    assert "not 256" in advice[0]
