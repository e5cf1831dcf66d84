"""Runs of V beats."""

from __future__ import annotations

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.alarm import Alarm
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits


class VRunAlarm:
    """So many V beats in a row."""

    def __init__(self, limits: RhythmLimits) -> None:
        self._least = limits.v_run_beats
        self._alarm = Alarm("V run", f">= {self._least} V beats")
        self._beats = 0
        self._first_s = self._last_s = 0.0

    def beat(self, time_s: float, label: str | None, out: list[Rhythm], *, may_begin: bool) -> None:
        """A beat at `time_s`; a `?` ends a run as any other label does, since nobody knows what it is.

        may_begin: the signal is good enough for a run to be reported.
        """
        if label != "V":
            self.end(out)
            return
        if not self._beats:
            self._first_s = time_s
        self._beats, self._last_s = min(self._beats + 1, self._least), time_s
        if self._beats == self._least and may_begin:
            self._alarm.begin(self._first_s, out)

    def end(self, out: list[Rhythm]) -> None:
        """The run is over with its last V beat."""
        self._alarm.end(self._last_s, out)
        self._beats = 0
