"""R peaks, live: a causal detector that gives the same peaks however the signal is cut into chunks.

After Hamilton (2002, "Open source ECG analysis") and Pan and Tompkins (1985): the energy of the signal's slope in the
QRS band, peaks of it against a threshold between the recent QRS level and the recent noise level, search-back for
beats that were missed. Where this departs from them, and why:

- energy is the moving mean of |slope| of a Butterworth-filtered signal, so that any rate from 100 Hz has its own band;
- a peak of energy is known once nothing larger has come for `_DOMINANCE_S` on either side, one constant delay;
- after a long silence the levels are learnt anew from the recent past, so that a sudden loss of gain is survived;
- the R peak is put where the band-limited signal is farthest from its local median, which removes the filters' delay.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.filters import CausalFilter, MovingMean, qrs_band
from ecgmoe_edge.streaming.history import History

_QRS_BAND_HZ = (6.0, 20.0)
_ENERGY_S = 0.10  # moving mean of |slope|, about the width of a QRS
_DOMINANCE_S = 0.15  # nothing larger on either side: one QRS, not two
_REFRACTORY_S = 0.20
_T_WAVE_S = 0.36  # until then a weaker peak may be the T wave (Hamilton)
_T_WAVE_SHARE = 0.55  # of the last QRS's energy
_LEVELS = 8  # recent QRS and noise peaks that set the threshold (Hamilton)
_THRESHOLD = 0.36  # share of the way from the noise level to the QRS level
_SEARCH_BACK_RR = 1.6  # times the recent median RR without a beat
_SEARCH_BACK_SHARE = 0.5  # of the threshold is enough then
_LEARNING_S = 2.0
_SILENCE_S = 4.0  # without a beat: the levels are learnt anew
_SAME_KIND = 0.25  # of the strongest peak's energy: may be a QRS too
_FIRST_SHARE = 0.65  # of the QRS's largest deflection makes an earlier one the R peak
_FLOOR_MV_S = 0.15  # mV/s of mean slope below which nothing is a beat (about a 10 uV QRS)


@dataclass(frozen=True)
class RPeak:
    """One R peak."""

    sample: int
    known_at: int  # samples that had arrived (exclusive end) when the detector was sure
    strength: float  # energy over threshold, 1 = just a beat
    search_back: bool


@dataclass
class _Candidate:
    at: int  # sample of the energy's peak
    energy: float


class RPeakDetector:
    """Finds R peaks in a band-limited signal at its own rate; state is a few seconds of signal."""

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._qrs: CausalFilter = qrs_band(fs, _QRS_BAND_HZ[0], min(_QRS_BAND_HZ[1], 0.4 * fs))
        width = max(2, round(_ENERGY_S * fs))
        self._mean = MovingMean(width)
        self._reach = round(_DOMINANCE_S * fs)
        self._lag = round(width / 2 + 0.016 * fs)  # energy's peak after the QRS's middle: mean and filter
        self._signal = History(round((_SILENCE_S + 2.0) * fs))
        self._energy = History(round(4 * _DOMINANCE_S * fs) + 8)
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new stretch of signal at absolute sample `at`: nothing is carried across, levels are learnt anew."""
        self._qrs.reset()
        self._mean.reset()
        self._last_value: float | None = None
        self._signal.restart(at)
        self._energy.restart(at)
        self._start = at
        self._examined = at  # energy samples before this are decided to be peaks or not
        self._learning: list[_Candidate] | None = []
        self._passed: list[_Candidate] = []  # over, since the last beat or the last learning
        self._searched = 0  # of them, by search-back
        self._qrs_levels: deque[float] = deque(maxlen=_LEVELS)
        self._noise_levels: deque[float] = deque(maxlen=_LEVELS)
        self._rr: deque[int] = deque(maxlen=_LEVELS)
        self._last: _Candidate | None = None
        self._last_sample: int | None = None
        self._quiet_from = at  # when the present silence began

    def process(self, y: NDArray[np.float64]) -> list[RPeak]:
        """R peaks that `y` (samples,), mV in the monitoring band, makes certain, in order."""
        if not y.size:
            return []
        self._signal.append(y)
        filtered = self._qrs.process(y)
        slope = np.empty_like(filtered)
        slope[0] = 0.0 if self._last_value is None else filtered[0] - self._last_value
        np.subtract(filtered[1:], filtered[:-1], out=slope[1:])
        self._last_value = float(filtered[-1])
        np.abs(slope, out=slope)
        slope *= self._fs
        self._energy.append(self._mean.process(slope))
        found: list[RPeak] = []
        for candidate in self._new_candidates():
            self._run_clock(candidate.at + self._reach, found)
            self._decide(candidate, candidate.at + self._reach + 1, found)
        self._run_clock(self._energy.stop - 1, found)
        return found

    @property
    def due(self) -> int:
        """Samples that must have arrived before anything new can become certain; `process` may wait until then."""
        if self._learning is not None:
            return self._start + round(_LEARNING_S * self._fs)
        stop, reach = self._energy.stop, self._reach
        recent = self._energy.between(stop - reach, stop)
        # Of what is known only the largest can still dominate; its left side has been seen in full.
        top = stop - recent.size + int(recent.argmax()) if recent.size else stop
        if top < stop and self._energy.between(top - reach, top + 1).max() > self._energy.between(top, top + 1)[0]:
            top = stop
        search = self._search_back_due()
        silence = self._quiet_from + reach + round(_SILENCE_S * self._fs)
        return min(top + reach, silence, silence if search is None else search) + 1

    def flush(self) -> list[RPeak]:
        """R peaks that are left once no more signal comes: what was learnt too briefly is decided now."""
        found: list[RPeak] = []
        if self._learning is not None:
            self._finish_learning(self._energy.stop, found)
        return found

    # -- peaks of energy

    def _new_candidates(self) -> list[_Candidate]:
        """Samples whose energy is the largest within reach on both sides, as far as that is known."""
        reach = self._reach
        low, high = max(self._examined, self._start), self._energy.stop - reach
        if high <= low:
            return []
        self._examined = high
        energy = self._energy.between(low - reach, high + reach)
        offset = low - max(low - reach, self._energy.start)
        first, last = max(offset, 1), offset + high - low
        middle = energy[first:last]
        # Tops are few; only there is the larger neighbourhood worth a look.
        tops = np.flatnonzero((middle > energy[first - 1 : last - 1]) & (middle >= energy[first + 1 : last + 1]))
        found = []
        for top in tops + first:
            height = energy[top]
            if height > _FLOOR_MV_S and height >= energy[max(0, top - reach) : top + reach + 1].max():
                found.append(_Candidate(low + int(top) - offset, float(height)))
        return found

    # -- decisions

    def _threshold(self) -> float:
        qrs = float(np.median(self._qrs_levels))
        noise = float(np.median(self._noise_levels)) if self._noise_levels else 0.0
        return max(noise + _THRESHOLD * (qrs - noise), _FLOOR_MV_S)

    def _decide(self, candidate: _Candidate, now: int, found: list[RPeak]) -> None:
        if self._learning is not None:
            self._learning.append(candidate)
            return
        threshold = self._threshold()
        if candidate.energy > threshold and not self._is_echo(candidate):
            self._accept(candidate, now, threshold, found, search_back=False)
        else:
            self._noise_levels.append(candidate.energy)
            self._passed.append(candidate)

    def _is_echo(self, candidate: _Candidate) -> bool:
        """Too soon after the last beat to be another, or weak enough to be its T wave."""
        if self._last is None:
            return False
        since = candidate.at - self._last.at
        if since < _REFRACTORY_S * self._fs:
            return True
        return since < _T_WAVE_S * self._fs and candidate.energy < _T_WAVE_SHARE * self._last.energy

    def _accept(
        self, candidate: _Candidate, now: int, threshold: float, found: list[RPeak], *, search_back: bool
    ) -> None:
        sample = self._locate(candidate.at)
        if self._last_sample is not None:
            if sample - self._last_sample < _REFRACTORY_S * self._fs / 2:
                return
            self._rr.append(sample - self._last_sample)
        self._qrs_levels.append(candidate.energy)
        self._passed, self._searched = [], 0
        self._last, self._last_sample, self._quiet_from = candidate, sample, candidate.at
        found.append(RPeak(sample, now, candidate.energy / threshold, search_back))

    def _locate(self, peak: int) -> int:
        """The R peak that belongs to a peak of energy: the farthest point from the local median."""
        middle, half = peak - self._lag, round(0.075 * self._fs)
        low = max(middle - half, self._signal.start)
        stretch = self._signal.between(low - half, middle + 2 * half + 1)
        level = float(np.median(stretch))
        near = self._signal.between(low, middle + half + 1)
        if not near.size:
            return max(middle, self._start)
        height = np.abs(near - level)
        rises = np.diff(height, prepend=0.0, append=0.0)
        tops = np.flatnonzero((rises[:-1] > 0.0) & (rises[1:] <= 0.0))
        return low + int(tops[np.argmax(height[tops] >= _FIRST_SHARE * height.max())])

    # -- what the passing of time alone brings about

    def _run_clock(self, until: int, found: list[RPeak]) -> None:
        """Do what falls due up to sample `until`: the end of learning, search-back, learning anew."""
        if self._learning is not None:
            due = self._start + round(_LEARNING_S * self._fs) - 1
            if until < due:
                return
            self._finish_learning(due + 1, found)
        while True:
            search = self._search_back_due()
            silence = self._quiet_from + self._reach + round(_SILENCE_S * self._fs)
            if search is not None and search <= min(until, silence):
                self._search_back(search + 1, found)
            elif silence <= until:
                self._learn_anew(silence + 1, found)
            else:
                return

    def _search_back_due(self) -> int | None:
        if self._last is None or len(self._rr) < 2 or self._searched == len(self._passed):
            return None
        wait = _SEARCH_BACK_RR * float(np.median(self._rr))
        due = self._last.at + self._reach + round(wait)
        # A candidate that comes after the clock ran out falls due the moment it is known.
        return max(due, self._passed[self._searched].at + self._reach)

    def _search_back(self, now: int, found: list[RPeak]) -> None:
        """Take the strongest of the peaks passed over since the last beat, if it is strong enough."""
        fit = [c for c in self._passed[self._searched :] if not self._is_echo(c)]
        self._searched = len(self._passed)
        best = max(fit, key=lambda c: c.energy, default=None)
        threshold = self._threshold()
        if best is not None and best.energy > _SEARCH_BACK_SHARE * threshold:
            self._accept(best, now, threshold, found, search_back=True)

    def _finish_learning(self, now: int, found: list[RPeak]) -> None:
        candidates, self._learning = self._learning or [], None
        if not candidates:
            self._qrs_levels.append(_FLOOR_MV_S)
            return
        self._qrs_levels.append(_qrs_level(candidates))
        for candidate in candidates:
            self._decide(candidate, now, found)

    def _learn_anew(self, now: int, found: list[RPeak]) -> None:
        """After a silence that no pause explains: take the level from the peaks that were passed over."""
        self._quiet_from = now - self._reach
        waiting, self._passed, self._searched = self._passed, [], 0
        self._noise_levels.clear()
        if not waiting:
            return
        self._qrs_levels.clear()
        self._qrs_levels.append(_qrs_level(waiting))
        for candidate in waiting:
            self._decide(candidate, now, found)


def _qrs_level(candidates: list[_Candidate]) -> float:
    """QRS energy among unsorted peaks: the second strongest, since the strongest may be an artefact.

    At a slow heart rate two seconds hold one beat; then the second is noise, far below, and the strongest counts.
    """
    ranked = sorted((c.energy for c in candidates), reverse=True)
    return ranked[1] if len(ranked) > 1 and ranked[1] > _SAME_KIND * ranked[0] else ranked[0]
