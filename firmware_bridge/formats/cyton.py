"""OpenBCI Cyton: `A0`, counter, eight 24-bit channels big endian, 6 auxiliary bytes, `C0`-`C6`; 33 bytes at 250 Hz.

Source: the Cyton data format and SDK at docs.openbci.com. Scale: 4.5 V / gain / (2^23 - 1), 0.02235 uV at the board's
default gain of 24. Commands: `v` resets the board, which replies with text that ends in `$$$`; `b` starts, `s` stops.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import integers, pack, table
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import NEED_MORE, NO_FRAME, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import recogniser
from ecgmoe_edge.firmware_bridge.items import CommandStep, Probe, Settings, WireFormat

SYNC = b"\xa0"
SIZE = 33
CHANNELS = 8
LEADS = tuple(f"ch{number}" for number in range(1, CHANNELS + 1))
RATE = 250
UV_PER_LSB = 4.5e6 / 24 / (2**23 - 1)
READY = b"$$$"
BANNER = (
    b"OpenBCI V3 8-16 channel\r\nOn Board ADS1299 Device ID: 0x3E\r\nLIS3DH Device ID: 0x33\r\nFirmware: v3.1.1\r\n$$$"
)
DAISY = re.compile(rb"Daisy ADS1299|V3 16[ -]channel", re.IGNORECASE)  # in the banner of a Cyton with a Daisy
# Error messages of the dongle
FAILURE = re.compile(rb"failure[^$]*|[^$\r\n]*(?:timeout|failed to)[^$]*", re.IGNORECASE)
TAIL_BYTES = 64  # text kept because it may continue in the next read
DAISY_FRAMES = 250  # frames that must alternate; fewer could be interference
DAISY_RATIO = 20.0  # difference between consecutive frames over that between every second frame
CHECK_BITS = 13.0  # A0 and one of C0-C6; two frames in a row are needed, so 26 bits in all

WITH_DAISY = (
    "this Cyton has a Daisy board, so it sends 16 channels at 125 Hz, alternately those of the two boards. Take the "
    "Daisy off, or switch it off (send the command `c`), and connect the ECG to channels 1 to 8."
)


def _advice(received: bytes) -> str | None:
    """Advice from the dongle's messages."""
    failure = FAILURE.search(received)
    if failure is not None:
        return (
            f"the dongle reports {failure.group(0).decode('ascii', 'replace').strip()[:80]!r}: the board is off, its "
            "battery is empty, or it is on another radio channel. Switch it to PC, charge it, and set both to one "
            "channel (in the OpenBCI GUI)."
        )
    if not received:
        return (
            "there is no reply. Set the dongle's switch to GPIO 6, switch the board to PC, charge its battery, and "
            "check that this is the dongle's port (`ecgmoe-edge ports`)."
        )
    if READY in received:
        return "the board replies, but sends no samples. Press its reset button, and start again."
    return None


class CytonDecoder(FramedDecoder):
    """Decodes all eight channels, or those that the user has named."""

    sync = SYNC
    confirm = 2
    counter_range = 256

    def __init__(self, settings: Settings) -> None:
        uv_per_lsb = settings.uv_per_lsb or UV_PER_LSB
        super().__init__(stream_info(settings.rate or RATE, LEADS, uv_per_lsb, "OpenBCI Cyton"), settings.leads)
        self._text = b""
        self._collected = np.empty((CHANNELS, 0))  # codes, until the test for alternating frames
        self._daisy_checked = False

    def skipped(self, junk: bytes) -> None:
        """Search the banner for a second board."""
        self._text += junk
        if DAISY.search(self._text):
            self.incompatibility = WITH_DAISY
        self._text = self._text[-TAIL_BYTES:]

    def size_at(self, buffer: bytearray, at: int) -> int:
        """First and last byte identify a frame."""
        if buffer[at] != 0xA0:
            return NO_FRAME
        if len(buffer) < at + SIZE:
            return NEED_MORE
        return SIZE if 0xC0 <= buffer[at + SIZE - 1] <= 0xC6 else NO_FRAME

    def counter_of(self, frame: bytes) -> int:
        """The counter byte."""
        return frame[1]

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (8, samples)."""
        codes = integers(table(frames)[:, 2:26], ">i3")
        if not self._daisy_checked:
            self._check_for_daisy(codes)
        return codes, None

    def _check_for_daisy(self, codes: NDArray[np.float64]) -> None:
        """Detect frames of two alternating boards: each resembles the frame before the last, and not the last."""
        self._collected = np.concatenate([self._collected, codes[:, :DAISY_FRAMES]], axis=1)
        if self._collected.shape[1] < DAISY_FRAMES:
            return
        self._daisy_checked = True
        to_next = np.abs(np.diff(self._collected, axis=1)).sum()
        to_same = np.abs(self._collected[:, 2:] - self._collected[:, :-2]).sum()
        self._collected = np.empty((CHANNELS, 0))
        if to_next > DAISY_RATIO * to_same and to_next:
            self.incompatibility = WITH_DAISY


class CytonDevice(Device):
    """A board with a dongle."""

    commands = {b"b": (True, b""), b"s": (False, b""), b"v": (False, BANNER)}  # noqa: RUF012 - read only

    def __init__(self, settings: Settings) -> None:
        leads = (settings.leads or LEADS)[:CHANNELS]
        super().__init__(settings.rate or RATE, leads, settings.uv_per_lsb or UV_PER_LSB)

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One sample; missing channels are 0."""
        codes = self.codes(values, CHANNELS, -(2**23), 2**23 - 1)
        frame = SYNC + bytes([self.counter % 256]) + pack(codes, ">i3") + bytes(6) + b"\xc0"
        self.counter += 1
        return frame


FORMATS = (
    WireFormat(
        name="cyton",
        description="OpenBCI Cyton, 8 channels",
        bauds=(115200,),
        rate="250 Hz",
        leads=", ".join(LEADS),
        scale=f"{UV_PER_LSB:.5f} uV at the board's default gain of 24",
        limits=(
            "a counter of 256 samples (1.02 s) and no CRC: shorter losses are exact, longer ones a lower bound; damage "
            "inside a frame passes as signal"
        ),
        make_decoder=CytonDecoder,
        make_encoder=CytonDevice,
        recognise=recogniser(lambda: CytonDecoder(Settings()), CHECK_BITS),
        start=(CommandStep(b"s", wait_s=0.1), CommandStep(b"v", reply=READY, wait_s=3.0, tries=2), CommandStep(b"b")),
        stop=(CommandStep(b"s"),),
        probe=Probe(b"v", lambda answer: READY in answer and b"OpenBCI" in answer, wait_s=3.0),
        counter_range=256,
        check_bits=2 * CHECK_BITS,
        advice=_advice,
    ),
)
