"""Noise stress test: adds recorded noise to a clean ECG at a known signal-to-noise ratio, as PhysioNet's `nst` does.

The definition is that of nst(1) and of sigamp(1), which measures the amplitudes for it (WFDB Applications Guide,
https://physionet.org/physiotools/wag/nst-1.htm and sigamp-1.htm; Moody, Muldrow and Mark, Computers in Cardiology
11:381, 1984):

- Protocol: five minutes without noise, then alternately two minutes with and two minutes without noise.
- Signal power S = A^2 / 8, the power of a sine wave with the peak-to-peak amplitude A of the QRS complexes. A is the
  mean peak-to-peak amplitude of the first 300 normal beats, each within 50 ms before and after its annotation.
- Noise power N is the square of the mean RMS of the first 300 seconds of noise; the RMS of each second is taken
  about the mean of that second.
- Both means exclude the largest 5 % and the smallest 5 % of the values.
- Each lead has its own gain, a = sqrt(S / N * 10^(-SNR / 10)). The signals of the noise record are assigned to the
  leads in turn.
- The noise advances with the record from the first sample, also while it is off, and repeats at its end. An offset
  prevents a step in the sum where the noise is switched on or off, or repeats.

There are two deviations from `nst`. Only the second half of a noise record is added, because models are trained with
the first half; the gain is computed from the whole noise record, so that the figures can be compared with
those of records made by `nst`, such as 118e06. Noise at another sampling rate is resampled with an anti-aliasing
filter, whereas `nst` interpolates; its RMS is measured at its own rate, as in `nst`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import BeatAnnotations
from ecgmoe_edge.records.recording import Recording
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.streaming.signal.resampling import resample

NoisePart: TypeAlias = Literal["first half", "second half", "whole"]
NOISE_KINDS = ("em", "ma", "bw")  # electrode motion, muscle artefact, baseline wander
SNRS_DB = (24.0, 18.0, 12.0, 6.0, 0.0, -6.0)

CLEAN_START_S = 300.0
SEGMENT_S = 120.0  # length of a segment with noise, and of one without
QRS_BEATS = 300  # beats whose amplitude is measured
NOISE_SECONDS = 300  # seconds of noise whose RMS is measured
QRS_HALF_S = 0.05
TRIM_DIVISOR = 20  # one value in twenty is excluded at either end
NORMAL_SYMBOLS = frozenset("NLRaJASejn/fQB")  # normal in map1 of WFDB: all beats except ventricular and fusion beats

_READ_AHEAD_S = 60.0


@dataclass(frozen=True)
class NoiseLevel:
    """The noise record to add, and its signal-to-noise ratio."""

    record: Path  # path of the noise record
    snr_db: float  # ratio in the segments with noise, dB
    part: NoisePart = "second half"  # of the noise record; "whole" is exactly as `nst` does


@dataclass(frozen=True)
class Noise:
    """A noise record, or a half of it, resampled to the rate of the record that it is added to."""

    signals: NDArray[np.float64]  # (signals, n) mV
    rms_mv: tuple[float, ...]  # RMS of each signal in the first 300 s of the noise record, at its own rate


def noisy_blocks(
    record: Recording, position: int, beats: BeatAnnotations, level: NoiseLevel, seconds: float
) -> Iterator[NDArray[np.float64]]:
    """Add noise to one lead of a record.

    Args:
        record: the clean record.
        position: index of the lead in the record; it also selects the signal of the noise record.
        beats: annotated beats of the record, at which the signal power is measured.
        level: noise record and signal-to-noise ratio.
        seconds: length of a block, s; the result does not depend on it.

    Yields:
        Successive blocks, `(1, n)` in mV; invalid samples stay NaN.

    Raises:
        RecordError: the noise record cannot be read or is silent, or the record has no normal beat whose QRS complex
            can be measured.
    """
    noise = load_noise(level.record, record.fs, level.part)
    signal = position % len(noise.signals)
    gain = noise_gain(qrs_amplitude(record, position, beats), noise.rms_mv[signal], level.snr_db)
    track = NoiseTrack(noise.signals[signal], record.fs)
    for block in record.blocks(seconds, leads=[position]):
        yield block + gain * track.take(block.shape[1])


def noise_gain(qrs_amplitude_mv: float, noise_rms_mv: float, snr_db: float) -> float:
    """Gain of the noise: a = sqrt(S / N * 10^(-SNR / 10)) with S = amplitude^2 / 8 and N = RMS^2.

    >>> round(noise_gain(2.0, 0.5, 0.0), 4)
    1.4142
    """
    return sqrt(qrs_amplitude_mv**2 / 8.0 / noise_rms_mv**2 * 10.0 ** (-snr_db / 10.0))


class NoiseTrack:
    """The noise of gain 1, switched on and off by the protocol and generated piece by piece.

    The state is a position and an offset, so memory does not grow with the length of the record.

    Args:
        noise: `(n,)` in mV, repeated without end.
        fs: sampling rate of the noise, Hz.
    """

    def __init__(self, noise: NDArray[np.float64], fs: float) -> None:
        self._noise = noise
        self._first = round(CLEAN_START_S * fs)
        self._segment = round(SEGMENT_S * fs)
        self._position = 0
        self._is_on = False
        self._offset = 0.0

    def take(self, n: int) -> NDArray[np.float64]:
        """The next `n` samples, `(n,)` in mV."""
        pieces = []
        while n > 0:
            place = self._position % len(self._noise)
            self._adjust_offset(place)
            length = min(n, len(self._noise) - place, self._left_in_segment())
            piece = self._noise[place : place + length] if self._is_on else np.zeros(length)
            pieces.append(piece - self._offset)
            self._position += length
            n -= length
        return np.concatenate(pieces) if pieces else np.empty(0)

    def _adjust_offset(self, place: int) -> None:
        """Prevent a step in the sum where the noise is switched on or off, or repeats."""
        since_first = self._position - self._first
        is_on = since_first >= 0 and since_first // self._segment % 2 == 0
        before = self._noise[place - 1]  # if place is 0, the last sample of the noise record
        if is_on and not self._is_on:
            self._offset += before
        elif self._is_on and not is_on:
            self._offset -= before
        if is_on and place == 0:
            self._offset += self._noise[0] - before
        self._is_on = is_on

    def _left_in_segment(self) -> int:
        since_first = self._position - self._first
        return -since_first if since_first < 0 else self._segment - since_first % self._segment


def qrs_amplitude(record: Recording, position: int, beats: BeatAnnotations) -> float:
    """Mean peak-to-peak amplitude, mV, of the first 300 normal QRS complexes without the 5 % extremes.

    Args:
        record: the clean record.
        position: index of the lead in the record.
        beats: annotated beats of the record.

    Raises:
        RecordError: the record has no normal beat, or the lead is flat at all of them.
    """
    half = round(QRS_HALF_S * record.fs)
    normal = beats.samples[np.isin(beats.symbols, sorted(NORMAL_SYMBOLS))]
    within = normal[(normal >= half) & (normal + half < record.n_samples)][:QRS_BEATS]
    amplitudes = np.array([np.ptp(window) for window in _windows(record, position, within - half, 2 * half + 1)])
    amplitude = _trimmed_mean(amplitudes[np.isfinite(amplitudes)])
    if not amplitude > 0.0:
        raise RecordError(
            f"{record.name} has no normal beat whose QRS complex can be measured in lead {record.leads[position]}, so "
            "noise cannot be added at a known ratio. Exclude this record, or choose another lead."
        )
    return amplitude


def _windows(record: Recording, position: int, starts: NDArray[np.int64], length: int) -> Iterator[NDArray[np.float64]]:
    """The samples of a lead from each of `starts` on, `(length,)` in mV; the file is read one minute at a time."""
    ahead = round(_READ_AHEAD_S * record.fs) + length
    at, signal = 0, np.empty(0)
    for start in starts.tolist():
        if not at <= start <= at + len(signal) - length:
            at, signal = start, record.read(start, start + ahead, leads=[position])[0]
        yield signal[start - at : start - at + length]


@lru_cache(maxsize=4)  # successive records of the same sampling rate use the same noise
def load_noise(path: Path, fs: float, part: NoisePart = "second half") -> Noise:
    """Read a noise record and resample it.

    Args:
        path: path of the noise record.
        fs: sampling rate of the result, Hz.
        part: the part of the noise record to keep.

    Raises:
        RecordError: the noise record cannot be read, or one of its signals is silent.
    """
    record = open_recording(path)
    signals = record.read()
    rms = tuple(_noise_rms(signal, record.fs) for signal in signals)
    if not all(value > 0.0 for value in rms):
        raise RecordError(f"The noise record {record.name} is silent or invalid. Choose one that contains noise.")
    half = record.n_samples // 2
    kept = {"first half": slice(half), "second half": slice(half, None), "whole": slice(None)}[part]
    return Noise(resample(signals[:, kept], record.fs, fs, ends="mean"), rms)


def _noise_rms(signal: NDArray[np.float64], fs: float) -> float:
    """Mean RMS, mV, of the first 300 seconds; each second about its own mean."""
    second = round(fs)
    count = min(len(signal) // second, NOISE_SECONDS)
    seconds = signal[: count * second].reshape(count, second)
    return _trimmed_mean(seconds.std(axis=1))


def _trimmed_mean(values: NDArray[np.float64]) -> float:
    """The mean without the largest and the smallest 5 %; 0 if there are no values."""
    excluded = len(values) // TRIM_DIVISOR
    kept = np.sort(values)[excluded : len(values) - excluded]
    return float(kept.mean()) if len(kept) else 0.0
