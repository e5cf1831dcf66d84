"""R peaks, live, from any number of leads: causal, and the same for any chunking of the signal.

After Pan and Tompkins (1985) and Hamilton (2002, "Open source ECG analysis"): peaks of the slope's energy in the QRS
band, levels from the recent beats, and search-back for missed beats. Deviations from these, and their reasons:

- Not one threshold decides whether a peak is a beat. A small network weighs its energy relative to the recent beats and
  the recent noise, its time, its correlation with the recent beats, its energy in other bands and the lowest energies
  beside it (`rating`).
- A peak that is certainly a beat is reported at once. Any other waits another 150 ms, since a P wave is followed by its
  QRS complex.
- After a long silence, the levels are learnt again from the recent past, so that beats are found after a sudden loss of
  gain, and the next beat needs less evidence. Three loud peaks of one waveform are accepted as beats in any case.
- The R peak is where the band-limited signal is farthest from its local median, which removes the filters' delay.

Peaks of energy of several leads that lie close together are one possible beat. Each lead gives log odds of a beat, from
its own rating or because it shows no peak. The sum decides, in which the weight of each lead is relative to that of the
clearest lead. The weight of a lead is how far its beats stand out from the peaks between them: in noise all peaks have
one height, whatever is accepted as a beat, and the lead loses its weight within a few beats. A lead without a signal
does not vote. A lead that comes back votes again once its level is learnt and it has shown some beats that the other
leads show too. All leads learn from the same beats. With one lead, the rating of that lead decides.

A lead shows an ECG once some of its beats look like those of a heart (`LeadMemory`). A lead in which this has not
happened after ten seconds shows no ECG: it does not vote beside leads that do. Neither does a lead that stops showing
beats while other leads go on.

Actions that are due at the same sample are taken in this order: end of learning, end of the learning of one lead,
decision that a lead shows no ECG, possible beats (the earlier first), search-back, learning after a silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter, itemgetter

from ecgmoe_edge.streaming.events import UNUSABLE
from ecgmoe_edge.streaming.qrs.lead_memory import (
    AcceptedBeat,
    LeadBegin,
    LeadCandidate,
    LeadEnd,
    LeadMemory,
    LeadReport,
    have_one_waveform,
)
from ecgmoe_edge.streaming.qrs.lead_panel import IMPOSSIBLE, LeadPanel
from ecgmoe_edge.streaming.qrs.possible_beat import DetectorOutput, PossibleBeat, RPeak
from ecgmoe_edge.streaming.qrs.rating import BeatTiming, Rater

SAME_BEAT_S = 0.12  # largest distance of the peaks of energy of one beat in two leads
REFRACTORY_S = 0.18  # smallest distance of the peaks of energy of two beats
LEAST_RR_S = 0.10  # smallest distance of two R peaks, which can lie closer than the peaks of energy
LEARNING_S = 2.0
SURE = 1.0  # log odds from which a beat is certain before the energy after it is known
SEARCH_BACK_RR = 1.6  # search-back starts after so many times the recent median RR interval without a beat ...
SEARCH_BACK_LOG_ODDS = -1.0  # ... and accepts a beat from these log odds on
SILENCE_S = 4.0  # after so long without a beat, the levels are learnt again
SILENCE_LOG_ODDS, MOST_SILENCES = 2.0, 2  # added to the log odds for each silence; most silences that count
NO_ECG_S = 10.0  # a lead without an ECG for so long shows none
_NEVER = 1 << 62
_BY_ENERGY_PEAK, _BY_TIME_AND_ENERGY_PEAK = attrgetter("at"), attrgetter("examine_at", "at")
MOST_REJECTED = 32  # number of rejected possible beats in memory: those of 4.8 s


class RPeakDetector:
    """R peaks from the candidates of one or more leads.

    Args:
        fs: sampling rate, Hz.
        leads: number of leads.
        reach: samples from a peak of energy until it is known as a candidate (`CandidateFinder.reach`).
        raters: one for each lead; None for raters with the weights of this package.
    """

    def __init__(self, fs: float, leads: int, reach: int, raters: Iterable[Rater] | None = None) -> None:
        self._reach = reach
        self._refractory, self._least_rr = REFRACTORY_S * fs, LEAST_RR_S * fs
        self._same_beat = round(SAME_BEAT_S * fs)
        self._learning_for = round(LEARNING_S * fs)
        self._silence = round(SILENCE_S * fs)
        self._ecg_within = round(NO_ECG_S * fs)
        self._fs = fs
        self._panel = LeadPanel([LeadMemory(rater) for rater in raters or (Rater() for _ in range(leads))])
        self._leads = self._panel.leads
        self._single = len(self._leads) == 1
        self._timing = BeatTiming(fs)
        self.restart()

    def restart(self) -> None:
        """End the signal of all leads; nothing is carried over."""
        self._panel.restart()
        self._begin(0)

    def _begin(self, at: int) -> None:
        """Begin a new chain of beats at sample `at`; all leads that are present vote once their level is learnt."""
        present = [lead for lead in self._leads if lead.present]
        for lead in present:
            lead.votes = True
            lead.learning = lead.learning or []
        self.began = at  # sample at which the present chain of beats begins
        self._learning_due = at + self._learning_for if present else _NEVER
        self._now = at
        self._timing.restart()
        self._open: list[PossibleBeat] = []  # not decided yet
        self._rejected: list[PossibleBeat] = []  # since the last beat or the last learning
        self._searched = 0  # number of these that search-back has examined
        self._last_sample: int | None = None
        self._silent_since = at
        self._silences = 0  # since the last beat

    def process(self, reports: Iterable[LeadReport], arrived: int) -> list[DetectorOutput]:
        """Return what is certain once `arrived` samples have arrived.

        Args:
            reports: reports of the leads since the last call, in the order in which they became known.
            arrived: number of samples that have arrived.
        """
        made: list[DetectorOutput] = []
        for report in reports:
            if isinstance(report, LeadCandidate):
                self._run_clock(report.known_at, made)
                learning = self._leads[report.lead].learning
                if learning is not None:
                    learning.append(report)
                else:
                    self._group(report, report.known_at)
            elif isinstance(report, LeadEnd):
                self._run_clock(report.known_at - 1, made)
                self._end_lead(report, made)
            else:
                self._run_clock(report.at, made)
                self._begin_lead(report)
        self._run_clock(arrived, made)
        return made

    def flush(self, arrived: int) -> list[DetectorOutput]:
        """Decide all that is open, since the signal has ended after `arrived` samples."""
        made: list[DetectorOutput] = []
        if self._learning_due != _NEVER:
            self._finish_learning(arrived, made)
        self._decide_all(arrived, made)
        return made

    def _group(self, shown: LeadCandidate, arrived: int) -> None:
        """Add a candidate to the possible beat that it belongs to, or to a new one."""
        at, settled_at = shown.candidate.at, shown.candidate.settled_at
        shown.votes = self._leads[shown.lead].votes
        possible = None
        if self._open and not self._single:
            near = [p for p in self._open if abs(p.at - at) < self._same_beat and shown.lead not in p.shown]
            possible = min(near, key=lambda p: abs(p.at - at), default=None)
        if possible is None:
            if not shown.votes:
                self._leads[shown.lead].note_stray(shown, self._same_beat)
                return
            possible = PossibleBeat(at, arrived + self._same_beat)
            self._open.append(possible)
        possible.shown[shown.lead] = shown
        possible.settled_at = max(possible.settled_at, settled_at)
        if self._single or all(k in possible.shown for k, lead in enumerate(self._leads) if lead.votes):
            possible.examine_at = arrived

    def _end_lead(self, end: LeadEnd, made: list[DetectorOutput]) -> None:
        lead, arrived = self._leads[end.lead], end.known_at
        last = lead.votes and sum(other.votes for other in self._leads) == 1
        if last:
            if self._learning_due != _NEVER:
                self._finish_learning(arrived, made)
            self._decide_all(arrived, made)
        lead.present = lead.votes = False
        lead.has_ecg &= end.reason in UNUSABLE  # samples are missing; for any other reason the electrode may be off
        lead.reason = end.reason
        if last:
            self._begin(arrived)
        self._report_status(arrived, made, broken=last)

    def _begin_lead(self, begin: LeadBegin) -> None:
        lead = self._leads[begin.lead]
        lead.begin(begin.at + self._learning_for)
        lead.present, lead.reason = True, "settling"
        lead.ecg_deadline = begin.at + self._ecg_within
        alone = not any(other.votes for other in self._leads)
        if alone or self._learning_due == begin.at + self._learning_for:
            self._begin(begin.at)

    def _finish_learning(self, now: int, made: list[DetectorOutput]) -> None:
        self._learning_due = _NEVER
        candidates: list[LeadCandidate] = []
        for lead in self._leads:
            if lead.votes and lead.learning is not None:
                candidates += lead.learning
                lead.learn(lead.learning)
        self._report_status(now, made)
        self._examine_again(candidates, now, made)

    def _learn_again(self, now: int, made: list[DetectorOutput], *, only_alike: bool = False) -> None:
        """Learn the levels from rejected candidates, after a silence that is too long for a pause.

        only_alike: only if some lead has shown one waveform twice; else it may be noise in an asystole.
        """
        candidates = [shown for rejected in self._rejected for shown in rejected.shown.values()]
        by_lead = [[shown for shown in candidates if shown.lead == k] for k in range(len(self._leads))]
        if only_alike and not any(
            lead.votes and have_one_waveform([shown.candidate for shown in rejected])
            for lead, rejected in zip(self._leads, by_lead, strict=True)
        ):
            return
        self._rejected, self._searched = [], 0
        for lead, rejected in zip(self._leads, by_lead, strict=True):
            if lead.votes:
                lead.learn_again(rejected)
        self._examine_again(candidates, now, made)

    def _examine_again(self, candidates: list[LeadCandidate], now: int, made: list[DetectorOutput]) -> None:
        """Examine past candidates in their order; those that no later candidate can join, at once."""
        waiting, self._open = self._open, []
        for shown in sorted(candidates, key=lambda each: (each.known_at, each.lead)):
            for possible in [p for p in self._open if p.at + self._same_beat <= shown.candidate.at]:
                self._examine(possible, now, made)
                if possible in self._open:  # it would wait, but its successor is known already
                    self._decide(possible, now, made, settled=now >= possible.settled_at)
            self._group(shown, shown.known_at)
        for possible in self._open:
            possible.examine_at = max(possible.examine_at, now)
        self._open += waiting

    def _examine(self, possible: PossibleBeat, now: int, made: list[DetectorOutput]) -> None:
        """Accept a possible beat if it certainly is one, reject it if it certainly is none, else let it wait."""
        if not possible.waits:
            if self._is_echo(possible) or self._panel.is_weak(possible):
                self._open.remove(possible)
                self._reject(possible)
                return
            log_odds = self._panel.log_odds(possible, self._timing, now, settled=False)
            if log_odds > SURE - SILENCE_LOG_ODDS * self._silences:
                self._open.remove(possible)
                self._accept(possible, now, log_odds, made)
                return
            if now < possible.settled_at:
                possible.waits, possible.examine_at = True, possible.settled_at
                return
        self._decide(possible, now, made, settled=True)

    def _decide(self, possible: PossibleBeat, now: int, made: list[DetectorOutput], *, settled: bool) -> None:
        """Accept or reject now.

        settled: whether the energy after the beat is known, or no more of it will be known.
        """
        self._open.remove(possible)
        if self._is_echo(possible):
            self._reject(possible)
            return
        log_odds = self._panel.log_odds(possible, self._timing, now, settled=settled)
        if log_odds > -SILENCE_LOG_ODDS * self._silences:
            self._accept(possible, now, log_odds, made)
            return
        self._reject(possible)
        # A lead that does not vote learns from the beats of the others; its rejected candidates are not examined again.
        wrong_level = [
            k for k, shown in possible.shown.items() if self._leads[k].has_wrong_level(shown) and self._leads[k].votes
        ]
        if wrong_level:
            for k in wrong_level:
                self._leads[k].rater.restart()
            if all(k in wrong_level for k, lead in enumerate(self._leads) if lead.votes):
                self._timing.restart()
            self._silent_since = now
            self._learn_again(now, made)

    def _decide_all(self, now: int, made: list[DetectorOutput]) -> None:
        """Decide on all possible beats, since the signal has ended."""
        while self._open:
            possible = min(self._open, key=_BY_ENERGY_PEAK)
            self._examine(possible, now, made)
            if possible in self._open:
                self._decide(possible, now, made, settled=True)

    def _is_echo(self, possible: PossibleBeat) -> bool:
        """Whether the last beat is too close."""
        last = self._timing.last_at
        return last is not None and possible.at - last < self._refractory

    def _reject(self, possible: PossibleBeat) -> None:
        for k, shown in possible.shown.items():
            self._leads[k].reject(shown)
        self._rejected.append(possible)
        if len(self._rejected) > MOST_REJECTED:
            del self._rejected[0]
            self._searched = max(0, self._searched - 1)

    def _accept(
        self,
        possible: PossibleBeat,
        now: int,
        log_odds: float,
        made: list[DetectorOutput],
        *,
        search_back: bool = False,
    ) -> None:
        sample, first = self._panel.locate(possible)
        if self._last_sample is not None and sample - self._last_sample < self._least_rr:
            return
        last_at = self._timing.last_at
        rr_s = None if last_at is None else self._timing.seconds(possible.at - last_at)
        self._timing.accept(possible.at)
        common, recurrence = sample if self._leads[first].has_ecg else None, self._panel.recurrence(possible)
        with_ecg = {k for k in possible.shown if self._leads[k].has_ecg}
        for k, lead in enumerate(self._leads):
            shown = possible.shown.get(k)
            if lead.learning is not None:
                continue
            beat = AcceptedBeat(possible.at, common, rr_s, confirmed=bool(with_ecg - {k}))
            if shown is None and lead.present and not lead.votes:
                lead.accept_without_vote(beat, self._same_beat)
            elif lead.present or shown is not None:
                lead.accept(beat, shown)
        self._rejected = [rejected for rejected in self._rejected if rejected.at > possible.at]
        self._searched = 0
        self._last_sample, self._silent_since, self._silences = sample, possible.at, 0
        made.append(RPeak(sample, now, log_odds, search_back, recurrence))
        self._report_status(now, made)

    def _report_status(self, now: int, made: list[DetectorOutput], *, broken: bool = False) -> None:
        status = self._panel.status(now, broken=broken)
        if status is not None:
            made.append(status)

    def _run_clock(self, until: int, made: list[DetectorOutput]) -> None:
        """Take all actions that become due until `until` samples have arrived."""
        while (now := self.due) <= until:
            self._now = now
            if now == self._learning_due:
                self._finish_learning(now, made)
            elif (learning := self._panel.next_learning_end()) is not None and now == learning.learning_end:
                self._finish_lead_learning(learning, now, made)
            elif (lead := self._panel.next_ecg_deadline()) is not None and now == lead.ecg_deadline:
                self._check_ecg(lead, now, made)
            elif self._open:
                possible = self._open[0]
                if len(self._open) > 1:
                    possible = min(self._open, key=_BY_TIME_AND_ENERGY_PEAK)
                    for earlier in [p for p in self._open if p.at < possible.at]:
                        self._decide(earlier, now, made, settled=now >= earlier.settled_at)
                if possible in self._open:
                    self._examine(possible, now, made)
            elif self._search_back_due() <= self._silence_due():
                self._search_back(now, made)
            else:
                self._silent_since = self._silence_due()
                self._silences = min(self._silences + 1, MOST_SILENCES)
                self._learn_again(now, made, only_alike=True)

    @property
    def due(self) -> int:
        """Samples that must have arrived before anything new is certain, if no lead reports anything before that."""
        due = self._learning_due
        if (learning := self._panel.next_learning_end()) is not None:
            due = min(due, learning.learning_end)
        if (lead := self._panel.next_ecg_deadline()) is not None:
            due = min(due, lead.ecg_deadline)
        if self._open:  # search-back and silence wait until all possible beats are decided
            return min(due, min(possible.examine_at for possible in self._open))
        return min(due, max(self._now, min(self._search_back_due(), self._silence_due())))

    def _finish_lead_learning(self, lead: LeadMemory, now: int, made: list[DetectorOutput]) -> None:
        """End the first two seconds of a lead that began while others were present."""
        if lead.learning:
            lead.learn(lead.learning)
            self._report_status(now, made)
        else:
            lead.learning_end = now + self._learning_for

    def _check_ecg(self, lead: LeadMemory, now: int, made: list[DetectorOutput]) -> None:
        """Decide whether a lead shows no ECG; if it begins to show one, of a slow heart, it gets more time."""
        if lead.ecg_credit:
            lead.ecg_deadline = now + self._ecg_within
            return
        self._panel.find_no_ecg(lead)
        self._report_status(now, made)

    def _silence_due(self) -> int:
        if self._learning_due != _NEVER or not any(lead.votes for lead in self._leads):
            return _NEVER
        return self._silent_since + self._silence + 1

    def _search_back_due(self) -> int:
        last, rr_s = self._timing.last_at, self._timing.rr_s
        if last is None or rr_s is None or self._searched >= len(self._rejected):
            return _NEVER
        # A possible beat that is rejected after this time is searched as soon as the energy after it is known.
        next_one = self._rejected[self._searched]
        return max(last + self._reach + round(SEARCH_BACK_RR * rr_s * self._fs) + 1, next_one.settled_at)

    def _search_back(self, now: int, made: list[DetectorOutput]) -> None:
        """Accept the most likely possible beat that was rejected since the last beat, if it is likely enough."""
        due = self._search_back_due()
        settled = [rejected for rejected in self._rejected if rejected.settled_at <= due]
        fit = [p for p in settled[self._searched :] if not self._is_echo(p) and not self._panel.is_weak(p)]
        self._searched = len(settled)
        rated = [(self._panel.log_odds(possible, self._timing, now, settled=True), possible) for possible in fit]
        log_odds, best = max(rated, key=itemgetter(0), default=(IMPOSSIBLE, None))
        if best is not None and log_odds > SEARCH_BACK_LOG_ODDS:
            self._accept(best, now, log_odds, made, search_back=True)
