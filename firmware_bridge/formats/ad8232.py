"""AD8232 on an Arduino: each line of text has one ADC code, or `!` while the electrodes are off.

Source: the sketch in sparkfun/AD8232_Heart_Rate_Monitor. Its loop has no fixed rate, so the user must state the
sampling rate; at 9600 baud a line of six bytes takes 6.25 ms. A 10-bit ADC is assumed, with 0 mV at code 512.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge.formats.codes import given_scale
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import NEED_MORE, NO_FRAME, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import framed_score
from ecgmoe_edge.firmware_bridge.items import Settings, WireFormat, WireItem

LONGEST = 8  # longest line in bytes, with its line end
ELECTRODES_OFF = b"!"
MIDDLE = 512
LEADS = ("ECG",)
CHECK_BITS = 12.0  # per line; CONFIRM lines in a row are needed
CONFIRM = 3


class Ad8232Decoder(FramedDecoder):
    """Decodes lines of digits. Any other line is text or damaged."""

    confirm = CONFIRM

    def __init__(self, settings: Settings, uv_per_lsb: float) -> None:
        if settings.rate is None:
            raise UsageError(
                "An AD8232 sketch does not state its sampling rate: give --fs, the number of lines per second."
            )
        super().__init__(stream_info(settings.rate, LEADS, uv_per_lsb, "AD8232"), settings.leads)
        self._mid_line = True  # the next bytes are the rest of a line: half a number would pass for a whole one
        self._text_lines = 0  # lines of text since the last number
        self._lines_before = 0  # lines of text between the last two numbers

    def size_at(self, buffer: bytearray, at: int) -> int:
        """A frame is a line with a number of up to five digits, or `!`."""
        if self._mid_line:
            return NO_FRAME
        end = buffer.find(b"\n", at, at + LONGEST)
        if end < 0:
            return NEED_MORE if len(buffer) - at < LONGEST else NO_FRAME
        line = bytes(buffer[at:end])
        line = line[:-1] if line.endswith(b"\r") else line
        return end + 1 - at if line == ELECTRODES_OFF or (len(line) <= 5 and line.isdigit()) else NO_FRAME

    def skipped(self, junk: bytes) -> None:
        """Count lines of text and damaged lines: each replaces one number."""
        self._text_lines += junk.count(b"\n")

    def holds_samples(self, frame: bytes) -> bool:
        """Always True. The lines of text before this frame end here."""
        self._lines_before, self._text_lines = self._text_lines, 0
        return True

    def frames_in_junk(self, junk: int, size: int) -> int:
        """One frame per line of text, whatever its length."""
        return self._lines_before

    def interrupted(self) -> list[WireItem]:
        """The first line after an interruption may lack its beginning."""
        items = super().interrupted()
        self._mid_line = True
        return items

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (1, samples), NaN while electrodes are off."""
        codes = [np.nan if frame.startswith(ELECTRODES_OFF) else float(frame) - MIDDLE for frame in frames]
        values = np.array([codes])
        return values, np.isnan(values)

    def _next_candidate(self, buffer: bytearray, at: int) -> int:
        """The start of the next line."""
        end = buffer.find(b"\n", at)
        self._mid_line = end < 0
        return end + 1 if end >= 0 else len(buffer)


class Ad8232Device(Device):
    """The sketch, at 150 lines per second by default."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.rate or 150, (settings.leads or LEADS)[:1], settings.uv_per_lsb or 10.0)

    def boot(self) -> bytes:
        """The end of a line, because a reader usually starts in the middle of one."""
        return b"\r\n"

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One line with one sample."""
        if np.isnan(values[0, 0]):
            return ELECTRODES_OFF + b"\r\n"
        return b"%d\r\n" % (self.codes(values, 1, -MIDDLE, MIDDLE - 1)[0, 0] + MIDDLE)


def _recognise(data: bytes) -> float:
    return 0.95 * framed_score(_trial_decoder(), data, CHECK_BITS, minimum=8)


def _trial_decoder() -> Ad8232Decoder:
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
            "no counter and no CRC: damaged lines are counted as a lower bound of the loss, missing lines are not "
            "detected, a wrong digit passes as signal, and the rate is only as steady as the sketch's loop"
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
