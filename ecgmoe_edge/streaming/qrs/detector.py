"""R peaks, live, from any number of leads: causal, and the same however the signal is cut into chunks.

After Pan and Tompkins (1985) and Hamilton (2002, "Open source ECG analysis"): peaks of the slope's energy in the QRS
band, levels from the recent beats, search-back for those that were missed. Where this departs from them, and why:

- what makes a peak a beat is not one threshold: a small network weighs its energy against the recent beats and the
  recent noise, its time, its likeness to the recent beats, its other bands and the valleys round it (`rating`);
- a peak that is surely a beat is given at once; any other waits another 150 ms, since a P wave has its QRS behind it;
- after a long silence the levels are learnt again from the recent past, so that a sudden loss of gain is survived, and
  less is asked of the next beat; three loud peaks of one waveform are taken for beats whatever came before;
- the R peak is put where the band-limited signal is farthest from its local median, which removes the filters' delay.

Peaks of energy in several leads that lie close together are one possible beat. Each lead says how likely a beat it is,
by its own rating (log odds) or by showing nothing, and the sum of these, each with the lead's weight relative to that
of the clearest lead, decides. A lead's weight is how far its beats stand out from what lies between them: in noise all
peaks are of one height, whatever is taken for a beat, and the lead loses its weight within a few beats. A lead without
a signal has no vote at once; one that comes back votes again when its level is learnt and it has shown some beats that
the others show too. All leads know of the same beats. With one lead all of this is that lead's own rating.

A lead earns its standing by beats that look like a heart's (`LeadMemory`). One that has not done so in ten seconds
shows no ECG: it does not vote beside leads that do, nor does one that stops showing beats while others go on.

Two things that fall due with the same sample are done in this order: learning, the trial of a lead, the finding that a
lead shows no ECG, possible beats (the earlier first), search-back, learning after a silence.
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
from ecgmoe_edge.streaming.qrs.possible_beat import Decision, PossibleBeat, RPeak
from ecgmoe_edge.streaming.qrs.rating import BeatTiming, Rater

_TOGETHER_S = 0.12  # peaks of energy of one beat, from lead to lead
_REFRACTORY_S = 0.18
_LEAST_RR_S = 0.10  # between R peaks, once they are put in their place
_LEARNING_S = 2.0
_SURE = 1.0  # log odds that are enough at once, if what follows is ...
_SEARCH_BACK_RR = 1.6  # times the recent median RR without a beat
_SEARCH_BACK_LOG_ODDS = -1.0  # are enough then
_SILENCE_S = 4.0  # without a beat: the levels are learnt again
_SILENCE_LOG_ODDS, _MOST_SILENCES = 2.0, 2  # that much more likely is a beat after each silence, up to so many
_NO_ECG_S = 10.0  # of a signal without anything that looks like an ECG
_NEVER = 1 << 62
_PLACE, _DUE_AND_PLACE = attrgetter("at"), attrgetter("due", "at")
MOST_PASSED = 32  # possible beats that are remembered after they were passed over: those of 4.8 s


class RPeakDetector:
    """R peaks from the candidates of one or more leads.

    fs: rate, Hz. leads: how many. reach: samples from a peak of energy until it is known (`CandidateFinder.reach`).
    raters: one a lead, or None for those with the weights of this package.
    """

    def __init__(self, fs: float, leads: int, reach: int, raters: Iterable[Rater] | None = None) -> None:
        self._reach = reach
        self._refractory, self._least_rr = _REFRACTORY_S * fs, _LEAST_RR_S * fs
        self._together = round(_TOGETHER_S * fs)
        self._learning_for = round(_LEARNING_S * fs)
        self._silence = round(_SILENCE_S * fs)
        self._patience = round(_NO_ECG_S * fs)
        self._fs = fs
        self._panel = LeadPanel([LeadMemory(rater) for rater in raters or (Rater() for _ in range(leads))])
        self._leads = self._panel.leads
        self._one = len(self._leads) == 1
        self._timing = BeatTiming(fs)
        self.restart()

    def restart(self) -> None:
        """All leads have ended; nothing is carried over."""
        self._panel.restart()
        self._begin(0)

    def _begin(self, at: int) -> None:
        """All leads that are present vote from now on, once they have been learnt."""
        present = [lead for lead in self._leads if lead.present]
        for lead in present:
            lead.votes = True
            lead.learning = lead.learning or []
        self.began = at  # where the present chain of beats begins
        self._learning_due = at + self._learning_for if present else _NEVER
        self._now = at
        self._timing.restart()
        self._open: list[PossibleBeat] = []
        self._passed: list[PossibleBeat] = []  # over, since the last beat or the last learning
        self._searched = 0  # of them, by search-back
        self._last_sample: int | None = None
        self._quiet_from = at
        self._silences = 0  # since the last beat

    # -- what comes

    def process(self, reports: Iterable[LeadReport], until: int) -> list[Decision]:
        """What is certain once `until` samples have arrived; reports come in the order of their arrival."""
        made: list[Decision] = []
        for report in reports:
            if isinstance(report, LeadCandidate):
                self._run_clock(report.arrived, made)
                learning = self._leads[report.lead].learning
                if learning is not None:
                    learning.append(report)
                else:
                    self._group(report, report.arrived)
            elif isinstance(report, LeadEnd):
                self._run_clock(report.arrived - 1, made)
                self._lose(report, made)
            else:
                self._run_clock(report.at, made)
                self._welcome(report)
        self._run_clock(until, made)
        return made

    def flush(self, arrived: int) -> list[Decision]:
        """The signal has ended: what is open is decided with what is known."""
        made: list[Decision] = []
        if self._learning_due != _NEVER:
            self._finish_learning(arrived, made)
        self._judge_all(arrived, made)
        return made

    def _group(self, shown: LeadCandidate, arrived: int) -> None:
        at, settled = shown.candidate.at, shown.candidate.settled_at
        shown.votes = self._leads[shown.lead].votes
        possible = None
        if self._open and not self._one:
            near = [p for p in self._open if abs(p.at - at) < self._together and shown.lead not in p.shown]
            possible = min(near, key=lambda p: abs(p.at - at), default=None)
        if possible is None:
            if not shown.votes:
                self._leads[shown.lead].pass_by(shown, self._together)
                return
            possible = PossibleBeat(at, arrived + self._together)
            self._open.append(possible)
        possible.shown[shown.lead] = shown
        possible.settled = max(possible.settled, settled)
        if self._one or all(k in possible.shown for k, lead in enumerate(self._leads) if lead.votes):
            possible.due = arrived

    def _lose(self, end: LeadEnd, made: list[Decision]) -> None:
        lead, arrived = self._leads[end.lead], end.arrived
        last = lead.votes and sum(other.votes for other in self._leads) == 1
        if last:
            if self._learning_due != _NEVER:
                self._finish_learning(arrived, made)
            self._judge_all(arrived, made)
        lead.present = lead.votes = False
        lead.earned &= end.reason in UNUSABLE  # samples went missing; else it is the electrode that did
        lead.reason = end.reason
        if last:
            self._begin(arrived)
        self._report_status(arrived, made, broken=last)

    def _welcome(self, begin: LeadBegin) -> None:
        lead = self._leads[begin.lead]
        lead.begin(begin.at + self._learning_for)
        lead.present, lead.reason = True, "settling"
        lead.earns_until = begin.at + self._patience
        alone = not any(other.votes for other in self._leads)
        if alone or self._learning_due == begin.at + self._learning_for:
            self._begin(begin.at)

    # -- learning

    def _finish_learning(self, now: int, made: list[Decision]) -> None:
        self._learning_due = _NEVER
        kept: list[LeadCandidate] = []
        for lead in self._leads:
            if lead.votes and lead.learning is not None:
                kept += lead.learning
                lead.learn(lead.learning)
        self._report_status(now, made)
        self._examine_again(kept, now, made)

    def _learn_again(self, now: int, made: list[Decision], *, only_alike: bool = False) -> None:
        """After a silence that no pause explains: take the levels from what was passed over.

        only_alike: not where no lead has shown one waveform twice, since then it may be noise in an asystole.
        """
        kept = [shown for passed in self._passed for shown in passed.shown.values()]
        by_lead = [[shown for shown in kept if shown.lead == k] for k in range(len(self._leads))]
        if only_alike and not any(
            lead.votes and have_one_waveform([shown.candidate for shown in passed])
            for lead, passed in zip(self._leads, by_lead, strict=True)
        ):
            return
        self._passed, self._searched = [], 0
        for lead, passed in zip(self._leads, by_lead, strict=True):
            if lead.votes:
                lead.learn_again(passed)
        self._examine_again(kept, now, made)

    def _examine_again(self, kept: list[LeadCandidate], now: int, made: list[Decision]) -> None:
        """Candidates of a while ago, in order; those that nothing can join any more are examined at once."""
        waiting, self._open = self._open, []
        for shown in sorted(kept, key=lambda each: (each.arrived, each.lead)):
            for possible in [p for p in self._open if p.at + self._together <= shown.candidate.at]:
                self._examine(possible, now, made)
                if possible in self._open:  # it would wait, but its successor is here
                    self._judge(possible, now, made, settled=now >= possible.settled)
            self._group(shown, shown.arrived)
        for possible in self._open:
            possible.due = max(possible.due, now)
        self._open += waiting

    # -- decisions

    def _examine(self, possible: PossibleBeat, now: int, made: list[Decision]) -> None:
        """Take a possible beat if it is surely one, pass it over if it is surely none, else wait for what follows."""
        if not possible.waits:
            if self._is_echo(possible) or self._is_weak(possible):
                self._close(possible, now)
                self._pass_over(possible)
                return
            log_odds = self._panel.log_odds(possible, self._timing, settled=False)
            if log_odds > _SURE - self._allowance():
                self._close(possible, now)
                self._accept(possible, now, log_odds, made)
                return
            if now < possible.settled:
                possible.waits, possible.due = True, possible.settled
                return
        self._judge(possible, now, made, settled=True)

    def _judge(self, possible: PossibleBeat, now: int, made: list[Decision], *, settled: bool) -> None:
        """Decide now; `settled`: what follows the beat is known, or all that will be known of it."""
        self._close(possible, now)
        if self._is_echo(possible):
            self._pass_over(possible)
            return
        log_odds = self._panel.log_odds(possible, self._timing, settled=settled)
        if log_odds > -self._allowance():
            self._accept(possible, now, log_odds, made)
            return
        self._pass_over(possible)
        given_up = [k for k, shown in possible.shown.items() if self._leads[k].is_given_up(shown)]
        if given_up:
            for k in given_up:
                self._leads[k].rater.restart()
            if all(k in given_up for k, lead in enumerate(self._leads) if lead.votes):
                self._timing.restart()
            self._quiet_from = now
            self._learn_again(now, made)

    def _judge_all(self, now: int, made: list[Decision]) -> None:
        """The signal has ended: decide on all that is open."""
        while self._open:
            possible = min(self._open, key=_PLACE)
            self._examine(possible, now, made)
            if possible in self._open:
                self._judge(possible, now, made, settled=True)

    def _close(self, possible: PossibleBeat, now: int) -> None:
        self._open.remove(possible)
        possible.due = now

    def _is_echo(self, possible: PossibleBeat) -> bool:
        last = self._timing.last_at
        return last is not None and possible.at - last < self._refractory

    def _is_weak(self, possible: PossibleBeat) -> bool:
        return all(self._leads[k].rater.is_weak(shown.candidate) for k, shown in possible.shown.items())

    def _allowance(self) -> float:
        return _SILENCE_LOG_ODDS * self._silences

    def _pass_over(self, possible: PossibleBeat) -> None:
        for k, shown in possible.shown.items():
            self._leads[k].pass_over(shown)
        self._passed.append(possible)
        if len(self._passed) > MOST_PASSED:
            del self._passed[0]
            self._searched = max(0, self._searched - 1)

    def _accept(
        self, possible: PossibleBeat, now: int, log_odds: float, made: list[Decision], *, search_back: bool = False
    ) -> None:
        sample, first = self._panel.locate(possible)
        if self._last_sample is not None and sample - self._last_sample < self._least_rr:
            return
        last_at = self._timing.last_at
        rr_s = None if last_at is None else self._timing.seconds(possible.at - last_at)
        self._timing.accept(possible.at)
        common, recurrence = sample if self._leads[first].earned else None, self._panel.recurrence(possible)
        with_ecg = {k for k in possible.shown if self._leads[k].earned}
        for k, lead in enumerate(self._leads):
            shown = possible.shown.get(k)
            if lead.learning is not None:
                continue
            beat = AcceptedBeat(possible.at, common, rr_s, confirmed=bool(with_ecg - {k}))
            if shown is None and lead.present and not lead.votes:
                lead.accept_by_others(beat, self._together)
            elif lead.present or shown is not None:
                lead.accept(beat, shown)
        self._passed = [passed for passed in self._passed if passed.at > possible.at]
        self._searched = 0
        self._last_sample, self._quiet_from, self._silences = sample, possible.at, 0
        made.append(RPeak(sample, now, log_odds, search_back, recurrence))
        self._report_status(now, made)

    def _report_status(self, now: int, made: list[Decision], *, broken: bool = False) -> None:
        status = self._panel.status(now, broken=broken)
        if status is not None:
            made.append(status)

    def _end_patience(self, lead: LeadMemory, now: int, made: list[Decision]) -> None:
        """A signal has been there for long; what has begun to look like an ECG, of a slow heart, is given more time."""
        if lead.credit:
            lead.earns_until = now + self._patience
            return
        self._panel.find_no_ecg(lead)
        self._report_status(now, made)

    # -- what the passing of time alone brings about

    def _run_clock(self, until: int, made: list[Decision]) -> None:
        """Do what falls due up to the moment when `until` samples have arrived."""
        while (now := self.due) <= until:
            self._now = now
            if now == self._learning_due:
                self._finish_learning(now, made)
            elif not self._one and (trial := self._panel.next_trial()) is not None and now == trial.learns_until:
                self._end_trial(trial, now, made)
            elif (unproven := self._panel.next_unproven()) is not None and now == unproven.earns_until:
                self._end_patience(unproven, now, made)
            elif self._open:
                possible = self._open[0]
                if len(self._open) > 1:
                    possible = min(self._open, key=_DUE_AND_PLACE)
                    for earlier in [p for p in self._open if p.at < possible.at]:
                        self._judge(earlier, now, made, settled=now >= earlier.settled)
                if possible in self._open:
                    self._examine(possible, now, made)
            elif self._search_back_due() <= self._silence_due():
                self._search_back(now, made)
            else:
                self._quiet_from = self._silence_due()
                self._silences = min(self._silences + 1, _MOST_SILENCES)
                self._learn_again(now, made, only_alike=True)

    @property
    def due(self) -> int:
        """Samples that must have arrived before anything new is certain, if nothing more is reported until then."""
        due = self._learning_due
        if not self._one and (trial := self._panel.next_trial()) is not None:
            due = min(due, trial.learns_until)
        if (unproven := self._panel.next_unproven()) is not None:
            due = min(due, unproven.earns_until)
        if self._open:  # search-back and silence wait for what is being examined
            return min(due, min(possible.due for possible in self._open))
        return min(due, max(self._now, min(self._search_back_due(), self._silence_due())))

    def _end_trial(self, lead: LeadMemory, now: int, made: list[Decision]) -> None:
        """The first two seconds of a lead that came while others were present."""
        if lead.learning:
            lead.learn(lead.learning)
            self._report_status(now, made)
        else:
            lead.learns_until = now + self._learning_for

    def _silence_due(self) -> int:
        if self._learning_due != _NEVER or not any(lead.votes for lead in self._leads):
            return _NEVER
        return self._quiet_from + self._silence + 1

    def _search_back_due(self) -> int:
        last, rr_s = self._timing.last_at, self._timing.rr_s
        if last is None or rr_s is None or self._searched >= len(self._passed):
            return _NEVER
        # What was passed over after the clock ran out falls due the moment it is settled.
        next_one = self._passed[self._searched]
        return max(last + self._reach + round(_SEARCH_BACK_RR * rr_s * self._fs) + 1, next_one.settled)

    def _search_back(self, now: int, made: list[Decision]) -> None:
        """Take the likeliest of what was passed over since the last beat, if it is likely enough."""
        due = self._search_back_due()
        settled = [passed for passed in self._passed if passed.settled <= due]
        fit = [p for p in settled[self._searched :] if not self._is_echo(p) and not self._is_weak(p)]
        self._searched = len(settled)
        rated = [(self._panel.log_odds(possible, self._timing, settled=True), possible) for possible in fit]
        log_odds, best = max(rated, key=itemgetter(0), default=(IMPOSSIBLE, None))
        if best is not None and log_odds > _SEARCH_BACK_LOG_ODDS:
            self._accept(best, now, log_odds, made, search_back=True)
