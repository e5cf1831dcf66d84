"""AD8232 on an Arduino: one number of the ADC a line as text, or `!` while the electrodes are off.

From the sketch of sparkfun/AD8232_Heart_Rate_Monitor. Its loop has no fixed rate, so the rate must be given; at its
9600 baud a line of six bytes takes 6.25 ms. A 10-bit ADC is taken for granted: 0 mV at 512.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge.formats.codes import given_scale
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import MORE, NONE, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import framed_score
from ecgmoe_edge.firmware_bridge.items import Settings, WireFormat, WireItem

LONGEST = 8  # bytes of a line with its end
OFF = b"!"
MIDDLE = 512
LEADS = ("ECG",)
CHECK_BITS = 12.0  # of a line; three in a row are needed
CONFIRM = 3


class Ad8232Decoder(FramedDecoder):
    """Lines of digits; any other line is text or damage."""

    confirm = CONFIRM

    def __init__(self, settings: Settings, uv_per_lsb: float) -> None:
        if settings.rate is None:
            raise UsageError("An AD8232 sketch has no rate of its own: give --fs, the lines that come in a second.")
        super().__init__(stream_info(settings.rate, LEADS, uv_per_lsb, "AD8232"), settings.leads)
        self._amid = True  # what comes next is the rest of a line: half a number would pass for a whole one
        self._lines = 0  # of text, since the last number
        self._passed = 0  # of text, between the last two numbers

    def size_at(self, buffer: bytearray, at: int) -> int:
        """A line that is a number of up to five digits, or `!`."""
        if self._amid:
            return NONE
        end = buffer.find(b"\n", at, at + LONGEST)
        if end < 0:
            return MORE if len(buffer) - at < LONGEST else NONE
        line = bytes(buffer[at:end])
        line = line[:-1] if line.endswith(b"\r") else line
        return end + 1 - at if line == OFF or (len(line) <= 5 and line.isdigit()) else NONE

    def skipped(self, junk: bytes) -> None:
        """Lines of text, or damaged ones: each stands where a number should have been."""
        self._lines += junk.count(b"\n")

    def holds_samples(self, frame: bytes) -> bool:
        """Always; the lines of text before it end here."""
        self._passed, self._lines = self._lines, 0
        return True

    def missing_in(self, junk: int, size: int) -> int:
        """A line each, however long."""
        return self._passed

    def interrupted(self) -> list[WireItem]:
        """The first line after it may have lost its beginning."""
        items = super().interrupted()
        self._amid = True
        return items

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (1, n), NaN where electrodes are off."""
        codes = [np.nan if frame.startswith(OFF) else float(frame) - MIDDLE for frame in frames]
        values = np.array([codes])
        return values, np.isnan(values)

    def _next_candidate(self, buffer: bytearray, at: int) -> int:
        """The next line."""
        end = buffer.find(b"\n", at)
        self._amid = end < 0
        return end + 1 if end >= 0 else len(buffer)


class Ad8232Device(Device):
    """The sketch, at 150 lines a second unless told otherwise."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.rate or 150, (settings.leads or LEADS)[:1], settings.uv_per_lsb or 10.0)

    def boot(self) -> bytes:
        """The end of a line, as nobody begins to listen at the beginning of one."""
        return b"\r\n"

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One line."""
        if np.isnan(values[0, 0]):
            return OFF + b"\r\n"
        return b"%d\r\n" % (self.codes(values, 1, -MIDDLE, MIDDLE - 1)[0, 0] + MIDDLE)


def _recognise(data: bytes) -> float:
    return 0.95 * framed_score(_lenient(), data, CHECK_BITS, minimum=8)


def _lenient() -> Ad8232Decoder:
    from fractions import Fraction

    return Ad8232Decoder(Settings(rate=Fraction(100)), 1.0)


FORMATS = (
    WireFormat(
        name="ad8232",
        description="AD8232 on an Arduino, text",
        bauds=(9600, 115200),
        rate="must be given",
        leads=", ".join(LEADS),
        scale="must be given",
        limits=(
            "no counter and no CRC: damaged lines are counted as at least so many samples lost, missing lines are not "
            "noticed, a wrong digit passes as signal, and the rate is only as steady as the sketch's loop"
        ),
        make_decoder=lambda settings: Ad8232Decoder(
            settings, given_scale(settings, "ad8232", "the ADC's step divided by the board's gain")
        ),
        make_encoder=Ad8232Device,
        recognise=_recognise,
        check_bits=CHECK_BITS * CONFIRM,
        needs=("--fs", "--uv-per-lsb"),
    ),
)
