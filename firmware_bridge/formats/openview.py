"""OpenView frames (ProtoCentral boards): `0A FA`, u16 length, type, payload, `00 0B`; no checksum, no counter.

Source of the layouts, at github.com/Protocentral: protocentral_openview (board decoders),
protocentral-ads1292r-arduino, protocentral_healthypi_v4, protocentral_healthypi_5_firmware. Some boards omit the 00
before the 0B.

Damaged frames are counted from the bytes between valid frames. Whole missing frames cannot be detected. None of the
boards transmits its scale.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import given_scale, integers, pack, table
from ecgmoe_edge.firmware_bridge.formats.device import Device
from ecgmoe_edge.firmware_bridge.formats.framed import NEED_MORE, NO_FRAME, FramedDecoder, stream_info
from ecgmoe_edge.firmware_bridge.formats.recognition import framed_score
from ecgmoe_edge.firmware_bridge.items import CommandStep, Settings, WireFormat

SYNC = b"\x0a\xfa"
HEAD = struct.Struct("<2sHB")
LONGEST = 64  # bytes of payload; the longest known is 50
CHECK_BITS = 48.0  # sync, length, type and the final 0B: six fixed bytes
LIMITS = (
    "no counter and no CRC: damaged frames are counted as a lower bound of the loss, whole missing frames are not "
    "detected, and damage inside a frame passes as signal"
)


@dataclass(frozen=True)
class Payload:
    """Position and format of the ECG in frames of one type."""

    kind: int
    lengths: tuple[int, ...]  # accepted payload lengths in bytes; our virtual device sends the first
    leads: tuple[str, ...]
    rate: int  # Hz
    dtype: str  # numpy's name of the integer type of a code
    offset: int = 0  # position of the first code in the payload, bytes
    samples: int = 1
    zero_is_off: bool = False  # the device sends 0 while the electrodes are off
    trailer: bytes = b""  # what our virtual device sends after the ECG

    @property
    def size(self) -> int:
        """Bytes of one sample of all leads."""
        return len(self.leads) * int(self.dtype[-1])


ADS1292R = Payload(2, (9, 8), ("ECG",), 125, "<i2", zero_is_off=True)
ADS1293 = Payload(2, (12, 14), ("I", "II", "V1"), 128, "<i4")
MAX30001 = Payload(2, (12,), ("ECG",), 128, "<i4", trailer=struct.pack("<ihh", 0, 75, 800))
HEALTHYPI4 = Payload(2, (20,), ("ECG",), 125, "<i2")
HEALTHYPI5 = Payload(2, (22,), ("ECG",), 128, "<i4")
HEALTHYPI5_BATCH = Payload(3, (50,), ("ECG",), 125, "<i4", samples=8)


class OpenViewDecoder(FramedDecoder):
    """Decodes frames of one of `payloads`. The first matching frame selects it; frames of other types are skipped."""

    sync = SYNC

    def __init__(self, payloads: tuple[Payload, ...], settings: Settings, uv_per_lsb: float, device: str) -> None:
        super().__init__(None, settings.leads)
        self._payloads = payloads
        self._settings = settings
        self._uv_per_lsb = uv_per_lsb
        self._device = device
        self._payload: Payload | None = None
        self._zeros = 0  # consecutive samples with code 0

    def size_at(self, buffer: bytearray, at: int) -> int:
        """Header and footer identify a frame."""
        available = len(buffer) - at
        if not SYNC.startswith(bytes(buffer[at : at + 2])):
            return NO_FRAME
        if available < HEAD.size:
            return NEED_MORE
        length = buffer[at + 2] | buffer[at + 3] << 8
        if length > LONGEST:
            return NO_FRAME
        foot = at + HEAD.size + length
        if len(buffer) <= foot:
            return NEED_MORE
        if buffer[foot] == 0x0B:
            return HEAD.size + length + 1
        if buffer[foot] != 0:
            return NO_FRAME
        if len(buffer) <= foot + 1:
            return NEED_MORE
        return HEAD.size + length + 2 if buffer[foot + 1] == 0x0B else NO_FRAME

    def holds_samples(self, frame: bytes) -> bool:
        """Whether the frame has the selected payload. The first matching frame selects it."""
        _, length, kind = HEAD.unpack_from(frame)
        if self._payload is None:
            for payload in self._payloads:
                if kind == payload.kind and length in payload.lengths:
                    self._payload = payload
                    self.samples_per_frame = payload.samples
                    rate = self._settings.rate or Fraction(payload.rate)
                    self.begin(stream_info(rate, payload.leads, self._uv_per_lsb, self._device))
                    break
        return self._payload is not None and kind == self._payload.kind and length in self._payload.lengths

    def unpack(self, frames: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Codes of the ECG channels, (leads, samples)."""
        payload = self._payload
        assert payload is not None  # noqa: S101 - for mypy; no frames are collected before it is known
        first = HEAD.size + payload.offset
        raw = b"".join(frame[first : first + payload.size * payload.samples] for frame in frames)
        raw_samples = np.frombuffer(raw, dtype=np.uint8).reshape(len(frames) * payload.samples, payload.size)
        codes = integers(raw_samples, payload.dtype)
        return codes, self._off_where_zero(codes) if payload.zero_is_off else None

    def _off_where_zero(self, codes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mask of electrodes that are off: after 1/8 s of zeros. Their codes become NaN."""
        enough = self._payload.rate // 8 if self._payload else 0
        off = np.zeros(codes.shape, dtype=bool)
        for column, code in enumerate(codes[0]):
            self._zeros = self._zeros + 1 if code == 0 else 0
            off[:, column] = self._zeros >= enough
        codes[off] = np.nan
        return off


class OpenViewDevice(Device):
    """Sends frames of one payload."""

    def __init__(
        self, payload: Payload, settings: Settings, commands: dict[bytes, tuple[bool | None, bytes]], greeting: bytes
    ) -> None:
        self.commands = commands
        leads = settings.leads or payload.leads
        super().__init__(settings.rate or payload.rate, leads[: len(payload.leads)], settings.uv_per_lsb or 10.0)
        self.payload = payload
        self.per_frame = payload.samples
        self._greeting = greeting

    def boot(self) -> bytes:
        """Some boards send a text."""
        return self._greeting

    def encode(self, values: NDArray[np.float64]) -> bytes:
        """Header, ECG, zeros for everything else, footer."""
        self.counter += 1
        payload = self.payload
        limit = 2 ** (8 * min(3, int(payload.dtype[-1])) - 1) - 1
        codes = self.codes(values, len(payload.leads), -limit, limit)
        full = np.zeros((len(payload.leads), payload.samples), dtype=np.int64)
        full[:, : codes.shape[1]] = codes
        body = (b"\x00" * payload.offset + pack(full, payload.dtype) + payload.trailer).ljust(
            payload.lengths[0], b"\x00"
        )
        return HEAD.pack(SYNC, payload.lengths[0], payload.kind) + body + b"\x00\x0b"


def _format(
    name: str,
    board: str,
    payloads: tuple[Payload, ...],
    *,
    bauds: tuple[int, ...] = (115200,),
    start: bytes = b"",
    stop: bytes = b"",
    greeting: bytes = b"",
    plausibility: Callable[[bytes], float] = lambda data: 1.0,
) -> WireFormat:
    payload = payloads[0]

    def make_decoder(settings: Settings) -> OpenViewDecoder:
        return OpenViewDecoder(payloads, settings, given_scale(settings, name, "by the board's gain"), board)

    def make_encoder(settings: Settings) -> OpenViewDevice:
        commands: dict[bytes, tuple[bool | None, bytes]] = {start: (True, b""), stop: (False, b"")} if start else {}
        return OpenViewDevice(payload, settings, commands, greeting)

    def recognise(data: bytes) -> float:
        score = framed_score(OpenViewDecoder(payloads, Settings(), 1.0, board), data, CHECK_BITS)
        return score * plausibility(data)

    return WireFormat(
        name=name,
        description=f"{board}, OpenView frames",
        bauds=bauds,
        rate=" or ".join(f"{p.rate} Hz" for p in payloads),
        leads=", ".join(payload.leads),
        scale="must be given",
        limits=LIMITS,
        make_decoder=make_decoder,
        make_encoder=make_encoder,
        recognise=recognise,
        start=(CommandStep(start),) if start else (),
        stop=(CommandStep(stop),) if stop else (),
        check_bits=CHECK_BITS,
        needs=("--uv-per-lsb",),
    )


def _heart_rate_words(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Heart rates (per minute) and RR intervals (ms), reading the 12-byte frames in `data` as those of a MAX30001."""
    head = HEAD.pack(SYNC, 12, 2)
    pieces = [piece[8:12] for piece in data.split(head)[1:] if len(piece) >= 12]
    if not pieces:
        return np.empty(0), np.empty(0)
    words = integers(table(pieces), "<i2")
    return words[0], words[1]


def _plausibility_max30001(data: bytes) -> float:
    """Whether the third word of each frame is a plausible pair of heart rate and RR interval; 0 to 1."""
    heart_rates, rr_ms = _heart_rate_words(data)
    if not heart_rates.size:
        return 0.5
    beating = (heart_rates >= 20) & (heart_rates <= 300) & (np.abs(heart_rates * rr_ms - 60_000) <= 6_000)
    silent = (heart_rates == 0) & (rr_ms == 0)
    return 0.6 if silent.all() else 0.4 + 0.6 * float(np.mean(beating | silent))


def _plausibility_ads1293(data: bytes) -> float:
    """The opposite reading of the same frames. If the third channel is always 0, nothing can be concluded."""
    heart_rates, rr_ms = _heart_rate_words(data)
    if not heart_rates.size:
        return 1.0
    return 0.6 if not heart_rates.any() and not rr_ms.any() else 1.4 - _plausibility_max30001(data)


def command(kind: int, payload: bytes = b"") -> bytes:
    """A command to a HealthyPi 5: `AA 55`, type, length, payload, XOR of type, length and payload.

    >>> command(0x10).hex()
    'aa55100010'
    """
    body = bytes([kind, len(payload)]) + payload
    check = 0
    for byte in body:
        check ^= byte
    return b"\xaa\x55" + body + bytes([check])


FORMATS = (
    _format(
        "openview-ads1292r",
        "ADS1292R shield",
        (ADS1292R,),
        bauds=(57600, 115200),
        greeting=b"Initiliziation is done\r\n",
    ),
    _format("openview-ads1293", "ADS1293 board", (ADS1293,), plausibility=_plausibility_ads1293),
    _format("openview-max30001", "MAX30001 board", (MAX30001,), plausibility=_plausibility_max30001),
    _format("openview-healthypi4", "HealthyPi v4", (HEALTHYPI4,)),
    _format(
        "openview-healthypi5",
        "HealthyPi 5",
        (HEALTHYPI5, HEALTHYPI5_BATCH),
        start=command(0x10),
        stop=command(0x11),
    ),
)
