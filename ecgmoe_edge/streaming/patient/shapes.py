"""The patient's beat shapes with the mean score of their beats: beats of one shape are mostly of one class.

A model classifies one beat at a time, and sometimes errs on beats that look alike. Here, every beat is added to the
shape that it resembles, or becomes a new shape. A shape remembers the mean V margin (logit of V over N and S) of its
beats, and the margin of a beat is moved towards that mean. Ventricular beats can have nearly the QRS complex of the
patient's normal beats. They differ in the T wave, which is part of the shape, and they come early: a shape also keeps
the means of its early beats apart. In atrial fibrillation this is not used, since early says nothing there. No label
and no later beat is used.

Per-patient clustering of QRS shapes is as old as monitoring (Feldman, 1977, "Computer detection of ventricular ectopic
beats"); its combination with the scores of a network is ours. In patient-grouped cross-validation over the records of
DS1 and of svdb, with one lead, F1 of V rises from 88.0 to 94.0 and from 79.1 to 82.7; without the T wave and without
separate early beats it is 94.3 and 80.3.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.sums import ordered_mean, ordered_sum
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

FORM: Final = slice(*np.searchsorted(BEAT_GRID, (-18, 36)).tolist())  # 0.14 s before R to 0.27 s after: QRS, ST, T
SHAPES = 16  # number of shapes in memory; a new one replaces the one without a beat for the longest time
RATIO = 1.5  # beats whose sizes differ by more than this ratio have different shapes
LEAST_WEIGHT = 0.1  # smallest weight of a new beat in the mean form of its shape
LEAST_SIZE = 1e-9  # added to the size of a form, so that a flat one has no correlation
MARGIN_BEATS = 200  # number of beats over which a mean margin is taken (exponentially from there on)
MARGIN_LIMIT = 6.0  # larger margins are limited to this
TRUST_BEATS = 2.0  # number of beats at which the mean margin of a shape has half of its full weight
TRUST_EARLY = 10.0  # the same for its beats of one class of earliness; higher, since these are few
# Limits of the classes of earliness (very early, early, on time): ln of the RR interval over the mean of 8.
EARLINESS = (math.log(0.8), math.log(0.93))


class ShapeMemory:
    """Mean form of each shape (54 values) with the mean margin of its beats.

    Args:
        correlation: smallest correlation with a shape for a beat to belong to it.
        early_share: weight of the mean margin of the beats of the shape that come as early, 0 to 1; the mean margin of
            all its beats has the rest.
    """

    def __init__(self, correlation: float, early_share: float) -> None:
        self._least, self._early_share = correlation, early_share
        self._mean = np.zeros((SHAPES, FORM.stop - FORM.start))
        self._size = np.ones(SHAPES)  # square root of the energy
        self._beats = np.zeros(SHAPES)
        self._margin = np.zeros(SHAPES)
        self._early_beats = np.zeros((SHAPES, len(EARLINESS) + 1))
        self._early_margin = np.zeros_like(self._early_beats)
        self._seen = np.zeros(SHAPES)  # number of its last beat
        self._n = 0  # number of beats
        self._known = 0  # number of shapes

    @property
    def length(self) -> int:
        """How many numbers the state has."""
        held = (self._mean, self._size, self._beats, self._margin, self._early_beats, self._early_margin, self._seen)
        return sum(array.size for array in held)

    def correction(self, beat: NDArray[np.float32], margin: float, log_rr_ratio: float | None) -> float:
        """Return the difference from a beat's margin to the expected margin of its shape, and learn the beat.

        The difference is multiplied by a weight that grows with the number of beats of the shape; it is 0 for a new
        shape.

        Args:
            beat: window (82,) on BEAT_GRID, in R amplitudes.
            margin: logit of V over N and S (natural logarithm).
            log_rr_ratio: ln of the RR interval over the mean of the 8 before; None if it says nothing, as in atrial
                fibrillation.
        """
        margin = min(max(margin, -MARGIN_LIMIT), MARGIN_LIMIT)
        earliness = None if log_rr_ratio is None else bisect_right(EARLINESS, log_rr_ratio)
        x = beat[FORM].astype(np.float64)
        x -= ordered_mean(x)
        size = float(np.sqrt(ordered_sum(x * x))) + LEAST_SIZE
        shape = self._shape_of(x, size)
        if shape is None:
            shape, correction = self._new(x, size), 0.0
        else:
            beats = self._beats[shape]
            correction = float(beats / (beats + TRUST_BEATS)) * (self._expected(shape, earliness) - margin)
            self._mean[shape] += max(LEAST_WEIGHT, 1.0 / (beats + 1.0)) * (x - self._mean[shape])
            self._size[shape] = np.sqrt(ordered_sum(self._mean[shape] * self._mean[shape])) + LEAST_SIZE
        self._n += 1
        self._seen[shape] = self._n
        _learn(self._beats, self._margin, shape, margin)
        if earliness is not None:
            _learn(self._early_beats[shape], self._early_margin[shape], earliness, margin)
        return correction

    def _expected(self, shape: int, earliness: int | None) -> float:
        """Return the mean margin of a shape, moved towards that of its beats that come as early."""
        of_all = float(self._margin[shape])
        if earliness is None:
            return of_all
        beats = float(self._early_beats[shape, earliness])
        share = self._early_share * beats / (beats + TRUST_EARLY)
        return of_all + share * (float(self._early_margin[shape, earliness]) - of_all)

    def _shape_of(self, x: NDArray[np.float64], size: float) -> int | None:
        """Return the shape that the form `x` (54,) of a beat belongs to; None for a new shape."""
        if not self._known:
            return None
        sizes = self._size[: self._known]
        correlation = ordered_sum(self._mean[: self._known] * x, 1) / (size * sizes)
        correlation[(sizes > RATIO * size) | (size > RATIO * sizes)] = -1.0
        best = int(correlation.argmax())
        return best if correlation[best] > self._least else None

    def _new(self, x: NDArray[np.float64], size: float) -> int:
        """Begin a new shape with the form `x` (54,) of a beat, and return it."""
        if self._known < SHAPES:
            shape = self._known
            self._known += 1
        else:
            shape = int(self._seen.argmin())
        self._mean[shape], self._size[shape] = x, size
        self._beats[shape] = self._margin[shape] = 0.0
        self._early_beats[shape] = self._early_margin[shape] = 0.0
        return shape


def _learn(beats: NDArray[np.float64], margins: NDArray[np.float64], index: int, margin: float) -> None:
    """Count one more beat, and add its margin to the running mean."""
    beats[index] += 1.0
    margins[index] += (margin - margins[index]) / min(beats[index], MARGIN_BEATS)
