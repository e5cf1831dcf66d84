"""How long no R peak has come: the clock of the alarms that do not wait for the next beat."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

# Of 100 R peaks in records of DS1, 95 are certain so long after R or earlier: one that is not is taken for absent.
# Asystole of 4 s waits as long, and so comes after the detector has learnt its levels again, which it does after 4 s.
CERTAIN_S = 0.27
_NEVER = 1 << 62


@dataclass(frozen=True)
class Silence:
    """No R peak lies in so many seconds since `since`, known once `arrived` samples have arrived."""

    arrived: int
    since: int  # sample of the R peak before, or the first of the signal
    seconds: float  # the limit that is reached
    after_beat: bool  # `since` is an R peak from which an RR interval is counted


@dataclass(frozen=True)
class SignalEnd:
    """No lead has a signal from `sample` on, known once `arrived` samples have arrived: no RR interval spans it."""

    arrived: int
    sample: int
    lead_lost: bool  # a lead was off, stood still or gave no numbers; False: samples were lost, or the stream has ended


class SilenceClock:
    """Reports each limit that passes without an R peak while there is a signal.

    An R peak that lies within the limit stops the clock until its beat is complete; if that turns out to be a peak of
    noise, the clock goes on as if there had been none. Calls come in the order of what arrived, so that cutting the
    signal otherwise gives the same reports.

    fs: Hz. limits_s: in ascending order.
    """

    def __init__(self, fs: float, limits_s: Sequence[float]) -> None:
        self._fs = fs
        self._limits = [(limit, round((limit + CERTAIN_S) * fs)) for limit in limits_s]
        self.stop()

    def stop(self) -> None:
        """There is no signal any more."""
        self.running = False
        self._now = 0  # samples that had arrived when the last beat was complete
        self._peaks: deque[int] = deque()
        self._begin(0, after_beat=False)

    def start(self, at: int) -> None:
        """A signal begins with sample `at`."""
        self.running = True
        self._begin(at, after_beat=False)

    def peak(self, r: int) -> None:
        """There is an R peak at sample `r` whose beat is not complete yet."""
        self._peaks.append(r)

    def beat(self, r: int, ready: int, *, is_beat: bool, counts: bool) -> None:
        """The beat of the first of these R peaks is complete, once `ready` samples have arrived.

        is_beat: it is no peak of noise. counts: RR intervals may begin with it.
        """
        self._peaks.popleft()
        self._now = ready
        if is_beat:
            self._begin(r, after_beat=counts)

    def _begin(self, since: int, *, after_beat: bool) -> None:
        self._since, self._after_beat = since, after_beat
        self._reported = 0

    @property
    def due(self) -> int:
        """Samples that must have arrived before the next limit passes, if no R peak is known until then."""
        if not self.running or self._reported == len(self._limits):
            return _NEVER
        seconds, wait = self._limits[self._reported]
        if self._peaks and self._peaks[0] - self._since <= seconds * self._fs:
            return _NEVER
        return max(self._since + wait, self._now)

    def run(self, until: int) -> list[Silence]:
        """The limits that have passed once `until` samples have arrived."""
        out: list[Silence] = []
        while (due := self.due) <= until:
            out.append(Silence(due, self._since, self._limits[self._reported][0], self._after_beat))
            self._reported += 1
        return out
