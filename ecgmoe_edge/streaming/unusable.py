"""Samples that arrived and are unusable on all leads: reported as a gap when they end, or after a minute."""

from __future__ import annotations

from typing import Final

from ecgmoe_edge.streaming.events import Gap, GapReason

# A larger sample is as unusable as NaN. An amplifier saturates at about 100 mV. But a signal without a known gain
# consists of the numbers of the converter, which reach 8,388,608 with 24 bits. One sample at this limit costs the beats
# of 4 s; one of 1e12 costs those of 8 s, and from 1e100 on quality is NaN.
LARGEST_MV: Final = 1e7

REPORT_S = 60.0  # longest gap in one report, so that a signal that never becomes usable is reported too


class UnusableRun:
    """The present run of samples that are unusable on all leads.

    Args:
        fs: sampling rate, Hz.
    """

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._limit = round(REPORT_S * fs)
        self.samples = 0  # number of samples that are not reported yet
        self._reason: GapReason = "nan"  # why they are unusable

    def count(self, n: int, reason: GapReason, at: int) -> list[tuple[int, Gap]]:
        """Add samples to the run.

        Args:
            n: number of samples.
            reason: why they are unusable.
            at: number of the first of them.

        Returns:
            The gaps that are a minute long or end with a change of the reason, each with its `known_at`.
        """
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
        """End the run before sample `stop`, and return its gap; an empty list if there is no run."""
        if not self.samples:
            return []
        start, lost = stop - self.samples, self.samples
        self.samples = 0
        return [Gap(start, start / self._fs, lost, self._reason)]
