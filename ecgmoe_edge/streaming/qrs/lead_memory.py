"""What the detector remembers of one lead: how it rates its candidates, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from ecgmoe_edge.streaming.events import LeadReason
from ecgmoe_edge.streaming.qrs.candidates import FLOOR_MV_S, Candidate
from ecgmoe_edge.streaming.qrs.rating import MEMORY, BeatTiming, Rater, Rating
from ecgmoe_edge.streaming.signal.ordered_sum import ordered_sum
from ecgmoe_edge.streaming.signal.running_median import RunningMedian

LARGEST_LOG_ODDS = 6.0  # that count
_SAME_KIND = 0.25  # of the strongest peak's energy: may be a QRS too
_FULL_CONTRAST = 3.0  # ln of beats' energy over other peaks', from which a lead has its full weight
_STEEP = 1.5  # a lead of half that contrast weighs a third
_LEAST_WEIGHT = 0.03
_USUAL_CONTRAST = 2.5  # where a lead shows nothing between beats
_FORGOTTEN = 0.5  # ln energy of other peaks, with each beat before which there was none
_NOISY_BELOW, _CLEAR_ABOVE, _STEADY = 0.08, 0.20, 0.2  # weight, averaged with so much of each beat's
_SHIFTS, _FEWEST_SHIFTS = 9, 3  # R peaks that tell how far a lead's lie from the common ones
_STRONGEST, _SAME_WAVEFORM = 4, 0.85  # of 150 drawn noises of five seconds none had such a pair
_LOUD_PEAKS, _LOUD_BEATS, _ALIKE = 8, 3, 0.8  # of so many, so many are beats if their waveforms correlate


@dataclass(eq=False, slots=True)
class LeadCandidate:
    """A candidate of one lead, known once `arrived` samples have arrived."""

    arrived: int
    lead: int
    candidate: Candidate
    votes: bool = False  # the lead had a vote when the candidate came
    rating: Rating | None = None
    rated_at: int = -1  # count of changes of rater and timing at that rating


@dataclass(frozen=True)
class LeadEnd:
    """The signal of a lead has ended, known once `arrived` samples have arrived."""

    arrived: int
    lead: int
    reason: LeadReason


@dataclass(frozen=True)
class LeadBegin:
    """A new signal begins on a lead with sample `at`."""

    lead: int
    at: int


LeadReport: TypeAlias = LeadCandidate | LeadEnd | LeadBegin


class LeadMemory:
    """One lead as the detector knows it."""

    def __init__(self, rater: Rater) -> None:
        self.rater = rater
        self.present = False  # it has a signal
        self.votes = False  # and its candidates count
        self.reason: LeadReason = "start"  # why not
        self.begin(0)

    def begin(self, learns_until: int) -> None:
        """A new signal, of which the first candidates are collected until so many samples have arrived."""
        self.rater.restart()
        self.noisy = False
        self.learning: list[LeadCandidate] | None = []  # candidates so far; None once the level is learnt
        self.learns_until = learns_until
        self.beats = 0  # since its level was learnt
        self._steady_weight = 1.0
        self._shift = RunningMedian(_SHIFTS)  # from its R peaks to the common ones
        self._between = RunningMedian(MEMORY)  # ln energy of what lies between beats
        self._passed = False  # a candidate over, since the last beat
        self._loud: list[Candidate] = []

    def learn(self, candidates: Sequence[LeadCandidate]) -> None:
        """Take its level from candidates that nobody has sorted."""
        self.rater.learn(beat_energy([each.candidate for each in candidates]))
        self._between = RunningMedian(MEMORY)
        self._passed = False
        self._loud.clear()
        self.learning = None

    def learn_again(self, passed: Sequence[LeadCandidate]) -> None:
        """Take its level from the candidates that were passed over, if there are any."""
        self._loud.clear()
        if passed:
            self.learn(passed)

    def accept(self, shown: LeadCandidate | None) -> None:
        """Take note of a beat that this lead shows, or does not."""
        self.beats += 1
        self.rater.accept(None if shown is None else shown.candidate)

    def trust(self, shown: LeadCandidate | None, sample: int) -> None:
        """Judge the lead by a beat just accepted, whose common R peak is `sample`."""
        if shown is not None:
            self._shift.add(sample - shown.candidate.sample)
        if not self._passed and len(self._between):  # nothing between two beats: what was there is forgotten slowly
            self._between.add(max(self._between.value() - _FORGOTTEN, self.rater.level - _USUAL_CONTRAST))
        self._passed = False
        self._steady_weight += _STEADY * (self.weight - self._steady_weight)
        self.noisy = self._steady_weight < (_CLEAR_ABOVE if self.noisy else _NOISY_BELOW)

    def pass_over(self, shown: LeadCandidate) -> None:
        """Take note of a candidate that is no beat."""
        self.rater.pass_over(shown.candidate)
        if self.learning is None:
            self._between.add(shown.candidate.log_energy)
            self._passed = True

    def is_given_up(self, shown: LeadCandidate) -> bool:
        """Whether loud candidates of one waveform were passed over so often that the level was learnt from noise."""
        if not self.rater.is_loud(shown.candidate):
            return False
        self._loud = [*self._loud[1 - _LOUD_PEAKS :], shown.candidate]
        own = shown.candidate.waveform
        return sum(float(ordered_sum(other.waveform * own)) > _ALIKE for other in self._loud) >= _LOUD_BEATS

    @property
    def weight(self) -> float:
        """How far its beats stand out from what lies between them, 0 to 1."""
        contrast = self.rater.level - self._between.value() if len(self._between) else _USUAL_CONTRAST
        return float(max(_LEAST_WEIGHT, min(1.0, contrast / _FULL_CONTRAST)) ** _STEEP)

    @property
    def common_shift(self) -> int:
        """Samples from its R peaks to the common ones."""
        return round(self._shift.value()) if len(self._shift) >= _FEWEST_SHIFTS else 0

    def log_odds(self, shown: LeadCandidate, timing: BeatTiming, following: float) -> float:
        """Log odds of a beat, as its own rating has them, if so much follows."""
        changes = self.rater.changes + timing.changes
        if shown.rating is None or shown.rated_at != changes:
            shown.rating, shown.rated_at = self.rater.rate(shown.candidate, timing), changes
        return max(-LARGEST_LOG_ODDS, min(LARGEST_LOG_ODDS, shown.rating.log_odds(following)))


def have_one_waveform(candidates: Sequence[Candidate]) -> bool:
    """Whether two of the strongest candidates look the same, as beats do and noise does not."""
    strongest = sorted(candidates, key=_energy, reverse=True)[:_STRONGEST]
    return any(
        float(ordered_sum(one.waveform * other.waveform)) > _SAME_WAVEFORM for one, other in combinations(strongest, 2)
    )


def _energy(candidate: Candidate) -> float:
    return candidate.energy


def beat_energy(candidates: Sequence[Candidate]) -> float:
    """A beat's energy, mV/s, among unsorted peaks: the second strongest, since the strongest may be an artefact.

    At a slow heart rate two seconds hold one beat; then the second is noise, far below, and the strongest counts.
    """
    ranked = sorted((candidate.energy for candidate in candidates), reverse=True)
    if not ranked:
        return FLOOR_MV_S
    return ranked[1] if len(ranked) > 1 and ranked[1] > _SAME_KIND * ranked[0] else ranked[0]
