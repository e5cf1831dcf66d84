"""What the detector remembers of one lead: recent beats, noise between them, and whether it shows an ECG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from typing import TypeAlias

from ecgmoe_edge.streaming.events import NO_ECG, LeadReason
from ecgmoe_edge.streaming.qrs.candidates import FLOOR_MV_S, Candidate
from ecgmoe_edge.streaming.qrs.rating import MEMORY, BeatTiming, Rater, Rating
from ecgmoe_edge.streaming.signal.median import RunningMedian
from ecgmoe_edge.streaming.signal.sums import ordered_sum

LARGEST_LOG_ODDS = 6.0  # larger log odds of one lead are limited to this

# Level of a lead: the usual energy of its beats.
SAME_KIND = 0.25  # a peak of at least this fraction of the strongest peak's energy may be a QRS complex too
WAVES = 2  # number of candidates in the two seconds of learning from which a lead shows waves
LOUD_PEAKS, LOUD_BEATS, ALIKE = 8, 3, 0.8  # if 3 of the last 8 loud candidates correlate by 0.8, they are beats
STRONGEST, SAME_WAVEFORM = 4, 0.85  # no two of the 4 strongest peaks correlate so in 150 simulated noises of 5 s

# Weight of a lead. Contrast is ln of the beats' energy over that of the peaks between them.
FULL_CONTRAST = 3.0  # contrast from which a lead has its full weight
STEEP = 1.5  # exponent of the weight: a lead with half the full contrast has about a third of the weight
LEAST_WEIGHT = 0.03
USUAL_CONTRAST = 2.5  # contrast if there is no peak between beats
FORGOTTEN = 0.5  # how much the remembered ln energy between beats falls with each beat that has no peak before it
NOISY_BELOW, CLEAR_ABOVE, NEWEST_SHARE = 0.08, 0.20, 0.2  # mean weight, in which the newest beat has this share
SHIFTS, FEWEST_SHIFTS = 9, 3  # number of R peaks in the median of the shift: at most, and at least

# Whether a lead shows an ECG.
ENOUGH_CREDIT, MOST_CREDIT = 3, 8  # beats that look like those of a heart: enough for an ECG, and the most counted
RECURS = 0.75  # correlation with earlier beats; of >= 80 % of the beats in the worst leads of ds1, and of no noise
SAME = 0.9  # correlation of beats that are certainly alike, whatever lies between them
STANDS_OUT = 0.05  # weight of a lead in which beats stand out; peaks of noise have 0.02
QUIET_BESIDE = -0.5  # largest ln of the energy beside a QRS complex over its own; mains hum has 0
_BEFORE, _AFTER = 2, 3  # indices of these energies in `Candidate.shape`
FASTEST_S, SLOWEST_S = 0.24, 6.0  # shortest and longest RR interval of a heart
_BY_ENERGY = attrgetter("energy")


@dataclass(eq=False, slots=True)
class LeadCandidate:
    """A candidate of one lead."""

    known_at: int
    lead: int
    candidate: Candidate
    votes: bool = False  # whether the lead voted when the candidate became known
    rating: Rating | None = None
    rated_at: int = -1  # number of changes of rater and timing at that rating


@dataclass(frozen=True)
class LeadEnd:
    """The signal of a lead has ended."""

    known_at: int
    lead: int
    reason: LeadReason


@dataclass(frozen=True)
class LeadBegin:
    """A new signal begins on a lead with sample `at`."""

    lead: int
    at: int


@dataclass(frozen=True, slots=True)
class AcceptedBeat:
    """What a lead learns about a beat that was just accepted."""

    at: int  # sample of the peak of energy
    sample: int | None  # R peak of all leads; None if no lead with an ECG shows the beat
    rr_s: float | None
    confirmed: bool  # whether another lead, one with an ECG, shows it


LeadReport: TypeAlias = LeadCandidate | LeadEnd | LeadBegin


class LeadMemory:
    """The detector's memory of one lead.

    In the methods, `shown` is the candidate of this lead that belongs to a beat.

    Args:
        rater: rates the candidates of this lead.
    """

    def __init__(self, rater: Rater) -> None:
        self.rater = rater
        self.present = False  # whether it has a signal
        self.votes = False  # whether its candidates count
        self.reason: LeadReason = "start"  # why it is not usable
        self.has_ecg = False  # whether its electrodes have shown an ECG; a gap does not change this
        self.begin(0)

    def begin(self, learning_end: int) -> None:
        """Start a new signal, the first candidates of which are collected until `learning_end` samples have arrived."""
        self.rater.restart()
        self.noisy = False
        # Beats that looked like those of a heart, minus those that did not.
        self.ecg_credit = ENOUGH_CREDIT if self.has_ecg else 0
        self.no_ecg = False  # whether its signal has been present for long without showing an ECG
        self.learning: list[LeadCandidate] | None = []  # candidates so far; None once the level is learnt
        self.learning_end = learning_end
        self.ecg_deadline = learning_end  # number of arrived samples at which it must have shown an ECG
        self._undecided: AcceptedBeat | None = None  # a beat that this lead may still show
        self._stray: LeadCandidate | None = None  # its last candidate that belongs to no possible beat
        self._shows_waves = False  # whether there were enough candidates when its level was learnt
        self._mean_weight = 1.0
        self._shift = RunningMedian(SHIFTS)  # samples from its R peaks to those of all leads
        self._between = RunningMedian(MEMORY)  # ln energy of the peaks between beats
        self._contrast: float | None = None  # None if it may have changed
        self._rejected_any = False  # whether a candidate was rejected since the last beat
        self._loud: list[Candidate] = []

    def learn(self, candidates: Sequence[LeadCandidate]) -> None:
        """Learn the level from candidates of which it is not known whether they are beats."""
        self.rater.learn(beat_energy([each.candidate for each in candidates]))
        self._between = RunningMedian(MEMORY)
        self._contrast = None
        self._rejected_any = False
        self._loud.clear()
        self.learning = None
        self._shows_waves = len(candidates) >= WAVES

    def learn_again(self, rejected: Sequence[LeadCandidate]) -> None:
        """Learn the level again from rejected candidates, if there are any."""
        self._loud.clear()
        if rejected:
            self.learn(rejected)

    def accept(self, beat: AcceptedBeat, shown: LeadCandidate | None) -> None:
        """Learn from a beat; `shown` is None if this lead does not show it."""
        self._count_ecg(beat, shown)
        self.rater.accept(None if shown is None else shown.candidate)
        self._contrast = None
        self._update_weight(beat, shown)

    def accept_without_vote(self, beat: AcceptedBeat, same_beat: int) -> None:
        """Learn from a beat if this lead does not vote. The beat was accepted without waiting for its candidate.

        Args:
            beat: the beat.
            same_beat: largest distance of two candidates of one beat, samples.
        """
        self._end_undecided()
        stray, self._stray = self._stray, None
        if stray is not None and abs(stray.candidate.at - beat.at) < same_beat:
            self.accept(beat, stray)
        else:
            self._undecided = beat

    def note_stray(self, stray: LeadCandidate, same_beat: int) -> None:
        """Learn from a candidate of this lead, which does not vote, that belongs to no possible beat.

        Args:
            stray: the candidate; it may belong to the beat that was accepted last.
            same_beat: largest distance of two candidates of one beat, samples.
        """
        if self._undecided is not None and abs(stray.candidate.at - self._undecided.at) < same_beat:
            beat, self._undecided = self._undecided, None
            self.accept(beat, stray)
        else:
            self._end_undecided()
            self._stray = stray

    def _end_undecided(self) -> None:
        if self._undecided is not None:
            self.accept(self._undecided, None)
        self._undecided = None

    def _count_ecg(self, beat: AcceptedBeat, shown: LeadCandidate | None) -> None:
        """Count a beat for or against an ECG in this lead.

        If a lead has shown an ECG and still shows beats, buried in noise as they may be, nothing counts against it: its
        weight is low then, which is enough.
        """
        if shown is None:
            if beat.confirmed:
                self.ecg_credit = max(0, self.ecg_credit - 1)
            return
        recurrence = self.rater.recurrence(shown.candidate)
        if recurrence is None and not beat.confirmed:
            return  # nothing to compare it with
        recurs = recurrence is None or recurrence >= RECURS
        in_time = beat.confirmed if beat.rr_s is None else FASTEST_S <= beat.rr_s <= SLOWEST_S
        # T waves as steep as the QRS complexes lower the weight: then the correlation alone decides.
        stands_out = self.weight >= STANDS_OUT or (recurrence is not None and recurrence >= SAME)
        if recurs and in_time and is_quiet_beside(shown) and stands_out:
            self.ecg_credit = min(MOST_CREDIT, self.ecg_credit + 1)
            self.has_ecg = self.has_ecg or self.ecg_credit >= ENOUGH_CREDIT
            self.no_ecg = self.no_ecg and not self.has_ecg
        elif not self.has_ecg:
            self.ecg_credit = max(0, self.ecg_credit - 1)

    @property
    def counts_if_not_shown(self) -> bool:
        """Whether a beat is less likely if this lead does not show it; not so if the lead shows nothing at all."""
        return self.has_ecg or (self._shows_waves and not self.no_ecg)

    def find_no_ecg(self) -> None:
        """Note that this lead shows no ECG, until it shows one."""
        self.no_ecg, self.has_ecg, self.reason = True, False, NO_ECG

    def forget_shift(self) -> None:
        """Forget the shift: the R peaks of all leads were those of a lead without an ECG."""
        self._shift = RunningMedian(SHIFTS)

    def _update_weight(self, beat: AcceptedBeat, shown: LeadCandidate | None) -> None:
        """Update shift, energy between beats and mean weight after a beat."""
        if shown is not None and beat.sample is not None:
            self._shift.add(beat.sample - shown.candidate.sample)
        if not self._rejected_any and len(self._between):  # no peak between two beats: earlier ones are forgotten
            self._between.add(max(self._between.value() - FORGOTTEN, self.rater.level - USUAL_CONTRAST))
            self._contrast = None
        self._rejected_any = False
        self._mean_weight += NEWEST_SHARE * (self.weight - self._mean_weight)
        self.noisy = self._mean_weight < (CLEAR_ABOVE if self.noisy else NOISY_BELOW)

    def reject(self, shown: LeadCandidate) -> None:
        """Learn from a candidate that is no beat."""
        self.rater.reject(shown.candidate)
        if self.learning is None:
            self._between.add(shown.candidate.log_energy)
            self._contrast = None
            self._rejected_any = True

    def has_wrong_level(self, rejected: LeadCandidate) -> bool:
        """Whether so many loud candidates of one waveform were rejected that the level was learnt from noise."""
        if not self.rater.is_loud(rejected.candidate):
            return False
        self._loud = [*self._loud[1 - LOUD_PEAKS :], rejected.candidate]
        own = rejected.candidate.waveform
        return sum(float(ordered_sum(other.waveform * own)) > ALIKE for other in self._loud) >= LOUD_BEATS

    @property
    def weight(self) -> float:
        """How far the beats stand out from the peaks between them, 0 to 1."""
        if self._contrast is None:
            self._contrast = self.rater.level - self._between.value() if len(self._between) else USUAL_CONTRAST
        return float(max(LEAST_WEIGHT, min(1.0, self._contrast / FULL_CONTRAST)) ** STEEP)

    @property
    def common_shift(self) -> int:
        """Samples from the R peaks of this lead to those of all leads."""
        return round(self._shift.value()) if len(self._shift) >= FEWEST_SHIFTS else 0

    def log_odds(self, shown: LeadCandidate, timing: BeatTiming, following: float) -> float:
        """Return the log odds of a beat by the rating of this lead, limited.

        Args:
            shown: the candidate.
            timing: times of the beats before.
            following: largest energy after the candidate over its own.
        """
        changes = self.rater.changes + timing.changes
        if shown.rating is None or shown.rated_at != changes:
            shown.rating, shown.rated_at = self.rater.rate(shown.candidate, timing), changes
        return max(-LARGEST_LOG_ODDS, min(LARGEST_LOG_ODDS, shown.rating.log_odds(following)))


def is_quiet_beside(shown: LeadCandidate) -> bool:
    """Whether a lead is quieter on both sides of a candidate."""
    return max(shown.candidate.shape[_BEFORE], shown.candidate.shape[_AFTER]) <= QUIET_BESIDE


def have_one_waveform(candidates: Sequence[Candidate]) -> bool:
    """Whether two of the strongest candidates look the same, as beats do and noise does not."""
    strongest = sorted(candidates, key=_BY_ENERGY, reverse=True)[:STRONGEST]
    return any(
        float(ordered_sum(one.waveform * other.waveform)) > SAME_WAVEFORM for one, other in combinations(strongest, 2)
    )


def beat_energy(candidates: Sequence[Candidate]) -> float:
    """Return a beat's energy, mV/s, among candidates of which it is not known whether they are beats.

    It is the energy of the second strongest, since the strongest may be an artefact. At a slow heart rate, two seconds
    contain only one beat; then the second is noise, far weaker, and the strongest counts.
    """
    ranked = sorted((candidate.energy for candidate in candidates), reverse=True)
    if not ranked:
        return FLOOR_MV_S
    return ranked[1] if len(ranked) > 1 and ranked[1] > SAME_KIND * ranked[0] else ranked[0]
