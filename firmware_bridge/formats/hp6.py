"""HealthyPi 6 live stream (HP6): blocks `DBLK` with a sequence number, a clock and a CRC-32.

Source: the container description in the MIT-licensed package protocentral-healthypi. A block is `DBLK`, u32 length of
the whole block, u32 sequence, u64 milliseconds, u8 channel, u8 flags, u16 samples, u32 0, payload, CRC-32 of all
bytes before it. An ECG sample has 20 bytes: respiration, leads I, II and V1 as i32 in uV, a byte with the electrodes
that are off (RA, LA, LL, V1), flags, u16 0. The sequence number counts the blocks of all channels, so it does not tell
how many missing blocks held ECG; the clock of the ECG blocks does.
"""

from __future__ import annotations

import struct
import zlib
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import rows_of
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import NEED_MORE, NO_FRAME, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import recogniser
from ecgmoe_edge.firmware_bridge.items import Settings, WireFormat

MAGIC = b"DBLK"
HEAD = struct.Struct("<4sIIQBBHI")
CRC = struct.Struct("<I")
LONGEST = 4096  # bytes; an ECG block has 352
ECG = 1
SAMPLE = np.dtype([("resp", "<i4"), ("leads", "<i4", (3,)), ("off", "u1"), ("flags", "u1"), ("zero", "<u2")])
LEADS = ("I", "II", "V1")
RATE = 500
PER_BLOCK = 16
RA, LA, LL, V1 = 1, 2, 4, 8
# The electrodes of each lead. V1 is measured against the mean of the limb electrodes.
ELECTRODES = np.array([RA | LA, RA | LL, RA | LA | LL | V1], dtype=np.uint8)
CHECK_BITS = 64.0  # four fixed bytes and the CRC


class Hp6Decoder(FramedDecoder):
    """Decodes ECG blocks. Blocks of other channels are counted and skipped."""

    sync = MAGIC
    counter_range = 2**32
    counter_checked = True
    counter_spans_reconnect = True
    samples_per_frame = PER_BLOCK

    def __init__(self, settings: Settings) -> None:
        rate = settings.rate or Fraction(RATE)
        super().__init__(stream_info(rate, LEADS, settings.uv_per_lsb or 1.0, "HealthyPi 6"), settings.leads)
        self._sequence: int | None = None  # sequence number of the last block of any channel
        self._clock_ms = 0  # clock of the last ECG block
        self._missing_blocks = 0  # blocks of any channel that are missing since the last ECG block
        self._index = 0  # number of the ECG block, including missing ones

    def size_at(self, buffer: bytearray, at: int) -> int:
        """Magic number, length and CRC identify a block."""
        if not MAGIC.startswith(bytes(buffer[at : at + 4])):
            return NO_FRAME
        available = len(buffer) - at
        if available < 8:
            return NEED_MORE
        length = int.from_bytes(buffer[at + 4 : at + 8], "little")
        if not HEAD.size + CRC.size <= length <= LONGEST:
            return NO_FRAME
        if available < length:
            return NEED_MORE
        end = at + length - CRC.size
        return length if zlib.crc32(buffer[at:end]) == CRC.unpack_from(buffer, end)[0] else NO_FRAME

    def holds_samples(self, frame: bytes) -> bool:
        """Whether it is an ECG block. Updates the sequence number and the clock."""
        _, _, sequence, clock_ms, channel, _, n, _ = HEAD.unpack_from(frame)
        if self._sequence is not None:
            if sequence <= self._sequence:
                self._index += self.counter_range // 2 + 1  # the device restarted its counters
                self._missing_blocks = 0
            else:
                self._missing_blocks += sequence - self._sequence - 1
        self._sequence = sequence
        if channel != ECG or n == 0 or len(frame) != HEAD.size + n * SAMPLE.itemsize + CRC.size:
            return False
        missing = 0
        if self._missing_blocks and self.info is not None:
            blocks = (clock_ms - self._clock_ms) * self.info.fs / 1000 / self.samples_per_frame
            missing = min(self._missing_blocks, max(0, round(blocks) - 1))
        self._missing_blocks = 0
        self._index += missing + 1
        self._clock_ms = clock_ms
        self.samples_per_frame = n
        return True

    def samples_in(self, frame: bytes) -> int:
        """The number in the block's header."""
        return int(HEAD.unpack_from(frame)[6])

    def counter_of(self, frame: bytes) -> int:
        """The number of the ECG block that `holds_samples` has just seen."""
        return self._index % self.counter_range

    def clock_of(self, frame: bytes) -> float | None:
        """The milliseconds in the block's header, as s."""
        return float(HEAD.unpack_from(frame)[3]) / 1000

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes (3, samples), and a mask of the leads whose electrodes are off."""
        samples = np.frombuffer(b"".join(frame[HEAD.size : -CRC.size] for frame in frames), dtype=SAMPLE)
        off = (samples["off"][None, :] & ELECTRODES[:, None]) != 0
        return np.asarray(samples["leads"].T, dtype=np.float64), off


class Hp6Device(Device):
    """Streams ECG blocks, as the board's first USB port does."""

    per_frame = PER_BLOCK

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.rate or RATE, (settings.leads or LEADS)[:3], settings.uv_per_lsb or 1.0)
        self._samples = 0

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """One block. A NaN in a lead is sent as an electrode that is off, so all leads of that electrode are off."""
        samples = np.zeros(values.shape[1], dtype=SAMPLE)
        samples["leads"] = self.codes(values, 3, -(2**31), 2**31 - 1).T
        off = np.isnan(rows_of(values, 3))
        samples["off"] = np.where(off.all(axis=0), RA, off[0] * LA + off[1] * LL + off[2] * V1)
        length = HEAD.size + samples.nbytes + CRC.size
        clock_ms = int(self._samples * 1000 / self.rate)
        body = HEAD.pack(MAGIC, length, self.counter % 2**32, clock_ms, ECG, 0, len(samples), 0) + samples.tobytes()
        self.counter += 1
        self._samples += len(samples)
        return body + CRC.pack(zlib.crc32(body))


FORMATS = (
    WireFormat(
        name="hp6",
        description="HealthyPi 6, live blocks",
        bauds=(115200,),
        rate="500 Hz",
        leads=", ".join(LEADS),
        scale="1 uV",
        limits="a counter of 2^32 blocks, a clock and CRC-32: losses are exact, damage is always detected",
        make_decoder=Hp6Decoder,
        make_encoder=Hp6Device,
        recognise=recogniser(lambda: Hp6Decoder(Settings()), CHECK_BITS, minimum=1),
        counter_range=2**31,
        check_bits=CHECK_BITS,
    ),
)
