"""Time without an R peak: the clock of the alarms that do not wait for the next beat."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

# 95 % of the R peaks in DS1 are certain within this time after R; after it, an R peak counts as absent. Asystole of 4 s
# is thus reported after the detector has learnt its levels again, which it does after 4 s without a beat.
CERTAIN_S = 0.27
_NEVER = 1 << 62


@dataclass(frozen=True)
class Silence:
    """No R peak came for a time that is one of the limits."""

    known_at: int
    since: int  # sample of the last R peak, or the first sample of the signal
    seconds: float  # the limit
    after_beat: bool  # whether `since` is an R peak with which an RR interval can begin


@dataclass(frozen=True)
class SignalEnd:
    """No lead has a signal from `sample` on; no RR interval spans it."""

    known_at: int
    sample: int
    lead_lost: bool  # True after lead-off, flatline or unusable samples, False after lost samples or at the end


class SilenceClock:
    """Reports each limit that passes without an R peak while there is a signal.

    An R peak within the limit stops the clock until its beat is complete. If this turns out to be a peak of noise, the
    clock goes on as if there had been no peak. The methods are called in the order of `known_at`, so that any chunking
    of the signal gives the same reports.

    Args:
        fs: sampling rate, Hz.
        limits_s: limits in ascending order, s.
    """

    def __init__(self, fs: float, limits_s: Sequence[float]) -> None:
        self._fs = fs
        self._limits = [(limit, round((limit + CERTAIN_S) * fs)) for limit in limits_s]
        self.stop()

    def stop(self) -> None:
        """Stop, since there is no signal any more."""
        self.running = False
        self._now = 0  # number of samples that had arrived when the last beat was complete
        self._peaks: deque[int] = deque()  # R peaks whose beats are not complete yet
        self._begin(0, after_beat=False)

    def start(self, at: int) -> None:
        """Start, since a signal begins with sample `at`."""
        self.running = True
        self._begin(at, after_beat=False)

    def peak(self, r: int) -> None:
        """Note an R peak at sample `r`, the beat of which is not complete yet."""
        self._peaks.append(r)

    def beat(self, r: int, ready_at: int, *, is_beat: bool, begins_rr: bool) -> None:
        """Note that the beat of the first of these R peaks is complete.

        Args:
            r: sample of the R peak.
            ready_at: number of samples that had arrived.
            is_beat: whether it is a beat, and not a peak of noise.
            begins_rr: whether an RR interval can begin with it.
        """
        self._peaks.popleft()
        self._now = ready_at
        if is_beat:
            self._begin(r, after_beat=begins_rr)

    def _begin(self, since: int, *, after_beat: bool) -> None:
        self._since, self._after_beat = since, after_beat
        self._reported = 0

    @property
    def due(self) -> int:
        """Samples that must have arrived before the next limit passes, if no R peak becomes known before that."""
        if not self.running or self._reported == len(self._limits):
            return _NEVER
        seconds, wait = self._limits[self._reported]
        if self._peaks and self._peaks[0] - self._since <= seconds * self._fs:
            return _NEVER
        return max(self._since + wait, self._now)

    def run(self, arrived: int) -> list[Silence]:
        """Return the limits that have passed once `arrived` samples have arrived."""
        out: list[Silence] = []
        while (due := self.due) <= arrived:
            out.append(Silence(due, self._since, self._limits[self._reported][0], self._after_beat))
            self._reported += 1
        return out
