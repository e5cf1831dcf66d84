"""One lead among several: what it reports, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import TypeAlias

from ecgmoe_edge.streaming.qrs_candidates import Candidate
from ecgmoe_edge.streaming.qrs_rating import Rater
from ecgmoe_edge.streaming.rpeaks import beat_energy
from ecgmoe_edge.streaming.running_median import RunningMedian

LARGEST_LOG_ODDS = 6.0  # that count
_FULL_CONTRAST = 3.0  # ln of beats' energy over other peaks', from which a lead has its full weight
_STEEP = 1.5  # a lead of half that contrast weighs a third
_LEAST_WEIGHT = 0.03
_USUAL_CONTRAST = 2.5  # where a lead shows nothing between beats
_MEMORY = 8  # beats, and other peaks
_FORGOTTEN = 0.5  # ln energy of other peaks, with each beat before which there was none
_NOISY_BELOW, _CLEAR_ABOVE, _STEADY = 0.08, 0.20, 0.2  # weight, averaged with so much of each beat's
_SHIFTS, _FEWEST_SHIFTS = 9, 3  # R peaks that tell how far a lead's lie from the common ones
_UNKNOWN_FOLLOWING = 1.0  # times a candidate's energy is taken to follow it as long as nobody knows


@dataclass(eq=False)
class Heard:
    """One lead's candidate; `following` times its energy is what follows it, known once `settled` samples have come."""

    lead: int
    candidate: Candidate
    settled: int
    following: float = _UNKNOWN_FOLLOWING
    counts: bool = False  # the lead was listened to when it said so


@dataclass(frozen=True)
class LeadLost:
    """A lead is of no use from here on."""

    lead: int
    reason: str


@dataclass(frozen=True)
class LeadBack:
    """A new signal has begun on a lead, with sample `at`."""

    lead: int
    at: int


@dataclass(frozen=True)
class Standing:
    """Once `arrived` samples have arrived: leads that are listened to, those of them that are clear, why others not."""

    arrived: int
    heard: tuple[int, ...]
    clear: tuple[int, ...]
    reasons: tuple[tuple[int, str], ...]
    broken: bool  # no lead was left: what comes is a new chain of RR intervals


Said: TypeAlias = Heard | LeadLost | LeadBack


class LeadMemory:
    """What is remembered of one lead."""

    def __init__(self, fs: float) -> None:
        self.rater = Rater(fs)
        self.there = False  # it has a signal
        self.voting = False  # and is listened to
        self.reason = ""  # why not
        self.begin(0)

    def begin(self, at: int) -> None:
        """A new signal."""
        self.rater.restart()
        self.noisy = False
        self._steady_weight = 1.0
        self.first: list[Heard] | None = []  # candidates of its first two seconds, until they are over
        self.learns_until = at
        self.met = 0  # beats since its level was learnt
        self._shift = RunningMedian(_SHIFTS)  # from its R peaks to the common ones

    def learn(self, heard: Sequence[Heard]) -> None:
        """Take its level from candidates nobody has sorted."""
        energy = beat_energy([each.candidate for each in heard])
        self.rater.learn(energy)
        self._beats, self._others = RunningMedian(_MEMORY), RunningMedian(_MEMORY)  # ln energy
        self._beats.add(log(energy))
        self._passed = False  # a candidate over, since the last beat
        self.first = None

    def accept(self, heard: Heard | None, at: int, sample: int) -> None:
        """Take note of a beat: of the energy's peak `at` and R peak `sample`, which this lead shows or does not."""
        self.met += 1
        if heard is None:
            self.rater.accept_elsewhere(at)
        else:
            self.rater.accept(heard.candidate)
            self._beats.add(log(heard.candidate.energy))
            self._shift.add(sample - heard.candidate.sample)
        if not self._passed and len(self._others):  # nothing between two beats: what was there is forgotten slowly
            self._others.add(max(self._others.value() - _FORGOTTEN, self._beats.value() - _USUAL_CONTRAST))
        self._passed = False
        self._steady_weight += _STEADY * (self.weight - self._steady_weight)
        self.noisy = self._steady_weight < (_CLEAR_ABOVE if self.noisy else _NOISY_BELOW)

    def pass_over(self, heard: Heard) -> None:
        """Take note of a candidate that is no beat."""
        self.rater.pass_over(heard.candidate)
        if self.first is None:
            self._others.add(log(heard.candidate.energy))
            self._passed = True

    @property
    def weight(self) -> float:
        """Of what it says, 0 to 1."""
        contrast = self._beats.value() - self._others.value() if len(self._others) else _USUAL_CONTRAST
        return float(max(_LEAST_WEIGHT, min(1.0, contrast / _FULL_CONTRAST)) ** _STEEP)

    @property
    def common_shift(self) -> int:
        """Samples from its R peaks to the common ones."""
        return round(self._shift.value()) if len(self._shift) >= _FEWEST_SHIFTS else 0

    def log_odds(self, heard: Heard, now: int) -> float:
        """Of a beat, as its own rating has them once `now` samples have arrived."""
        if self.rater.is_weak(heard.candidate):
            return -LARGEST_LOG_ODDS
        following = heard.following if now >= heard.settled else _UNKNOWN_FOLLOWING
        return max(-LARGEST_LOG_ODDS, min(LARGEST_LOG_ODDS, self.rater.rate(heard.candidate).log_odds(following)))
