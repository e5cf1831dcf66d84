"""The leads together: which of them vote, their rating of a possible beat, its R peak, and what is reported."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from ecgmoe_edge.streaming.events import LeadReason
from ecgmoe_edge.streaming.qrs.lead_memory import LeadMemory, is_quiet_beside
from ecgmoe_edge.streaming.qrs.possible_beat import LeadStatus, PossibleBeat
from ecgmoe_edge.streaming.qrs.rating import BeatTiming

IMPOSSIBLE = float("-inf")  # log odds

ASSUMED_FOLLOWING = 1.0  # `Candidate.following` while it is not known
NOT_SHOWN = -4.0  # log odds if a lead does not show it: true of 0.6 % of the beats and of 37 % of the other peaks
AS_CLEAR = 0.5  # smallest weight of a lead that R is taken from, as a fraction of the clearest lead's weight
_LEARNING_END, _ECG_DEADLINE = attrgetter("learning_end"), attrgetter("ecg_deadline")


class LeadPanel:
    """The leads of a device, in their order."""

    def __init__(self, leads: Sequence[LeadMemory]) -> None:
        self.leads = tuple(leads)
        self.restart()

    def restart(self) -> None:
        """End the signal of all leads."""
        for lead in self.leads:
            lead.present = lead.votes = False
        all_leads = tuple(range(len(self.leads)))
        self._status: tuple[object, ...] = (all_leads, all_leads, ())

    def log_odds(self, possible: PossibleBeat, timing: BeatTiming, now: int, *, settled: bool) -> float:
        """Return the log odds of a beat from all leads that vote; `IMPOSSIBLE` if none votes.

        Leads without an ECG may share one disturbance, such as the mains hum of open inputs. So if any lead supports
        the beat, all leads that are against it and have not shown an ECG count together as one.

        Args:
            possible: the possible beat.
            timing: times of the beats before.
            now: samples that have arrived; what a later one shows of a candidate does not count, although a long piece
                of signal may contain it.
            settled: whether the energy after it is known, as far as samples have arrived.
        """
        votes: list[tuple[float, float]] = []  # weight, log odds
        unproven: list[tuple[float, float]] = []  # the same, of leads that are against it and have not shown an ECG
        for k, lead in enumerate(self.leads):
            shown = possible.shown.get(k)
            if lead.learning is not None or not (lead.votes if shown is None else shown.votes):
                continue
            if shown is not None:
                known = settled and shown.candidate.settled_at <= now
                following = shown.candidate.following if known else ASSUMED_FOLLOWING
                log_odds = lead.log_odds(shown, timing, following)
            elif lead.counts_if_not_shown:
                log_odds = NOT_SHOWN
            else:
                continue
            (unproven if log_odds < 0.0 and not lead.has_ecg else votes).append((lead.weight, log_odds))
        every = votes + unproven
        if len(every) < 2:
            return every[0][1] if every else IMPOSSIBLE
        total = sum(weight * log_odds for weight, log_odds in votes)
        against = sum(weight * log_odds for weight, log_odds in unproven)
        if votes and unproven:
            against /= len(unproven)
        return (total + against) / max(weight for weight, _ in every)

    def is_weak(self, possible: PossibleBeat) -> bool:
        """Whether a possible beat has in every lead too little energy for a beat."""
        return all(self.leads[k].rater.is_weak(shown.candidate) for k, shown in possible.shown.items())

    def locate(self, possible: PossibleBeat) -> tuple[int, int]:
        """Return the R peak and the lead that it is taken from.

        It is taken from the first lead that shows the beat about as clearly as the clearest lead, and moved by the
        usual difference between the R peaks of this lead and those of lead 0.
        """
        if len(self.leads) == 1:
            return possible.shown[0].candidate.sample, 0
        voting = {k: shown for k, shown in possible.shown.items() if shown.votes}
        likely = [k for k in voting if self.leads[k].has_ecg] or [k for k in voting if is_quiet_beside(voting[k])]
        weights = {k: self.leads[k].weight for k in likely or voting}
        clear_enough = AS_CLEAR * max(weights.values())
        first = min(k for k, weight in weights.items() if weight >= clear_enough)
        shift = self.leads[first].common_shift if first else 0
        return possible.shown[first].candidate.sample + shift, first

    def recurrence(self, possible: PossibleBeat) -> float | None:
        """Return the correlation with the beats before, in the lead where it is highest; None before any beat."""
        shown = [(self.leads[k], each.candidate) for k, each in possible.shown.items() if each.votes]
        known = [value for lead, candidate in shown if (value := lead.rater.recurrence(candidate)) is not None]
        return max(known, default=None)

    def status(self, arrived: int, *, broken: bool) -> LeadStatus | None:
        """Return which leads are usable once `arrived` samples have arrived; None if nothing has changed."""
        self._update_votes()
        single = len(self.leads) == 1
        voting = tuple(k for k, lead in enumerate(self.leads) if lead.votes)
        clear = tuple(k for k in voting if (single or not self.leads[k].noisy) and not self.leads[k].no_ecg)
        reasons: tuple[tuple[int, LeadReason], ...] = tuple(
            (k, "noise" if lead.votes and not lead.no_ecg else lead.reason)
            for k, lead in enumerate(self.leads)
            if k not in clear
        )
        with_ecg = tuple(k for k in voting if self.leads[k].has_ecg) or voting
        order = tuple(sorted(with_ecg, key=lambda k: k not in clear))
        if not broken and (order, clear, reasons) == self._status:
            return None
        self._status = (order, clear, reasons)
        return LeadStatus(arrived, order, clear, reasons, broken)

    def _update_votes(self) -> None:
        """Let leads vote that have shown an ECG; others only while no lead has shown one."""
        with_ecg = sum(lead.present and lead.has_ecg for lead in self.leads)
        for lead in self.leads:
            if lead.present and lead.has_ecg and not lead.ecg_credit and with_ecg > 1:
                # It no longer shows beats that other leads show.
                with_ecg -= 1
                self.find_no_ecg(lead)
        for lead in self.leads:
            if lead.present and lead.learning is None:
                lead.votes = lead.has_ecg or (not with_ecg) or (lead.votes and not lead.no_ecg)

    def find_no_ecg(self, lead: LeadMemory) -> None:
        """Note that a lead shows no ECG; all differences between R peaks were learnt with it and are forgotten."""
        lead.find_no_ecg()
        for each in self.leads:
            each.forget_shift()

    def next_ecg_deadline(self) -> LeadMemory | None:
        """Return the lead that will be the next to have shown no ECG for too long."""
        undecided = [lead for lead in self.leads if lead.present and not lead.has_ecg and not lead.no_ecg]
        return min(undecided, key=_ECG_DEADLINE, default=None)

    def next_learning_end(self) -> LeadMemory | None:
        """Return the lead whose learning ends next, of those that began while others were present."""
        if len(self.leads) == 1:
            return None
        learning = [lead for lead in self.leads if lead.present and not lead.votes and lead.learning is not None]
        return min(learning, key=_LEARNING_END, default=None)
