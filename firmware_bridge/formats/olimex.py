"""Olimex SHIELD-EKG-EMG: `A5 5A 02`, counter, six 10-bit channels as u16 big endian, switches; 17 bytes at 256 Hz.

Source: the shield's published firmware (packet version 2). Codes are those of an Arduino's ADC: 0 to 1023, 512 at 0 mV.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import given_scale, integers, pack, table
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import NEED_MORE, NO_FRAME, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import framed_score
from ecgmoe_edge.firmware_bridge.items import Settings, WireFormat

SYNC = b"\xa5\x5a\x02"
SIZE = 17
CHANNELS = 6
LEADS = tuple(f"ch{number}" for number in range(1, CHANNELS + 1))
RATE = 256
MIDDLE = 512
CHECK_BITS = 60.0  # three fixed bytes, and the six high bits of each of six codes


class OlimexDecoder(FramedDecoder):
    """Decodes all six channels, or those that the user has named."""

    sync = SYNC
    counter_range = 256

    def __init__(self, settings: Settings, uv_per_lsb: float) -> None:
        super().__init__(stream_info(settings.rate or RATE, LEADS, uv_per_lsb, "Olimex EKG-EMG"), settings.leads)

    def size_at(self, buffer: bytearray, at: int) -> int:
        """The first three bytes and 10-bit codes identify a frame."""
        if not SYNC.startswith(bytes(buffer[at : at + 3])):
            return NO_FRAME
        if len(buffer) < at + SIZE:
            return NEED_MORE
        return SIZE if max(buffer[at + 4 : at + 16 : 2]) < 4 else NO_FRAME

    def counter_of(self, frame: bytes) -> int:
        """The counter byte."""
        return frame[3]

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (6, samples), 0 in the middle of the range."""
        return integers(table(frames)[:, 4:16], ">u2") - MIDDLE, None


class OlimexDevice(Device):
    """A shield on an Arduino. It streams as soon as it has power."""

    def __init__(self, settings: Settings) -> None:
        leads = (settings.leads or LEADS)[:CHANNELS]
        super().__init__(settings.rate or RATE, leads, settings.uv_per_lsb or 10.0)

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One sample."""
        codes = self.codes(values, CHANNELS, -MIDDLE, MIDDLE - 1) + MIDDLE
        frame = SYNC + bytes([self.counter % 256]) + pack(codes, ">u2") + b"\x01"
        self.counter += 1
        return frame


FORMATS = (
    WireFormat(
        name="olimex",
        description="Olimex SHIELD-EKG-EMG",
        bauds=(57600, 115200),
        rate="256 Hz",
        leads=", ".join(LEADS),
        scale="must be given",
        limits=(
            "a counter of 256 samples (1 s) and no CRC: shorter losses are exact, longer ones a lower bound; damage to "
            "the low bits of a code passes as signal"
        ),
        make_decoder=lambda settings: OlimexDecoder(
            settings, given_scale(settings, "olimex", "by the shield's gain potentiometer")
        ),
        make_encoder=OlimexDevice,
        recognise=lambda data: framed_score(OlimexDecoder(Settings(), 1.0), data, CHECK_BITS),
        counter_range=256,
        check_bits=CHECK_BITS,
        needs=("--uv-per-lsb",),
    ),
)
