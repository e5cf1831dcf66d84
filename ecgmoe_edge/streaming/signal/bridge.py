"""Bridges over short holes: up to `LONGEST_S` of lost or unusable samples are replaced by a straight line.

A hole is bridged once the first usable sample after it has arrived. Until then, the samples since its start wait;
nothing else is delayed. What is detected in samples that waited is reported with its true delay. A hole that turns out
to be longer is not bridged, and neither is a hole without a usable sample before it: its samples are passed on as they
are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import GapReason
from ecgmoe_edge.streaming.signal.decision_times import DecisionTimes

LONGEST_S = 0.040  # longest hole that is bridged; docs/events.md says what other limits cost


@dataclass(frozen=True)
class Hole:
    """Samples `start` to `stop` (exclusive) that were bridged, for one reason."""

    start: int
    stop: int
    reason: GapReason
    leads: tuple[int, ...]


class HoleBridge:
    """Bridges the holes of all leads.

    Args:
        fs: sampling rate, Hz.
        leads: number of leads.
        largest: absolute value in mV above which a sample is unusable.
    """

    def __init__(self, fs: float, leads: int, largest: float) -> None:
        self.longest = int(LONGEST_S * fs)
        self._leads = leads
        self._largest = largest
        self._times = DecisionTimes()
        self.restart(0)

    def restart(self, at: int) -> None:
        """Start a new signal on all leads at sample `at`."""
        self._at = at  # number of the first sample that is not passed on yet
        self._open = np.empty((self._leads, 0))  # samples that wait
        self._before = np.full(self._leads, np.nan)  # last sample passed on; from an unusable one nothing is bridged
        self._lost: list[tuple[int, int, GapReason]] = []  # samples that never arrived; they are NaN in the signal
        self._times.clear()

    @property
    def waiting(self) -> int:
        """Number of samples that have arrived and are not passed on yet."""
        return self._open.shape[1]

    @property
    def delays(self) -> bool:
        """Whether any of the samples last passed on had to wait."""
        return bool(self._times)

    def known_at(self, stop: int) -> int:
        """Return the number of samples that had arrived when those before `stop` were passed on."""
        return self._times.known_at(stop)

    def lose(self, start: int, stop: int, reason: GapReason) -> None:
        """Note that samples `start` to `stop` (exclusive) never arrived; the next `process` gets NaN for them."""
        self._lost.append((start, stop, reason))

    def reasons(self, start: int, stop: int) -> list[tuple[int, int, GapReason | None]]:
        """Divide samples `start` to `stop` (exclusive) at the limits of losses.

        Returns:
            First sample, end (exclusive) and the reason of the loss of each part; None if its samples arrived.
        """
        parts: list[tuple[int, int, GapReason | None]] = []
        at = start
        for first, end, reason in self._lost:
            first, end = max(first, at), min(end, stop)
            if first < end:
                if at < first:
                    parts.append((at, first, None))
                parts.append((first, end, reason))
                at = end
        if at < stop:
            parts.append((at, stop, None))
        return parts

    def process(
        self, x: NDArray[np.float64], off: NDArray[np.bool_], *, last: bool = False
    ) -> tuple[NDArray[np.float64], list[Hole]]:
        """Bridge the holes that end in new samples.

        Args:
            x: new samples, (leads, n) in mV.
            off: leads that are off, (leads,); their samples are passed on as they are.
            last: no more samples will come, so an open hole is passed on as it is.

        Returns:
            The samples that are decided, (leads, m): NaN if unusable, infinite if beyond `largest`; and the bridged
            holes.
        """
        self._times.forget(self._at)
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
        """Bridge the complete holes of `z` in place; return the index of the first sample that has to wait."""
        n: int = z.shape[1]
        stop = n
        bridged: dict[tuple[int, int, GapReason], list[int]] = {}
        waited: set[tuple[int, int]] = set()
        for k in np.flatnonzero(unusable.any(axis=1)).tolist():
            for start, end in _runs(unusable[k]):
                before = z[k, start - 1] if start else self._before[k]
                if not abs(before) <= self._largest:
                    continue
                width = end - start
                if width > self.longest:
                    waited.add((self._at + start, self._at + start + self.longest + 1))
                elif end < n:
                    reason: GapReason = "range" if np.isinf(z[k, start:end]).any() else "nan"
                    z[k, start:end] = before + (z[k, end] - before) * np.arange(1, width + 1) / (width + 1)
                    bridged.setdefault((start, end, reason), []).append(k)
                    waited.add((self._at + start, self._at + end + 1))
                elif last:
                    waited.add((self._at + start, self._at + n))
                else:
                    stop = min(stop, start)
        for (start, end, reason), leads in sorted(bridged.items()):
            for first, past, why_lost in self.reasons(self._at + start, self._at + end):
                holes.append(Hole(first, past, why_lost or reason, tuple(leads)))
        if waited:
            self._times.add(waited)
        return stop


def _runs(flags: NDArray[np.bool_]) -> Sequence[tuple[int, int]]:
    """Return start and end (exclusive) of each run of True."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
