"""The recent past of a signal, addressed by absolute sample number; memory stays constant over any stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class History:
    """The last `keep` samples of a stream at least, as one contiguous array."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._data = np.empty(4 * keep)
        self._used = 0
        self._first = 0  # absolute number of self._data[0]

    @property
    def start(self) -> int:
        """Absolute number of the oldest sample that is still held."""
        return self._first

    @property
    def stop(self) -> int:
        """Absolute number of the next sample."""
        return self._first + self._used

    def restart(self, at: int) -> None:
        """Forget everything; the next sample has the absolute number `at`."""
        self._used, self._first = 0, at

    def append(self, x: NDArray[np.float64]) -> None:
        """Add samples at the end; the oldest are dropped once more than `keep` are held."""
        used = self._used
        if used + x.size > self._data.size:
            kept = self._data[max(0, used - self._keep) : used].copy()
            if kept.size + x.size > self._data.size:
                self._data = np.empty(kept.size + x.size)
            self._first += used - kept.size
            self._data[: kept.size] = kept
            used = kept.size
        self._used = used + x.size
        self._data[used : self._used] = x

    def between(self, start: int, stop: int) -> NDArray[np.float64]:
        """The samples `start` to `stop` (absolute, clipped to what is held), as a view: read it at once."""
        low, high = max(0, start - self._first), min(self._used, stop - self._first)
        return self._data[low : max(low, high)]
