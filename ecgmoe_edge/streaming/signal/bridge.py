"""Bridges over short holes: up to `LONGEST_S` of samples that were lost or are unusable become a straight line.

A hole is bridged once the first usable sample after it has come. Until then what came since its beginning waits:
nothing else is delayed, and what becomes certain by a sample that waits comes out, with its true delay, when the
waiting ends. A hole that turns out to be longer is given as it is, and so is one that has no usable sample before it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import GapReason

LONGEST_S = 0.040  # of a bridge; docs/events.md has what other limits cost


@dataclass(frozen=True)
class Hole:
    """Samples `start` to `stop` (not included) that were bridged, for one reason."""

    start: int
    stop: int
    reason: GapReason
    leads: tuple[int, ...]


class HoleBridge:
    """Bridges the holes of all leads. fs: Hz. leads: how many. largest: beyond +- so many mV a sample is unusable."""

    def __init__(self, fs: float, leads: int, largest: float) -> None:
        self.longest = int(LONGEST_S * fs)
        self._leads = leads
        self._largest = largest
        self.restart(0)

    def restart(self, at: int) -> None:
        """A new signal begins at sample `at` on all leads."""
        self._at = at  # of the first sample that is not given yet
        self._open = np.empty((self._leads, 0))  # samples that wait
        self._before = np.full(self._leads, np.nan)  # the last samples given; not usable: nothing to bridge from
        self._lost: list[tuple[int, int, GapReason]] = []  # samples that never came, which are NaN here
        self._waits: list[int] = []  # first samples that had to wait, of the last call ...
        self._arrived: list[int] = []  # ... and the samples that had arrived when each was decided, in order

    @property
    def waiting(self) -> int:
        """Samples that came and are not given yet."""
        return self._open.shape[1]

    @property
    def delays(self) -> bool:
        """Whether any of the samples given last had to wait."""
        return bool(self._waits)

    def arrival(self, count: int) -> int:
        """Samples that had arrived when the first `count` of them were given."""
        k = bisect_left(self._waits, count)
        return max(count, self._arrived[k - 1]) if k else count

    def lose(self, start: int, stop: int, reason: GapReason) -> None:
        """Samples `start` to `stop` (not included) never came; NaN stand for them in the next call of `process`."""
        self._lost.append((start, stop, reason))

    def reasons(self, start: int, stop: int) -> list[tuple[int, int, GapReason | None]]:
        """Samples `start` to `stop` cut where samples were lost: from, to, and why they were; None where they came."""
        cuts: list[tuple[int, int, GapReason | None]] = []
        at = start
        for first, past, reason in self._lost:
            first, past = max(first, at), min(past, stop)
            if first < past:
                if at < first:
                    cuts.append((at, first, None))
                cuts.append((first, past, reason))
                at = past
        if at < stop:
            cuts.append((at, stop, None))
        return cuts

    def process(
        self, x: NDArray[np.float64], off: NDArray[np.bool_], *, last: bool = False
    ) -> tuple[NDArray[np.float64], list[Hole]]:
        """Samples (leads, n) in mV as far as they are decided, and the holes that were bridged.

        off: leads that are not looked at. last: no more samples come, and what is open is given as it is.
        """
        if self._waits:
            k = bisect_right(self._arrived, self._at)
            self._waits, self._arrived = self._waits[k:], self._arrived[k:]
        if self._lost:
            self._lost = [each for each in self._lost if each[1] > self._at]
        z = np.concatenate((self._open, x), axis=1) if self._open.shape[1] else x
        holes: list[Hole] = []
        stop = z.shape[1]
        inside = np.abs(z) <= self._largest
        if not inside.all():
            z = np.where(inside | np.isnan(z), z, np.inf)
            inside[off] = True
            stop = self._bridge(z, ~inside, holes, last=last)
        self._open = z[:, stop:]
        if stop:
            self._before = np.where(off, np.nan, z[:, stop - 1])
        self._at += stop
        return z[:, :stop], holes

    def _bridge(self, z: NDArray[np.float64], unusable: NDArray[np.bool_], holes: list[Hole], *, last: bool) -> int:
        """Bridge what can be in `z`, in place; gives the place of the first sample that has to wait."""
        n: int = z.shape[1]
        stop = n
        closed: dict[tuple[int, int, GapReason], list[int]] = {}
        waits: set[tuple[int, int]] = set()
        for k in np.flatnonzero(unusable.any(axis=1)).tolist():
            for start, past in _runs(unusable[k]):
                before = z[k, start - 1] if start else self._before[k]
                if not abs(before) <= self._largest:
                    continue
                width = past - start
                if width > self.longest:
                    waits.add((self._at + start, self._at + start + self.longest + 1))
                elif past < n:
                    reason: GapReason = "range" if np.isinf(z[k, start:past]).any() else "nan"
                    z[k, start:past] = before + (z[k, past] - before) * np.arange(1, width + 1) / (width + 1)
                    closed.setdefault((start, past, reason), []).append(k)
                    waits.add((self._at + start, self._at + past + 1))
                elif last:
                    waits.add((self._at + start, self._at + n))
                else:
                    stop = min(stop, start)
        for (start, past, reason), leads in sorted(closed.items()):
            for first, end, why in self.reasons(self._at + start, self._at + past):
                holes.append(Hole(first, end, why or reason, tuple(leads)))
        if waits:
            ordered = sorted(waits.union(zip(self._waits, self._arrived, strict=True)))
            self._waits = [first for first, _ in ordered]
            self._arrived = list(accumulate((when for _, when in ordered), max))
        return stop


def _runs(flags: NDArray[np.bool_]) -> Sequence[tuple[int, int]]:
    """Where runs of True begin and end (not included)."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
