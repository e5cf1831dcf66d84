"""Median of the last few numbers of a stream, at a microsecond a number."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque


class RunningMedian:
    """Median of the last `keep` numbers, kept sorted."""

    def __init__(self, keep: int) -> None:
        self._last: deque[float] = deque()
        self._sorted: list[float] = []
        self._keep = keep

    def __len__(self) -> int:
        return len(self._last)

    def add(self, value: float) -> None:
        """Take the next number and let go of the oldest."""
        if len(self._last) == self._keep:
            del self._sorted[bisect_left(self._sorted, self._last.popleft())]
        self._last.append(value)
        insort(self._sorted, value)

    def value(self) -> float:
        """The median; there must be a number."""
        middle = len(self._sorted) // 2
        if len(self._sorted) % 2:
            return self._sorted[middle]
        return 0.5 * (self._sorted[middle - 1] + self._sorted[middle])
