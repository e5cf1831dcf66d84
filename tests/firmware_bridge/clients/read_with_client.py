"""Reads a port with a device's official client and writes the raw codes it returns; runs in .venv-clients.

    read_with_client.py PROTOCOL PORT SAMPLES OUT.npy

OUT is (channels, SAMPLES), int64: the client's units converted back to codes.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def cyton(port: str, samples: int) -> Any:
    """Brainflow returns uV."""
    shim = importlib.import_module("brainflow.board_shim")
    params = shim.BrainFlowInputParams()
    params.serial_port = port
    board_id = shim.BoardIds.CYTON_BOARD.value
    shim.BoardShim.disable_board_logger()
    board = shim.BoardShim(board_id, params)
    board.prepare_session()
    board.start_stream(samples + 10_000)
    while board.get_board_data_count() < samples:
        time.sleep(0.05)
    data = board.get_board_data()[:, :samples]
    board.stop_stream()
    board.release_session()
    return np.rint(data[shim.BoardShim.get_exg_channels(board_id)] / (4.5e6 / 24 / (2**23 - 1)))


def bitalino(port: str, samples: int) -> Any:
    """All six channels."""
    device = importlib.import_module("bitalino").BITalino(
        str(Path(port).resolve())
    )  # the client requires a path in /dev
    device.start(1000, [0, 1, 2, 3, 4, 5])
    data = device.read(samples)
    device.stop()
    device.close()
    return data[:, 5:].T


def hp6(port: str, samples: int) -> Any:
    """The package decodes streams; the port is read by pyserial."""
    container = importlib.import_module("healthypi.hp6")
    serial = importlib.import_module("serial").Serial(port, 115200, timeout=0.2)
    data = b""
    blocks: list[Any] = []
    while sum(block.sample_count for block in blocks) < samples:
        data += serial.read(4096)
        blocks = list(container.read_stream(io.BytesIO(data)))
    serial.close()
    ecg = [sample for block in blocks for sample in block.samples()]
    return np.array([[s.lead_i, s.lead_ii, s.v1] for s in ecg]).T


def chords(port: str, samples: int) -> Any:
    """Importing the package starts a desktop program, so only its serial module is loaded."""
    package = next(Path(path) / "chordspy" for path in sys.path if (Path(path) / "chordspy").is_dir())
    spec = importlib.util.spec_from_file_location("chords_serial", package / "chords_serial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    client = module.Chords_USB()
    assert client.connect_hardware(port, 230400)
    client.data = np.zeros((client.num_channels, samples))  # the client appends the newest sample at the end
    got: list[Any] = []
    read = np.roll

    def note(data: Any, *args: Any, **options: Any) -> Any:
        if len(got) or data.any():
            got.append(data[:, -1].copy())
        return read(data, *args, **options)

    module.np.roll = note
    # The client would wait for a line of text and discard the first samples, so START is sent directly.
    client.ser.write(b"START\n")
    while len(got) < samples:
        client.read_data()
    client.ser.close()
    return np.array(got[:samples]).T


def olimex(port: str, samples: int) -> Any:
    """The client inverts the signal: it returns 1024 minus the code."""
    exg = _olimex("olimex.exg")
    serial = importlib.import_module("serial").Serial(port, 57600, timeout=1)
    if not hasattr(serial, "inWaiting"):
        serial.inWaiting = lambda: serial.in_waiting
    got: list[Any] = []
    reader = exg.PacketStreamReader(serial)
    while len(got) < samples:
        values = reader._get_next_packet_values()
        if values is None:
            time.sleep(0.01)
        else:
            got.append(values)
    return 1024 - np.array(got).T


def olimex_file(path: str, samples: int) -> Any:
    """A complete captured stream."""

    class Port(io.BytesIO):
        def inWaiting(self) -> int:  # noqa: N802 - pyserial's old name
            return len(self.getbuffer()) - self.tell()

        def read(self, size: int | None = 1, /) -> bytes:
            return super().read(size)

    reader = _olimex("olimex.exg").PacketStreamReader(Port(Path(path).read_bytes()))
    got = []
    while (values := reader._get_next_packet_values()) is not None:
        got.append(values)
    return 1024 - np.array(got).T


def shimmer3(port: str, samples: int) -> Any:
    """Both channels of the first chip."""
    serial = importlib.import_module("serial").Serial(port, 115200)
    api = importlib.import_module("pyshimmer")
    kind = importlib.import_module("pyshimmer.dev.channels").EChannelType
    got: list[Any] = []

    def note(packet: Any) -> None:
        got.append([packet[kind.EXG_ADS1292R_1_CH1_24BIT], packet[kind.EXG_ADS1292R_1_CH2_24BIT]])

    device = api.ShimmerBluetooth(serial)
    device.initialize()
    device.add_stream_callback(note)
    device.start_streaming()
    while len(got) < samples:
        time.sleep(0.05)
    device.stop_streaming()
    device.shutdown()
    return np.array(got[:samples]).T


def _olimex(module: str) -> Any:
    sys.path.insert(0, str(Path(sys.prefix) / "olimex"))
    return importlib.import_module(module)


def main() -> None:
    """Read the port and write the file."""
    protocol, port, samples, out = sys.argv[1:]
    codes = globals()[protocol](port, int(samples))
    np.save(out, np.asarray(codes, dtype=np.int64))


if __name__ == "__main__":
    main()
