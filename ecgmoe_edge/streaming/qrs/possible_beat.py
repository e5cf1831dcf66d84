"""What the detector works on and what it decides: possible beats, R peaks, and which leads are of use."""

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
    known_at: int  # samples that had arrived when the detector was sure
    log_odds: float  # that it is a beat, as they were then
    search_back: bool
    recurrence: float | None = None  # correlation with the beats before in the lead where that is highest


@dataclass(frozen=True)
class LeadStatus:
    """Once `arrived` samples have arrived: which leads are clear, why the others are not, whose windows to look at."""

    arrived: int
    order: tuple[int, ...]  # leads that show an ECG, or as long as none does all that vote; clear ones first
    clear: tuple[int, ...]
    reasons: tuple[tuple[int, LeadReason], ...]
    broken: bool  # no lead was left: what comes is a new chain of RR intervals

    def event(self, names: Sequence[str], fs: float) -> LeadChange:
        """The same with the leads' names."""
        return LeadChange(
            sample=self.arrived,
            time_s=self.arrived / fs,
            leads=tuple(names[k] for k in self.clear),
            others={names[k]: reason for k, reason in self.reasons},
            broken=self.broken,
        )


Decision: TypeAlias = RPeak | LeadStatus


@dataclass(eq=False, slots=True)
class PossibleBeat:
    """A possible beat: what the leads show of it."""

    at: int  # of the first candidate's energy
    due: int  # samples that have arrived when it is examined
    shown: dict[int, LeadCandidate] = field(default_factory=dict)
    settled: int = 0  # samples that have arrived when it is known what follows it
    waits: bool = False  # for what follows it
