"""Bradycardia and tachycardia from the mean of eight RR intervals."""

from __future__ import annotations

from collections import deque

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.alarm import Alarm
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.signal.sums import plain_sum

RATE_BEATS = 8
_HYSTERESIS_BPM = 5.0  # by which the rate must come back from a limit
_SPAN = 2.0  # times their sum: the eight intervals lie that close together, or there is no rate
_NO_RATE_AFTER = 8  # RR intervals in a row that are of no use


class RateAlarms:
    """Rate below and above its limits; one of the two at a time."""

    def __init__(self, limits: RhythmLimits) -> None:
        self._limits = limits
        over = f"over {RATE_BEATS} beats"
        self._slow = Alarm("bradycardia", f"< {limits.bradycardia_bpm:g} bpm {over}")
        self._fast = Alarm("tachycardia", f"> {limits.tachycardia_bpm:g} bpm {over}")
        self._intervals: deque[tuple[float, float]] = deque(maxlen=RATE_BEATS)  # begin, s, and length, ms
        self._unknown = 0  # intervals since the last of them
        self._last_s = 0.0  # where the last of them ended
        self._ended_s = 0.0  # and the last alarm, before which none begins

    def beat(self, time_s: float, rr_ms: float | None, out: list[Rhythm], *, may_begin: bool) -> None:
        """A beat at `time_s` and its RR interval, None where that is not known or not to be believed.

        may_begin: the signal is good enough for an alarm to begin.
        """
        if rr_ms is None:
            self._unknown += 1
            if self._unknown == _NO_RATE_AFTER:
                self.end(out)
            return
        self._unknown, self._last_s = 0, time_s
        self._intervals.append((time_s - rr_ms / 1000.0, rr_ms))
        total_s = plain_sum(length for _, length in self._intervals) / 1000.0
        begin_s = self._intervals[0][0]
        if len(self._intervals) < RATE_BEATS or time_s - begin_s > _SPAN * total_s:
            return
        rate = 60.0 * RATE_BEATS / total_s
        self._end_by(rate, time_s, out)
        if may_begin and rate < self._limits.bradycardia_bpm:
            self._end(self._fast, time_s, out)
            self._slow.begin(max(begin_s, self._ended_s), out)
        elif may_begin and rate > self._limits.tachycardia_bpm:
            self._end(self._slow, time_s, out)
            self._fast.begin(max(begin_s, self._ended_s), out)

    def silence(self, since_s: float, seconds: float, out: list[Rhythm]) -> None:
        """No R peak came for `seconds` since `since_s`: the rate is at most what it would be with one now."""
        recent_s = plain_sum(length for _, length in list(self._intervals)[1:]) / 1000.0
        rate = 60.0 * max(1, len(self._intervals)) / (recent_s + seconds)
        if rate < self._limits.tachycardia_bpm - _HYSTERESIS_BPM:
            self._end(self._fast, since_s, out)

    def end(self, out: list[Rhythm]) -> None:
        """Nothing is known of the rate after the last RR interval."""
        self._intervals.clear()
        self._unknown = 0
        self._end(self._slow, self._last_s, out)
        self._end(self._fast, self._last_s, out)

    def _end_by(self, rate: float, time_s: float, out: list[Rhythm]) -> None:
        if rate > self._limits.bradycardia_bpm + _HYSTERESIS_BPM:
            self._end(self._slow, time_s, out)
        if rate < self._limits.tachycardia_bpm - _HYSTERESIS_BPM:
            self._end(self._fast, time_s, out)

    def _end(self, alarm: Alarm, at_s: float, out: list[Rhythm]) -> None:
        if alarm.from_s is not None:
            self._ended_s = at_s
            alarm.end(at_s, out)
