"""Sums over the last samples of a signal, in a form that never drifts and never grows.

A running total loses digits as it grows, and adding each new sample while taking off the oldest drifts. Here samples
are summed from the start of each block of fixed length on; a window's sum is that of the part in the present block plus
what the block before holds of it. No sum is ever of more than one block, and the order of additions is stated: it is
the same sample by sample (in C) and over long arrays (here).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class MovingSums:
    """Sums over `width` and over `block` samples (width <= block) of several signals at once.

    State: of each signal the sums since the block's start for the last `block` samples, and the last block's total.
    """

    def __init__(self, rows: int, width: int, block: int) -> None:
        self._rows, self._width, self._block = rows, width, block
        self.restart()

    def restart(self) -> None:
        """A new signal begins; before it there was nothing."""
        self._sums = np.zeros((self._rows, self._block))  # since their block's start, of the last samples
        self._previous = np.zeros(self._rows)  # total of the last whole block
        self._offset = 0  # of the next sample in its block

    def process(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums that end at each sample of `x` (rows, n): over `width` (rows, n), and of row 0 over `block` (n,)."""
        n, block, offset = x.shape[1], self._block, self._offset
        rows = -(-(offset + n) // block)
        grid = np.zeros((self._rows, rows * block))
        if offset:
            grid[:, offset - 1] = self._sums[:, -1]
        grid[:, offset : offset + n] = x
        blocks = grid.reshape(self._rows, rows, block)
        np.add.accumulate(blocks, axis=2, out=blocks)
        totals = np.empty((self._rows, rows))  # of the block before each
        totals[:, 0], totals[:, 1:] = self._previous, blocks[:, :-1, -1]
        sums = np.concatenate((self._sums, grid[:, offset : offset + n]), axis=1)
        # A window that began in the block before has the rest of that block in it.
        place = np.arange(offset, offset + n)
        of_block, inside = place // block, place % block
        before = totals[:, of_block]
        base = np.where(inside < self._width, before, 0.0)
        over_width = sums[:, block:] + (base - sums[:, block - self._width : block - self._width + n])
        over_block = sums[0, block:] + (before[0] - sums[0, :n])
        self._offset = (offset + n) % block
        self._previous = blocks[:, -1, -1] if not self._offset else totals[:, -1]
        self._previous = self._previous.copy()
        self._sums = sums[:, -block:].copy()
        return over_width, over_block
