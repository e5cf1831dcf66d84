"""Where a QRS complex may be: peaks of the slope's energy in a live signal, each with what it looks like.

Energy is the mean of |slope| in the QRS band over about the width of a QRS (Pan and Tompkins 1985, Hamilton 2002; a
Butterworth band-pass here, so that any rate from 100 Hz has the same band). A peak is a candidate once nothing larger
has come for `DOMINANCE_S` on either side, one constant delay; of equal peaks the first is taken. What a candidate says
of itself are ratios and a waveform of norm 1: neither gain nor polarity matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from ecgmoe_edge.streaming.signal.filters import CausalFilter, qrs_band
from ecgmoe_edge.streaming.signal.history import History
from ecgmoe_edge.streaming.signal.moving_sums import MovingSums
from ecgmoe_edge.streaming.signal.ordered_sum import ordered_mean, ordered_sum

DOMINANCE_S = 0.15  # nothing larger on either side: one QRS, not two
FLOOR_MV_S = 0.15  # mV/s of mean slope below which nothing is a beat (about a 10 uV QRS)
WAVEFORM = 25  # values

_BANDS_HZ = ((6.0, 20.0), (1.0, 5.0), (18.0, 40.0))  # QRS; T waves and moving electrodes; muscle
_HIGHEST_SHARE = 0.4  # of the rate may be a band's upper edge
_ENERGY_S = 0.10  # mean of |slope|, about the width of a QRS
_BACKGROUND_S = 1.0
_KEPT_S = 0.5  # of energies: what is not decided yet, and its neighbourhood
_HALF_QRS_S = 0.075  # of the widest
_WAVEFORM_STEP_S = 0.008
_FIRST_SHARE = 0.65  # of the QRS's largest deflection makes an earlier one the R peak
_LONGEST_QRS_S = 0.21  # from its first deflection to the middle of its last
_LONG_SHARE = 0.5  # of the energy's peak was there all the time before it: one long complex
_MANY = 8  # tops, from which a running maximum is faster than a look at each
_SHOWN_S = 0.030  # of signal after R that has come, where it breaks off: its top is seen
_TINY = 0.01  # of its energy: less is the same as nothing
_UNKNOWN_FOLLOWING = 1.0  # times its energy is taken to follow a candidate as long as nobody knows
_ENERGY, _SLOW, _FAST, _BACKGROUND, _QRS = range(5)  # signals that the finder remembers


@dataclass(eq=False, slots=True)
class Candidate:
    """A peak of energy that may be a QRS complex."""

    at: int  # sample of the energy's peak
    known: int  # samples that have arrived when it is known that nothing near is larger
    settled: int  # samples that have arrived when it is known what follows it
    sample: int  # of the R peak, if this is a beat
    energy: float  # mV/s
    log_energy: float
    shape: list[float]  # ln of slow, fast, valley before, valley after, background over the energy
    waveform: NDArray[np.float64]  # (WAVEFORM,) round the largest deflection, mean 0, norm 1
    following: float = (
        _UNKNOWN_FOLLOWING  # largest energy from `known` to `settled` over its own; unknown until settled
    )


class CandidateFinder:
    """Gives the candidates of one lead at its own rate, fs in Hz.

    signal: the lead in the monitoring band, mV; the caller appends to it before each `process`.
    """

    def __init__(self, fs: float, signal: History) -> None:
        self._fs = fs
        self._signal = signal
        self.bands: tuple[CausalFilter, ...] = tuple(
            qrs_band(fs, low, min(high, _HIGHEST_SHARE * fs)) for low, high in _BANDS_HZ
        )
        self._width = max(2, round(_ENERGY_S * fs))
        self._background = round(_BACKGROUND_S * fs)
        self.reach = reach = round(DOMINANCE_S * fs)
        self._near = np.arange(-reach, reach + 1)
        self._after = np.arange(reach, 2 * reach)
        half = round(_HALF_QRS_S * fs)
        self._shown = round(_SHOWN_S * fs)
        self._around_qrs = np.arange(-2 * half, 2 * half + 1)
        self._qrs_part = slice(half, 3 * half + 1)  # of what is around it
        self._before_qrs = np.arange(-round(_LONGEST_QRS_S * fs), -half + 1)
        steps = np.arange(WAVEFORM) - WAVEFORM // 2
        self._waveform = np.round(steps * _WAVEFORM_STEP_S * fs).astype(np.int64)
        self.sums = MovingSums(len(_BANDS_HZ), self._width, self._background)
        self.past = History(round(_KEPT_S * fs), rows=5)
        self._unsettled: list[Candidate] = []
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new stretch of signal at absolute sample `at`: nothing is carried across."""
        for band in self.bands:
            band.reset()
        self.sums.restart()
        self.past.restart(at)
        self._last: NDArray[np.float64] | None = None  # values of each band, (bands, 1)
        self._examined = at + 1  # energy samples before this are decided to be peaks or not
        self._unsettled.clear()

    @property
    def due(self) -> int:
        """Samples that must have arrived before the next candidate can be known."""
        stop, reach = self.past.stop, self.reach
        recent = self.past.between(stop - reach, stop)
        if not recent.size:
            return stop + reach + 1
        # Of what is not decided yet only the largest can still dominate; its left side has been seen in full.
        place = int(recent.argmax())
        top, height = stop - recent.size + place, recent[place]
        if height <= FLOOR_MV_S or self.past.between(top - reach, top).max(initial=0.0) >= height:
            return stop + reach + 1
        return top + reach + 1

    def process(self, y: NDArray[np.float64]) -> list[Candidate]:
        """Candidates that `y` (samples,), mV in the monitoring band, makes known, in order."""
        values = np.empty((len(self.bands), y.size + 1))
        for row, band in zip(values, self.bands, strict=True):
            row[1:] = band.process(y)
        values[:, :1] = values[:, 1:2] if self._last is None else self._last
        self._last = values[:, -1:].copy()
        slopes = np.abs(values[:, 1:] - values[:, :-1])
        slopes *= self._fs
        sums, background = self.sums.process(slopes)
        self.past.settle()
        past = np.empty((5, y.size))
        np.divide(sums, self._width, out=past[:3])
        np.divide(background, self._background, out=past[_BACKGROUND])
        np.abs(values[0, 1:], out=past[_QRS])
        self.past.append(past)
        if self._unsettled:
            self._settle()
        return self._new_candidates()

    def run_again(self, at: int, y: NDArray[np.float64]) -> None:
        """Replace the past by `y` (samples,), which begins at sample `at` and ends where the signal has come to.

        Candidates that became known meanwhile have been given; what follows them is what has come.
        """
        for candidate in self._unsettled:
            after = self.past.between(candidate.known - 1, self.past.stop)
            candidate.following = float(after.max(initial=0.0)) / candidate.energy
        self.restart(at)
        self.process(y)

    def break_off(self, known: int) -> list[Candidate]:
        """The signal ends here, which is known once `known` samples have arrived. Gives candidates not known before.

        What follows them is what has come. They are found as if the signal stood still at its last value: a QRS complex
        whose top has come is one of them.
        """
        stop = self.past.stop
        for candidate in self._unsettled:
            self._end_before(candidate, stop)
            candidate.settled = min(candidate.settled, stop)
        self._unsettled.clear()
        if self._last is None:
            return []
        found = [each for each in self._standing(2 * self.reach + 1) if each.sample < stop - self._shown]
        for candidate in found:
            self._end_before(candidate, stop)
            candidate.at = min(candidate.at, stop - 1)
            candidate.known = candidate.settled = known
        self._unsettled.clear()
        return found

    def _standing(self, n: int) -> list[Candidate]:
        """Candidates that `n` samples of a signal that stands still make known."""
        past = np.zeros((5, n))
        slopes = np.zeros((len(self.bands), n))
        sums, background = self.sums.process(slopes)
        self.past.settle()
        np.divide(sums, self._width, out=past[:3])
        np.divide(background, self._background, out=past[_BACKGROUND])
        self.past.append(past)
        return self._new_candidates()

    def _end_before(self, candidate: Candidate, stop: int) -> None:
        """Sample `stop` never came: what follows a candidate is what has come before it."""
        after = self.past.between(min(candidate.known, stop) - 1, stop)
        candidate.following = float(after.max(initial=0.0)) / candidate.energy

    def _settle(self) -> None:
        while self._unsettled and self._unsettled[0].settled <= self.past.stop:
            candidate = self._unsettled.pop(0)
            after = self.past.between(candidate.known - 1, candidate.settled - 1)
            candidate.following = float(after.max()) / candidate.energy

    def _new_candidates(self) -> list[Candidate]:
        reach, low, high = self.reach, self._examined, self.past.stop - self.reach
        if high <= low:
            return []
        self._examined = high
        first = max(low - reach, self.past.start)
        energy = self.past.between(first, high + reach)
        low, high = low - first, high - first
        middle = energy[low:high]
        # Tops are few; only there is the larger neighbourhood worth a look.
        is_top = (middle > energy[low - 1 : high - 1]) & (middle >= energy[low + 1 : high + 1]) & (middle > FLOOR_MV_S)
        tops = np.flatnonzero(is_top) + low
        if tops.size > _MANY:
            tops = tops[energy[tops] >= maximum_filter1d(energy, 2 * reach + 1, mode="nearest")[tops]]
        if not tops.size:
            return []
        near = energy[np.maximum(tops[:, None] + self._near, 0)]
        height = near[:, reach]
        dominant = (near[:, :reach].max(axis=1) < height) & (near[:, reach + 1 :].max(axis=1) <= height)
        if not dominant.all():
            tops, near = tops[dominant], near[dominant]
        return self._describe(tops + first, near) if tops.size else []

    def _describe(self, tops: NDArray[np.int64], near: NDArray[np.float64]) -> list[Candidate]:
        """Candidates at `tops` (n,), with the energy round each, `near` (n, 2 reach + 1)."""
        reach, start = self.reach, self.past.start
        middles = tops - self._width // 2
        around = _at(self._signal, middles[:, None] + self._around_qrs)
        levels = np.median(around, axis=1, keepdims=True)
        heights = np.abs(around[:, self._qrs_part] - levels)
        first = middles + self._around_qrs[self._qrs_part.start]
        place = np.maximum(middles[:, None] + (self._around_qrs[self._qrs_part] - start), 0)
        largest = self.past.row(_QRS)[place].argmax(axis=1)
        waveforms = _at(self._signal, (first + largest)[:, None] + self._waveform)
        waveforms -= ordered_mean(waveforms, 1)[:, None]
        waveforms /= np.sqrt(ordered_sum(waveforms * waveforms, 1))[:, None] + 1e-12
        energy = near[:, reach]
        before, after = near[:, : reach + 1].min(axis=1), near[:, reach:].min(axis=1)
        at_top = tops - start
        shape = np.log(
            np.stack(
                (
                    self.past.row(_SLOW)[at_top],
                    self.past.row(_FAST)[at_top],
                    before,
                    after,
                    self.past.row(_BACKGROUND)[at_top + reach],
                ),
                axis=1,
            )
            / energy[:, None]
            + _TINY
        )
        samples = first + _first_large(heights)
        for row in np.flatnonzero(before >= _LONG_SHARE * energy).tolist():
            samples[row] = self._start_of_long(samples[row], middles[row], levels[row, 0], heights[row].max())
        found = [
            Candidate(at, at + reach + 1, at + 2 * reach + 1, sample, height, log_height, ratios, waveform)
            for at, sample, height, log_height, ratios, waveform in zip(
                tops.tolist(),
                np.maximum(samples, self._signal.start).tolist(),
                energy.tolist(),
                np.log(energy).tolist(),
                shape.tolist(),
                waveforms,
                strict=True,
            )
        ]
        self._follow(found, at_top)
        return found

    def _follow(self, found: list[Candidate], at_top: NDArray[np.int64]) -> None:
        """What follows each of `found`, as far as it has come; the others are settled later."""
        known = len(found)
        while known and found[known - 1].settled > self.past.stop:
            known -= 1
        if known:
            after = self.past.row(_ENERGY)[at_top[:known, None] + self._after].max(axis=1)
            for candidate, highest in zip(found, after.tolist(), strict=False):
                candidate.following = highest / candidate.energy
        self._unsettled += found[known:]

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
    held = history.row(0)
    # Not np.clip, which costs several times as much on the few samples of a live candidate.
    return held[np.minimum(np.maximum(samples - history.start, 0), held.size - 1)]


def _first_large(heights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index in each row of `heights` (n, samples) of the first top that is not much lower than the highest."""
    inner = heights[:, 1:-1]
    tops = np.where((inner > heights[:, :-2]) & (inner >= heights[:, 2:]), inner, -1.0)
    highest = tops.max(axis=1, keepdims=True)
    first = np.argmax(tops >= _FIRST_SHARE * highest, axis=1) + 1
    return np.asarray(np.where(highest[:, 0] < 0.0, heights.argmax(axis=1), first), np.int64)
