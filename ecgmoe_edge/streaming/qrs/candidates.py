"""Candidates for a QRS complex: peaks of energy in a live signal, each with its features.

Energy is the mean of |slope| in the QRS band over about the width of a QRS complex (Pan and Tompkins 1985, Hamilton
2002). The band-pass is a Butterworth filter here, so that the band is the same at every sampling rate from 100 Hz. A
peak of energy is a candidate if nothing within `DOMINANCE_S` on either side is larger; this is known after a constant
delay. Of equal peaks, the first counts. The features are ratios and a waveform of norm 1, so gain and polarity do not
matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from ecgmoe_edge.streaming.signal.filters import CausalFilter, qrs_band
from ecgmoe_edge.streaming.signal.history import History
from ecgmoe_edge.streaming.signal.sums import MovingSums, ordered_mean, ordered_sum

DOMINANCE_S = 0.15  # a candidate has no larger energy within this time on either side
FLOOR_MV_S = 0.15  # lowest energy of a candidate, mV/s (a QRS complex of about 10 uV)
WAVEFORM = 25  # number of values of a waveform

BANDS_HZ = ((6.0, 20.0), (1.0, 5.0), (18.0, 40.0))  # QRS; T waves and electrode motion; muscle noise
HIGHEST_EDGE = 0.4  # highest upper edge of a band, as a fraction of the sampling rate
ENERGY_S = 0.10  # |slope| is averaged over this time, about the width of a QRS complex
BACKGROUND_S = 1.0  # and for the background over this
_KEPT_S = 0.5  # energies in memory: those that are not decided yet, and their neighbours
HALF_QRS_S = 0.075  # half the width of the widest QRS complex that is examined as a whole
_WAVEFORM_STEP_S = 0.008
FIRST_SHARE = 0.65  # R is the first deflection of at least this fraction of the largest
LONGEST_QRS_S = 0.21  # longest time from the first deflection of a QRS complex to the middle of the last
LONG_SHARE = 0.5  # if the energy before its peak never falls below this fraction of the peak, the complex is long
_MANY = 8  # number of tops from which a running maximum is faster than an examination of each
SEEN_S = 0.030  # signal needed after R if the signal breaks off, so that the top of R is in it
TINY = 0.01  # energy that counts as nothing, as a fraction of the candidate's energy
LEAST_NORM = 1e-12  # added to the norm of a waveform, mV
UNKNOWN_FOLLOWING = 1.0  # assumed energy after a candidate until it is known, as a fraction of the candidate's energy
_ENERGY, _SLOW, _FAST, _BACKGROUND, _QRS = range(5)  # rows of `CandidateFinder.past`


@dataclass(eq=False, slots=True)
class Candidate:
    """A peak of energy that may be a QRS complex."""

    at: int  # sample of the peak of energy
    known_at: int  # when it is known that no energy near it is larger
    settled_at: int  # when `following` is known
    sample: int  # the R peak, if this is a beat
    energy: float  # mV/s
    log_energy: float
    shape: list[float]  # ln of slow, fast, lowest energy before, lowest after, and background, each over the energy
    waveform: NDArray[np.float64]  # (WAVEFORM,) around the largest deflection, mean 0, norm 1
    following: float = UNKNOWN_FOLLOWING  # largest energy between `known_at` and `settled_at` over its own


class CandidateFinder:
    """Finds the candidates of one lead.

    Args:
        fs: sampling rate, Hz.
        signal: the lead in the monitoring band, mV; the caller appends the new samples before each `process`.
    """

    def __init__(self, fs: float, signal: History) -> None:
        self._fs = fs
        self._signal = signal
        self.bands: tuple[CausalFilter, ...] = tuple(
            qrs_band(fs, low, min(high, HIGHEST_EDGE * fs)) for low, high in BANDS_HZ
        )
        self.width = max(2, round(ENERGY_S * fs))
        self.background = round(BACKGROUND_S * fs)
        self.reach = reach = round(DOMINANCE_S * fs)
        self._near = np.arange(-reach, reach + 1)
        self._after = np.arange(reach, 2 * reach)
        self.half = half = round(HALF_QRS_S * fs)
        self._seen = round(SEEN_S * fs)
        self._around_qrs = np.arange(-2 * half, 2 * half + 1)
        self._qrs_part = slice(half, 3 * half + 1)  # the QRS complex within `_around_qrs`
        self._before_qrs = np.arange(-round(LONGEST_QRS_S * fs), -half + 1)
        steps = np.arange(WAVEFORM) - WAVEFORM // 2
        self.waveform = np.round(steps * _WAVEFORM_STEP_S * fs).astype(np.int64)
        self.sums = MovingSums(len(BANDS_HZ), self.width, self.background)
        self.past = History(round(_KEPT_S * fs), rows=5)
        self._unsettled: list[Candidate] = []
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new signal at sample `at`; nothing is carried over."""
        for band in self.bands:
            band.reset()
        self.sums.restart()
        self.past.restart(at)
        self._last: NDArray[np.float64] | None = None  # last value of each band, (bands, 1)
        self._examined = at + 1  # for the energies before this sample it is decided whether they are a candidate
        self._unsettled.clear()

    @property
    def due(self) -> int:
        """Samples that must have arrived before there can be a new candidate."""
        stop, reach = self.past.stop, self.reach
        recent = self.past.between(stop - reach, stop)
        if not recent.size:
            return stop + reach + 1
        # Of the undecided energies, only the largest can become a candidate; all energies before it are known.
        place = int(recent.argmax())
        top, height = stop - recent.size + place, recent[place]
        if height <= FLOOR_MV_S or self.past.between(top - reach, top).max(initial=0.0) >= height:
            return stop + reach + 1
        return top + reach + 1

    def process(self, y: NDArray[np.float64]) -> list[Candidate]:
        """Return the candidates that become known by samples `y` (n,), mV in the monitoring band, in order."""
        values = np.empty((len(self.bands), y.size + 1))
        for row, band in zip(values, self.bands, strict=True):
            row[1:] = band.process(y)
        values[:, :1] = values[:, 1:2] if self._last is None else self._last
        self._last = values[:, -1:].copy()
        slopes = np.abs(values[:, 1:] - values[:, :-1])
        slopes *= self._fs
        self._append_energies(slopes, values[0, 1:])
        if self._unsettled:
            self._settle()
        return self._new_candidates()

    def _append_energies(self, slopes: NDArray[np.float64], qrs_band: NDArray[np.float64]) -> None:
        """Append to the past.

        Args:
            slopes: |slope| in each band, (bands, n), mV/s.
            qrs_band: the signal in the QRS band, (n,), mV.
        """
        sums, background = self.sums.process(slopes)
        self.past.release()
        past = np.empty((5, qrs_band.size))
        np.divide(sums, self.width, out=past[:3])
        np.divide(background, self.background, out=past[_BACKGROUND])
        np.abs(qrs_band, out=past[_QRS])
        self.past.append(past)

    def run_again(self, at: int, y: NDArray[np.float64]) -> None:
        """Replace the past by other samples, without reporting their candidates again.

        The `following` of the candidates so far is that of the energy so far.

        Args:
            at: number of the first sample of `y`.
            y: samples (n,) in mV, up to the newest one.
        """
        for candidate in self._unsettled:
            self._set_following(candidate, self.past.stop)
            candidate.settled_at = min(candidate.settled_at, self.past.stop)
        self.restart(at)
        self.process(y)

    def break_off(self, known_at: int) -> list[Candidate]:
        """Return the remaining candidates of a signal that ends here, which is certain at `known_at`.

        They are found as if the signal continued with its last value. A QRS complex is among them if the top of its R
        peak has arrived.
        """
        stop = self.past.stop
        for candidate in self._unsettled:
            self._set_following(candidate, stop)
            candidate.settled_at = min(candidate.settled_at, stop)
        self._unsettled.clear()
        if self._last is None:
            return []
        n = 2 * self.reach + 1
        self._append_energies(np.zeros((len(self.bands), n)), np.zeros(n))
        found = [each for each in self._new_candidates() if each.sample < stop - self._seen]
        for candidate in found:
            self._set_following(candidate, stop)
            candidate.at = min(candidate.at, stop - 1)
            candidate.known_at = candidate.settled_at = known_at
        self._unsettled.clear()
        return found

    def _set_following(self, candidate: Candidate, stop: int) -> None:
        """Set `following` from the energies before sample `stop`."""
        after = self.past.between(min(candidate.known_at, stop) - 1, stop)
        candidate.following = float(after.max(initial=0.0)) / candidate.energy

    def _settle(self) -> None:
        """Set `following` of the candidates for which all of the energy after them is known by now."""
        while self._unsettled and self._unsettled[0].settled_at <= self.past.stop:
            candidate = self._unsettled.pop(0)
            self._set_following(candidate, candidate.settled_at - 1)

    def _new_candidates(self) -> list[Candidate]:
        """Return the candidates among the energies that can be decided now."""
        reach, low, high = self.reach, self._examined, self.past.stop - self.reach
        if high <= low:
            return []
        self._examined = high
        first = max(low - reach, self.past.start)
        energy = self.past.between(first, high + reach)
        low, high = low - first, high - first
        middle = energy[low:high]
        # Local maxima are few. Only their larger neighbourhood is examined.
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
        """Return the candidates at given peaks of energy, with their features.

        Args:
            tops: samples of the peaks, (n,).
            near: energy around each of them, (n, 2 reach + 1).
        """
        reach, start = self.reach, self.past.start
        middles = tops - self.width // 2
        around = _at(self._signal, middles[:, None] + self._around_qrs)
        levels = np.median(around, axis=1, keepdims=True)
        heights = np.abs(around[:, self._qrs_part] - levels)
        first = middles + self._around_qrs[self._qrs_part.start]
        place = np.maximum(middles[:, None] + (self._around_qrs[self._qrs_part] - start), 0)
        largest = self.past.row(_QRS)[place].argmax(axis=1)
        waveforms = _at(self._signal, (first + largest)[:, None] + self.waveform)
        waveforms -= ordered_mean(waveforms, 1)[:, None]
        waveforms /= np.sqrt(ordered_sum(waveforms * waveforms, 1))[:, None] + LEAST_NORM
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
            + TINY
        )
        samples = first + _first_large_top(heights)
        for row in np.flatnonzero(before >= LONG_SHARE * energy).tolist():
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
        self._start_following(found, at_top)
        return found

    def _start_following(self, found: list[Candidate], at_top: NDArray[np.int64]) -> None:
        """Set `following` of those candidates for which it is known already; that of the others is set later."""
        settled = len(found)  # number of candidates for which it is known
        while settled and found[settled - 1].settled_at > self.past.stop:
            settled -= 1
        if settled:
            after = self.past.row(_ENERGY)[at_top[:settled, None] + self._after].max(axis=1)
            for candidate, highest in zip(found, after.tolist(), strict=False):
                candidate.following = highest / candidate.energy
        self._unsettled += found[settled:]

    def _start_of_long(self, sample: int, middle: int, level: float, highest: float) -> int:
        """Return the R peak of a QRS complex that may have begun before the signal that was examined.

        A wide V beat can have two deflections of the same size up to 0.2 s apart, and the peak of energy may belong to
        the second.

        Args:
            sample: R peak so far; it is returned if there is no earlier deflection of this size.
            middle: middle of the signal that was examined.
            level: median of this signal, mV.
            highest: height of its largest deflection, mV.
        """
        before = middle + self._before_qrs
        heights = np.abs(_at(self._signal, before) - level)
        inner = heights[1:-1]
        tops = np.flatnonzero((inner > heights[:-2]) & (inner >= heights[2:]) & (inner >= FIRST_SHARE * highest))
        return int(before[tops[0] + 1]) if tops.size else int(sample)


def _at(history: History, samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the values at `samples` (any shape); outside the samples in memory, the nearest value."""
    held = history.row(0)
    # np.clip takes several times as long on the few samples of a live candidate.
    return held[np.minimum(np.maximum(samples - history.start, 0), held.size - 1)]


def _first_large_top(heights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the index in each row of `heights` (n, samples) of the first top that is close to the highest."""
    inner = heights[:, 1:-1]
    tops = np.where((inner > heights[:, :-2]) & (inner >= heights[:, 2:]), inner, -1.0)
    highest = tops.max(axis=1, keepdims=True)
    first = np.argmax(tops >= FIRST_SHARE * highest, axis=1) + 1
    return np.asarray(np.where(highest[:, 0] < 0.0, heights.argmax(axis=1), first), np.int64)
