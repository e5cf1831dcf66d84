"""The "ecgmoe" wire format, byte by byte: COBS, header, 24-bit samples, CRC-32. Specified in docs/serial-protocol.md.

This module knows single frames; what follows from their order (losses, restarts) is `decoder`'s part.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.items import MILLIVOLTS_PER_PICOVOLT, StreamInfo

VERSION = 1
INFO, SAMPLES, END = 1, 2, 3

DELIMITER = b"\x00"
COMMAND_START = b"S"  # host to device: begin, with an info frame first
COMMAND_STOP = b"P"
HEADER = struct.Struct("<BHHIII")
SAMPLES_HEAD = struct.Struct("<HBB")
INFO_HEAD = struct.Struct("<IIB")
INFO_CHANNEL = struct.Struct("<IB")
CRC = struct.Struct("<I")
MAX_BODY = 1024  # bytes; what a small device can hold and a decoder must
MAX_ENCODED = MAX_BODY + MAX_BODY // 254 + 1
MIN_ENCODED = 1 + HEADER.size + CRC.size
MAX_CHANNELS = 16
MAX_NAME = 16  # bytes of UTF-8
MAX_DEVICE = 32
NO_VALUE = -(1 << 23)  # the one code that means "not measured"; decodes as NaN
FULL_SCALE = (1 << 23) - 1


class FrameError(ValueError):
    """Bytes that are no frame of this format. Decoders count it; it never reaches a user."""


class NewerVersionError(FrameError):
    """An intact frame of a version that this decoder does not know."""


@dataclass(frozen=True)
class Header:
    """What every frame begins with. Counters are as on the wire: modulo 2**16 or 2**32."""

    kind: int
    run: int  # u16, another one each time the device starts counting anew
    counter: int  # u16, frames
    index: int  # u32, samples per lead measured before this frame, dropped ones included
    clock_us: int  # u32
    overflow: int  # u32, samples per lead that the device measured and had to drop


def cobs_encode(body: bytes) -> bytes:
    """Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999): the same bytes without any 0x00."""
    out = bytearray()
    for part in body.split(b"\x00"):
        while len(part) >= 254:
            out += b"\xff" + part[:254]
            part = part[254:]
        out.append(len(part) + 1)
        out += part
    return bytes(out)


def cobs_decode(stuffed: bytes) -> bytes:
    """Inverse of `cobs_encode`. Raises FrameError if a length byte points past the end."""
    out = bytearray()
    position, size = 0, len(stuffed)
    while position < size:
        code = stuffed[position]
        end = position + code
        if code == 0 or end > size:
            raise FrameError("COBS")
        out += stuffed[position + 1 : end]
        position = end
        if code < 0xFF and position < size:
            out.append(0)
    return bytes(out)


def to_codes(values: NDArray[np.float64], picovolts_per_lsb: Sequence[float]) -> tuple[NDArray[np.int32], int]:
    """Samples in mV (leads, n) as 24-bit codes (leads, n): rounded, clipped at full scale, NaN as NO_VALUE.

    With them comes in how many samples a lead was clipped.
    """
    steps = np.asarray(picovolts_per_lsb, dtype=np.float64)[:, None] * MILLIVOLTS_PER_PICOVOLT
    missing = np.isnan(values)
    codes = np.rint(np.where(missing, 0.0, values) / steps)
    beyond = (np.abs(codes) > FULL_SCALE).any(axis=0)
    codes = np.clip(codes, -FULL_SCALE, FULL_SCALE)
    return np.asarray(np.where(missing, NO_VALUE, codes), dtype=np.int32), int(beyond.sum())


def to_millivolts(codes: NDArray[np.int32], picovolts_per_lsb: Sequence[float]) -> NDArray[np.float64]:
    """24-bit codes (leads, n) as mV (leads, n); NO_VALUE becomes NaN."""
    steps = np.asarray(picovolts_per_lsb, dtype=np.float64)[:, None] * MILLIVOLTS_PER_PICOVOLT
    values = np.asarray(codes * steps, dtype=np.float64)
    values[codes == NO_VALUE] = np.nan
    return values


class FrameEncoder:
    """The device's side: turns codes into frames and keeps the counters.

    `run` tells this run of the counters from every other (0..65535); `index` is the number of the first sample.
    """

    def __init__(self, info: StreamInfo, run: int, index: int = 0) -> None:
        _check_info(info)
        self.info = info
        self.run = run
        self.index = index
        self.counter = 0
        self.overflow = 0
        self.max_samples = max_samples_per_frame(len(info.leads))

    def info_frame(self) -> bytes:
        """Rate, scale, lead names. Begins with a delimiter too, so that text sent at boot cannot spoil it."""
        payload = INFO_HEAD.pack(self.info.rate.numerator, self.info.rate.denominator, len(self.info.leads))
        for lead, picovolts in zip(self.info.leads, self.info.picovolts_per_lsb, strict=True):
            name = lead.encode()
            payload += INFO_CHANNEL.pack(round(picovolts), len(name)) + name
        device = self.info.device.encode()
        return DELIMITER + self._frame(INFO, payload + bytes([len(device)]) + device)

    def samples_frame(self, codes: NDArray[np.int32], lead_off: Sequence[bool] = ()) -> bytes:
        """One frame of codes (leads, n), n at most `max_samples`; `lead_off` has one flag per lead."""
        leads, n = codes.shape
        if leads != len(self.info.leads) or not 1 <= n <= self.max_samples:
            raise ValueError(f"a frame holds ({len(self.info.leads)}, 1..{self.max_samples}) codes, not {codes.shape}")
        flags = sum(1 << lead for lead, off in enumerate(lead_off) if off)
        wide = np.ascontiguousarray(codes.T, dtype="<i4").view(np.uint8).reshape(-1, 4)
        frame = self._frame(SAMPLES, SAMPLES_HEAD.pack(flags, leads, n) + wide[:, :3].tobytes())
        self.index += n
        return frame

    def end_frame(self) -> bytes:
        """The stream ends here; its header's index is the total."""
        return self._frame(END, b"")

    def overflowed(self, samples: int) -> None:
        """`samples` (per lead) were measured and dropped because the device's buffer was full."""
        self.index += samples
        self.overflow += samples

    def _frame(self, kind: int, payload: bytes) -> bytes:
        clock_us = int(self.index * 1_000_000 / self.info.rate)
        header = HEADER.pack(
            VERSION << 4 | kind,
            self.run,
            self.counter % 2**16,
            self.index % 2**32,
            clock_us % 2**32,
            self.overflow % 2**32,
        )
        self.counter += 1
        body = header + payload
        return cobs_encode(body + CRC.pack(zlib.crc32(body))) + DELIMITER


def max_samples_per_frame(leads: int) -> int:
    """How many samples per lead fit into one frame of `leads` leads."""
    return min(255, (MAX_BODY - HEADER.size - SAMPLES_HEAD.size - CRC.size) // (3 * leads))


def open_frame(stuffed: bytes) -> tuple[Header, bytes]:
    """Header and payload of the bytes between two delimiters. Raises FrameError unless they are intact."""
    if not MIN_ENCODED <= len(stuffed) <= MAX_ENCODED:
        raise FrameError("length")
    body = cobs_decode(stuffed)
    if len(body) < HEADER.size + CRC.size or zlib.crc32(body[:-4]) != CRC.unpack_from(body, len(body) - 4)[0]:
        raise FrameError("CRC")
    first, run, counter, index, clock_us, overflow = HEADER.unpack_from(body)
    if first >> 4 != VERSION:
        raise NewerVersionError(f"version {first >> 4}")
    return Header(first & 15, run, counter, index, clock_us, overflow), body[HEADER.size : -4]


def parse_info(payload: bytes) -> StreamInfo:
    """The payload of an info frame. Raises FrameError if its content cannot be."""
    try:
        numerator, denominator, channels = INFO_HEAD.unpack_from(payload)
        position = INFO_HEAD.size
        leads, scales = [], []
        for _ in range(channels):
            picovolts, size = INFO_CHANNEL.unpack_from(payload, position)
            position += INFO_CHANNEL.size
            leads.append(_text(payload, position, size))
            scales.append(picovolts)
            position += size
        device = _text(payload, position + 1, payload[position])
        info = StreamInfo(Fraction(numerator, denominator), tuple(leads), tuple(scales), device)
        _check_info(info)
    except (struct.error, IndexError, ValueError, ZeroDivisionError) as error:
        raise FrameError(f"info: {error}") from error
    return info


def parse_samples(payload: bytes) -> tuple[int, NDArray[np.int32]]:
    """Lead-off bits and codes (leads, n >= 1) of a samples frame. Raises FrameError if the sizes do not agree."""
    if len(payload) < SAMPLES_HEAD.size:
        raise FrameError("samples: too short")
    flags, leads, n = SAMPLES_HEAD.unpack_from(payload)
    raw = np.frombuffer(payload, dtype=np.uint8, offset=SAMPLES_HEAD.size)
    if leads == 0 or n == 0 or raw.size != 3 * leads * n:
        raise FrameError("samples: sizes do not agree")
    wide = np.zeros((leads * n, 4), dtype=np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    return flags, (wide.view("<i4").reshape(n, leads) >> 8).T


def _text(payload: bytes, position: int, size: int) -> str:
    if position + size > len(payload):
        raise ValueError("text past the end")
    return payload[position : position + size].decode()


def _check_info(info: StreamInfo) -> None:
    if not 1 <= len(info.leads) <= MAX_CHANNELS or len(info.leads) != len(info.picovolts_per_lsb):
        raise ValueError(f"1 to {MAX_CHANNELS} leads, each with a scale")
    if not 1 <= info.rate <= 100_000 or max(info.rate.numerator, info.rate.denominator) >= 2**32:
        raise ValueError("a rate of 1 to 100,000 Hz whose numerator and denominator fit 32 bits")
    if not all(0 < picovolts < 2**32 for picovolts in info.picovolts_per_lsb):
        raise ValueError("a scale of 1 to 2**32 - 1 pV per LSB")
    if any(len(lead.encode()) > MAX_NAME for lead in info.leads) or len(info.device.encode()) > MAX_DEVICE:
        raise ValueError(f"names of leads up to {MAX_NAME} bytes, of the device up to {MAX_DEVICE}")
