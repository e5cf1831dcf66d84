"""Bradycardia and tachycardia from the mean of eight RR intervals."""

from __future__ import annotations

from collections import deque

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.alarm import Alarm
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.signal.ordered_sum import plain_sum

RATE_BEATS = 8


class RateAlarms:
    """Rate below and above its limits."""

    def __init__(self, limits: RhythmLimits) -> None:
        self._limits = limits
        over = f"over {RATE_BEATS} beats"
        self._slow = Alarm("bradycardia", f"< {limits.bradycardia_bpm:g} bpm {over}")
        self._fast = Alarm("tachycardia", f"> {limits.tachycardia_bpm:g} bpm {over}")
        self._rr: deque[float] = deque(maxlen=RATE_BEATS)

    def beat(self, time_s: float, rr_ms: float | None, out: list[Rhythm]) -> None:
        """A beat at `time_s` and its RR interval, None where that is not known."""
        if rr_ms is None:
            self._rr.clear()
            return
        self._rr.append(rr_ms)
        total = plain_sum(self._rr)
        rate = 60000.0 * len(self._rr) / total
        full = len(self._rr) == RATE_BEATS
        for alarm, met in (
            (self._slow, rate < self._limits.bradycardia_bpm),
            (self._fast, rate > self._limits.tachycardia_bpm),
        ):
            if not met:
                alarm.end(time_s, out)
            elif full:
                alarm.begin(time_s - total / 1000.0, out)

    def end(self, at_s: float, out: list[Rhythm]) -> None:
        """Nothing is known of the rate from `at_s` on."""
        self._rr.clear()
        self._slow.end(at_s, out)
        self._fast.end(at_s, out)
