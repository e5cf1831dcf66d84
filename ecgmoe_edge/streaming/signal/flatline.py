"""Flatline and clipping: an input that does not move, an amplifier at its rail, QRS complexes that are cut off there.

Only runs of equal samples and the samples before them are examined; nothing has to be known about the converter. A run
is at a limit of the signal if, since the last break, at least a second of signal was seen and none of its samples lies
beyond the run's value on one of the two sides.

- **Flatline**: equal samples for a second. It is at a `rail` if the value is such a limit. If the last break is less
  than a second before the run, the limits of the signal before the break count instead. A value that no ECG reaches
  (10 mV) is also a `rail`, since an input without a signal lies close to zero. Every other flatline is `flat`; so is an
  input that has been at a rail below 10 mV since the very start.
- **Clipping**: a shorter run at a limit, with a steep step on both sides. A wave that reaches the rail slowly and
  leaves it within a second is not detected.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Clipping, Flatline, FlatlineKind

FLAT_S = 1.0  # longer than the flattest part of a heart beat as the coarsest converters in use show it
REPORT_S = 1.0  # clipped samples are counted for this time before they are reported
CUT_S = 0.008  # shortest top of a clipped QRS complex
STEEP_MV = 0.05  # smallest step beside a clipped top; no wave of the heart has such a step beside an unclipped top
SEEN_S = 1.0  # signal that has to be seen before a value is called its limit
NO_ECG_MV = 10.0  # no wave of the heart reaches this, and neither does a converter without an input
KEPT_S = 90.0  # how long clipped runs are remembered: longer than the pieces in which the front end works


@dataclass(frozen=True)
class FlatlineReport:
    """An event, and whether the signal of a heart ends or begins with it."""

    known_at: int
    event: Flatline | Clipping
    signal_end: int | None = None  # with the event, the signal ends before this sample
    signal_begin: int | None = None  # with the event, a new signal begins at this sample


class FlatlineDetector:
    """Detects flatline and clipping in one lead.

    A flatline is reported when it has lasted a second, and again, with its length, when it ends.

    Args:
        fs: sampling rate, Hz.
    """

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self.flat = round(FLAT_S * fs)
        self.report_after = round(REPORT_S * fs)
        self.shortest = max(3, round(CUT_S * fs))
        self.seen_enough = round(SEEN_S * fs)
        self._kept = round(KEPT_S * fs)
        self._lowest, self._highest = np.inf, -np.inf  # limits of the signal before the last break
        self._value, self._run = 0.0, 0
        self._low, self._high = np.inf, -np.inf
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new signal with sample `at`; only the limits of the signal so far are remembered."""
        self._lowest, self._highest = min(self._lowest, self._low), max(self._highest, self._high)
        self._start = at
        self._value = 0.0
        self._run = 0  # number of the last samples that are equal
        self._before = 0.0  # sample before this run
        self._low, self._high = np.inf, -np.inf  # limits of the samples since the last break
        self._clipped: deque[tuple[int, int]] = deque()  # first sample and end (exclusive) of each clipped run
        self._unreported: tuple[int, int] | None = None  # first clipped sample and their number, not reported yet

    def due(self, stop: int) -> int:
        """Return the number of samples that must have arrived before anything new can be certain.

        Args:
            stop: number of samples that have been processed.
        """
        due = stop + (1 if self._run >= self.flat else self.flat - self._run)
        return due if self._unreported is None else min(due, self._unreported[0] + self.report_after)

    def process(self, x: NDArray[np.float64], at: int) -> list[FlatlineReport]:
        """Return what new samples make certain, in order.

        Args:
            x: samples (n,) in mV, at least one.
            at: number of the first of them.
        """
        if not self._run:
            self._before = self._value = float(x[0])
        carried, low, high = self._run, self._low, self._high
        z = np.empty(x.size + 2)
        z[0], z[1], z[2:] = self._before, self._value, x
        # Indices in z at which runs begin; the first run began `carried` samples before x.
        changed = (z[2:] != z[1:-1]).nonzero()[0]
        edges = np.empty(changed.size + 2, np.int64)
        edges[0], edges[-1] = 2 - carried, z.size
        np.add(changed, 2, out=edges[1:-1])
        lengths = edges[1:] - edges[:-1]
        out: list[FlatlineReport] = []
        for k in self._relevant_runs(z, edges, lengths).tolist():
            first, stop = int(edges[k]), int(edges[k + 1])
            value, past = float(z[stop - 1]), z[2 : max(first, 2)]
            if past.size:
                self._low, self._high = min(low, float(past.min())), max(high, float(past.max()))
            self._run_ended(at + first - 2, at + stop - 2, value, carried if not k else 0, out)
        self._low, self._high = min(low, float(x.min())), max(high, float(x.max()))
        self._before, self._value = float(z[max(edges[-2] - 1, 0)]), float(z[-1])
        self._run = run = int(lengths[-1])
        if run >= self.flat and (lengths.size > 1 or carried < self.flat):
            self._flatline_began(at + x.size - run, self._value, out)
        self._report_clipping(at + x.size, out)
        return out

    def clipped(self, first: int, stop: int, arrived: int) -> int:
        """Return the number of samples from `first` to `stop` that were known to be clipped after `arrived` samples."""
        return sum(max(0, min(stop, end) - max(first, begin)) for begin, end in self._clipped if end < arrived)

    def break_off(self, at: int) -> list[Flatline | Clipping]:
        """Return what is not reported yet of a signal that ends before sample `at`."""
        out: list[Flatline | Clipping] = [*self._counted()]
        if self._run >= self.flat:
            out.append(self._flatline(at - self._run, self._run, self._value))
        return out

    def _counted(self) -> list[Clipping]:
        unreported, self._unreported = self._unreported, None
        if unreported is None:
            return []
        first, n = unreported
        return [Clipping(first, first / self._fs, n / self._fs, n)]

    def _relevant_runs(
        self, z: NDArray[np.float64], edges: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the indices of the ended runs that may be a flatline (by length) or clipped (steep on both sides)."""
        k = (lengths[:-1] >= self.shortest).nonzero()[0]
        if not k.size:
            return k
        stop = edges[k + 1]
        value = z[stop - 1]
        steep = np.minimum(np.abs(z[np.maximum(edges[k] - 1, 0)] - value), np.abs(z[stop] - value)) >= STEEP_MV
        return k[steep | (lengths[k] >= self.flat)]

    def _run_ended(self, first: int, stop: int, value: float, carried: int, out: list[FlatlineReport]) -> None:
        """Examine an ended run of samples `first` to `stop` (exclusive).

        carried: how many of its samples were processed by earlier calls.
        """
        if stop - first >= self.flat:
            if carried < self.flat:
                self._flatline_began(first, value, out)
            self._report_clipping(stop + 1, out)
            out.append(FlatlineReport(stop + 1, self._flatline(first, stop - first, value), signal_begin=stop))
        elif self._is_limit(first, value):
            self._report_clipping(stop + 1, out)
            start, count = self._unreported or (first, 0)
            self._unreported = (start, count + stop - first)
            self._clipped.append((first, stop))
            while self._clipped[0][1] < stop - self._kept:
                self._clipped.popleft()

    def _flatline_began(self, first: int, value: float, out: list[FlatlineReport]) -> None:
        known_at = first + self.flat
        self._report_clipping(known_at, out)
        out.append(FlatlineReport(known_at, self._flatline(first, self.flat, value), signal_end=known_at))

    def _report_clipping(self, arrived: int, out: list[FlatlineReport]) -> None:
        """Report the clipped samples if the first of them is long enough ago when `arrived` samples have arrived."""
        if self._unreported is not None and self._unreported[0] + self.report_after <= arrived:
            known_at = self._unreported[0] + self.report_after
            out += [FlatlineReport(known_at, event) for event in self._counted()]

    def _kind(self, first: int, value: float) -> FlatlineKind:
        """Return the kind of a flatline that begins at sample `first`."""
        if abs(value) >= NO_ECG_MV or self._is_limit(first, value):
            return "rail"
        at_earlier_limit = self._lowest < self._highest and not self._lowest < value < self._highest
        return "rail" if at_earlier_limit and first - self._start < self.seen_enough else "flat"

    def _is_limit(self, first: int, value: float) -> bool:
        """Whether no sample since the last break lies beyond the value of a run that begins at sample `first`."""
        seen = first - self._start >= self.seen_enough and min(self._low, value) < max(self._high, value)
        return seen and (value >= self._high or value <= self._low)

    def _flatline(self, first: int, n: int, value: float) -> Flatline:
        return Flatline(first, first / self._fs, n / self._fs, self._kind(first, value), n)
