"""Beat windows: the band-limited signal around an R peak, interpolated onto the model's 128 Hz grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MODEL_RATE_HZ = 128
# Grids of points at 128 Hz, counted from the R peak (point 0).
BEAT_GRID: NDArray[np.int64] = np.arange(-45, 37)  # -0.352 to +0.281 s: the window of a beat that a model gets
LONG_GRID: NDArray[np.int64] = np.arange(-45, 58)  # to +0.445 s: the same for a model that also gets 10 s of context
RPEAK_GRID: NDArray[np.int64] = np.arange(-45, 14)  # ends so early that it is complete when an R peak is certain
WIDE_GRID: NDArray[np.int64] = np.arange(-52, 66)  # LONG_GRID with room for shift and stretch, for training


def _part_of_wide(grid: NDArray[np.int64]) -> slice:
    return slice(int(grid[0] - WIDE_GRID[0]), int(grid[-1] - WIDE_GRID[0]) + 1)


BEAT_CORE, LONG_CORE = _part_of_wide(BEAT_GRID), _part_of_wide(LONG_GRID)  # where these grids lie in WIDE_GRID


class WindowSampler:
    """Reads a grid of 128 Hz points around any sample of a signal, by cubic (Catmull-Rom) interpolation.

    R peaks lie on samples, so the four weights of a grid point are the same for every beat.

    Args:
        fs: rate of the signal, Hz.
        grid: points at 128 Hz, counted from the R peak, in ascending order.
    """

    def __init__(self, fs: float, grid: NDArray[np.int64] = BEAT_GRID) -> None:
        position = grid * (fs / MODEL_RATE_HZ)
        whole = np.floor(position).astype(np.int64)
        t = position - whole
        self.weights = np.stack(
            (
                -0.5 * t + t**2 - 0.5 * t**3,
                1.0 - 2.5 * t**2 + 1.5 * t**3,
                0.5 * t + 2.0 * t**2 - 1.5 * t**3,
                -0.5 * t**2 + 0.5 * t**3,
            )
        )
        last_needed = whole + np.where(self.weights[3] != 0.0, 2, np.where(self.weights[2] != 0.0, 1, 0))
        self.before = int(1 - whole[0])  # samples needed before the R peak
        self.after = int(last_needed.max())  # samples needed after the R peak
        self.index = (whole + np.arange(-1, 3)[:, None]) + self.before
        np.clip(self.index, 0, self.before + self.after, out=self.index)
        self.size = int(grid.size)

    def read(self, stretch: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the window (grid,) in mV from `stretch`, the samples R - before to R + after (inclusive)."""
        return np.asarray((stretch[self.index] * self.weights).sum(axis=0), np.float32)
