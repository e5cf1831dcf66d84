"""Pause and asystole: reported while they last."""

from __future__ import annotations

from ecgmoe_edge.streaming.events import Rhythm
from ecgmoe_edge.streaming.rhythm.alarm import Alarm
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits


class PauseAlarm:
    """No R peak for `pause_s`, and none for `asystole_s`.

    A pause is an RR interval and begins with a clear beat. Asystole may also follow a beat that is `?`, or
    the start of a signal after lost samples, lest noise or a bad link hide it; what it needs is that beats were seen
    before. Both end with the next R peak, or where the signal breaks off.
    """

    def __init__(self, limits: RhythmLimits) -> None:
        self._limits = limits
        self._pause = Alarm("pause", f"RR > {1000 * limits.pause_s:g} ms")
        self._asystole = Alarm("asystole", f"no R peak for {1000 * limits.asystole_s:g} ms")

    def silence(self, since_s: float, seconds: float, *, is_rr: bool, out: list[Rhythm]) -> None:
        """No R peak came for `seconds` since `since_s`; `is_rr`: an RR interval that may be counted begins there."""
        if seconds >= self._limits.asystole_s:
            self._asystole.begin(since_s, out)
        elif is_rr:
            self._pause.begin(since_s, out)

    def beat(self, time_s: float, rr_ms: float | None, out: list[Rhythm]) -> None:
        """An R peak at `time_s`, `rr_ms` after the one before, None where that is not known or not to be counted."""
        if rr_ms is not None and rr_ms > 1000.0 * self._limits.pause_s:
            self._pause.begin(time_s - rr_ms / 1000.0, out)  # too short by a little to be reported before
        self.end(time_s, out)

    def end(self, at_s: float, out: list[Rhythm]) -> None:
        """The signal breaks off at `at_s`, or a beat ends what is open."""
        self._asystole.end(at_s, out)
        self._pause.end(at_s, out)
