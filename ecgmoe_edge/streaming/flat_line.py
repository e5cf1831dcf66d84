"""A signal that stands still for longer than any heart does: an amplifier at its rail, a dead input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.events import Saturation

FLAT_S = 1.0  # longer than the flattest stretch of a heart beat at the coarsest converters in use


class FlatLine:
    """Counts equal samples in a row; speaks when a second is full and again, with the total, when it ends."""

    def __init__(self, fs: float) -> None:
        self._fs = fs
        self._limit = round(FLAT_S * fs)
        self.restart()

    def restart(self) -> None:
        """Forget the past; the next sample starts a new signal."""
        self._value: float | None = None
        self._run = 0  # equal samples up to now

    def process(self, x: NDArray[np.float64], at: int) -> list[tuple[int, Saturation]]:
        """(samples that had arrived, event) for each event in `x` (samples,), whose first has number `at`."""
        out: list[tuple[int, Saturation]] = []
        changes = np.flatnonzero(x[1:] != x[:-1]) + 1
        if self._value is not None and x[0] != self._value:
            self._end(at, out)
            self._run = 0
        if not changes.size:
            self._grow(at, x.size, out)
        else:
            self._grow(at, int(changes[0]), out)
            self._end(at + int(changes[0]), out)
            lengths = np.diff(changes)
            for k in np.flatnonzero(lengths >= self._limit):
                self._run = 0
                self._grow(at + int(changes[k]), int(lengths[k]), out)
                self._end(at + int(changes[k + 1]), out)
            self._run = 0
            self._grow(at + int(changes[-1]), x.size - int(changes[-1]), out)
        self._value = float(x[-1])
        return out

    def _grow(self, at: int, n: int, out: list[tuple[int, Saturation]]) -> None:
        before, self._run = self._run, self._run + n
        if before < self._limit <= self._run:
            first = at - before
            out.append((first + self._limit, self._event(first, self._limit)))

    def _end(self, at: int, out: list[tuple[int, Saturation]]) -> None:
        """The run ended before sample `at`."""
        if self._run > self._limit:
            out.append((at + 1, self._event(at - self._run, self._run)))

    def _event(self, first: int, n: int) -> Saturation:
        return Saturation(first, first / self._fs, n / self._fs, "flat")
