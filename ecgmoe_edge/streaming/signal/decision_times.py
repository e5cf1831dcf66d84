"""When samples were decided that had to wait for later ones.

A sample that may belong to a hole or to a pacing spike waits for the samples that decide this. What follows from it is
then known later than the sample's own arrival, and its delay has to be reported truly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate


class DecisionTimes:
    """The samples that had to wait, in order, each with its `known_at`; all other samples are decided on arrival."""

    def __init__(self) -> None:
        self._samples: list[int] = []
        self._known_at: list[int] = []  # never decreases

    def __bool__(self) -> bool:
        return bool(self._samples)

    def clear(self) -> None:
        """Forget all samples."""
        self._samples, self._known_at = [], []

    def add(self, waited: Iterable[tuple[int, int]]) -> None:
        """Add pairs of a sample and its `known_at`; a sample is never decided before an earlier one."""
        ordered = sorted({*waited, *zip(self._samples, self._known_at, strict=True)})
        self._samples = [sample for sample, _ in ordered]
        self._known_at = list(accumulate((known_at for _, known_at in ordered), max))

    def forget(self, arrived: int) -> None:
        """Forget the samples that were decided when `arrived` samples had arrived."""
        if self._samples:
            k = bisect_right(self._known_at, arrived)
            self._samples, self._known_at = self._samples[k:], self._known_at[k:]

    def known_at(self, stop: int) -> int:
        """Return the number of samples that had arrived when all samples before `stop` were decided."""
        k = bisect_left(self._samples, stop)
        return max(stop, self._known_at[k - 1]) if k else stop
