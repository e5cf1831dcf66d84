"""R peaks from several leads, in one decision that follows whichever of them can be trusted.

Peaks of energy in different leads that lie close together are one possible beat. Each lead says how likely a beat it
is, by its own rating (log odds, `qrs_rating`) or by its silence, and the sum of these, each times the lead's weight,
decides. A lead weighs as much as its beats stand out from what lies between them: in noise all peaks are of one height,
whatever is taken for a beat, and the lead loses its say within a few beats. A lead without a signal, or one that stands
still, has no say at once; one that comes back has it again when its level is learnt and it has met some beats.

Every decision is told to every lead's rating, so that all leads know of the same beats. Learning, search-back and
learning anew after a silence are those of one lead (`rpeaks`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from ecgmoe_edge.streaming.lead_memory import Heard, LeadBack, LeadLost, LeadMemory, Said, Standing
from ecgmoe_edge.streaming.rpeaks import RPeak

_TOGETHER_S = 0.12  # peaks of energy of one beat, from lead to lead
_REFRACTORY_S = 0.18
_NEAREST_R_S = 0.10
_LEARNING_S = 2.0
_SILENCE_S = 4.0
_SEARCH_BACK_RR = 1.6
_SEARCH_BACK_SCORE = -0.5  # is enough then
_SURE = 1.0  # a score beyond it does not wait for what follows the beat
_SILENCE_SCORE, _MOST_SILENCES = 2.0, 2  # that much less is enough after each silence, up to so many
_SILENT = -4.0  # log odds of a beat that a lead does not show at all: 0.6 % of beats and 37 % of other peaks
_AS_CLEAR = 0.5  # of the clearest lead's weight
_TRIAL_BEATS = 3  # that a lead hears before it is heard again
_NEVER = 1 << 62


Told: TypeAlias = RPeak | Standing


@dataclass(eq=False)
class _Possible:
    """A possible beat: what the leads say of it."""

    at: int  # of the first candidate's energy
    due: int  # samples that have arrived when it is decided, or was
    heard: dict[int, Heard] = field(default_factory=dict)
    score: float = 0.0

    @property
    def settled(self) -> int:
        return max(heard.settled for heard in self.heard.values())


class FusedDetector:
    """R peaks from the candidates of several leads.

    fs: rate, Hz. leads: how many. reach: samples after which a peak of energy is known (`CandidateFinder.reach`).
    stands_still: whether a lead's input stood still round a sample; it has no say there.
    """

    def __init__(self, fs: float, leads: int, reach: int, stands_still: Callable[[int, int], bool]) -> None:
        self._fs = fs
        self._reach = reach
        self._stands_still = stands_still
        self._together = round(_TOGETHER_S * fs)
        self._learning_for = round(_LEARNING_S * fs)
        self._leads = [LeadMemory(fs) for _ in range(leads)]
        self.restart()

    def restart(self) -> None:
        """All leads have ended; nothing is carried over."""
        for lead in self._leads:
            lead.there = lead.voting = False
        everyone = tuple(range(len(self._leads)))
        self._standing: tuple[object, ...] = (everyone, everyone, ())
        self._begin(0)

    def _begin(self, at: int) -> None:
        """All leads that are there are listened to from now on, once they have been learnt."""
        there = [lead for lead in self._leads if lead.there]
        for lead in there:
            lead.voting = True
            lead.first = lead.first or []
        self._learning_due = at + self._learning_for if there else _NEVER
        self._learns_from = at
        self._open: list[_Possible] = []
        self._passed: list[_Possible] = []
        self._searched = 0
        self._rr: deque[int] = deque(maxlen=8)
        self._last_at: int | None = None
        self._last_sample: int | None = None
        self._quiet_from = at
        self._silences = 0  # since the last beat

    # -- what comes

    def process(self, said: Iterable[tuple[int, Said]], until: int) -> list[Told]:
        """What is certain once `until` samples have arrived.

        said: (samples that had arrived, what was said then), in that order and complete.
        """
        told: list[Told] = []
        for arrived, what in said:
            self._run_clock(arrived - 1, told)
            if isinstance(what, LeadLost):
                self._lose(what, arrived, told)
            elif isinstance(what, LeadBack):
                self._welcome(what)
            elif (first := self._leads[what.lead].first) is not None:
                first.append(what)
            else:
                self._group(what, arrived)
        self._run_clock(until, told)
        return told

    def flush(self, arrived: int) -> list[Told]:
        """The signal has ended: what is open is decided with what is known."""
        told: list[Told] = []
        if self._learning_due != _NEVER:
            self._finish_learning(arrived, told)
        self._judge_all(arrived, told)
        return told

    def _group(self, heard: Heard, arrived: int) -> None:
        at, voting = heard.candidate.at, self._leads[heard.lead].voting
        near = [p for p in self._open if abs(p.at - at) < self._together and heard.lead not in p.heard]
        if not near and not voting:
            return
        heard.counts = voting
        if near:
            possible = min(near, key=lambda p: abs(p.at - at))
        else:
            possible = _Possible(at, arrived + self._together)
            self._open.append(possible)
        possible.heard[heard.lead] = heard
        if all(k in possible.heard for k, lead in enumerate(self._leads) if lead.voting):
            possible.due = arrived

    def _lose(self, lost: LeadLost, arrived: int, told: list[Told]) -> None:
        lead = self._leads[lost.lead]
        last = lead.voting and sum(other.voting for other in self._leads) == 1
        if last and self._learning_due != _NEVER:
            self._finish_learning(arrived, told)
        if last:
            self._judge_all(arrived, told)
        lead.there = lead.voting = False
        lead.reason = lost.reason
        if last:
            self._begin(arrived)
        self._tell_standing(arrived, told, broken=last)

    def _welcome(self, back: LeadBack) -> None:
        lead = self._leads[back.lead]
        lead.begin(back.at + self._learning_for)
        lead.there, lead.reason = True, "settling"
        alone = not any(other.voting for other in self._leads)
        if alone or self._learning_due == back.at + self._learning_for:
            self._begin(back.at)

    # -- learning

    def _finish_learning(self, now: int, told: list[Told]) -> None:
        self._learning_due = _NEVER
        kept: list[Heard] = []
        for lead in self._leads:
            if lead.voting and lead.first is not None:
                kept += lead.first
                lead.learn(lead.first)
        self._tell_standing(now, told)
        self._replay(kept, now, told)

    def _learn_anew(self, now: int, told: list[Told]) -> None:
        """After a silence that no pause explains: take the levels from what was passed over."""
        self._quiet_from = now - self._reach
        self._silences = min(self._silences + 1, _MOST_SILENCES)
        kept = [heard for passed in self._passed for heard in passed.heard.values()]
        self._passed, self._searched = [], 0
        for k, lead in enumerate(self._leads):
            own = [heard for heard in kept if heard.lead == k]
            if own and lead.voting:
                lead.learn(own)
        self._replay(kept, now, told)

    def _replay(self, kept: list[Heard], now: int, told: list[Told]) -> None:
        """Candidates of a while ago, in order; those that nothing can join any more are decided at once."""
        waiting, self._open = self._open, []
        for heard in sorted(kept, key=lambda h: (h.candidate.known_at, h.lead)):
            for possible in [p for p in self._open if p.at + self._together <= heard.candidate.at]:
                self._judge(possible, now, told)
            self._group(heard, heard.candidate.known_at + 1)
        for possible in self._open:
            possible.due = max(possible.due, now)
        self._open += waiting

    # -- decisions

    def _rate(self, possible: _Possible, now: int) -> None:
        """The sum of what the leads say that can be asked."""
        possible.score = 0.0
        for k, lead in enumerate(self._leads):
            heard = possible.heard.get(k)
            if not (lead.voting if heard is None else heard.counts) or lead.first is not None:
                continue
            if not self._stands_still(k, possible.at):
                possible.score += lead.weight * (_SILENT if heard is None else lead.log_odds(heard, now))

    def _decide(self, possible: _Possible, now: int, told: list[Told]) -> None:
        """Decide, or wait for what follows where that may turn the decision."""
        if now < possible.settled:
            self._rate(possible, now)
            if possible.score < _SURE - self._allowance():
                possible.due = possible.settled
                return
        self._judge(possible, now, told)

    def _allowance(self) -> float:
        return _SILENCE_SCORE * self._silences

    def _judge_all(self, now: int, told: list[Told]) -> None:
        for possible in sorted(self._open, key=lambda p: p.at):
            self._judge(possible, now, told)

    def _judge(self, possible: _Possible, now: int, told: list[Told]) -> None:
        self._open.remove(possible)
        possible.due = now
        if self._last_at is not None and possible.at - self._last_at < _REFRACTORY_S * self._fs:
            return
        self._rate(possible, now)
        if possible.score > -self._allowance():
            self._accept(possible, now, told, search_back=False)
        else:
            for k, heard in possible.heard.items():
                self._leads[k].pass_over(heard)
            self._passed.append(possible)

    def _accept(self, possible: _Possible, now: int, told: list[Told], *, search_back: bool) -> None:
        sample = self._locate(possible)
        if self._last_sample is not None and self._last_at is not None:
            if sample - self._last_sample < _NEAREST_R_S * self._fs:
                return
            self._rr.append(possible.at - self._last_at)
        for k, lead in enumerate(self._leads):
            heard = possible.heard.get(k)
            if lead.first is not None or not (lead.there or heard):
                continue
            lead.accept(heard, possible.at, sample)
        self._passed = [passed for passed in self._passed if passed.at > possible.at]
        self._searched = 0
        self._last_at, self._last_sample, self._quiet_from, self._silences = possible.at, sample, possible.at, 0
        told.append(RPeak(sample, now, possible.score, search_back))
        self._tell_standing(now, told)

    def _locate(self, possible: _Possible) -> int:
        """R in the first lead that shows the beat and is about as clear as any, put where the first lead has it."""
        weights = {k: self._leads[k].weight if heard.counts else 0.0 for k, heard in possible.heard.items()}
        clear_enough = _AS_CLEAR * max(weights.values())
        first = min(k for k, weight in weights.items() if weight >= clear_enough)
        return possible.heard[first].candidate.sample + (self._leads[first].common_shift if first else 0)

    def _tell_standing(self, now: int, told: list[Told], *, broken: bool = False) -> None:
        for lead in self._leads:
            lead.voting |= lead.there and lead.first is None and lead.met >= _TRIAL_BEATS
        heard = tuple(k for k, lead in enumerate(self._leads) if lead.voting)
        clear = tuple(k for k in heard if not self._leads[k].noisy)
        reasons = tuple(
            (k, "noise" if lead.voting else lead.reason) for k, lead in enumerate(self._leads) if k not in clear
        )
        if broken or (heard, clear, reasons) != self._standing:
            self._standing = (heard, clear, reasons)
            told.append(Standing(now, heard, clear, reasons, broken))

    # -- what the passing of time alone brings about

    def _run_clock(self, until: int, told: list[Told]) -> None:
        """Do what falls due up to the moment when `until` samples have arrived."""
        while (now := self.due) <= until:
            possible, trial = self._next_possible(), self._next_trial()
            if now == self._learning_due:
                self._finish_learning(now, told)
            elif trial is not None and now == trial.learns_until:
                self._end_trial(trial, now)
            elif possible is not None and now == possible.due:
                for earlier in [p for p in self._open if p.at < possible.at]:
                    self._judge(earlier, now, told)
                self._decide(possible, now, told)
            elif now == self._search_back_due():
                self._search_back(now, told)
            else:
                self._learn_anew(now, told)

    @property
    def due(self) -> int:
        """Samples that must have arrived before anything new is certain, if nothing more is said until then."""
        possible, trial = self._next_possible(), self._next_trial()
        return min(
            self._learning_due,
            _NEVER if trial is None else trial.learns_until,
            _NEVER if possible is None else possible.due,
            self._search_back_due(),
            self._silence_due(),
        )

    def _next_possible(self) -> _Possible | None:
        return min(self._open, key=_due_and_place, default=None)

    def _next_trial(self) -> LeadMemory | None:
        return min((lead for lead in self._leads if self._on_trial(lead)), key=_learns_until, default=None)

    def _on_trial(self, lead: LeadMemory) -> bool:
        return lead.there and not lead.voting and lead.first is not None

    def _end_trial(self, lead: LeadMemory, now: int) -> None:
        """The first two seconds of a lead that came while others were there."""
        if lead.first:
            lead.learn(lead.first)
        else:
            lead.learns_until = now + self._learning_for

    def _silence_due(self) -> int:
        if self._learning_due != _NEVER or not any(lead.voting for lead in self._leads):
            return _NEVER
        return self._quiet_from + self._reach + round(_SILENCE_S * self._fs) + 1

    def _search_back_due(self) -> int:
        if self._last_at is None or len(self._rr) < 2 or self._searched >= len(self._passed):
            return _NEVER
        wait = _SEARCH_BACK_RR * sorted(self._rr)[len(self._rr) // 2]
        next_one = self._passed[self._searched]
        return max(self._last_at + self._reach + round(wait) + 1, next_one.settled, next_one.due)

    def _search_back(self, now: int, told: list[Told]) -> None:
        """Take the best of what was passed over since the last beat, if it is good enough."""
        fit = self._passed[self._searched :]
        self._searched = len(self._passed)
        for possible in fit:
            self._rate(possible, now)
        best = max(fit, key=lambda p: p.score)
        if best.score > _SEARCH_BACK_SCORE:
            self._accept(best, now, told, search_back=True)


def _learns_until(lead: LeadMemory) -> int:
    return lead.learns_until


def _due_and_place(possible: _Possible) -> tuple[int, int]:
    return possible.due, possible.at
