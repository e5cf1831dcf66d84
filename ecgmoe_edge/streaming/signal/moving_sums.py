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

    State: of each signal the sums since the block's start, of the last `width` samples, of row 0 of the last `block`.
    When a block is full its total is taken off those, so that they are what is left of it, negative: a window's sum is
    the newest sum less an old one.
    """

    def __init__(self, rows: int, width: int, block: int) -> None:
        self._rows, self.width, self.block = rows, width, block
        self.restart()

    def restart(self) -> None:
        """A new signal begins; before it there was nothing."""
        self._sums = np.zeros((self._rows, self.block))
        self._offset = 0  # of the next sample in its block

    def process(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums that end at each sample of `x` (rows, n): over `width` (rows, n), and of row 0 over `block` (n,)."""
        over_width, over_block = np.empty_like(x), np.empty(x.shape[1])
        at = 0
        while at < x.shape[1]:
            whole = 0 if self._offset else (x.shape[1] - at) // self.block
            stop = at + whole * self.block if whole > 1 else min(at + self.block - self._offset, x.shape[1])
            part = self._whole_blocks if whole > 1 else self._within_block
            part(x[:, at:stop], over_width[:, at:stop], over_block[at:stop])
            at = stop
        return over_width, over_block

    def _whole_blocks(
        self, x: NDArray[np.float64], over_width: NDArray[np.float64], over_block: NDArray[np.float64]
    ) -> None:
        """The same as `_within_block` a block, for many at once."""
        width, block = self.width, self.block
        sums = np.add.accumulate(x.reshape(self._rows, -1, block), axis=2)
        left = np.concatenate((self._sums[:, None], sums - sums[:, :, -1:]), axis=1)  # of the block before each
        over = over_width.reshape(sums.shape)
        np.subtract(sums[:, :, width:], sums[:, :, :-width], out=over[:, :, width:])
        np.subtract(sums[:, :, :width], left[:, :-1, block - width :], out=over[:, :, :width])
        over_width[:] = over.reshape(over_width.shape)
        over_block[:] = (sums[0] - left[0, :-1]).ravel()
        self._sums = left[:, -1].copy()

    def _within_block(
        self, x: NDArray[np.float64], over_width: NDArray[np.float64], over_block: NDArray[np.float64]
    ) -> None:
        n, block = x.shape[1], self.block
        sums = np.concatenate((self._sums, x), axis=1)
        new = sums[:, block:]
        if self._offset:
            np.add.accumulate(sums[:, block - 1 :], axis=1, out=sums[:, block - 1 :])
        else:
            np.add.accumulate(new, axis=1, out=new)
        np.subtract(new, sums[:, block - self.width : block - self.width + n], out=over_width)
        np.subtract(new[0], sums[0, :n], out=over_block)
        self._sums = sums[:, n:]
        self._offset += n
        if self._offset == block:
            self._sums = self._sums - self._sums[:, -1:]
            self._offset = 0
