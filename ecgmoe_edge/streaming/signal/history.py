"""The recent past of a signal, addressed by absolute sample number; memory stays constant over any stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class History:
    """The last samples of one or several signals that share their sample numbers.

    Args:
        keep: number of samples before the last call of `release` that are kept at least. All samples appended since
            that call are kept.
        rows: number of signals.
    """

    def __init__(self, keep: int, rows: int = 1) -> None:
        self.keep = keep
        self.rows = rows
        self._data = np.empty((rows, 4 * keep))
        self._used = 0
        self._released = 0  # columns of self._data that existed at the last `release`
        self._first = 0  # absolute number of column 0

    @property
    def start(self) -> int:
        """Absolute number of the oldest sample that is kept."""
        return self._first

    @property
    def stop(self) -> int:
        """Absolute number of the next sample."""
        return self._first + self._used

    def restart(self, at: int) -> None:
        """Forget everything; the next sample has the absolute number `at`."""
        self._used, self._released, self._first = 0, 0, at

    def release(self) -> None:
        """Allow all present samples except the last `keep` to be dropped."""
        self._released = self._used

    def append(self, x: NDArray[np.float64]) -> None:
        """Add samples: (n,) of one signal, or (rows, n) of several."""
        n, used = x.shape[-1], self._used
        if used + n > self._data.shape[1]:
            dropped = max(0, self._released - self.keep)
            kept = self._data[:, dropped:used].copy()
            used -= dropped
            if used + n > self._data.shape[1]:
                self._data = np.empty((self.rows, used + n + self.keep))
            self._data[:, :used] = kept
            self._first += dropped
            self._released -= dropped
        self._used = used + n
        self._data[:, used : self._used] = x

    def between(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return samples `start` to `stop` (exclusive) of the first signal, cut to those that are kept.

        The result is a view, valid until the next `append`.
        """
        low, high = max(0, start - self._first), min(self._used, stop - self._first)
        return self._data[0, low : max(low, high)]

    def row(self, row: int) -> NDArray[np.float64]:
        """Return all samples kept of one signal, the first of which has number `start`; a view, as in `between`."""
        return self._data[row, : self._used]
