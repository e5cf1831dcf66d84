"""R peaks, live: a causal detector that gives the same peaks however the signal is cut into chunks.

After Pan and Tompkins (1985) and Hamilton (2002, "Open source ECG analysis"): peaks of the slope's energy in the QRS
band, levels from the recent beats, search-back for those that were missed. Where this departs from them, and why:

- what makes a peak a beat is not one threshold: a small network weighs its energy against the recent beats and the
  recent noise, its time, its likeness to the recent beats, its other bands and the valleys round it (`qrs_rating`);
- a peak that is surely a beat is given at once; any other waits another 150 ms, since a P wave has its QRS behind it;
- after a long silence the levels are learnt anew from the recent past, so that a sudden loss of gain is survived, and
  less is asked of the next beat; three loud peaks of one waveform are taken for beats whatever came before;
- the R peak is put where the band-limited signal is farthest from its local median, which removes the filters' delay.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.qrs_candidates import FLOOR_MV_S, Candidate, CandidateFinder
from ecgmoe_edge.streaming.qrs_rating import Rater, Rating

_REFRACTORY_S = 0.18
_LEAST_RR_S = 0.10  # between R peaks, once they are put in their place
_SURE = 1.0  # log odds that are enough at once, if what follows is ...
_SURE_FOLLOWING = 1.0  # times the candidate's energy
_SEARCH_BACK_RR = 1.6  # times the recent median RR without a beat
_SEARCH_BACK_LOG_ODDS = -1.0  # are enough then
_LEARNING_S = 2.0
_SILENCE_S = 4.0  # without a beat: the levels are learnt anew
_SILENCE_LOG_ODDS, _MOST_SILENCES = 2.0, 2  # that much more likely is a beat after each silence, up to so many
_LOUD_PEAKS, _LOUD_BEATS, _ALIKE = 8, 3, 0.8  # of so many, so many are beats if their waveforms correlate
_SAME_KIND = 0.25  # of the strongest peak's energy: may be a QRS too


@dataclass(frozen=True)
class RPeak:
    """One R peak."""

    sample: int
    known_at: int  # samples that had arrived (exclusive end) when the detector was sure
    strength: float  # log odds that it is a beat, as they were then
    search_back: bool


class RPeakDetector:
    """Finds R peaks in a band-limited signal at its own rate; state is a few seconds of signal."""

    def __init__(self, fs: float, rater: Rater | None = None) -> None:
        self._fs = fs
        self._finder = CandidateFinder(fs)
        self._rater = rater or Rater(fs)
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new stretch of signal at absolute sample `at`: nothing is carried across, levels are learnt anew."""
        self._finder.restart(at)
        self._rater.restart()
        self._learnt_at = at + round(_LEARNING_S * self._fs) - 1
        self._learning: list[Candidate] | None = []
        self._unsure: tuple[Candidate, Rating] | None = None
        self._passed: list[Candidate] = []  # over, since the last beat or the last learning
        self._searched = 0  # of them, by search-back
        self._last_sample: int | None = None
        self._quiet_from = at  # when the present silence began
        self._silences = 0  # since the last beat
        self._loud: deque[Candidate] = deque(maxlen=_LOUD_PEAKS)

    @property
    def due(self) -> int:
        """Samples that must have arrived before anything new can become certain; `process` may wait until then."""
        if self._learning is not None:
            return self._learnt_at + 1
        due = min(self._finder.due, self._quiet_from + round(_SILENCE_S * self._fs))
        if self._unsure is not None:
            due = min(due, self._unsure[0].settled_at)
        search = self._search_back_due()
        return min(due, due if search is None else search) + 1

    def process(self, y: NDArray[np.float64]) -> list[RPeak]:
        """R peaks that `y` (samples,), mV in the monitoring band, makes certain, in order."""
        found: list[RPeak] = []
        if not y.size:
            return found
        for candidate in self._finder.process(y):
            self._run_clock(candidate.known_at, found)
            self._examine(candidate, candidate.known_at + 1, found)
        self._run_clock(self._finder.stop - 1, found)
        return found

    def flush(self) -> list[RPeak]:
        """R peaks that are left once no more signal comes: what was learnt too briefly is decided now."""
        found: list[RPeak] = []
        if self._learning is not None:
            self._finish_learning(self._finder.stop, found)
        self._settle(self._finder.stop, found)
        return found

    # -- decisions

    def _examine(self, candidate: Candidate, now: int, found: list[RPeak]) -> None:
        """Take a candidate if it is surely a beat, pass it over if it is surely none, else wait for what follows."""
        if self._learning is not None:
            self._learning.append(candidate)
            return
        if self._is_echo(candidate) or self._rater.is_weak(candidate):
            self._pass_over(candidate)
            return
        rating = self._rater.rate(candidate)
        log_odds = rating.log_odds(_SURE_FOLLOWING)
        if log_odds > _SURE - self._allowance():
            self._accept(candidate, now, log_odds, found)
            return
        self._unsure = candidate, rating
        if candidate.settled_at < now:
            self._settle(now, found)

    def _settle(self, now: int, found: list[RPeak]) -> None:
        """Decide on the candidate that waits, if one does."""
        if self._unsure is None:
            return
        (candidate, rating), self._unsure = self._unsure, None
        log_odds = rating.log_odds(self._following(candidate))
        if log_odds > -self._allowance():
            self._accept(candidate, now, log_odds, found)
            return
        self._pass_over(candidate)
        if self._rater.is_loud(candidate):
            self._hear_loud(candidate, now, found)

    def _allowance(self) -> float:
        return _SILENCE_LOG_ODDS * self._silences

    def _hear_loud(self, candidate: Candidate, now: int, found: list[RPeak]) -> None:
        """Learn anew from loud peaks once some of one waveform have been passed over: what was learnt was noise."""
        self._loud.append(candidate)
        alike = [other for other in self._loud if float((other.waveform * candidate.waveform).sum()) > _ALIKE]
        if len(alike) >= _LOUD_BEATS:
            self._rater.restart()
            self._learn_anew(now, found)

    def _following(self, candidate: Candidate) -> float:
        return self._finder.energy_after(candidate) / candidate.energy

    def _is_echo(self, candidate: Candidate) -> bool:
        last = self._rater.last
        return last is not None and candidate.at - last.at < _REFRACTORY_S * self._fs

    def _pass_over(self, candidate: Candidate) -> None:
        self._rater.pass_over(candidate)
        self._passed.append(candidate)

    def _accept(
        self, candidate: Candidate, now: int, log_odds: float, found: list[RPeak], *, search_back: bool = False
    ) -> None:
        if self._last_sample is not None and candidate.sample - self._last_sample < _LEAST_RR_S * self._fs:
            return
        self._rater.accept(candidate)
        self._passed = [other for other in self._passed if other.at > candidate.at]
        self._searched = 0
        self._last_sample, self._quiet_from, self._silences = candidate.sample, candidate.at, 0
        found.append(RPeak(candidate.sample, now, log_odds, search_back))

    # -- what the passing of time alone brings about

    def _run_clock(self, until: int, found: list[RPeak]) -> None:
        """Do what falls due up to sample `until`: the end of learning and waiting, search-back, learning anew."""
        if self._learning is not None:
            if until < self._learnt_at:
                return
            self._finish_learning(self._learnt_at + 1, found)
        while True:
            if self._unsure is not None:
                due = self._unsure[0].settled_at
                if until < due:
                    return
                self._settle(due + 1, found)
            search = self._search_back_due()
            silence = self._quiet_from + round(_SILENCE_S * self._fs)
            if search is not None and search <= min(until, silence):
                self._search_back(search + 1, found)
            elif silence <= until:
                self._silences = min(self._silences + 1, _MOST_SILENCES)
                self._learn_anew(silence + 1, found)
            else:
                return

    def _search_back_due(self) -> int | None:
        last, rr_s = self._rater.last, self._rater.rr_s
        if last is None or rr_s is None or self._searched == len(self._passed):
            return None
        # A candidate that comes after the clock ran out falls due the moment it is settled.
        return max(last.known_at + round(_SEARCH_BACK_RR * rr_s * self._fs), self._passed[self._searched].settled_at)

    def _search_back(self, now: int, found: list[RPeak]) -> None:
        """Take the likeliest of the peaks passed over since the last beat, if it is likely enough."""
        settled = [c for c in self._passed if c.settled_at < now]
        fit = [c for c in settled[self._searched :] if not self._is_echo(c) and not self._rater.is_weak(c)]
        self._searched = len(settled)
        rated = [(self._rater.rate(candidate).log_odds(self._following(candidate)), candidate) for candidate in fit]
        log_odds, best = max(rated, key=lambda pair: pair[0], default=(-np.inf, None))
        if best is not None and log_odds > _SEARCH_BACK_LOG_ODDS:
            self._accept(best, now, log_odds, found, search_back=True)

    def _finish_learning(self, now: int, found: list[RPeak]) -> None:
        candidates, self._learning = self._learning or [], None
        self._rater.learn(beat_energy(candidates))
        for candidate in candidates:
            self._examine(candidate, now, found)

    def _learn_anew(self, now: int, found: list[RPeak]) -> None:
        """After a silence that no pause explains: take the level from the peaks that were passed over."""
        self._quiet_from = now
        self._loud.clear()
        waiting, self._passed, self._searched = self._passed, [], 0
        if not waiting:
            return
        self._rater.learn(beat_energy(waiting))
        for candidate in waiting:
            self._examine(candidate, now, found)


def beat_energy(candidates: list[Candidate]) -> float:
    """A beat's energy, mV/s, among unsorted peaks: the second strongest, since the strongest may be an artefact.

    At a slow heart rate two seconds hold one beat; then the second is noise, far below, and the strongest counts.
    """
    ranked = sorted((candidate.energy for candidate in candidates), reverse=True)
    if not ranked:
        return FLOOR_MV_S
    return ranked[1] if len(ranked) > 1 and ranked[1] > _SAME_KIND * ranked[0] else ranked[0]
