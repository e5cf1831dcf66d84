"""Single frames of the "ecgmoe" wire format: COBS, header, 24-bit samples, CRC-32 (docs/serial-protocol.md).

`decoder` interprets the order of frames (losses, restarts).
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
COMMAND_START = b"S"  # host to device: start to stream, with an info frame first
COMMAND_STOP = b"P"  # host to device: pause
HEADER = struct.Struct("<BHHIII")
SAMPLES_HEAD = struct.Struct("<HBB")
INFO_HEAD = struct.Struct("<IIB")
INFO_CHANNEL = struct.Struct("<IB")
CRC = struct.Struct("<I")
MAX_BODY = 1024  # bytes before stuffing; small devices can hold as much, and a decoder must accept it
MAX_ENCODED = MAX_BODY + MAX_BODY // 254 + 1
MIN_ENCODED = 1 + HEADER.size + CRC.size
MAX_CHANNELS = 16
MAX_NAME = 16  # bytes of UTF-8 in a lead name
MAX_DEVICE = 32  # bytes of UTF-8 in a device name
NO_VALUE = -(1 << 23)  # the code for "not measured"; decoded as NaN
FULL_SCALE = (1 << 23) - 1


class FrameError(ValueError):
    """The bytes are no frame of this format. Decoders count this error; it never reaches a user."""


class NewerVersionError(FrameError):
    """An intact frame of a newer protocol version."""


@dataclass(frozen=True)
class Header:
    """The header of every frame. Counters are as transmitted: modulo 2**16 or 2**32."""

    kind: int
    run: int  # u16, a different number each time the device restarts its counters
    counter: int  # u16, frames sent
    index: int  # u32, samples per lead measured before this frame, including dropped ones
    clock_us: int  # u32, the device's clock, microseconds
    overflow: int  # u32, samples per lead that the device measured and dropped because its buffer was full


def cobs_encode(body: bytes) -> bytes:
    """Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999): encode bytes so that none of them is 0x00.

    >>> cobs_encode(bytes([1, 0, 2])).hex()
    '02010202'
    """
    out = bytearray()
    for part in body.split(b"\x00"):
        while len(part) >= 254:
            out += b"\xff" + part[:254]
            part = part[254:]
        out.append(len(part) + 1)
        out += part
    return bytes(out)


def cobs_decode(stuffed: bytes) -> bytes:
    """Inverse of `cobs_encode`.

    Raises:
        FrameError: a length byte points past the end.

    >>> cobs_decode(bytes.fromhex("02010202")).hex()
    '010002'
    """
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
    """Encode samples as 24-bit codes: rounded, clipped at full scale, NaN as NO_VALUE.

    Args:
        values: mV, (leads, samples).
        picovolts_per_lsb: the step of each lead, pV.

    Returns:
        The codes, (leads, samples), and the number of samples at which some lead was clipped.
    """
    steps = np.asarray(picovolts_per_lsb, dtype=np.float64)[:, None] * MILLIVOLTS_PER_PICOVOLT
    missing = np.isnan(values)
    codes = np.rint(np.where(missing, 0.0, values) / steps)
    beyond = (np.abs(codes) > FULL_SCALE).any(axis=0)
    codes = np.clip(codes, -FULL_SCALE, FULL_SCALE)
    return np.asarray(np.where(missing, NO_VALUE, codes), dtype=np.int32), int(beyond.sum())


def to_millivolts(codes: NDArray[np.int32], picovolts_per_lsb: Sequence[float]) -> NDArray[np.float64]:
    """Decode 24-bit codes (leads, samples) to mV (leads, samples); NO_VALUE becomes NaN."""
    steps = np.asarray(picovolts_per_lsb, dtype=np.float64)[:, None] * MILLIVOLTS_PER_PICOVOLT
    values = np.asarray(codes * steps, dtype=np.float64)
    values[codes == NO_VALUE] = np.nan
    return values


class FrameEncoder:
    """The device's side of the protocol: builds frames and keeps the counters.

    Args:
        info: rate, leads and scale.
        run: 0 to 65535; a number that no other run of the counters has.
        index: number of the first sample.

    Raises:
        ValueError: `info` cannot be encoded (too many leads, a rate or scale out of range, a name too long).
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
        """Rate, scale and lead names. Also begins with a delimiter, so that boot text before it cannot damage it."""
        payload = INFO_HEAD.pack(self.info.rate.numerator, self.info.rate.denominator, len(self.info.leads))
        for lead, picovolts in zip(self.info.leads, self.info.picovolts_per_lsb, strict=True):
            name = lead.encode()
            payload += INFO_CHANNEL.pack(round(picovolts), len(name)) + name
        device = self.info.device.encode()
        return DELIMITER + self._frame(INFO, payload + bytes([len(device)]) + device)

    def samples_frame(self, codes: NDArray[np.int32], lead_off: Sequence[bool] = ()) -> bytes:
        """One frame of samples.

        Args:
            codes: (leads, samples), 1 to `max_samples` samples.
            lead_off: one flag per lead, True if it is off.

        Raises:
            ValueError: the shape of `codes` does not fit a frame.
        """
        leads, n = codes.shape
        if leads != len(self.info.leads) or not 1 <= n <= self.max_samples:
            raise ValueError(f"a frame holds ({len(self.info.leads)}, 1..{self.max_samples}) codes, not {codes.shape}")
        flags = sum(1 << lead for lead, off in enumerate(lead_off) if off)
        wide = np.ascontiguousarray(codes.T, dtype="<i4").view(np.uint8).reshape(-1, 4)
        frame = self._frame(SAMPLES, SAMPLES_HEAD.pack(flags, leads, n) + wide[:, :3].tobytes())
        self.index += n
        return frame

    def end_frame(self) -> bytes:
        """The end of the stream; the header's index is the total number of samples per lead."""
        return self._frame(END, b"")

    def overflowed(self, samples: int) -> None:
        """Count `samples` (per lead) that were measured and dropped because the device's buffer was full."""
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
    """Number of samples per lead that fit into one frame.

    >>> max_samples_per_frame(2)
    166
    """
    return min(255, (MAX_BODY - HEADER.size - SAMPLES_HEAD.size - CRC.size) // (3 * leads))


def open_frame(stuffed: bytes) -> tuple[Header, bytes]:
    """Decode the bytes between two delimiters.

    Returns:
        Header and payload.

    Raises:
        FrameError: the bytes are damaged (length, COBS or CRC).
        NewerVersionError: the frame is intact, but of a newer protocol version.
    """
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
    """Decode the payload of an info frame.

    Raises:
        FrameError: the payload is inconsistent or out of range.
    """
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
    """Decode the payload of a samples frame.

    Returns:
        Lead-off bits (bit i is lead i) and codes, (leads, samples) with at least one sample.

    Raises:
        FrameError: the sizes do not agree.
    """
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
