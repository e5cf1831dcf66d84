"""The patient's past beats in one lead: template and R amplitude."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.median import RunningMedian

TEMPLATE_BEATS = 16
AMPLITUDE_BEATS = 32
# A beat is remembered from this quality on, or, if that is less, from this fraction of the patient's median quality on:
# so a patient whose beats are all poor has a history too.
LEAST_QUALITY, LEAST_SHARE = 0.1, 0.5
QUALITY_BEATS = 300  # number of beats in that median: a time longer than noise lasts
NEAR_R = 13  # grid points on both sides of R in which the R amplitude is measured (0.1 s)


class LeadHistory:
    """The last beats of a patient in one lead; a gap does not clear them.

    Only beats of sufficient quality are remembered, so that half a minute of electrode motion does not become the
    template.

    Args:
        grid: number of points of a beat window.
        r_index: index of the R peak among them.
    """

    def __init__(self, grid: int, r_index: int) -> None:
        self._near = slice(max(0, r_index - NEAR_R), r_index + NEAR_R + 1)
        self._windows = np.zeros(
            (grid, TEMPLATE_BEATS), np.float32
        )  # one column for each beat, since rows are sorted faster
        self._beats = 0
        self._amplitudes = RunningMedian(AMPLITUDE_BEATS)
        self._qualities = RunningMedian(QUALITY_BEATS)

    def template(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the median (grid,) of the last windows, in their unit; for the first beat its own `window`."""
        held = min(self._beats, TEMPLATE_BEATS)
        if not held:
            return window
        ordered = np.sort(self._windows[:, :held], axis=1)
        middle = held // 2
        if held % 2:
            return np.ascontiguousarray(ordered[:, middle])
        return np.asarray(np.float32(0.5) * (ordered[:, middle - 1] + ordered[:, middle]))

    def amplitude(self, window: NDArray[np.float32]) -> float:
        """Return the median R amplitude of the last beats, mV; for the first beat that of its own `window`."""
        return self._amplitudes.value() if self._beats else self._own_amplitude(window)

    def remember(self, window: NDArray[np.float32], quality: float) -> bool:
        """Remember a complete beat if its quality is sufficient.

        Args:
            window: the beat (grid,), mV.
            quality: 0 to 1.

        Returns:
            Whether the beat is remembered.
        """
        self._qualities.add(quality)
        if quality < min(LEAST_QUALITY, LEAST_SHARE * self._qualities.value()):
            return False
        self._windows[:, self._beats % TEMPLATE_BEATS] = window
        self._beats += 1
        self._amplitudes.add(self._own_amplitude(window))
        return True

    def _own_amplitude(self, window: NDArray[np.float32]) -> float:
        return float(np.abs(window[self._near]).max())
