"""What the detector decides on and what it decides: possible beats, R peaks, and which leads are usable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ecgmoe_edge.streaming.events import LeadChange, LeadReason
from ecgmoe_edge.streaming.qrs.lead_memory import LeadCandidate


@dataclass(frozen=True)
class RPeak:
    """One R peak."""

    sample: int
    known_at: int
    log_odds: float  # log odds of a beat at `known_at`
    search_back: bool
    recurrence: float | None = None  # correlation with the beats before, in the lead where it is highest


@dataclass(frozen=True)
class LeadStatus:
    """Which leads are usable."""

    known_at: int
    order: tuple[int, ...]  # leads that show an ECG, or all that vote if none does; clear ones first
    clear: tuple[int, ...]
    reasons: tuple[tuple[int, LeadReason], ...]  # why each of the other leads is not clear
    broken: bool  # no lead was left, so no RR interval spans this moment

    def event(self, names: Sequence[str], fs: float) -> LeadChange:
        """Return the event with the names of the leads; `fs` in Hz."""
        return LeadChange(
            sample=self.known_at,
            time_s=self.known_at / fs,
            leads=tuple(names[k] for k in self.clear),
            others={names[k]: reason for k, reason in self.reasons},
            broken=self.broken,
        )


DetectorOutput: TypeAlias = RPeak | LeadStatus


@dataclass(eq=False, slots=True)
class PossibleBeat:
    """Candidates of several leads that lie close together."""

    at: int  # sample of the peak of energy in the first of them
    examine_at: int  # number of arrived samples at which it is examined next
    shown: dict[int, LeadCandidate] = field(default_factory=dict)  # by lead, in those leads that show it
    settled_at: int = 0  # when the energy after it is known in all of these leads
    waits: bool = False  # whether it was examined and waits until `settled_at`
