"""A virtual device of each protocol replays a recording to the link over a real pseudo terminal."""

from __future__ import annotations

import os
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge import (
    Faults,
    LinkItem,
    LinkReconnect,
    SampleLoss,
    Samples,
    SerialLink,
    Settings,
    StreamInfo,
    VirtualHolter,
)
from ecgmoe_edge.firmware_bridge.items import WireFormat
from ecgmoe_edge.firmware_bridge.protocols import all_protocols
from ecgmoe_edge.firmware_bridge.simulated_stream import example_settings
from ecgmoe_edge.streaming.signal.resampling import resample_blocks

FS = 360
FORMATS = [wire_format for wire_format in all_protocols() if wire_format.name != "ecgmoe"]
IN_CI = ("cyton", "hp6", "openview-ads1292r")
each = pytest.mark.parametrize("wire_format", FORMATS, ids=lambda wire_format: wire_format.name)


def waves(seconds: float, fs: float = FS) -> NDArray[np.float64]:
    """Two leads of 2 and 5 Hz, 1 mV."""
    t = np.arange(round(seconds * fs)) / fs
    return np.array([np.sin(2 * np.pi * 2 * t), np.cos(2 * np.pi * 5 * t)])


def play(wire_format: WireFormat, port: Path, seconds: float, faults: Faults | None = None) -> VirtualHolter:
    return VirtualHolter(
        [waves(seconds)],
        FS,
        ("II", "V1"),
        link=port,
        protocol=wire_format.name,
        settings=example_settings(wire_format),
        speed=0,
        faults=faults,
    )


def read(wire_format: WireFormat, device: VirtualHolter) -> list[LinkItem]:
    """All items until the device falls silent: most devices never send an end."""
    with SerialLink(
        device.port, protocol=wire_format.name, settings=example_settings(wire_format), give_up_after_s=0.8
    ) as link:
        items: list[LinkItem] = []
        deadline = time.monotonic() + 30
        try:
            for item in link:
                items.append(item)
                assert time.monotonic() < deadline
        except Exception as error:  # noqa: BLE001 - the device is gone, as it should be
            assert "did not come back" in str(error)  # noqa: PT017
        return items


def values_of(items: list[LinkItem]) -> NDArray[np.float64]:
    return np.concatenate([item.values for item in items if isinstance(item, Samples)], axis=1)


@each
def test_a_recording_arrives_at_the_device_s_own_rate(wire_format: WireFormat, port: Path) -> None:
    with play(wire_format, port, 2.0) as device:
        items = read(wire_format, device)
    info = next(item for item in items if isinstance(item, StreamInfo))
    got = values_of(items)
    assert abs(got.shape[1] - 2.0 * info.fs) <= 16
    assert not [item for item in items if isinstance(item, SampleLoss)]
    t = np.arange(got.shape[1]) / info.fs
    middle = slice(int(0.3 * info.fs), int(1.7 * info.fs))
    lead = got[0, middle]
    step = info.picovolts_per_lsb[0] * 1e-9
    assert np.abs(lead - np.sin(2 * np.pi * 2 * t[middle])).max() < 0.01 + step


@pytest.mark.parametrize(
    "wire_format",
    [
        pytest.param(wire_format, marks=() if wire_format.name in IN_CI else pytest.mark.slow, id=wire_format.name)
        for wire_format in FORMATS
    ],
)
def test_received_and_lost_samples_never_exceed_the_played_ones(wire_format: WireFormat, port: Path) -> None:
    faults = Faults(drop=0.02, corrupt=0.02, unplug_at_s=(4.0,), unplug_s=1.0, seed=4)
    with play(wire_format, port, 8.0, faults) as device:
        items = read(wire_format, device)
    info = next(item for item in items if isinstance(item, StreamInfo))
    got = values_of(items).shape[1]
    lost = [item for item in items if isinstance(item, SampleLoss)]
    assert sum(isinstance(item, LinkReconnect) for item in items) == 1
    assert any(item.reason == "reconnect" for item in lost)
    assert got + sum(item.samples or 0 for item in lost) <= 8.0 * info.fs + 16
    assert got >= 0.5 * 8.0 * info.fs


@pytest.mark.parametrize("rate", [125, 250, 256, 500, 1000, Fraction(32768, 131)])
def test_resampling_keeps_waveform_and_time(rate: int | Fraction) -> None:
    wave = waves(5.0)
    wave[1, 600:700] = np.nan
    blocks = [wave[:, first : first + 700] for first in range(0, wave.shape[1], 700)]
    out = np.concatenate(list(resample_blocks(blocks, FS, Fraction(rate))), axis=1)
    whole = np.concatenate(list(resample_blocks([wave], FS, Fraction(rate))), axis=1)
    np.testing.assert_allclose(out, whole, atol=1e-9)
    t = np.arange(out.shape[1]) / float(rate)
    inside = (t > 0.3) & (t < 4.7)
    assert abs(out.shape[1] - 5.0 * float(rate)) <= 1
    assert np.abs(out[0] - np.sin(2 * np.pi * 2 * t))[inside].max() < 2e-3
    missing = np.flatnonzero(np.isnan(out[1])) / float(rate) * FS
    assert abs(missing[0] - 600) <= 3
    assert abs(missing[-1] - 699) <= 3


def test_resampling_does_not_alias() -> None:
    t = np.arange(3600) / FS
    out = np.concatenate(list(resample_blocks([np.sin(2 * np.pi * 150 * t)[None]], FS, Fraction(125))), axis=1)
    assert np.abs(out[0, 50:-50]).max() < 0.01


def test_a_device_with_commands_waits_for_its_start_command(port: Path) -> None:
    with VirtualHolter([waves(2.0)], FS, ("II", "V1"), link=port, protocol="cyton", speed=0) as device:
        fd = os.open(device.port, os.O_RDWR | os.O_NOCTTY)
        time.sleep(1.3)
        os.write(fd, b"v")
        time.sleep(0.2)
        banner = os.read(fd, 4096)
        assert banner.endswith(b"$$$")
        assert device.totals.samples_sent == 0
        os.write(fd, b"b")
        time.sleep(0.5)
        assert os.read(fd, 33)[0] == 0xA0
        os.close(fd)


@each
def test_samples_beyond_the_code_range_are_counted(wire_format: WireFormat) -> None:
    encoder = wire_format.make_encoder(example_settings(wire_format))
    values = np.zeros((len(encoder.leads), encoder.per_frame))
    encoder.encode(values)
    assert encoder.clipped == 0
    for beyond in (1e30, -1e30):
        values[0, 0] = beyond
        encoder.encode(values)
    assert encoder.clipped == 2


def test_a_replay_reports_the_number_of_clipped_samples(port: Path) -> None:
    wave = waves(2.0)
    wave[0, 100:110] = 1e30
    wave[:, 200] = -1e30
    with VirtualHolter([wave], FS, ("II", "V1"), link=port, speed=0) as device, SerialLink(device.port) as link:
        got = values_of(list(link))
    assert device.totals.samples_clipped == 11
    assert got[0, 100] > 100.0


def test_the_reader_options_read_the_device(port: Path) -> None:
    device = VirtualHolter(
        [], FS, ("II",), link=port, protocol="ad8232", settings=Settings(rate=Fraction(150), uv_per_lsb=5.0)
    )
    assert device.reader_options == "--protocol ad8232 --fs 150 --uv-per-lsb 5"
    device.stop()
