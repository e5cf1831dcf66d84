"""Shimmer3 ECG over Bluetooth serial: `00`, 24-bit time stamp of 32,768 Hz, then each ExG chip's status and channels.

An ExG chip has a status byte and two 24-bit channels, big endian.

Source: the published command set of Shimmer's firmware. The reply to an inquiry (01) is `FF 02`, the sampling period
in ticks of 32,768 Hz, four bytes of configuration, the number of channels, a buffer size, and a byte per channel; it
determines rate and layout. Losses are detected by the time stamp, which wraps after 512 s. Lead names assume Shimmer's
usual ECG wiring; the user must check the electrodes.
"""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import given_scale, integers, pack, table
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import NEED_MORE, NO_FRAME, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import CERTAIN_BITS
from ecgmoe_edge.firmware_bridge.items import CommandStep, Probe, Settings, WireFormat, WireItem

TICKS_PER_S = 32768
DATA, INQUIRY, ANSWER, START, STOP, ACK = b"\x00", b"\x01", b"\x02", b"\x07", b"\x20", b"\xff"
FIRMWARE, FIRMWARE_ANSWER = b"\x2e", b"\x2f" + struct.pack("<HHBB", 3, 0, 11, 0)  # LogAndStream 0.11.0
INQUIRY_HEAD = struct.Struct("<HIBB")
# Per chip the channel numbers of its status byte and its two 24-bit channels
CHIPS = ((0x1D, 0x1E, 0x1F), (0x20, 0x21, 0x22))
LEADS = (("II", "I"), ("ch3", "V1"))
HEAD = 4  # bytes before the first chip
CHIP = 7  # bytes of a chip
RANGE = 2**24
MAX_STEP = 16  # a time stamp further ahead than this many samples is a jump
CHECK_BITS = 8.0  # the first byte; CONFIRM frames in a row with consecutive time stamps are needed
CONFIRM = 4
CONFIRM_JUMP = 12


class ShimmerDecoder(FramedDecoder):
    """Waits for the reply to the inquiry, which gives rate and layout. Then decodes the samples of the ExG chips."""

    sync = DATA
    confirm = CONFIRM
    counter_range = RANGE

    def __init__(self, settings: Settings, uv_per_lsb: float) -> None:
        super().__init__(None, settings.leads)
        self._uv_per_lsb = uv_per_lsb
        self._text = b""  # bytes in which the reply may be
        self._size = 0
        self._chips = 0
        self._ticks = 1
        self._clock = 0  # unwrapped time stamp
        self._stamp: int | None = None
        self._last_stamp: int | None = None  # time stamp of the last frame that was found

    def size_at(self, buffer: bytearray, at: int) -> int:
        """First byte and time stamp identify a frame; after a jump of the time stamp, also those of the next frames."""
        if not self._size or buffer[at] != 0:
            return NO_FRAME
        if len(buffer) - at < self._size:
            return NEED_MORE
        stamp = int.from_bytes(buffer[at + 1 : at + HEAD], "little")
        if (
            self._synchronised
            and self._last_stamp is not None
            and self._is_successor(stamp, self._last_stamp, MAX_STEP)
        ):
            return self._size
        if self._synchronised and (stamp, bytes(buffer[at : at + self._size])) in self._recent:
            return self._size  # a repeated frame; the next frames need not continue from it
        return self._confirmed(buffer, at, self._size) if self._synchronised else self._size

    def skipped(self, junk: bytes) -> None:
        """Search for the reply to the inquiry."""
        self._text = (self._text + junk)[-64:]
        at = self._text.find(ACK + ANSWER)
        if at < 0 or len(self._text) < at + 2 + INQUIRY_HEAD.size:
            return
        ticks, _, channels, _ = INQUIRY_HEAD.unpack_from(self._text, at + 2)
        numbers = tuple(self._text[at + 2 + INQUIRY_HEAD.size :][:channels])
        if len(numbers) < channels or not ticks:
            return
        self._text = b""
        chips = [chip for chip, of_chip in enumerate(CHIPS) if set(of_chip) <= set(numbers)]
        if chips and numbers == tuple(number for chip in chips for number in CHIPS[chip]):
            self._chips = len(chips)
            self._size = HEAD + CHIP * len(chips)
            self._ticks = ticks
            self.counter_range = max(1, RANGE // ticks)  # samples
            leads = tuple(name for chip in chips for name in LEADS[chip])
            self.begin(stream_info(Fraction(TICKS_PER_S, ticks), leads, self._uv_per_lsb, "Shimmer3"))

    def counter_of(self, frame: bytes) -> int:
        """The time stamp."""
        return int.from_bytes(frame[1:4], "little")

    def ahead(self, counter: int, last: int) -> int:
        """Samples between two time stamps."""
        return max(1, round((counter - last) % RANGE / self._ticks))

    def silent(self, seconds: float) -> None:
        """The time stamp wraps after 512 s."""
        self._may_have_wrapped |= seconds >= RANGE / TICKS_PER_S

    def clock_of(self, frame: bytes) -> float | None:
        """The unwrapped time stamp, s."""
        stamp = self.counter_of(frame)
        self._clock += (stamp - self._stamp + RANGE // 2) % RANGE - RANGE // 2 if self._stamp is not None else stamp
        self._stamp = stamp
        return self._clock / TICKS_PER_S

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (channels, samples)."""
        raw = table(frames)[:, HEAD:].reshape(len(frames) * self._chips, CHIP)[:, 1:]
        return integers(raw.reshape(len(frames), -1), ">i3"), None

    def holds_samples(self, frame: bytes) -> bool:
        """Always True. The time stamp of the frame is kept for the search of the next one."""
        self._last_stamp = self.counter_of(frame)
        return True

    def interrupted(self) -> list[WireItem]:
        """The time stamp does not span an interruption."""
        self._last_stamp = None
        return super().interrupted()

    def _confirmed(self, buffer: bytearray, at: int, size: int) -> int:
        """The next frames must have time stamps that continue from this one.

        A few frames are enough if this time stamp continues from the last one, with the bytes in between taken into
        account. After a jump more are needed, because the low bytes of a rising signal increase as time stamps do.
        """
        stamp = int.from_bytes(buffer[at + 1 : at + HEAD], "little")
        expected = self._last_stamp is not None and self._is_successor(
            stamp, self._last_stamp, MAX_STEP + self._junk // size
        )
        for start in range(at + size, at + (CONFIRM if expected else CONFIRM_JUMP) * size, size):
            if len(buffer) < start + HEAD:
                return NEED_MORE
            before, stamp = stamp, int.from_bytes(buffer[start + 1 : start + HEAD], "little")
            if buffer[start] != 0 or not self._is_successor(stamp, before, MAX_STEP):
                return NO_FRAME
        return size

    def _is_successor(self, stamp: int, before: int, samples: int) -> bool:
        """Whether `stamp` is one of the next `samples` time stamps after `before`."""
        step = (stamp - before) % RANGE
        off = (step + self._ticks // 2) % self._ticks - self._ticks // 2
        return 0 < step <= samples * self._ticks and abs(off) <= self._ticks // 16


class ShimmerDevice(Device):
    """One ExG chip, so two channels, at 512 Hz."""

    def __init__(self, settings: Settings) -> None:
        rate = settings.rate or Fraction(512)
        self.ticks = max(1, round(TICKS_PER_S / rate))
        numbers = bytes(CHIPS[0])
        answer = ACK + ANSWER + INQUIRY_HEAD.pack(self.ticks, 0, len(numbers), 1) + numbers
        self.commands = {
            INQUIRY: (None, answer),
            START: (True, ACK),
            STOP: (False, ACK),
            FIRMWARE: (None, ACK + FIRMWARE_ANSWER),
        }
        super().__init__(
            Fraction(TICKS_PER_S, self.ticks), (settings.leads or LEADS[0])[:2], settings.uv_per_lsb or 1.0
        )

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One sample."""
        codes = self.codes(values, 2, -(2**23), 2**23 - 1)
        stamp = self.counter * self.ticks % RANGE
        self.counter += 1
        return DATA + stamp.to_bytes(3, "little") + b"\x80" + pack(codes, ">i3")


def _is_reply(answer: bytes) -> bool:
    at = answer.find(ACK + ANSWER)
    if at < 0 or len(answer) < at + 2 + INQUIRY_HEAD.size:
        return False
    ticks, _, channels, _ = INQUIRY_HEAD.unpack_from(answer, at + 2)
    return bool(ticks) and len(answer) >= at + 2 + INQUIRY_HEAD.size + channels


def _recognise(data: bytes) -> float:
    """Score by frames of one or two chips whose time stamps increase by a constant step."""
    best = 0.0
    for chips in (1, 2):
        size = HEAD + CHIP * chips
        for start in range(min(size, len(data))):
            rows = [data[at : at + size] for at in range(start, len(data) - size + 1, size)]
            if len(rows) < 4:
                break
            if any(row[0] for row in rows[:4]):
                continue
            stamps = np.array([int.from_bytes(row[1:4], "little") for row in rows])
            steps = np.diff(stamps) % RANGE
            usual = np.median(steps)
            held = np.mean((steps == usual) & (np.array([row[0] for row in rows[1:]]) == 0)) if usual else 0.0
            best = max(best, float(held) * min(1.0, len(rows) * CHECK_BITS / CERTAIN_BITS))
    return best


FORMATS = (
    WireFormat(
        name="shimmer3",
        description="Shimmer3 with an ExG unit, 24 bits",
        bauds=(115200,),
        rate="as set in the device",
        leads="II, I; with a second chip ch3, V1",
        scale="must be given",
        limits=(
            "a time stamp that wraps after 512 s and no CRC: shorter losses are exact; damage inside a frame passes as "
            "signal"
        ),
        make_decoder=lambda settings: ShimmerDecoder(
            settings, given_scale(settings, "shimmer3", "2.42e6 / gain / (2^23 - 1)")
        ),
        make_encoder=ShimmerDevice,
        recognise=_recognise,
        start=(
            CommandStep(STOP, reply=ACK, wait_s=0.5),
            CommandStep(INQUIRY, reply=ACK + ANSWER, wait_s=1.0, tries=3),
            CommandStep(b"", wait_s=0.1),
            CommandStep(START, reply=ACK, wait_s=0.5),
        ),
        stop=(CommandStep(STOP),),
        probe=Probe(INQUIRY, _is_reply),
        counter_range=RANGE // 64,
        check_bits=8.0 * CONFIRM + 16.0 * (CONFIRM - 1),
        needs=("--uv-per-lsb",),
    ),
)
