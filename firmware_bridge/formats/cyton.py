"""OpenBCI Cyton: `A0`, counter, eight 24-bit channels big endian, 6 bytes aux, `C0`-`C6`; 33 bytes at 250 Hz.

From the Cyton data format and SDK of docs.openbci.com. Scale: 4.5 V / gain / (2^23 - 1), 0.02235 uV at the board's
own gain of 24. `v` resets the board, which answers with text that ends in `$$$`; `b` starts, `s` stops.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import integers, pack, table
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import MORE, NONE, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import recogniser
from ecgmoe_edge.firmware_bridge.items import Probe, Say, Settings, WireFormat

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
DAISY = re.compile(rb"Daisy ADS1299|V3 16[ -]channel", re.IGNORECASE)  # in the banner of two boards
FAILURE = re.compile(rb"failure[^$]*|[^$\r\n]*(?:timeout|failed to)[^$]*", re.IGNORECASE)  # the dongle's words
TAIL_BYTES = 64  # of text that may go on in the next read
DAISY_FRAMES = 250  # that must alternate, so that it is no interference
DAISY_STEP = 20.0  # how much further a frame is from the next one than from the one after that
CHECK_BITS = 13.0  # A0 and one of seven C0-C6; two frames in a row are needed, so 26 in all

WITH_DAISY = (
    "a Daisy board is on this Cyton, so that it sends 16 channels at 125 Hz, those of the two boards in turn. Take the "
    "Daisy off, or switch it off (the command `c` to the board), and put the ECG on channels 1 to 8."
)


def _advice(received: bytes) -> str | None:
    """By the dongle's words."""
    failure = FAILURE.search(received)
    if failure is not None:
        return (
            f"the dongle says {failure.group(0).decode('ascii', 'replace').strip()[:80]!r}: the board is off, its "
            "battery is empty, or it is on another radio channel. Switch it to PC, charge it, and set both to one "
            "channel (in the OpenBCI GUI)."
        )
    if not received:
        return (
            "nothing answers. Set the dongle's switch to GPIO 6, switch the board to PC, charge its battery, and check "
            "that this is the dongle's port (`ecgmoe-edge ports`)."
        )
    if READY in received:
        return "the board answers, but sends no samples. Press its reset button, and start again."
    return None


class CytonDecoder(FramedDecoder):
    """All eight channels, or those that the user named."""

    sync = SYNC
    confirm = 2
    counter_range = 256

    def __init__(self, settings: Settings) -> None:
        uv_per_lsb = settings.uv_per_lsb or UV_PER_LSB
        super().__init__(stream_info(settings.rate or RATE, LEADS, uv_per_lsb, "OpenBCI Cyton"), settings.leads)
        self._text = b""
        self._kept = np.empty((CHANNELS, 0))  # codes until the frames are known not to alternate
        self._judged = False

    def skipped(self, junk: bytes) -> None:
        """The banner says whether there is a second board."""
        self._text += junk
        if DAISY.search(self._text):
            self.misfit = WITH_DAISY
        self._text = self._text[-TAIL_BYTES:]

    def size_at(self, buffer: bytearray, at: int) -> int:
        """By first and last byte."""
        if buffer[at] != 0xA0:
            return NONE
        if len(buffer) < at + SIZE:
            return MORE
        return SIZE if 0xC0 <= buffer[at + SIZE - 1] <= 0xC6 else NONE

    def counter_of(self, frame: bytes) -> int:
        """One byte."""
        return frame[1]

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (8, n)."""
        codes = integers(table(frames)[:, 2:26], ">i3")
        if not self._judged:
            self._judge(codes)
        return codes, None

    def _judge(self, codes: NDArray[np.float64]) -> None:
        """Frames of two boards in turn: each is like the one before the last, and unlike the last."""
        self._kept = np.concatenate([self._kept, codes[:, :DAISY_FRAMES]], axis=1)
        if self._kept.shape[1] < DAISY_FRAMES:
            return
        self._judged = True
        to_next = np.abs(np.diff(self._kept, axis=1)).sum()
        to_same = np.abs(self._kept[:, 2:] - self._kept[:, :-2]).sum()
        self._kept = np.empty((CHANNELS, 0))
        if to_next > DAISY_STEP * to_same and to_next:
            self.misfit = WITH_DAISY


class CytonDevice(Device):
    """A board with a dongle."""

    commands = {b"b": (True, b""), b"s": (False, b""), b"v": (False, BANNER)}  # noqa: RUF012 - read only

    def __init__(self, settings: Settings) -> None:
        leads = (settings.leads or LEADS)[:CHANNELS]
        super().__init__(settings.rate or RATE, leads, settings.uv_per_lsb or UV_PER_LSB)

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One sample; channels that are off are 0."""
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
        scale=f"{UV_PER_LSB:.5f} uV at the board's own gain of 24",
        limits=(
            "a counter of 256 samples (1.02 s) and no CRC: shorter losses are exact, longer ones are at least so many; "
            "damage inside a frame passes as signal"
        ),
        make_decoder=CytonDecoder,
        make_encoder=CytonDevice,
        recognise=recogniser(lambda: CytonDecoder(Settings()), CHECK_BITS),
        start=(Say(b"s", at_most_s=0.1), Say(b"v", until=READY, at_most_s=3.0, tries=2), Say(b"b")),
        stop=(Say(b"s"),),
        probe=Probe(b"v", lambda answer: READY in answer and b"OpenBCI" in answer, wait_s=3.0),
        counter_range=256,
        check_bits=2 * CHECK_BITS,
        advice=_advice,
    ),
)
