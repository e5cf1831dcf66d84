"""What the detector remembers of one lead: how it rates its candidates, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from ecgmoe_edge.streaming.events import NO_ECG, LeadReason
from ecgmoe_edge.streaming.qrs.candidates import FLOOR_MV_S, Candidate
from ecgmoe_edge.streaming.qrs.rating import MEMORY, BeatTiming, Rater, Rating
from ecgmoe_edge.streaming.signal.median import RunningMedian
from ecgmoe_edge.streaming.signal.sums import ordered_sum

LARGEST_LOG_ODDS = 6.0  # that count
_SAME_KIND = 0.25  # of the strongest peak's energy: may be a QRS too
_FULL_CONTRAST = 3.0  # ln of beats' energy over other peaks', from which a lead has its full weight
_STEEP = 1.5  # a lead of half that contrast weighs a third
_LEAST_WEIGHT = 0.03
_USUAL_CONTRAST = 2.5  # where a lead shows nothing between beats
_FORGOTTEN = 0.5  # ln energy of other peaks, with each beat before which there was none
_NOISY_BELOW, _CLEAR_ABOVE, _STEADY = 0.08, 0.20, 0.2  # weight, averaged with so much of each beat's
_SHIFTS, _FEWEST_SHIFTS = 9, 3  # R peaks that tell how far a lead's lie from the common ones
_WAVES = 2  # in two seconds: QRS complexes, T waves
_EARNED, _MOST_CREDIT = 3, 8  # beats that look like a heart's make a lead one with an ECG; so many are counted
_RECURS = 0.75  # correlation with beats before; of 80 % of beats and more in the worst leads of ds1, of no noise
_SAME = 0.9  # correlation of what is surely one waveform, whatever lies between
_STANDS_OUT = 0.05  # weight; peaks of noise have 0.02
_STILL_BESIDE = -0.5  # ln of energy beside a QRS complex over its own at most; mains hum has 0
_BEFORE, _AFTER = 2, 3  # in `Candidate.shape`
_FASTEST_S, _SLOWEST_S = 0.24, 6.0  # RR intervals of a heart
LOUD_PEAKS, _LOUD_BEATS, _ALIKE = 8, 3, 0.8  # of so many, so many are beats if their waveforms correlate
_STRONGEST, _SAME_WAVEFORM = 4, 0.85  # of 150 drawn noises of five seconds none had such a pair


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


@dataclass(frozen=True, slots=True)
class AcceptedBeat:
    """What a lead is to know of a beat just accepted."""

    at: int  # of its energy
    sample: int | None  # the common R peak; None where no lead with an ECG shows it
    rr_s: float | None
    confirmed: bool  # another lead, one with an ECG, shows it


LeadReport: TypeAlias = LeadCandidate | LeadEnd | LeadBegin


class LeadMemory:
    """One lead as the detector knows it."""

    def __init__(self, rater: Rater) -> None:
        self.rater = rater
        self.present = False  # it has a signal
        self.votes = False  # and its candidates count
        self.reason: LeadReason = "start"  # why not
        self.earned = False  # its electrodes have shown an ECG; a gap changes nothing about that
        self.begin(0)

    def begin(self, learns_until: int) -> None:
        """A new signal, of which the first candidates are collected until so many samples have arrived."""
        self.rater.restart()
        self.noisy = False
        self.credit = _EARNED if self.earned else 0  # beats that looked like a heart's, less those that did not
        self.no_ecg = False  # its signal has been there for long, and shows none
        self.learning: list[LeadCandidate] | None = []  # candidates so far; None once the level is learnt
        self.learns_until = learns_until
        self.earns_until = learns_until  # without an ECG until then, it has none
        self._awaited: AcceptedBeat | None = None  # a beat that it may show yet
        self._stray: LeadCandidate | None = None  # its last candidate that joined no possible beat
        self._shows_waves = False  # since its level was learnt
        self._steady_weight = 1.0
        self._shift = RunningMedian(_SHIFTS)  # from its R peaks to the common ones
        self._between = RunningMedian(MEMORY)  # ln energy of what lies between beats
        self._contrast: float | None = None  # of beats to what lies between; None: it may have changed
        self._passed = False  # a candidate over, since the last beat
        self._loud: list[Candidate] = []

    def learn(self, candidates: Sequence[LeadCandidate]) -> None:
        """Take its level from candidates that nobody has sorted."""
        self.rater.learn(beat_energy([each.candidate for each in candidates]))
        self._between = RunningMedian(MEMORY)
        self._contrast = None
        self._passed = False
        self._loud.clear()
        self.learning = None
        self._shows_waves = len(candidates) >= _WAVES

    def learn_again(self, passed: Sequence[LeadCandidate]) -> None:
        """Take its level from the candidates that were passed over, if there are any."""
        self._loud.clear()
        if passed:
            self.learn(passed)

    def accept(self, beat: AcceptedBeat, shown: LeadCandidate | None) -> None:
        """Take note of a beat that this lead shows, or does not."""
        self._credit(beat, shown)
        self.rater.accept(None if shown is None else shown.candidate)
        self._contrast = None
        self._trust(beat, shown)

    def accept_by_others(self, beat: AcceptedBeat, together: int) -> None:
        """Take note of a beat for which nobody waited until this lead, which does not vote, would show it.

        together: samples at most from its peak of energy to that of the others.
        """
        self._end_wait()
        stray, self._stray = self._stray, None
        if stray is not None and abs(stray.candidate.at - beat.at) < together:
            self.accept(beat, stray)
        else:
            self._awaited = beat

    def pass_by(self, stray: LeadCandidate, together: int) -> None:
        """Take note of a candidate of this lead, which does not vote, with no possible beat about."""
        if self._awaited is not None and abs(stray.candidate.at - self._awaited.at) < together:
            beat, self._awaited = self._awaited, None
            self.accept(beat, stray)
        else:
            self._end_wait()
            self._stray = stray

    def _end_wait(self) -> None:
        if self._awaited is not None:
            self.accept(self._awaited, None)
        self._awaited = None

    def _credit(self, beat: AcceptedBeat, shown: LeadCandidate | None) -> None:
        """Count a beat for or against this lead's showing an ECG.

        What once showed an ECG and shows beats still, however buried in noise, is not counted against it: there the
        weight does what is needed.
        """
        if shown is None:
            if beat.confirmed:
                self.credit = max(0, self.credit - 1)
            return
        recurrence = self.rater.recurrence(shown.candidate)
        if recurrence is None and not beat.confirmed:
            return  # nothing to compare it with
        recurs = recurrence is None or recurrence >= _RECURS
        in_time = beat.confirmed if beat.rr_s is None else _FASTEST_S <= beat.rr_s <= _SLOWEST_S
        # Among T waves as steep as QRS complexes no beat stands out.
        stands_out = self.weight >= _STANDS_OUT or (recurrence is not None and recurrence >= _SAME)
        if recurs and in_time and is_still_beside(shown) and stands_out:
            self.credit = min(_MOST_CREDIT, self.credit + 1)
            self.earned = self.earned or self.credit >= _EARNED
            self.no_ecg = self.no_ecg and not self.earned
        elif not self.earned:
            self.credit = max(0, self.credit - 1)

    @property
    def denies(self) -> bool:
        """Whether a beat that it does not show is the less likely for it: not where it shows nothing at all."""
        return self.earned or (self._shows_waves and not self.no_ecg)

    def find_no_ecg(self) -> None:
        """Take the lead for one without an ECG, until it shows one."""
        self.no_ecg, self.earned, self.reason = True, False, NO_ECG

    def forget_shift(self) -> None:
        """The common R peaks were those of a lead without an ECG."""
        self._shift = RunningMedian(_SHIFTS)

    def _trust(self, beat: AcceptedBeat, shown: LeadCandidate | None) -> None:
        """Judge the lead by a beat just accepted."""
        if shown is not None and beat.sample is not None:
            self._shift.add(beat.sample - shown.candidate.sample)
        if not self._passed and len(self._between):  # nothing between two beats: what was there is forgotten slowly
            self._between.add(max(self._between.value() - _FORGOTTEN, self.rater.level - _USUAL_CONTRAST))
            self._contrast = None
        self._passed = False
        self._steady_weight += _STEADY * (self.weight - self._steady_weight)
        self.noisy = self._steady_weight < (_CLEAR_ABOVE if self.noisy else _NOISY_BELOW)

    def pass_over(self, shown: LeadCandidate) -> None:
        """Take note of a candidate that is no beat."""
        self.rater.pass_over(shown.candidate)
        if self.learning is None:
            self._between.add(shown.candidate.log_energy)
            self._contrast = None
            self._passed = True

    def is_given_up(self, shown: LeadCandidate) -> bool:
        """Whether loud candidates of one waveform were passed over so often that the level was learnt from noise."""
        if not self.rater.is_loud(shown.candidate):
            return False
        self._loud = [*self._loud[1 - LOUD_PEAKS :], shown.candidate]
        own = shown.candidate.waveform
        return sum(float(ordered_sum(other.waveform * own)) > _ALIKE for other in self._loud) >= _LOUD_BEATS

    @property
    def weight(self) -> float:
        """How far its beats stand out from what lies between them, 0 to 1."""
        if self._contrast is None:
            self._contrast = self.rater.level - self._between.value() if len(self._between) else _USUAL_CONTRAST
        return float(max(_LEAST_WEIGHT, min(1.0, self._contrast / _FULL_CONTRAST)) ** _STEEP)

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


def is_still_beside(shown: LeadCandidate) -> bool:
    """Whether a lead is quieter on both sides of a candidate."""
    return max(shown.candidate.shape[_BEFORE], shown.candidate.shape[_AFTER]) <= _STILL_BESIDE


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
