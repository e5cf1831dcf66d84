"""The patient's beats so far in one lead, which the next one is compared with: windows and amplitudes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.median import RunningMedian

TEMPLATE_BEATS = 16
AMPLITUDE_BEATS = 32
TEACHES = 0.1  # quality from which a beat is remembered
POOREST_SHARE = 0.5  # of the usual quality, where that is lower still: who has no better beats has a history too
QUALITY_BEATS = 300  # that say what is usual: longer than noise lasts
NEAR_R = 13  # grid points either side of R in which the R amplitude is read (0.1 s)


class LeadHistory:
    """The patient's beats so far in one lead, as far as the next one is compared with them; a gap forgets nothing.

    Only beats of sufficient quality are remembered, lest half a minute of moving electrodes make the template.

    grid: number of points of a window, r_index: that of the R peak among them.
    """

    def __init__(self, grid: int, r_index: int) -> None:
        self._near = slice(max(0, r_index - NEAR_R), r_index + NEAR_R + 1)
        self._windows = np.zeros((grid, TEMPLATE_BEATS), np.float32)  # a beat a column, so that a row sorts fast
        self._beats = 0
        self._amplitudes = RunningMedian(AMPLITUDE_BEATS)
        self._qualities = RunningMedian(QUALITY_BEATS)

    def template(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Median (grid,) of the last windows; the beat's own `window` where it is the first."""
        held = min(self._beats, TEMPLATE_BEATS)
        if not held:
            return window
        ordered = np.sort(self._windows[:, :held], axis=1)
        middle = held // 2
        if held % 2:
            return np.ascontiguousarray(ordered[:, middle])
        return np.asarray(np.float32(0.5) * (ordered[:, middle - 1] + ordered[:, middle]))

    def amplitude(self, window: NDArray[np.float32]) -> float:
        """Median R amplitude of the last beats, mV; that of the beat with this window where it is the first."""
        return self._amplitudes.value() if self._beats else self._own_amplitude(window)

    def remember(self, window: NDArray[np.float32], quality: float) -> bool:
        """Take a complete beat among those that the next ones are compared with, if its quality, 0 to 1, allows it."""
        self._qualities.add(quality)
        if quality < min(TEACHES, POOREST_SHARE * self._qualities.value()):
            return False
        self._windows[:, self._beats % TEMPLATE_BEATS] = window
        self._beats += 1
        self._amplitudes.add(self._own_amplitude(window))
        return True

    def _own_amplitude(self, window: NDArray[np.float32]) -> float:
        return float(np.abs(window[self._near]).max())
