"""Chords boards (Upside Down Labs): `C7 7C`, counter, n channels as u16 big endian, `01`.

Source: the board table and packet layout of the Chords firmware. The reply to `WHORU` is the board's name, which
determines channels, rate and bits. `START` and `STOP` start and stop it. Codes are those of the board's ADC, with 0 mV
in the middle of the range. Some boards restart when the port is opened and ignore commands for two seconds, so `WHORU`
is repeated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import given_scale, integers, pack, table
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import NEED_MORE, NO_FRAME, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import framed_score
from ecgmoe_edge.firmware_bridge.items import CommandStep, Probe, Settings, WireFormat

SYNC = b"\xc7\x7c"
END = 0x01
OVERHEAD = 4  # sync, counter, end
CHECK_BITS = 24.0  # sync and end; two frames in a row are needed, so 48 bits in all
WHO, START, STOP = b"WHORU\n", b"START\n", b"STOP\n"


@dataclass(frozen=True)
class Board:
    """Properties of a board, by its name."""

    channels: int
    rate: int  # Hz
    bits: int


BOARDS = {
    "UNO-R3": Board(6, 250, 10),
    "UNO-CLONE": Board(6, 250, 10),
    "GENUINO-UNO": Board(6, 250, 10),
    "UNO-R4": Board(6, 500, 14),
    "NANO-CLASSIC": Board(8, 250, 10),
    "NANO-CLONE": Board(8, 250, 10),
    "MEGA-2560-R3": Board(16, 250, 10),
    "MEGA-2560-CLONE": Board(16, 250, 10),
    "RPI-PICO-RP2040": Board(3, 500, 12),
    "STM32F4-BLACK-PILL": Board(8, 500, 12),
    "STM32G4-CORE-BOARD": Board(16, 500, 12),
    "GIGA-R1": Board(6, 500, 16),
    "NPG-LITE": Board(3, 500, 12),
    "NPG-LITE-3CH": Board(3, 500, 12),
    "NPG-LITE-6CH": Board(6, 500, 12),
}
SIZES = tuple(sorted({2 * board.channels + OVERHEAD for board in BOARDS.values()}))
LONGEST_NAME = max(map(len, BOARDS))
BY_NAME = {name.encode(): board for name, board in BOARDS.items()}
REFUSAL = re.compile(rb"[^\r\n]*(?:unknown|invalid|unrecogni[sz]ed|not recogni[sz]ed|error)[^\r\n]*", re.IGNORECASE)
NAME = re.compile(rb"(?:^|\n)([A-Za-z][A-Za-z0-9]*(?:[-_ ][A-Za-z0-9]+)+)\r?\n")  # a line with only a board name


def _advice(received: bytes) -> str | None:
    """Advice from the board's reply to `WHORU`."""
    refusal = REFUSAL.search(received)
    if refusal is not None:
        return (
            f"the board replies {refusal.group(0).decode('ascii', 'replace').strip()[:60]!r}, so it runs another "
            "sketch. Load the Chords firmware, or give the --protocol of its sketch."
        )
    name = next((found for found in NAME.findall(received) if found not in BY_NAME), None)
    if name is not None:
        return (
            f"the board's name is {name.decode()[:40]}, which this version does not know: give --fs, its sampling rate."
        )
    return None


class ChordsDecoder(FramedDecoder):
    """Takes channels, rate and bits from the board's name, or else from the frame size and the user's rate."""

    sync = SYNC
    confirm = 2
    counter_range = 256

    def __init__(self, settings: Settings, uv_per_lsb: float) -> None:
        super().__init__(None, settings.leads)
        self._settings = settings
        self._uv_per_lsb = uv_per_lsb
        self._line = b""
        self._size: int | None = None
        self._middle = 0

    def skipped(self, junk: bytes) -> None:
        """Search for a line with the board's name."""
        *lines, rest = (self._line + junk).split(b"\n")
        self._line = rest[-LONGEST_NAME - 2 :]
        for line in lines:
            board = BY_NAME.get(line.strip())
            if board is not None:
                self._board(board, line.strip().decode())

    def _board(self, board: Board, name: str) -> None:
        self._size = 2 * board.channels + OVERHEAD
        self._middle = 1 << board.bits >> 1
        leads = tuple(f"ch{number}" for number in range(1, board.channels + 1))
        self.begin(stream_info(self._settings.rate or board.rate, leads, self._uv_per_lsb, name))

    def size_at(self, buffer: bytearray, at: int) -> int:
        """Sync and end byte identify a frame; while the board is unknown, the next frame's sync must follow."""
        if not SYNC.startswith(bytes(buffer[at : at + 2])):
            return NO_FRAME
        available = len(buffer) - at
        if self._size is not None:
            if available < self._size:
                return NEED_MORE
            return self._size if buffer[at + self._size - 1] == END else NO_FRAME
        for size in SIZES:
            if available < size + len(SYNC):
                return NEED_MORE
            if buffer[at + size - 1] == END and buffer.startswith(SYNC, at + size):
                return size
        return NO_FRAME

    def holds_samples(self, frame: bytes) -> bool:
        """Whether the frame has the right size. Without a name, the first frame determines the number of channels."""
        if self._size is None:
            self._size = len(frame)
            if self._settings.rate is not None:
                leads = tuple(f"ch{number}" for number in range(1, (len(frame) - OVERHEAD) // 2 + 1))
                self.begin(stream_info(self._settings.rate, leads, self._uv_per_lsb, ""))
        return len(frame) == self._size

    def counter_of(self, frame: bytes) -> int:
        """The counter byte."""
        return frame[2]

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (channels, samples), 0 in the middle of the range."""
        return integers(table(frames)[:, 3:-1], ">u2") - self._middle, None


class ChordsDevice(Device):
    """A board: an UNO R3 by default."""

    def __init__(self, settings: Settings, name: str = "UNO-R3") -> None:
        board = BOARDS[name]
        self.commands = {WHO: (None, name.encode() + b"\r\n"), START: (True, b""), STOP: (False, b"")}
        leads = settings.leads or tuple(f"ch{number}" for number in range(1, board.channels + 1))
        super().__init__(settings.rate or board.rate, leads[: board.channels], settings.uv_per_lsb or 10.0)
        self.board = board

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One sample."""
        middle = 1 << self.board.bits >> 1
        codes = self.codes(values, self.board.channels, -middle, middle - 1) + middle
        frame = SYNC + bytes([self.counter % 256]) + pack(codes, ">u2") + bytes([END])
        self.counter += 1
        return frame


FORMATS = (
    WireFormat(
        name="chords",
        description="Chords boards: Arduino UNO, NPG Lite and others",
        bauds=(230400, 115200),
        rate="by the board, or --fs",
        leads="3, 6, 8 or 16 channels by the board",
        scale="must be given",
        limits=(
            "a counter of 256 samples (0.5 or 1 s) and no CRC: shorter losses are exact, longer ones a lower bound; "
            "damage inside a frame passes as signal"
        ),
        make_decoder=lambda settings: ChordsDecoder(
            settings, given_scale(settings, "chords", "the ADC's step divided by the amplifier's gain")
        ),
        make_encoder=ChordsDevice,
        recognise=lambda data: framed_score(ChordsDecoder(Settings(), 1.0), data, CHECK_BITS),
        start=(CommandStep(WHO, reply=b"\n", wait_s=1.0, tries=4), CommandStep(START)),
        stop=(CommandStep(STOP),),
        probe=Probe(WHO, lambda answer: any(line.strip() in BY_NAME for line in answer.split(b"\n")), wait_s=3.0),
        counter_range=256,
        check_bits=2 * CHECK_BITS,
        advice=_advice,
        needs=("--uv-per-lsb",),
    ),
)
