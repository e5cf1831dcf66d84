"""Alarms from R peaks and labels: pause, asystole, V run, bradycardia, tachycardia.

The methods append the events of rhythms that begin or end to `out`.
"""

from __future__ import annotations

from collections import deque

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.signal.sums import plain_sum

RATE_BEATS = 8  # number of RR intervals over which the heart rate is a mean
HYSTERESIS_BPM = 5.0  # an alarm ends when the rate is back within its limit by so much
LONGEST_SPAN = 2.0  # no rate is given if the intervals spread over more than so many times their sum
NO_RATE_AFTER = 8  # number of unusable RR intervals in a row after which the rate is unknown


def alarm_definitions(limits: RhythmLimits) -> tuple[tuple[str, str], ...]:
    """Return label and definition of pause, asystole, V run, bradycardia and tachycardia."""
    over = f"over {RATE_BEATS} beats"
    return (
        ("pause", f"RR > {1000 * limits.pause_s:g} ms"),
        ("asystole", f"no R peak for {1000 * limits.asystole_s:g} ms"),
        ("V run", f">= {limits.v_run_beats} V beats"),
        ("bradycardia", f"< {limits.bradycardia_bpm:g} bpm {over}"),
        ("tachycardia", f"> {limits.tachycardia_bpm:g} bpm {over}"),
    )


class Alarm:
    """A rhythm that begins and ends.

    Args:
        label: label of its events.
        limit: definition of the rhythm, for the reader of the events.
    """

    def __init__(self, label: str, limit: str | None = None) -> None:
        self.label, self.limit = label, limit
        self.from_s: float | None = None  # begin; None while there is no such rhythm

    def begin(self, from_s: float, out: list[Rhythm]) -> None:
        """Report the begin, unless the rhythm has begun already."""
        if self.from_s is None:
            self.from_s = from_s
            out.append(Rhythm(self.label, from_s, None, self.limit))

    def end(self, to_s: float, out: list[Rhythm]) -> None:
        """Report the end, if the rhythm has begun; the end is never earlier than the begin."""
        if self.from_s is not None:
            out.append(Rhythm(self.label, self.from_s, max(to_s, self.from_s), self.limit))
            self.from_s = None


class PauseAlarm:
    """Pause and asystole, reported while they last: no R peak for `pause_s` and for `asystole_s`.

    A pause is an RR interval, and begins with a clear beat. Asystole may also follow a beat that is `?`, or the start
    of a signal after lost samples, so that neither noise nor a bad link hides it; beats must have been seen before.
    Both end with the next R peak, or with the signal.
    """

    def __init__(self, limits: RhythmLimits) -> None:
        self._limits = limits
        pause, asystole, *_ = alarm_definitions(limits)
        self._pause, self._asystole = Alarm(*pause), Alarm(*asystole)

    def silence(self, since_s: float, seconds: float, *, is_rr: bool, out: list[Rhythm]) -> None:
        """Note that no R peak came for `seconds` since `since_s`; `is_rr`: a valid RR interval begins there."""
        if seconds >= self._limits.asystole_s:
            self._asystole.begin(since_s, out)
        elif is_rr:
            self._pause.begin(since_s, out)

    def beat(self, time_s: float, rr_ms: float | None, out: list[Rhythm]) -> None:
        """Note an R peak at `time_s`; `rr_ms` is None if its RR interval is not valid."""
        if rr_ms is not None and rr_ms > 1000.0 * self._limits.pause_s:
            # So little longer than the limit that the R peak came before `silence`.
            self._pause.begin(time_s - rr_ms / 1000.0, out)
        self.end(time_s, out)

    def end(self, at_s: float, out: list[Rhythm]) -> None:
        """End both at `at_s`, by a beat or because the signal ends."""
        self._asystole.end(at_s, out)
        self._pause.end(at_s, out)


class VRunAlarm:
    """A given number of V beats in a row.

    Artefacts between them neither count nor end the run. But two V beats with an artefact between them that lie further
    apart than a pause are not in a row, as without the artefact, where the silence between them ends the run.
    """

    def __init__(self, limits: RhythmLimits) -> None:
        self._least, self._longest_s = limits.v_run_beats, limits.pause_s
        self._alarm = Alarm(*alarm_definitions(limits)[2])
        self._beats = 0
        self._first_s = self._last_s = 0.0
        self._after_artefact = False

    def beat(self, time_s: float, label: str | None, out: list[Rhythm], *, may_begin: bool) -> None:
        """Note a beat at `time_s`; any label but V ends a run, also `?`, since its class is unknown.

        may_begin: whether the signal is good enough for a run to be reported.
        """
        if label != "V" or (self._after_artefact and time_s - self._last_s > self._longest_s):
            self.end(out)
        self._after_artefact = False
        if label != "V":
            return
        if not self._beats:
            self._first_s = time_s
        self._beats, self._last_s = min(self._beats + 1, self._least), time_s
        if self._beats == self._least and may_begin:
            self._alarm.begin(self._first_s, out)

    def artefact(self, time_s: float, out: list[Rhythm]) -> None:
        """Note a peak at `time_s` that is no beat: the run goes on, unless its last V beat was too long before."""
        self._after_artefact = True
        if time_s - self._last_s > self._longest_s:
            self.end(out)

    def end(self, out: list[Rhythm]) -> None:
        """End the run with its last V beat."""
        self._alarm.end(self._last_s, out)
        self._beats = 0


class RateAlarms:
    """Bradycardia and tachycardia, from the mean of eight RR intervals; at most one of them at a time."""

    def __init__(self, limits: RhythmLimits) -> None:
        self._limits = limits
        *_, slow, fast = alarm_definitions(limits)
        self._slow, self._fast = Alarm(*slow), Alarm(*fast)
        self._intervals: deque[tuple[float, float]] = deque(maxlen=RATE_BEATS)  # begin in s, and length in ms
        self._unknown = 0  # number of unusable intervals since the last usable one
        self._last_s = 0.0  # end of the last usable interval
        self._ended_s = 0.0  # end of the last alarm; no alarm begins before it

    def beat(self, time_s: float, rr_ms: float | None, out: list[Rhythm], *, may_begin: bool) -> None:
        """Note a beat at `time_s`.

        Args:
            time_s: time of the R peak.
            rr_ms: its RR interval; None if it is not known or not valid.
            out: events are appended to it.
            may_begin: whether the signal is good enough for an alarm to begin.
        """
        if rr_ms is None:
            self._unknown += 1
            if self._unknown == NO_RATE_AFTER:
                self.end(out)
            return
        self._unknown, self._last_s = 0, time_s
        self._intervals.append((time_s - rr_ms / 1000.0, rr_ms))
        total_s = plain_sum(length for _, length in self._intervals) / 1000.0
        begin_s = self._intervals[0][0]
        if len(self._intervals) < RATE_BEATS or time_s - begin_s > LONGEST_SPAN * total_s:
            return
        rate = 60.0 * RATE_BEATS / total_s
        if rate > self._limits.bradycardia_bpm + HYSTERESIS_BPM:
            self._end(self._slow, time_s, out)
        if rate < self._limits.tachycardia_bpm - HYSTERESIS_BPM:
            self._end(self._fast, time_s, out)
        if may_begin and rate < self._limits.bradycardia_bpm:
            self._end(self._fast, time_s, out)
            self._slow.begin(max(begin_s, self._ended_s), out)
        elif may_begin and rate > self._limits.tachycardia_bpm:
            self._end(self._slow, time_s, out)
            self._fast.begin(max(begin_s, self._ended_s), out)

    def silence(self, since_s: float, seconds: float, out: list[Rhythm]) -> None:
        """Note that no R peak came for `seconds` since `since_s`; the rate is at most that with an R peak now."""
        recent_s = plain_sum(length for _, length in list(self._intervals)[1:]) / 1000.0
        rate = 60.0 * max(1, len(self._intervals)) / (recent_s + seconds)
        if rate < self._limits.tachycardia_bpm - HYSTERESIS_BPM:
            self._end(self._fast, since_s, out)

    def end(self, out: list[Rhythm]) -> None:
        """End both alarms with the last usable RR interval, since the rate is unknown after it."""
        self._intervals.clear()
        self._unknown = 0
        self._end(self._slow, self._last_s, out)
        self._end(self._fast, self._last_s, out)

    def _end(self, alarm: Alarm, at_s: float, out: list[Rhythm]) -> None:
        if alarm.from_s is not None:
            self._ended_s = at_s
            alarm.end(at_s, out)
