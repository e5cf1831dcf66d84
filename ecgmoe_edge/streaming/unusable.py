"""Samples that came and are of no use on any lead: counted, and reported when they end, or after a minute."""

from __future__ import annotations

from typing import Final

from ecgmoe_edge.streaming.events import Gap, GapReason

# A larger sample is as unusable as NaN. An amplifier saturates at some 100 mV; but signals without a known gain come as
# the converter's own numbers, of which 24 bits reach 8,388,608. One sample at this limit costs the beats of 4 s, one of
# 1e12 those of 8 s, and from 1e100 quality is NaN.
LARGEST_MV: Final = 1e7

_REPORT_S = 60.0  # a hole is one gap, but a signal that never comes has to be reported some time


class UnusableRun:
    """The present run of samples that no lead can use. fs: Hz."""

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._limit = round(_REPORT_S * fs)
        self.samples = 0  # not yet reported
        self._reason: GapReason = "nan"  # of all of them

    def count(self, n: int, reason: GapReason, at: int) -> list[tuple[int, Gap]]:
        """`n` more, from sample `at` on: gaps that are a minute long or whose reason ends, and when they are known."""
        gaps: list[tuple[int, Gap]] = []
        if reason != self._reason:
            gaps += [(at + 1, gap) for gap in self.report(at)]
            self._reason = reason
        while n:
            step = min(n, self._limit - self.samples)
            self.samples += step
            at += step
            n -= step
            if self.samples == self._limit:
                gaps += [(at, gap) for gap in self.report(at)]
        return gaps

    def report(self, stop: int) -> list[Gap]:
        """The gap up to sample `stop`, if there is one."""
        if not self.samples:
            return []
        start, lost = stop - self.samples, self.samples
        self.samples = 0
        return [Gap(start, start / self._fs, lost, self._reason)]
