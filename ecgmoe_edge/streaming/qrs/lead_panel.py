"""The leads together: which of them vote, what they say of a possible beat, where its R peak lies, what is reported."""

from __future__ import annotations

from collections.abc import Sequence

from ecgmoe_edge.streaming.events import LeadReason
from ecgmoe_edge.streaming.qrs.lead_memory import LeadMemory, is_still_beside
from ecgmoe_edge.streaming.qrs.possible_beat import LeadStatus, PossibleBeat
from ecgmoe_edge.streaming.qrs.rating import BeatTiming

IMPOSSIBLE = float("-inf")  # log odds

_SURE_FOLLOWING = 1.0  # times the candidate's energy
_NOT_SHOWN = -4.0  # log odds of a beat that a lead does not show at all: 0.6 % of beats and 37 % of other peaks
_AS_CLEAR = 0.5  # of the clearest lead's weight


class LeadPanel:
    """The leads of a device, in their order."""

    def __init__(self, leads: Sequence[LeadMemory]) -> None:
        self.leads = tuple(leads)
        self.restart()

    def restart(self) -> None:
        """All leads have ended."""
        for lead in self.leads:
            lead.present = lead.votes = False
        everyone = tuple(range(len(self.leads)))
        self._status: tuple[object, ...] = (everyone, everyone, ())

    def log_odds(self, possible: PossibleBeat, timing: BeatTiming, *, settled: bool) -> float:
        """What the leads say together; `settled`: what follows the beat is known."""
        said: list[tuple[float, float]] = []  # weight, log odds
        doubts: list[tuple[float, float]] = []  # the same, of leads that deny the beat and have not shown an ECG
        for k, lead in enumerate(self.leads):
            shown = possible.shown.get(k)
            if lead.learning is not None or not (lead.votes if shown is None else shown.votes):
                continue
            if shown is not None:
                following = shown.candidate.following if settled else _SURE_FOLLOWING
                log_odds = lead.log_odds(shown, timing, following)
            elif lead.denies:
                log_odds = _NOT_SHOWN
            else:
                continue
            (doubts if log_odds < 0.0 and not lead.earned else said).append((lead.weight, log_odds))
        both = said + doubts
        if len(both) < 2:
            return both[0][1] if both else IMPOSSIBLE
        # Open inputs share one mains hum. If each of them counted, they would outvote the one lead with an ECG.
        doubt = sum(weight * log_odds for weight, log_odds in doubts) / (len(doubts) if said and doubts else 1)
        total = sum(weight * log_odds for weight, log_odds in said) + doubt
        return total / max(weight for weight, _ in both)

    def locate(self, possible: PossibleBeat) -> tuple[int, int]:
        """R in the first lead that shows the beat and is about as clear as any, put where lead 0 has it; and which."""
        if len(self.leads) == 1:
            return possible.shown[0].candidate.sample, 0
        votes = {k: shown for k, shown in possible.shown.items() if shown.votes}
        likely = [k for k in votes if self.leads[k].earned] or [k for k in votes if is_still_beside(votes[k])]
        weights = {k: self.leads[k].weight for k in likely or votes}
        clear_enough = _AS_CLEAR * max(weights.values())
        first = min(k for k, weight in weights.items() if weight >= clear_enough)
        shift = self.leads[first].common_shift if first else 0
        return possible.shown[first].candidate.sample + shift, first

    def recurrence(self, possible: PossibleBeat) -> float | None:
        """Correlation with the beats before, in the lead where that is highest; None where there were none."""
        shown = [(self.leads[k], each.candidate) for k, each in possible.shown.items() if each.votes]
        known = [value for lead, candidate in shown if (value := lead.rater.recurrence(candidate)) is not None]
        return max(known, default=None)

    def status(self, now: int, *, broken: bool) -> LeadStatus | None:
        """Which leads are of use from now on, if that is not as before."""
        self._settle_votes()
        one = len(self.leads) == 1
        voting = tuple(k for k, lead in enumerate(self.leads) if lead.votes)
        clear = tuple(k for k in voting if (one or not self.leads[k].noisy) and not self.leads[k].no_ecg)
        reasons: tuple[tuple[int, LeadReason], ...] = tuple(
            (k, "noise" if lead.votes and not lead.no_ecg else lead.reason)
            for k, lead in enumerate(self.leads)
            if k not in clear
        )
        with_ecg = tuple(k for k in voting if self.leads[k].earned) or voting
        order = tuple(sorted(with_ecg, key=lambda k: k not in clear))
        if not broken and (order, clear, reasons) == self._status:
            return None
        self._status = (order, clear, reasons)
        return LeadStatus(now, order, clear, reasons, broken)

    def _settle_votes(self) -> None:
        """A lead that has shown an ECG votes; one that has not only as long as no other has."""
        with_ecg = sum(lead.present and lead.earned for lead in self.leads)
        for lead in self.leads:
            if (
                lead.present and lead.earned and not lead.credit and with_ecg > 1
            ):  # it stopped showing beats, and others go on
                with_ecg -= 1
                self.find_no_ecg(lead)
        for lead in self.leads:
            if lead.present and lead.learning is None:
                lead.votes = lead.earned or (not with_ecg) or (lead.votes and not lead.no_ecg)

    def find_no_ecg(self, lead: LeadMemory) -> None:
        """Take a lead for one without an ECG; what was learnt of R peaks from it is forgotten."""
        lead.find_no_ecg()
        for each in self.leads:
            each.forget_shift()

    def next_unproven(self) -> LeadMemory | None:
        """The lead of which it is known next that it shows no ECG."""
        unproven = [lead for lead in self.leads if lead.present and not lead.earned and not lead.no_ecg]
        return min(unproven, key=_earns_until, default=None)

    def next_trial(self) -> LeadMemory | None:
        """The lead whose first two seconds end next, of those that came while others were present."""
        on_trial = [lead for lead in self.leads if lead.present and not lead.votes and lead.learning is not None]
        return min(on_trial, key=_learns_until, default=None)


def _learns_until(lead: LeadMemory) -> int:
    return lead.learns_until


def _earns_until(lead: LeadMemory) -> int:
    return lead.earns_until
