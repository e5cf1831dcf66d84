"""The limits of the rhythm alarms, which can be set by the user."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ecgmoe_edge.errors import UsageError

_PAUSE_S = (1.0, 10.0)
_LONGEST_ASYSTOLE_S = 60.0
_BPM = (10.0, 400.0)
_V_RUN_BEATS = (3, 100)


@dataclass(frozen=True)
class RhythmLimits:
    """When a rhythm is reported.

    Raises:
        UsageError: a limit is out of range, or two limits contradict each other.
    """

    pause_s: float = 2.0  # time without an R peak
    asystole_s: float = 4.0  # time without an R peak
    bradycardia_bpm: float = 50.0  # a mean rate over 8 RR intervals below this
    tachycardia_bpm: float = 100.0  # a mean rate over 8 RR intervals above this
    v_run_beats: int = 3  # smallest number of V beats in a row

    def __post_init__(self) -> None:
        """Check each limit, then pairs of limits."""
        _check("A pause", self.pause_s, *_PAUSE_S, "s without an R peak")
        _check("Asystole", self.asystole_s, _PAUSE_S[0], _LONGEST_ASYSTOLE_S, "s without an R peak")
        _check("Bradycardia", self.bradycardia_bpm, *_BPM, "beats per minute")
        _check("Tachycardia", self.tachycardia_bpm, *_BPM, "beats per minute")
        _check("A V run", self.v_run_beats, *_V_RUN_BEATS, "V beats in a row")
        if self.v_run_beats != int(self.v_run_beats):
            raise UsageError(f"A V run is a whole number of V beats in a row; it got {self.v_run_beats:g}.")
        if not self.pause_s < self.asystole_s:
            raise UsageError(
                f"Asystole ({self.asystole_s:g} s) must be longer than a pause ({self.pause_s:g} s): give a longer "
                "asystole, or a shorter pause."
            )
        if not self.bradycardia_bpm < self.tachycardia_bpm:
            raise UsageError(
                f"Bradycardia (below {self.bradycardia_bpm:g} bpm) must lie below tachycardia (above "
                f"{self.tachycardia_bpm:g} bpm): give a lower one, or a higher tachycardia."
            )


def _check(what: str, value: float, least: float, most: float, unit: str) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise UsageError(f"{what} is {least:g} to {most:g} {unit}; it got {value:g}.")
