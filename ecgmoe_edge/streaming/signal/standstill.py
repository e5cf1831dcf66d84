"""A signal that stands still where no heart does: a dead input, an amplifier at its rail, QRS complexes cut off there.

Equal samples in a row are all that is looked at, and what came before them; the converter need not be known.

- Equal for a second: a dead input (`flat`), or one at its rail (`rail`): where no sample since the last break lies
  beyond; if too little has come since, where none before the break did; and at a level that no ECG reaches, for a dead
  input lies near zero. An input that has been at a rail within that range since the very start is called `flat`.
- Equal for less, no sample since the last break beyond, and a steep step on both sides: clipped (`rail`). A wave that
  creeps to the rail and back within a second is not seen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Clipping, Flatline, FlatlineKind

FLAT_S = 1.0  # longer than the flattest stretch of a heart beat at the coarsest converters in use
_REPORT_S = 1.0  # clipped samples are counted for so long before they are said
_CUT_S = 0.008  # the shortest top of a clipped QRS
_STEEP_MV = 0.05  # by which the samples beside it differ from it at least: no wave's top does
_SEEN_S = 1.0  # of signal, before anything is called its limit
_NO_ECG_MV = 10.0  # no wave goes so far from zero, and a converter without an input does not either
_KEPT_S = 90.0  # for so long it is known where the signal was clipped: longer than a piece of the front end


@dataclass(frozen=True)
class Still:
    """An event, and what it does to the signal."""

    arrived: int  # samples that had arrived when it was certain
    event: Flatline | Clipping
    restart: int | None = None  # the signal starts again at this sample; None: it goes on


class Standstill:
    """Watches runs of equal samples; says a long one when a second is full and again, with its length, at its end."""

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._limit = round(FLAT_S * fs)
        self._report_after = round(_REPORT_S * fs)
        self._shortest = max(3, round(_CUT_S * fs))
        self._seen_enough = round(_SEEN_S * fs)
        self._kept = round(_KEPT_S * fs)
        self._lowest, self._highest = np.inf, -np.inf  # of what came before the last break
        self._value, self._run = 0.0, 0
        self._low, self._high = np.inf, -np.inf
        self.restart(0)

    def restart(self, at: int) -> None:
        """Forget the past but for its limits; the next sample, number `at`, starts a new signal."""
        self._lowest, self._highest = min(self._lowest, self._low), max(self._highest, self._high)
        self._start = at
        self._value = 0.0
        self._run = 0  # equal samples up to now
        self._before = 0.0  # the sample before them
        self._low, self._high = np.inf, -np.inf  # of all samples so far
        self._clipped: deque[tuple[int, int]] = deque()  # runs, first and past the last sample
        self._report: tuple[int, int] | None = None  # first clipped sample and how many, not said yet

    def due(self, stop: int) -> int:
        """Samples that must have arrived before anything new can be said, once `stop` of them have been seen."""
        due = stop + (1 if self._run >= self._limit else self._limit - self._run)
        return due if self._report is None else min(due, self._report[0] + self._report_after)

    def process(self, x: NDArray[np.float64], at: int) -> list[Still]:
        """What `x` (samples,), whose first has number `at`, makes certain, in order."""
        if not self._run:
            self._before = self._value = float(x[0])
        carried, low, high = self._run, self._low, self._high
        z = np.empty(x.size + 2)
        z[0], z[1], z[2:] = self._before, self._value, x
        # Where runs begin in z; the first of them has begun `carried` samples before x.
        changed = (z[2:] != z[1:-1]).nonzero()[0]
        edges = np.empty(changed.size + 2, np.int64)
        edges[0], edges[-1] = 2 - carried, z.size
        np.add(changed, 2, out=edges[1:-1])
        lengths = edges[1:] - edges[:-1]
        out: list[Still] = []
        for k in self._noteworthy(z, edges, lengths).tolist():
            first, stop = int(edges[k]), int(edges[k + 1])
            value, past = float(z[stop - 1]), z[2 : max(first, 2)]
            if past.size:
                self._low, self._high = min(low, float(past.min())), max(high, float(past.max()))
            self._ended(at + first - 2, at + stop - 2, value, carried if not k else 0, out)
        self._low, self._high = min(low, float(x.min())), max(high, float(x.max()))
        self._before, self._value = float(z[max(edges[-2] - 1, 0)]), float(z[-1])
        self._run = run = int(lengths[-1])
        if run >= self._limit and (lengths.size > 1 or carried < self._limit):
            self._full(at + x.size - run, self._value, out)
        self._count_is_due(at + x.size, out)
        return out

    def clipped(self, first: int, stop: int, known: int) -> int:
        """Clipped samples from `first` to `stop` as they are known once `known` samples have arrived."""
        return sum(max(0, min(stop, past) - max(first, begin)) for begin, past in self._clipped if past < known)

    def broken_off(self, at: int) -> list[Flatline | Clipping]:
        """The signal ends before sample `at`: what was clipped and not reported, and how long it stands still."""
        out: list[Flatline | Clipping] = [*self._counted()]
        if self._run >= self._limit:
            out.append(self._flatline(at - self._run, self._run, self._value))
        return out

    def _counted(self) -> list[Clipping]:
        report, self._report = self._report, None
        if report is None:
            return []
        first, n = report
        return [Clipping(first, first / self._fs, n / self._fs, n)]

    def _noteworthy(
        self, z: NDArray[np.float64], edges: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Which of the runs that have ended are long, or steep on both sides."""
        k = (lengths[:-1] >= self._shortest).nonzero()[0]
        if not k.size:
            return k
        stop = edges[k + 1]
        value = z[stop - 1]
        steep = np.minimum(np.abs(z[np.maximum(edges[k] - 1, 0)] - value), np.abs(z[stop] - value)) >= _STEEP_MV
        return k[steep | (lengths[k] >= self._limit)]

    def _ended(self, first: int, stop: int, value: float, carried: int, out: list[Still]) -> None:
        """A noteworthy run from `first` to before `stop` has ended; `carried` samples of it were seen before."""
        if stop - first >= self._limit:
            if carried < self._limit:
                self._full(first, value, out)
            self._count_is_due(stop + 1, out)
            out.append(Still(stop + 1, self._flatline(first, stop - first, value), stop))
        elif self._is_limit(first, value):
            self._count_is_due(stop + 1, out)
            start, count = self._report or (first, 0)
            self._report = (start, count + stop - first)
            self._clipped.append((first, stop))
            while self._clipped[0][1] < stop - self._kept:
                self._clipped.popleft()

    def _full(self, first: int, value: float, out: list[Still]) -> None:
        full = first + self._limit
        self._count_is_due(full, out)
        out.append(Still(full, self._flatline(first, self._limit, value), full))

    def _count_is_due(self, stop: int, out: list[Still]) -> None:
        """Say what was clipped since the first sample of the report, once that is long enough ago."""
        if self._report is not None and self._report[0] + self._report_after <= stop:
            arrived = self._report[0] + self._report_after
            out += [Still(arrived, event) for event in self._counted()]

    def _kind(self, first: int, value: float) -> FlatlineKind:
        """Of a long run that begins at sample `first`."""
        if abs(value) >= _NO_ECG_MV or self._is_limit(first, value):
            return "rail"
        before = self._lowest < self._highest and not self._lowest < value < self._highest
        return "rail" if before and first - self._start < self._seen_enough else "flat"

    def _is_limit(self, first: int, value: float) -> bool:
        """Whether no sample before a run that begins at sample `first` lies beyond it, on one side."""
        known = first - self._start >= self._seen_enough and min(self._low, value) < max(self._high, value)
        return known and (value >= self._high or value <= self._low)

    def _flatline(self, first: int, n: int, value: float) -> Flatline:
        return Flatline(first, first / self._fs, n / self._fs, self._kind(first, value), n)
