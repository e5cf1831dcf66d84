"""BITalino (r)evolution: 8-byte frames at 1000 Hz with a 4-bit counter and a 4-bit CRC (x^4 + x + 1).

Source: the published frame layout of BITalino's firmware. All six channels are requested, four of 10 bits and two of 6
bits; 115,200 baud is fast enough. From the frame's end, high bits first in a shared byte:

    last byte     counter (4), CRC (4)
    bytes before  digital inputs and outputs (4), A1 (10), A2 (10), A3 (10), A4 (10), A5 (6), A6 (6)

Codes are returned in 10-bit steps, 0 at 0 mV; one step of a 6-bit channel counts 16.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import given_scale, table
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import NEED_MORE, NO_FRAME, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import framed_score
from ecgmoe_edge.firmware_bridge.items import CommandStep, Probe, Settings, WireFormat

SIZE = 8
LEADS = ("A1", "A2", "A3", "A4", "A5", "A6")
RATE = 1000
# Position of each channel's lowest bit, with the frame read as a little-endian number
SHIFTS = np.array([42, 32, 22, 12, 6, 0])
MASKS = np.array([0x3FF, 0x3FF, 0x3FF, 0x3FF, 0x3F, 0x3F])
STEPS = np.array([1, 1, 1, 1, 16, 16])[:, None]
MIDDLE = 512
CHECK_BITS = 8.0  # CRC and counter of each frame; without sync, CONFIRM frames in a row are needed
CONFIRM = 4
VERSION, RATE_1000, START_ALL, STOP = b"\x07", b"\xc3", b"\xfd", b"\x00"
BANNER = b"BITalino_v5.2\n"


def _crc_table() -> list[list[int]]:
    """The CRC register after each byte, for each value before it: table[before][byte]."""
    out = []
    for before in range(16):
        row = []
        for byte in range(256):
            register = before
            for bit in range(7, -1, -1):
                register = register << 1 | byte >> bit & 1
                if register & 0x10:
                    register ^= 0x13
            row.append(register)
        out.append(row)
    return out


_CRC = _crc_table()


def crc4(frame: bytes | bytearray) -> int:
    """The CRC that the low half of the frame's last byte must hold. That half counts as 0."""
    register = 0
    for byte in frame[:-1]:
        register = _CRC[register][byte]
    return _CRC[register][frame[-1] & 0xF0]


class BitalinoDecoder(FramedDecoder):
    """Decodes all six channels, or those that the user has named."""

    confirm = CONFIRM
    counter_range = 16
    counter_checked = True

    def __init__(self, settings: Settings, uv_per_lsb: float) -> None:
        super().__init__(stream_info(settings.rate or RATE, LEADS, uv_per_lsb, "BITalino"), settings.leads)

    def size_at(self, buffer: bytearray, at: int) -> int:
        """The CRC identifies a frame; it has no fixed bytes."""
        frame = buffer[at : at + SIZE]
        if len(frame) < SIZE:
            return NEED_MORE
        return SIZE if crc4(frame) == frame[-1] & 0x0F else NO_FRAME

    def counter_of(self, frame: bytes) -> int:
        """The four counter bits."""
        return frame[-1] >> 4

    def _confirmed(self, buffer: bytearray, at: int, size: int) -> int:
        """The next frames must also have consecutive counters, because a line stuck at 0 has the right CRC."""
        enough = super()._confirmed(buffer, at, size)
        counters = (
            [buffer[end - 1] >> 4 for end in range(at + SIZE, at + CONFIRM * SIZE + 1, SIZE)] if enough > 0 else []
        )
        return NO_FRAME if any((after - before) % 16 != 1 for before, after in pairwise(counters)) else enough

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (6, samples) in 10-bit steps."""
        words = table(frames).view("<u8")[:, 0].astype(np.int64)
        codes = (words >> SHIFTS[:, None]) & MASKS[:, None]
        return np.asarray(codes * STEPS - MIDDLE, dtype=np.float64), None


class BitalinoDevice(Device):
    """A board that was started with all channels."""

    commands = {  # noqa: RUF012 - read only
        VERSION: (None, BANNER),
        STOP: (False, b""),
        **{bytes([rate << 6 | 3]): (None, b"") for rate in range(4)},
        START_ALL: (True, b""),
    }

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.rate or RATE, (settings.leads or LEADS)[:6], settings.uv_per_lsb or 10.0)

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One sample."""
        codes = (self.codes(values, 6, -MIDDLE, MIDDLE - 1) + MIDDLE) // STEPS
        word = sum(int(code) << int(shift) for code, shift in zip(codes[:, 0], SHIFTS, strict=True))
        frame = bytearray(word.to_bytes(7, "little") + bytes([self.counter % 16 << 4]))
        frame[-1] |= crc4(frame)
        self.counter += 1
        return bytes(frame)


FORMATS = (
    WireFormat(
        name="bitalino",
        description="BITalino (r)evolution, all six channels",
        bauds=(115200,),
        rate="1000 Hz",
        leads=", ".join(LEADS),
        scale="must be given, per 10-bit step",
        limits=(
            "a counter of 16 samples (16 ms) and a 4-bit CRC: shorter losses are exact, longer ones a lower bound; one "
            "damaged frame in sixteen passes as signal"
        ),
        make_decoder=lambda settings: BitalinoDecoder(
            settings, given_scale(settings, "bitalino", "3.3 V / 1024 / the sensor's gain")
        ),
        make_encoder=BitalinoDevice,
        recognise=lambda data: framed_score(BitalinoDecoder(Settings(), 1.0), data, CHECK_BITS, minimum=16),
        start=(
            CommandStep(VERSION, reply=b"\n", wait_s=1.0),
            CommandStep(RATE_1000, wait_s=0.1),
            CommandStep(START_ALL),
        ),
        stop=(CommandStep(STOP),),
        probe=Probe(VERSION, lambda answer: b"BITalino" in answer),
        counter_range=16,
        check_bits=4.0 * CONFIRM + 4.0 * (CONFIRM - 1),
        needs=("--uv-per-lsb",),
    ),
)
