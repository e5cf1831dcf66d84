"""The virtual Holter behaves as documented towards any reader, not only our link."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.errors import DeviceError, SignalError
from ecgmoe_edge.firmware_bridge import (
    EndOfStream,
    Faults,
    Samples,
    SerialLink,
    StreamInfo,
    VirtualHolter,
    reader_presence,
)
from ecgmoe_edge.firmware_bridge.decoder import EcgmoeDecoder

MakeHolter = Callable[..., VirtualHolter]


def read_all(port: str, command: bytes = b"S") -> bytes:
    """The bytes that a simple program reads until the port vanishes."""
    fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
    os.write(fd, command)
    data = b""
    try:
        while piece := os.read(fd, 65536):
            data += piece
    except OSError:
        pass  # EIO: unplugged
    finally:
        os.close(fd)
    return data


def test_the_replay_waits_for_a_reader_which_receives_everything(holter: MakeHolter) -> None:
    with holter(2500) as device:
        time.sleep(0.2)
        assert device.totals.frames_sent == 0
        items = EcgmoeDecoder().feed(read_all(device.port, command=b""))
        assert device.join(5.0)
    assert sum(item.values.shape[1] for item in items if isinstance(item, Samples)) == 2500
    assert items[-1] == EndOfStream(2500)


def test_without_waiting_the_recording_continues_without_a_reader(holter: MakeHolter) -> None:
    device = holter(2500, wait_for_reader=False)
    totals = device.play()
    assert totals.samples_sent == 0
    assert totals.samples_dropped == 2500


def test_the_symlink_exists_only_while_the_replay_runs(holter: MakeHolter, port: Path) -> None:
    with holter(10**5, speed=1.0) as device:
        assert device.port == str(port)
        assert port.is_symlink()
        assert os.readlink(port).startswith("/dev/pts/")
    assert not port.is_symlink()


def test_a_stale_symlink_is_replaced_and_nothing_else(holter: MakeHolter, port: Path, tmp_path: Path) -> None:
    port.symlink_to("/dev/pts/999999")
    with holter(10, speed=1.0):
        assert os.readlink(port) != "/dev/pts/999999"
    port.write_text("a file of the user's")
    with pytest.raises(DeviceError, match="exists and is not a link"):
        holter(10)
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(DeviceError, match="real device"):
        holter(10, link=tmp_path / "zero")
    with pytest.raises(DeviceError, match="cannot be created"):
        holter(10, link=tmp_path / "no" / "folder")
    assert port.read_text() == "a file of the user's"


def test_blocks_are_read_only_when_needed(port: Path) -> None:
    taken = 0

    def endless() -> Iterator[NDArray[np.float64]]:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros((1, 1000))

    with VirtualHolter(endless(), 250, ("II",), link=port, speed=0) as device, SerialLink(device.port) as link:
        got = 0
        for item in link:
            got += item.values.shape[1] if isinstance(item, Samples) else 0
            if got >= 50_000:
                link.stop()
    assert 50 <= taken < 500


def test_faults_are_the_same_for_the_same_seed(holter: MakeHolter) -> None:
    def faulty(seed: int) -> tuple[bytes, int]:
        with holter(5000, faults=Faults(drop=0.1, corrupt=0.1, seed=seed)) as device:
            return read_all(device.port), device.totals.frames_dropped

    assert faulty(3) == faulty(3)
    assert faulty(3) != faulty(4)


def test_missing_values_and_a_continued_sequence_arrive_as_such(port: Path) -> None:
    x = np.zeros((1, 100))
    x[0, 40:50] = np.nan
    with VirtualHolter([x], 250, ("II",), link=port, speed=0, run=9, first_index=5000) as device:
        items = EcgmoeDecoder().feed(read_all(device.port))
    got = np.concatenate([item.values for item in items if isinstance(item, Samples)], axis=1)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    assert items[-1] == EndOfStream(5100)


def test_a_fractional_rate_stays_exact(port: Path) -> None:
    device = VirtualHolter([np.zeros((1, 50))], 1e6 / 7813, ("II",), link=port, speed=0)
    with device, SerialLink(device.port) as link:
        info = next(iter(link))
    assert isinstance(info, StreamInfo)
    assert info.rate == Fraction(1_000_000, 7813)


@pytest.mark.parametrize(
    ("fs", "speed", "leads"), [(0, 1, ("II",)), (float("nan"), 1, ("II",)), (250, -1, ("II",)), (250, 1, ())]
)
def test_a_recording_that_cannot_be_replayed_is_an_error(fs: float, speed: float, leads: tuple[str, ...]) -> None:
    with pytest.raises(SignalError):
        VirtualHolter([], fs, leads, speed=speed)


def test_a_block_of_the_wrong_shape_raises_in_join(port: Path) -> None:
    device = VirtualHolter([np.zeros((3, 10))], 250, ("II",), link=port, speed=0)
    device.start()
    with pytest.raises(SignalError, match=r"shape \(3, 10\) does not fit 1 lead"):
        device.join(5.0)


def test_stopping_a_replay_without_a_reader_returns_at_once(holter: MakeHolter) -> None:
    device = holter(10**5)
    device.start()
    reader = os.open(device.port, os.O_RDONLY | os.O_NOCTTY)  # opens, and reads nothing
    time.sleep(1.3)  # the buffer is full by now
    stopper = threading.Thread(target=device.stop, daemon=True)
    stopper.start()
    stopper.join(3.0)
    os.close(reader)
    assert not stopper.is_alive()


def test_a_second_device_at_the_same_symlink_is_an_error_and_the_first_continues(
    holter: MakeHolter, port: Path
) -> None:
    with holter(10**5, speed=1.0) as first:
        terminal = os.readlink(port)
        with pytest.raises(DeviceError, match="another replay that is still running"):
            holter(10)
        assert os.readlink(port) == terminal
        assert first.join(0.0) is False
    with holter(10):  # the link is free again
        assert port.is_symlink()


def test_a_device_that_is_briefly_unplugged_keeps_its_symlink(holter: MakeHolter, port: Path) -> None:
    device = holter(10)
    device._device.unplug(will_return=True)
    with pytest.raises(DeviceError, match="another replay"):
        holter(10)
    device.stop()
    holter(10).stop()


def test_jitter_delays_frames_and_loses_nothing(holter: MakeHolter) -> None:
    began = time.monotonic()
    with holter(2400, faults=Faults(jitter_s=0.01)) as device, SerialLink(device.port) as link:
        items = list(link)
    assert time.monotonic() - began > 0.5  # 200 frames, 5 ms on average
    assert sum(item.values.shape[1] for item in items if isinstance(item, Samples)) == 2400
    assert link.stats()["lost_samples"] == 0


def stay(port: str, seconds: float) -> None:
    """A reader that starts the device and leaves after `seconds`."""
    fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    os.write(fd, b"S")
    time.sleep(seconds)
    os.close(fd)


def test_a_replay_whose_reader_left_early_ends_if_no_other_comes(holter: MakeHolter) -> None:
    with holter(10**5, speed=1.0, end_without_reader_s=0.5) as device:
        time.sleep(0.7)  # nobody has come yet: it waits
        assert not device.join(0.0)
        stay(device.port, 0.2)
        time.sleep(0.2)
        stay(device.port, 0.2)  # another comes soon enough
        assert not device.join(0.2)
        assert device.join(3.0)
    assert device.abandoned


def test_a_replay_whose_reader_stayed_longer_waits_for_the_next_one(
    holter: MakeHolter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_presence, "EARLY_EXIT_S", 0.1)
    with holter(10**5, speed=1.0, end_without_reader_s=0.2) as device:
        stay(device.port, 0.5)
        assert not device.join(1.0)
    assert not device.abandoned
