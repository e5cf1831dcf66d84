"""Where a QRS complex may be: peaks of the slope's energy in a live signal, each with what it looks like.

Energy is the mean of |slope| in the QRS band over about the width of a QRS (Pan and Tompkins 1985, Hamilton 2002; a
Butterworth band-pass here, so that any rate from 100 Hz has the same band). A peak is a candidate once nothing larger
has come for `DOMINANCE_S` on either side, one constant delay. What a candidate says of itself are ratios and a waveform
of norm 1: neither gain nor polarity matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from ecgmoe_edge.streaming.filters import CausalFilter, qrs_band
from ecgmoe_edge.streaming.history import History

DOMINANCE_S = 0.15  # nothing larger on either side: one QRS, not two
FLOOR_MV_S = 0.15  # mV/s of mean slope below which nothing is a beat (about a 10 uV QRS)
WAVEFORM = 25  # values

_BANDS_HZ = ((6.0, 20.0), (1.0, 5.0), (18.0, 40.0))  # QRS; T waves and moving electrodes; muscle
_HIGHEST_SHARE = 0.4  # of the rate may be a band's upper edge
_ENERGY_S = 0.10  # mean of |slope|, about the width of a QRS
_BACKGROUND_S = 1.0
_KEPT_S = 8.0
_HALF_QRS_S = 0.075  # of the widest
_WAVEFORM_STEP_S = 0.008
_FIRST_SHARE = 0.65  # of the QRS's largest deflection makes an earlier one the R peak
_LONGEST_QRS_S = 0.21  # from its first deflection to the middle of its last
_LONG_SHARE = 0.5  # of the energy's peak was there all the time before it: one long complex
_TINY = 0.01  # of its energy: less is the same as nothing


@dataclass(eq=False)
class Candidate:
    """A peak of energy that may be a QRS complex."""

    at: int  # sample of the energy's peak
    known_at: int  # sample with which it is known that nothing near is larger
    settled_at: int  # sample with which it is known what follows it
    sample: int  # of the R peak, if this is a beat
    energy: float  # mV/s
    shape: tuple[float, ...]  # ln of slow, fast, valley before, valley after, background over the energy
    waveform: NDArray[np.float64]  # (WAVEFORM,) round the largest deflection, mean 0, norm 1


class CandidateFinder:
    """Gives the candidates in a signal of the monitoring band at its own rate; state is a few seconds of signal."""

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._bands: tuple[CausalFilter, ...] = tuple(
            qrs_band(fs, low, min(high, _HIGHEST_SHARE * fs)) for low, high in _BANDS_HZ
        )
        self._width = max(2, round(_ENERGY_S * fs))
        self._background = round(_BACKGROUND_S * fs)
        self._reach = round(DOMINANCE_S * fs)
        self._near = np.arange(-self._reach, self._reach + 1)
        half = round(_HALF_QRS_S * fs)
        self._around_qrs = np.arange(-2 * half, 2 * half + 1)
        self._qrs_part = slice(half, 3 * half + 1)  # of what is around it
        self._before_qrs = np.arange(-round(_LONGEST_QRS_S * fs), -half + 1)
        steps = np.arange(WAVEFORM) - WAVEFORM // 2
        self._waveform = np.round(steps * _WAVEFORM_STEP_S * fs).astype(np.int64)
        keep = round(_KEPT_S * fs)
        self._signal, self._qrs = History(keep), History(keep)
        self._sums = tuple(History(keep) for _ in self._bands)  # of |slope| from the start on
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new stretch of signal at absolute sample `at`: nothing is carried across."""
        for band in self._bands:
            band.reset()
        for history in (self._signal, self._qrs, *self._sums):
            history.restart(at)
        self._last: NDArray[np.float64] | None = None  # values of each band, (bands, 1)
        self._totals = np.zeros((len(self._bands), 1))
        self._examined = at + 1  # energy samples before this are decided to be peaks or not

    @property
    def stop(self) -> int:
        """Absolute number of the next sample."""
        return self._signal.stop

    @property
    def due(self) -> int:
        """Sample with which the next candidate can be known at the earliest."""
        stop, reach = self.stop, self._reach
        recent = self._energy(stop - reach, stop)
        if not recent.size:
            return stop + reach
        # Of what is not decided yet only the largest can still dominate; its left side has been seen in full.
        top = stop - recent.size + int(recent.argmax())
        height = recent.max()
        if height <= FLOOR_MV_S or self._energy(top - reach, top).max(initial=0.0) > height:
            return stop + reach
        return top + reach

    def process(self, y: NDArray[np.float64]) -> list[Candidate]:
        """Candidates that `y` (samples,), mV in the monitoring band, makes known, in order."""
        values = np.empty((len(self._bands), y.size + 1))
        for row, band in zip(values, self._bands, strict=True):
            row[1:] = band.process(y)
        values[:, :1] = values[:, 1:2] if self._last is None else self._last
        self._last = values[:, -1:].copy()
        sums = np.empty_like(values)
        sums[:, :1] = self._totals
        np.abs(values[:, 1:] - values[:, :-1], out=sums[:, 1:])
        sums[:, 1:] *= self._fs
        np.cumsum(sums, axis=1, out=sums)
        self._totals = sums[:, -1:].copy()
        self._signal.append(y)
        self._qrs.append(values[0, 1:])
        for history, row in zip(self._sums, sums, strict=True):
            history.append(row[1:])
        return self._new_candidates()

    def energy_after(self, candidate: Candidate) -> float:
        """Largest energy, mV/s, from the sample a candidate is known with to the one it is settled with."""
        return float(self._energy(candidate.known_at, candidate.settled_at).max(initial=0.0))

    def _energy(self, start: int, stop: int) -> NDArray[np.float64]:
        """Energy from sample `start` to `stop`; before the signal's start there was none."""
        now = self._sums[0].between(start, stop)
        before = self._sums[0].between(start - self._width, start - self._width + now.size)
        if before.size < now.size:
            before = np.concatenate((np.zeros(now.size - before.size), before))
        return (now - before) / self._width

    def _new_candidates(self) -> list[Candidate]:
        reach, low, high = self._reach, self._examined, self.stop - self._reach
        if high <= low:
            return []
        self._examined = high
        first = max(low - reach, self._sums[0].start)
        energy = self._energy(first, high + reach)
        low, high = low - first, high - first
        middle = energy[low:high]
        # Tops are few; only there is the larger neighbourhood worth a look.
        is_top = (middle > energy[low - 1 : high - 1]) & (middle >= energy[low + 1 : high + 1]) & (middle > FLOOR_MV_S)
        tops = np.flatnonzero(is_top) + low
        if not tops.size:
            return []
        tops = tops[energy[tops] >= maximum_filter1d(energy, 2 * reach + 1, mode="nearest")[tops]]
        return self._describe(tops + first, energy[np.maximum(tops[:, None] + self._near, 0)]) if tops.size else []

    def _describe(self, tops: NDArray[np.int64], near: NDArray[np.float64]) -> list[Candidate]:
        """Candidates at `tops` (n,), with the energy round each, `near` (n, 2 reach + 1)."""
        reach = self._reach
        middles = tops - self._width // 2
        around = _at(self._signal, middles[:, None] + self._around_qrs)
        levels = np.median(around, axis=1, keepdims=True)
        heights = np.abs(around[:, self._qrs_part] - levels)
        deflections = np.abs(_at(self._qrs, middles[:, None] + self._around_qrs[self._qrs_part]))
        largest = deflections.argmax(axis=1)
        first = middles + self._around_qrs[self._qrs_part.start]
        waveforms = _at(self._signal, (first + largest)[:, None] + self._waveform)
        waveforms -= waveforms.mean(axis=1, keepdims=True)
        waveforms /= np.sqrt((waveforms * waveforms).sum(axis=1, keepdims=True)) + 1e-12
        ratios = np.stack(
            (
                *(_at(sums, tops) - _at(sums, tops - self._width) for sums in self._sums[1:]),
                near[:, : reach + 1].min(axis=1) * self._width,
                near[:, reach:].min(axis=1) * self._width,
                (_at(self._sums[0], tops + reach) - _at(self._sums[0], tops + reach - self._background))
                * (self._width / self._background),
            ),
            axis=1,
        ) / (near[:, reach, None] * self._width)
        samples = first + _first_large(heights)
        for row in np.flatnonzero(near[:, : reach + 1].min(axis=1) >= _LONG_SHARE * near[:, reach]).tolist():
            samples[row] = self._start_of_long(samples[row], middles[row], levels[row, 0], heights[row].max())
        return [
            Candidate(
                at=at,
                known_at=at + reach,
                settled_at=at + 2 * reach,
                sample=sample,
                energy=energy,
                shape=tuple([log(ratio + _TINY) for ratio in shape]),
                waveform=waveform,
            )
            for at, sample, energy, shape, waveform in zip(
                tops.tolist(),
                np.maximum(samples, self._signal.start).tolist(),
                near[:, reach].tolist(),
                ratios.tolist(),
                waveforms,
                strict=True,
            )
        ]

    def _start_of_long(self, sample: int, middle: int, level: float, highest: float) -> int:
        """R of a complex wider than what was looked at: its first large deflection, where it may have begun earlier.

        Wide V have two deflections of the same size up to 0.2 s apart, and the energy's peak may belong to the second.
        """
        before = middle + self._before_qrs
        heights = np.abs(_at(self._signal, before) - level)
        inner = heights[1:-1]
        tops = np.flatnonzero((inner > heights[:-2]) & (inner >= heights[2:]) & (inner >= _FIRST_SHARE * highest))
        return int(before[tops[0] + 1]) if tops.size else int(sample)


def _at(history: History, samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values at absolute `samples`, any shape; before the start and after what has come, the nearest there is."""
    held = history.between(history.start, history.stop)
    # Not np.clip, which costs several times as much on the few samples of a live candidate.
    return held[np.minimum(np.maximum(samples - history.start, 0), held.size - 1)]


def _first_large(heights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index in each row of `heights` (n, samples) of the first top that is not much lower than the highest."""
    inner = heights[:, 1:-1]
    tops = np.where((inner > heights[:, :-2]) & (inner >= heights[:, 2:]), inner, -1.0)
    highest = tops.max(axis=1, keepdims=True)
    first = np.argmax(tops >= _FIRST_SHARE * highest, axis=1) + 1
    return np.asarray(np.where(highest[:, 0] < 0.0, heights.argmax(axis=1), first), np.int64)
