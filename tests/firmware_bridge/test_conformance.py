"""The official client of a device and our decoder read the same bytes from a pseudo terminal, and agree on each sample.

The clients live in .venv-clients, which `tests/firmware_bridge/clients/install.sh` makes when a test first needs it.
"""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge import SampleLoss, Samples, Settings, StreamInfo, VirtualHolter
from ecgmoe_edge.firmware_bridge.items import WireItem
from ecgmoe_edge.firmware_bridge.protocols import get_protocol
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice
from ecgmoe_edge.firmware_bridge.simulated_stream import UV_PER_LSB, example_settings

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
READ = HERE / "clients" / "read_with_client.py"
INSTALL_S = 420
SAMPLES = 480
# How a client's value relates to our code, which is centred on 0: the middle of the ADC range, and the step.
MIDDLE = {"bitalino": 512, "chords": 512, "olimex": 512}
STEPS = {"bitalino": np.array([1, 1, 1, 1, 16, 16])[:, None]}


@pytest.fixture(scope="session")
def clients() -> Callable[[str], None]:
    """Create the clients' environment, or skip with the reason."""

    def ready(what: str) -> None:
        with (Path(tempfile.gettempdir()) / "ecgmoe-clients.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may want it at once
            command = ["timeout", str(INSTALL_S), str(HERE / "clients" / "install.sh"), what]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"the clients cannot be installed: {made.stderr.strip().splitlines()[-1:]}")

    return ready


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """All bytes that virtual devices write to their port."""
    log = bytearray()
    write = PtyDevice.write

    def note(self: PtyDevice, data: bytes, stopped: threading.Event) -> bool:
        log.extend(data)
        return write(self, data, stopped)

    monkeypatch.setattr(PtyDevice, "write", note)
    return log


def by_client(protocol: str, port: str, samples: int, out: Path) -> NDArray[np.int64]:
    """Codes (channels, samples) from the client."""
    done = subprocess.run(
        [PYTHON, READ, protocol, port, str(samples), out], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    codes: NDArray[np.int64] = np.load(out)
    return codes


def by_us(protocol: str, data: bytes, settings: Settings) -> tuple[NDArray[np.int64], list[WireItem]]:
    """Codes (channels, n) from our decoder, and all its items."""
    decoder = get_protocol(protocol).make_decoder(settings)
    items = decoder.feed(data) + decoder.interrupted()
    info = next(item for item in items if isinstance(item, StreamInfo))
    values = np.concatenate([item.values for item in items if isinstance(item, Samples)], axis=1)
    steps = np.array(info.picovolts_per_lsb)[:, None] * 1e-9
    codes = np.rint(values / steps) + MIDDLE.get(protocol, 0)
    return np.asarray(codes // STEPS.get(protocol, 1), dtype=np.int64), items


def heart(n: int) -> NDArray[np.float64]:
    """Two leads, different in every sample, mV."""
    rng = np.random.default_rng(7)
    t = np.arange(n) / 250
    return np.array([np.sin(2 * np.pi * 1.3 * t), 0.5 * np.cos(2 * np.pi * 7 * t)]) + rng.normal(0, 0.05, (2, n))


def agree(protocol: str, port: Path, written: bytearray, out: Path) -> None:
    wire_format = get_protocol(protocol)
    settings = example_settings(wire_format)
    rate = wire_format.make_encoder(settings).rate
    device = VirtualHolter(
        [heart(20_000)], rate, ("II", "V1"), link=port, protocol=protocol, settings=settings, speed=2.0
    )
    with device:
        theirs = by_client(protocol, device.port, SAMPLES, out)
    time.sleep(0.05)
    ours, items = by_us(protocol, bytes(written), settings)
    assert not [item for item in items if isinstance(item, SampleLoss)]
    assert theirs.shape[1] >= SAMPLES
    assert len(theirs) == len(ours)
    n = min(theirs.shape[1], ours.shape[1])
    assert n >= SAMPLES
    # A client may discard bytes that arrived while it opened the port, and none after that.
    starts = [s for s in range(ours.shape[1] - SAMPLES + 1) if (ours[:, s] == theirs[:, 0]).all()]
    assert starts
    assert starts[0] <= 64
    got = ours[:, starts[0] : starts[0] + n]
    np.testing.assert_array_equal(theirs[:, : got.shape[1]], got)


@pytest.mark.parametrize("protocol", ["cyton", "hp6", "bitalino"])
def test_client_and_decoder_agree_on_each_sample(
    protocol: str, port: Path, clients: Callable[[str], None], written: bytearray, tmp_path: Path
) -> None:
    clients("ci")
    agree(protocol, port, written, tmp_path / "codes.npy")


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["shimmer3", "chords", "olimex"])
def test_more_clients_agree_on_each_sample(
    protocol: str, port: Path, clients: Callable[[str], None], written: bytearray, tmp_path: Path
) -> None:
    clients("full")
    agree(protocol, port, written, tmp_path / "codes.npy")


@pytest.mark.slow
def test_captured_streams_of_a_real_shield_are_decoded_completely(
    clients: Callable[[str], None], tmp_path: Path
) -> None:
    """17 recordings made with the shield; they begin in the middle of a frame, and some frames are cut short.

    That is in the first half second, while the Arduino started. There the client reads on into the next frame and gives
    codes that no 10-bit ADC has, and we give the next frame; from then on all is the same.
    """
    clients("full")
    streams = sorted((ROOT / ".venv-clients" / "olimex" / "mock-data").glob("*.bin"))
    assert len(streams) == 17
    for stream in streams:
        data = stream.read_bytes()
        ours, _ = by_us("olimex", data, Settings(uv_per_lsb=UV_PER_LSB))
        theirs = by_client("olimex_file", str(stream), 0, tmp_path / "codes.npy")
        cut = np.asarray(((theirs < 0) | (theirs > 1023)).any(axis=0), dtype=bool)
        assert cut.sum() <= 4
        assert ours.shape[1] >= data.count(b"\xa5\x5a\x02") - cut.sum() - 1  # and the last
        rest = ours.shape[1] - 128
        np.testing.assert_array_equal(ours[:, -rest:], theirs[:, -rest:])
        assert not cut[-rest:].any()
