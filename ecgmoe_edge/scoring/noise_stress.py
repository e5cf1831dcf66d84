"""Noise stress test: recorded noise added to clean ECG at a known signal-to-noise ratio, as PhysioNet's `nst` does it.

The definition is that of nst(1) and of sigamp(1), which measures for it (WFDB Applications Guide,
https://physionet.org/physiotools/wag/nst-1.htm and sigamp-1.htm; Moody, Muldrow and Mark, Computers in Cardiology
11:381, 1984):

- Protocol: five minutes without noise, then two minutes with and two minutes without by turns, to the record's end.
- Signal power S = A^2 / 8, the power of a sine wave as high as the QRS complexes: A is the mean peak-to-peak height of
  the first 300 normal beats, each between -50 and +50 ms of its annotation.
- Noise power N is the square of the mean RMS, each about its own mean, of the first 300 seconds of noise.
- From either mean the largest and the smallest 5 % are left out.
- Each lead has its own gain, a = sqrt(S / N * 10^(-SNR / 10)), and its own signal of the noise record, by turns.
- Noise runs along with the record from its first sample and begins anew at its end; an offset keeps the sum from
  jumping where noise comes, goes or begins anew.

Two things are this project's own. Only the second half of a noise record is added, because a model may have been
trained with the first; the gain is still the one that `nst` finds for the whole record, so that figures stand beside
those of records that `nst` made, such as 118e06. And noise of another rate is resampled with an anti-aliasing filter,
where `nst` interpolates; it is measured at its own rate, as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.annotations import BeatAnnotations
from ecgmoe_edge.records.recording import Recording
from ecgmoe_edge.records.registry import open_recording
from ecgmoe_edge.streaming.signal.resampling import resample

NOISE_KINDS = ("em", "ma", "bw")  # electrode motion, muscle, baseline wander
SNRS_DB = (24.0, 18.0, 12.0, 6.0, 0.0, -6.0)

CLEAN_START_S = 300.0
TURN_S = 120.0
MEASURED = 300  # beats of the record, and seconds of the noise
QRS_HALF_S = 0.05
TRIMMED_SHARE = 20  # one part in twenty at either end
NORMAL_SYMBOLS = frozenset("NLRaJASejn/fQB")  # what WFDB's map1 calls normal: all beats but ventricular and fusion

_READ_AHEAD_S = 60.0


@dataclass(frozen=True)
class NoiseLevel:
    """Which noise is added, and how much."""

    record: Path  # of the noise
    snr_db: float  # while there is noise
    whole: bool = False  # add the noise record from its first sample on, exactly as `nst` does


@dataclass(frozen=True)
class Noise:
    """A noise record, or its second half, at the rate of the record that it is added to."""

    signals: NDArray[np.float64]  # (signals, n) mV
    rms_mv: tuple[float, ...]  # of each signal, of the noise record's first 300 s at its own rate


def noisy_blocks(
    record: Recording, position: int, beats: BeatAnnotations, level: NoiseLevel, seconds: float
) -> Iterator[NDArray[np.float64]]:
    """Successive blocks of one lead with noise, `(1, n)` in mV; invalid samples stay NaN.

    Args:
        record: the clean record.
        position: of the lead among the record's leads; it also chooses the noise record's signal.
        beats: the record's annotated beats, on which the signal's power is measured.
        level: noise record and SNR.
        seconds: length of a block; the sum does not depend on it.

    Raises:
        RecordError: the noise cannot be read or is silent, or the record has no normal beat with a QRS complex to
            measure.
    """
    noise = load_noise(level.record, record.fs, whole=level.whole)
    signal = position % len(noise.signals)
    gain = noise_gain(qrs_height(record, position, beats), noise.rms_mv[signal], level.snr_db)
    track = NoiseTrack(noise.signals[signal], record.fs)
    for block in record.blocks(seconds, leads=[position]):
        yield block + gain * track.take(block.shape[1])


def noise_gain(qrs_height_mv: float, noise_rms_mv: float, snr_db: float) -> float:
    """What the noise is multiplied with: a = sqrt(S / N * 10^(-SNR / 10)), S = height^2 / 8, N = RMS^2.

    >>> round(noise_gain(qrs_height_mv=1.0, noise_rms_mv=0.1, snr_db=6.0), 3)
    1.772
    """
    return sqrt(qrs_height_mv**2 / 8.0 / noise_rms_mv**2 * 10.0 ** (-snr_db / 10.0))


class NoiseTrack:
    """Noise of gain 1 as the protocol turns it on and off, piece by piece; nothing is kept but the place and an offset.

    noise: `(n,)` mV at `fs` Hz, repeated without end.
    """

    def __init__(self, noise: NDArray[np.float64], fs: float) -> None:
        self._noise = noise
        self._first = round(CLEAN_START_S * fs)
        self._turn = round(TURN_S * fs)
        self._position = 0
        self._is_on = False
        self._offset = 0.0

    def take(self, n: int) -> NDArray[np.float64]:
        """The next `n` samples, `(n,)` in mV."""
        pieces = []
        while n > 0:
            place = self._position % len(self._noise)
            self._cross(place)
            length = min(n, len(self._noise) - place, self._until_turn())
            piece = self._noise[place : place + length] if self._is_on else np.zeros(length)
            pieces.append(piece - self._offset)
            self._position += length
            n -= length
        return np.concatenate(pieces) if pieces else np.empty(0)

    def _cross(self, place: int) -> None:
        """Adjust the offset where noise is turned on or off or begins anew, so that the sum does not jump there."""
        turns = self._position - self._first
        is_on = turns >= 0 and turns // self._turn % 2 == 0
        before = self._noise[place - 1]  # of the record's end where place is 0
        if is_on and not self._is_on:
            self._offset += before
        elif self._is_on and not is_on:
            self._offset -= before
        if is_on and place == 0:
            self._offset += self._noise[0] - before
        self._is_on = is_on

    def _until_turn(self) -> int:
        turns = self._position - self._first
        return -turns if turns < 0 else self._turn - turns % self._turn


def qrs_height(record: Recording, position: int, beats: BeatAnnotations) -> float:
    """Mean peak-to-peak height, mV, of the first 300 normal QRS complexes of a lead, largest and smallest 5 % left out.

    Raises:
        RecordError: no normal beat, or a lead that is flat at every one.
    """
    half = round(QRS_HALF_S * record.fs)
    normal = beats.samples[np.isin(beats.symbols, sorted(NORMAL_SYMBOLS))]
    within = normal[(normal >= half) & (normal + half < record.n_samples)][:MEASURED]
    heights = [float(np.ptp(window)) for window in _windows(record, position, within - half, 2 * half + 1)]
    height = _trimmed_mean(np.array([height for height in heights if np.isfinite(height)]))
    if not height > 0.0:
        raise RecordError(
            f"{record.name} has no normal beat whose QRS complex can be measured in lead {record.leads[position]}, so "
            "that noise cannot be added at a known ratio. Leave this record out, or name another lead."
        )
    return height


def _windows(record: Recording, position: int, starts: NDArray[np.int64], length: int) -> Iterator[NDArray[np.float64]]:
    """A lead from each of `starts` on, `(length,)` in mV, read a minute at a time."""
    ahead = round(_READ_AHEAD_S * record.fs) + length
    at, signal = 0, np.empty(0)
    for start in starts.tolist():
        if not at <= start <= at + len(signal) - length:
            at, signal = start, record.read(start, start + ahead, leads=[position])[0]
        yield signal[start - at : start - at + length]


@lru_cache(maxsize=4)  # records of one rate after another: each wants the same few minutes of noise
def load_noise(path: Path, fs: float, *, whole: bool = False) -> Noise:
    """A noise record from its middle on, or `whole`, at `fs` Hz.

    Raises:
        RecordError: it cannot be read, or one of its signals is silent.
    """
    record = open_recording(path)
    signals = record.read()
    rms = tuple(_noise_rms(signal, record.fs) for signal in signals)
    if not all(value > 0.0 for value in rms):
        raise RecordError(f"The noise record {record.name} is silent or not valid. Name one that holds noise.")
    added = signals if whole else signals[:, record.n_samples // 2 :]
    return Noise(resample(added, record.fs, fs, ends="mean"), rms)


def _noise_rms(signal: NDArray[np.float64], fs: float) -> float:
    """Mean RMS, mV, of the first 300 seconds, each about its own mean."""
    second = round(fs)
    whole = min(len(signal) // second, MEASURED)
    seconds = signal[: whole * second].reshape(whole, second)
    return _trimmed_mean(seconds.std(axis=1))


def _trimmed_mean(values: NDArray[np.float64]) -> float:
    """The mean without the largest and the smallest 5 %; 0 of nothing."""
    out = len(values) // TRIMMED_SHARE
    kept = np.sort(values)[out : len(values) - out]
    return float(kept.mean()) if len(kept) else 0.0
