"""Decodes the samples of a WFDB signal file: https://physionet.org/physiotools/wag/signal-5.htm.

Decoding can start at any frame, so that a day of ECG need not fit in memory. The wfdb package decodes the same values
(the tests compare them), but it decodes format 8 incorrectly and cannot start within a file of format 310 or 311.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import MissingExtra, RecordError
from ecgmoe_edge.records.wfdb_files.header import FLAC_FORMATS

# Format -> samples and bytes of the smallest group that can be decoded alone.
_GROUPS = {
    8: (1, 1), 16: (1, 2), 24: (1, 3), 32: (1, 4), 61: (1, 2), 80: (1, 1), 160: (1, 2), 212: (2, 3), 310: (3, 4),
    311: (3, 4),
}  # fmt: skip
# Format -> bytes of an incomplete last group -> samples in them.
_PARTIAL_GROUPS = {212: {2: 1}, 310: {2: 1, 3: 1}, 311: {2: 1, 3: 2}}
# Format -> value of an invalid sample, the lowest value of the format; format 8 has none.
_INVALID = {
    16: -(2**15), 24: -(2**23), 32: -(2**31), 61: -(2**15), 80: -(2**7), 160: -(2**15), 212: -(2**11), 310: -(2**9),
    311: -(2**9), 508: -(2**7), 516: -(2**15), 524: -(2**23),
}  # fmt: skip
_FLAC_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}
_MOST_FLAC_FRAMES = 2**40  # libsndfile returns more if the stream does not state its length
_CHUNK_SAMPLES = 2**20


@dataclass
class _Levels:
    """State of decoding a file of differences, so that the next block continues from there."""

    frame: int = 0  # next frame
    levels: NDArray[np.int64] | None = None  # (signals,) last value of each signal, adu


@dataclass(frozen=True)
class SignalFile:
    """One signal file and the arrangement of its signals in a frame."""

    path: Path
    fmt: int  # one of header.FORMATS, except 0
    offset: int  # bytes before the first sample; in a FLAC file, samples per channel
    per_frame: tuple[int, ...]  # samples per frame of each signal
    initial: tuple[int, ...]  # adu before the first difference of each signal, for format 8
    _at: _Levels = field(default_factory=_Levels, repr=False, compare=False)

    @property
    def invalid(self) -> int | None:
        """Stored value of an invalid sample; None if the format has none."""
        return _INVALID.get(self.fmt)

    @property
    def frame(self) -> int:
        """Samples in a frame."""
        return sum(self.per_frame)

    def columns(self, signal: int) -> slice:
        """Position of the samples of one signal in a frame."""
        start = sum(self.per_frame[:signal])
        return slice(start, start + self.per_frame[signal])

    def n_frames(self) -> int:
        """Number of complete frames; a FLAC stream that does not state its length is decoded to count them.

        Raises:
            RecordError: the file cannot be read, or is not a FLAC stream of these signals.
        """
        if self.fmt in FLAC_FORMATS:
            with self._flac() as flac:
                n = flac.frames if 0 < flac.frames < _MOST_FLAC_FRAMES else sum(len(part) for part in _flac_parts(flac))
            return int(max(0, n - self.offset) // self.per_frame[0])
        try:
            size = self.path.stat().st_size
        except OSError as reason:
            raise _unreadable(self.path, reason) from reason
        return self._samples_in(size - self.offset) // self.frame

    def frames(self, start: int, stop: int) -> NDArray[np.int64]:
        """Frames from `start` up to, but not including, `stop`: `(n, samples per frame)` in adu.

        Raises:
            RecordError: the file has no such frames, or they cannot be decoded.
        """
        if self.fmt in FLAC_FORMATS:
            return self._flac_frames(start, stop)
        if self.fmt == 8:
            return self._summed(start, stop)
        return self._decoded(start, stop)

    def _samples_in(self, n_bytes: int) -> int:
        samples, size = _GROUPS[self.fmt]
        groups, rest = divmod(max(0, n_bytes), size)
        return groups * samples + _PARTIAL_GROUPS.get(self.fmt, {}).get(rest, 0)

    def _decoded(self, start: int, stop: int) -> NDArray[np.int64]:
        samples, size = _GROUPS[self.fmt]
        first, last = start * self.frame, stop * self.frame
        group, end = first // samples, -(-last // samples)
        try:
            with self.path.open("rb") as opened:
                opened.seek(self.offset + group * size)
                raw = opened.read((end - group) * size)
        except OSError as reason:
            raise _unreadable(self.path, reason) from reason
        if self._samples_in(len(raw)) < last - group * samples:
            raise RecordError(f"{self.path.name} ends before frame {stop}: it is shorter than when it was opened.")
        whole = np.frombuffer(raw.ljust((end - group) * size, b"\0"), np.uint8)
        values = _DECODERS[self.fmt](whole)
        return values[first - group * samples :][: last - first].reshape(-1, self.frame)

    def _summed(self, start: int, stop: int) -> NDArray[np.int64]:
        if self._at.levels is None or self._at.frame > start:
            self._at.frame, self._at.levels = 0, np.array(self.initial, dtype=np.int64)
        step = max(1, _CHUNK_SAMPLES // self.frame)
        while self._at.frame < start:
            self._sum_up(self._at.frame, min(self._at.frame + step, start))
        return self._sum_up(start, stop)

    def _sum_up(self, start: int, stop: int) -> NDArray[np.int64]:
        """Add the differences of the next frames to the levels, and keep the levels at their end."""
        values = self._decoded(start, stop)
        levels = self._at.levels
        if levels is None or not len(values):
            return values
        for signal in range(len(self.per_frame)):
            columns = self.columns(signal)
            summed = levels[signal] + np.cumsum(values[:, columns])
            values[:, columns] = summed.reshape(len(values), -1)
            levels[signal] = summed[-1]
        self._at.frame = stop
        return values

    def _flac_frames(self, start: int, stop: int) -> NDArray[np.int64]:
        each = self.per_frame[0]
        n = (stop - start) * each
        with self._flac() as flac:
            flac.seek(self.offset + start * each)
            parts = list(_flac_parts(flac, n))
        values = np.concatenate(parts) if parts else np.empty((0, len(self.per_frame)), np.int64)
        if len(values) < n:
            raise RecordError(f"{self.path.name} ends before frame {stop}: copy it again from its source.")
        return values.reshape(-1, each, len(self.per_frame)).transpose(0, 2, 1).reshape(-1, self.frame)

    @contextmanager
    def _flac(self) -> Iterator[Any]:
        try:
            import soundfile  # type: ignore[import-untyped]
        except (ImportError, OSError) as missing:  # OSError: libsndfile is missing
            raise MissingExtra("soundfile, which reads WFDB records in FLAC format,", "records") from missing
        try:
            with self.path.open("rb") as opened, soundfile.SoundFile(opened) as flac:
                bits = _FLAC_BITS.get(flac.subtype, 99)
                if flac.format != "FLAC" or bits > self.fmt - 500 or flac.channels != len(self.per_frame):
                    raise RecordError(
                        f"{self.path.name} is {flac.format} with {flac.channels} channels and {flac.subtype}, but its "
                        f"header states FLAC with {len(self.per_frame)} channels and {self.fmt - 500} bits. Correct "
                        "the header."
                    )
                yield flac
        except (OSError, RuntimeError, ValueError) as reason:
            raise RecordError(
                f"{self.path.name} cannot be decoded ({reason}). Compare its checksum with that of the original."
            ) from reason


def _flac_parts(flac: Any, n: int | None = None) -> Iterator[NDArray[np.int64]]:
    """The next `n` samples of each channel, or all if `n` is None, in pieces `(samples, channels)`."""
    shift = {"PCM_S8": 24, "PCM_16": 16, "PCM_24": 8}[flac.subtype]  # libsndfile uses the upper bits of 32
    left = _MOST_FLAC_FRAMES if n is None else n
    step = max(1, _CHUNK_SAMPLES // flac.channels)  # libsndfile fails for blocks of more than 2^24 samples
    while left > 0:
        part = flac.read(min(step, left), dtype="int32", always_2d=True)
        if not len(part):
            return
        left -= len(part)
        yield np.asarray(part >> shift, dtype=np.int64)


def _unreadable(path: Path, reason: OSError) -> RecordError:
    return RecordError(f"{path} cannot be read ({reason.strerror or reason}). Make it readable.")


def _signed(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Values of `bits` bits as signed integers in two's complement."""
    return (values ^ (1 << (bits - 1))) - (1 << (bits - 1))


def _decode_24(raw: NDArray[np.uint8]) -> NDArray[np.int64]:
    low, middle, high = raw.reshape(-1, 3).T.astype(np.int64)
    return _signed(low | middle << 8 | high << 16, 24)


def _decode_212(raw: NDArray[np.uint8]) -> NDArray[np.int64]:
    first, both, second = raw.reshape(-1, 3).T.astype(np.int64)
    pairs = np.stack([first | (both & 0x0F) << 8, second | (both & 0xF0) << 4], axis=1)
    return _signed(pairs.reshape(-1), 12)


def _decode_310(raw: NDArray[np.uint8]) -> NDArray[np.int64]:
    first, second = raw.view("<u2").reshape(-1, 2).T.astype(np.int64)
    triples = np.stack([first >> 1 & 0x3FF, second >> 1 & 0x3FF, first >> 11 | second >> 11 << 5], axis=1)
    return _signed(triples.reshape(-1), 10)


def _decode_311(raw: NDArray[np.uint8]) -> NDArray[np.int64]:
    word = raw.view("<u4").astype(np.int64)
    triples = np.stack([word & 0x3FF, word >> 10 & 0x3FF, word >> 20 & 0x3FF], axis=1)
    return _signed(triples.reshape(-1), 10)


_DECODERS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.int64]]] = {
    8: lambda raw: raw.view(np.int8).astype(np.int64),
    16: lambda raw: raw.view("<i2").astype(np.int64),
    24: _decode_24,
    32: lambda raw: raw.view("<i4").astype(np.int64),
    61: lambda raw: raw.view(">i2").astype(np.int64),
    80: lambda raw: raw.astype(np.int64) - 2**7,
    160: lambda raw: raw.view("<u2").astype(np.int64) - 2**15,
    212: _decode_212,
    310: _decode_310,
    311: _decode_311,
}
