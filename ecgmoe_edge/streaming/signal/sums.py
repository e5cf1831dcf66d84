"""Sums in a stated order, and moving sums that neither drift nor grow.

A second implementation of the engine (in C, for example) that adds the same numbers in the same order gets the same
bits. `np.sum` adds in pairs or in lanes, and BLAS in an order of its own; a difference in the last bit can change a
decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", bound=np.floating[Any])


def ordered_sum(x: NDArray[Real], axis: int = 0) -> NDArray[Real]:
    """Sum over `axis` in index order, ((x[0] + x[1]) + x[2]) + ..., in the precision of `x`, as a plain loop adds."""
    return np.asarray(np.add.accumulate(x, axis=axis).take(-1, axis=axis))


def add_rows(x: NDArray[Real]) -> NDArray[Real]:
    """The same as `ordered_sum(x, 0)`, faster, for a C-contiguous array (rows, columns > 1): numpy adds row to row."""
    return np.asarray(np.add.reduce(x, axis=0))


def ordered_mean(x: NDArray[Real], axis: int = 0) -> NDArray[Real]:
    """Mean over `axis` by `ordered_sum`."""
    total = ordered_sum(x, axis)
    return np.asarray(total / total.dtype.type(x.shape[axis]))


def plain_sum(values: Iterable[float]) -> float:
    """Sum of a few numbers in their order; the built-in `sum` uses compensated summation from Python 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


class MovingSums:
    """Sums over the last `width` and over the last `block` samples (width <= block) of several signals at once.

    A running total loses digits as it grows, and it drifts if each new sample is added and the oldest subtracted. Here,
    cumulative sums start again at 0 with each block of fixed length. No sum is ever of more than one block, and the
    order of additions is the same sample by sample (in C) and over long arrays (here).

    The state is the last `block` cumulative sums of each signal. When a block is full, its total is subtracted from its
    cumulative sums. They are then negative: minus the sum of the samples of that block that follow. The sum over a
    window is therefore always the newest cumulative sum minus an older one.

    Args:
        rows: number of signals.
        width: length of the short window, in samples.
        block: length of the long window and of a block, in samples.
    """

    def __init__(self, rows: int, width: int, block: int) -> None:
        self._rows, self.width, self.block = rows, width, block
        self.restart()

    def restart(self) -> None:
        """Start a new signal; all samples before it count as 0."""
        self._sums = np.zeros((self._rows, self.block))
        self._offset = 0  # position of the next sample in its block

    def process(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums that end at each sample of `x` (rows, n).

        Returns:
            Sums over `width` samples, (rows, n), and sums of row 0 over `block` samples, (n,).
        """
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
        """Do the same as `_within_block` for many blocks at once."""
        width, block = self.width, self.block
        sums = np.add.accumulate(x.reshape(self._rows, -1, block), axis=2)
        # For each block, the cumulative sums of the block before it, less that block's total.
        before = np.concatenate((self._sums[:, None], sums - sums[:, :, -1:]), axis=1)
        over = over_width.reshape(sums.shape)
        np.subtract(sums[:, :, width:], sums[:, :, :-width], out=over[:, :, width:])
        np.subtract(sums[:, :, :width], before[:, :-1, block - width :], out=over[:, :, :width])
        over_width[:] = over.reshape(over_width.shape)
        over_block[:] = (sums[0] - before[0, :-1]).ravel()
        self._sums = before[:, -1].copy()

    def _within_block(
        self, x: NDArray[np.float64], over_width: NDArray[np.float64], over_block: NDArray[np.float64]
    ) -> None:
        """Sum over samples that all lie within one block."""
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
