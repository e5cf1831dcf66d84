"""The patient's past RR intervals, and the features of a new one relative to them.

The features are ratios, never absolute times, since a model that depends on absolute times does not transfer to other
patients.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.median import RunningMedian, median
from ecgmoe_edge.streaming.signal.sums import plain_sum

RR_MEMORY = 300  # intervals; a shorter memory loses the usual rhythm during long runs of S
RR_SEQUENCE = 32  # number of single intervals in the input of the rhythm path
# Numbers of intervals that the other features are computed from.
MEAN_OF, SPREAD_OF, MEDIAN_OF = 8, 32, 64
MEAN_STEPS, MEDIAN_STEPS = 15, 31  # successive differences: those of 16 and of 32 intervals
IRREGULAR_DEVIATION = 0.12  # an RR interval is irregular if it differs from the median by more than this fraction

RR_FEATURE_NAMES: Final = (
    "log RR / mean of 8",
    "log RR / median of 64",
    "log RR / RR before",
    "log RR before / mean of 8",
    "log second RR before / mean of 8",
    "spread of 8 / their mean",
    "mean successive difference of 16 / median of 64",
    "shortest of 8 / their mean",
    "log RR / median of 300",
    "log median of 8 / median of 300",
    "RR off the median of 8, robust z",
    "median successive difference of 32 / their median",
    "irregular share of 32",
    "RR known",
    "length of memory",
)
TO_MEAN_OF_8 = RR_FEATURE_NAMES.index("log RR / mean of 8")
IRREGULAR_SHARE = RR_FEATURE_NAMES.index("irregular share of 32")
RR_KNOWN = RR_FEATURE_NAMES.index("RR known")  # the features before it are zero if the RR interval is unknown
MEDIAN_OF_300 = RR_FEATURE_NAMES.index("log RR / median of 300")
RR_RATIO_LIMIT = 1.5  # largest absolute value of a log ratio in the RR sequence
Z_LIMIT = 8.0  # largest absolute value of the robust z
# Its unit: this fraction of the median, and so many median absolute deviations (1.48 of them are a standard deviation).
Z_OF_MEDIAN, Z_OF_DEVIATION = 0.03, 1.48

SHORTEST_S, LONGEST_S = 0.15, 4.0  # intervals outside these are taken for the nearest of them


class RRHistory:
    """Computes the features of each RR interval, and remembers it."""

    def __init__(self) -> None:
        self._past: deque[float] = deque(maxlen=SPREAD_OF)  # RR intervals, s, oldest first
        self._steps: deque[float] = deque(maxlen=MEAN_STEPS)  # absolute successive differences of the last 16, s
        self._median64, self._median300 = RunningMedian(MEDIAN_OF), RunningMedian(RR_MEMORY)
        self._median_step = RunningMedian(MEDIAN_STEPS)  # successive differences of the last 32
        self._sequence = np.zeros((2, RR_SEQUENCE), np.float32)  # log ratio to the median of 300; mask

    def add(self, rr_s: float | None, *, remember: bool = True) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return features (15,) and sequence (2, 32) of the next beat.

        Args:
            rr_s: RR interval to the beat before, s. If it is not known (None), it is not remembered, and the features
                and their mask are zero.
            remember: whether later intervals are compared with this one; False if a beat at one of its ends is poor.
                It has features and a place in the sequence in any case: to mask it there as well cost labels of good
                beats (ds1).
        """
        if not remember and not self._past:  # nothing to compare it with
            rr_s = None
        length = math.log1p(len(self._median300)) / math.log1p(RR_MEMORY)
        if rr_s is None:
            features = np.zeros(len(RR_FEATURE_NAMES), np.float32)
            features[-1] = length
            self._push(0.0, 0.0)
            return features, self._sequence.copy()
        rr = min(max(rr_s, SHORTEST_S), LONGEST_S)
        is_first = not self._past
        if is_first:  # it is compared with itself
            self._remember(rr)
        features = np.array((*self._features(rr), 1.0, length), np.float32)
        self._push(float(features[MEDIAN_OF_300]), 1.0)
        if remember and not is_first:
            self._remember(rr)
        return features, self._sequence.copy()

    def _remember(self, rr: float) -> None:
        if self._past:
            step = abs(rr - self._past[-1])
            self._steps.append(step)
            self._median_step.add(step)
        self._past.append(rr)
        self._median64.add(rr)
        self._median300.add(rr)

    def _push(self, ratio: float, known: float) -> None:
        """Append a log ratio and its mask to the sequence."""
        self._sequence[:, :-1] = self._sequence[:, 1:]
        self._sequence[0, -1], self._sequence[1, -1] = min(max(ratio, -RR_RATIO_LIMIT), RR_RATIO_LIMIT), known

    def _features(self, rr: float) -> tuple[float, ...]:
        """Return all features but the last two, in the order of RR_FEATURE_NAMES.

        Plain numbers are used, since they are faster than arrays this short.
        """
        p32 = list(self._past)
        p8 = p32[-MEAN_OF:]
        before = p32[-1]
        second = p32[-2] if len(p32) > 1 else before
        mean8, median8, median32 = plain_sum(p8) / len(p8), median(p8), median(p32)
        spread8 = math.sqrt(plain_sum((p - mean8) ** 2 for p in p8) / len(p8))
        median64, median300 = self._median64.value(), self._median300.value()
        deviation = median(abs(p - median32) for p in p32)
        has_steps = len(self._steps) > 1
        step16 = plain_sum(self._steps) / len(self._steps) if has_steps else 0.0
        step32 = self._median_step.value() if has_steps else 0.0
        log_rr, log_mean8, log_median300 = math.log(rr), math.log(mean8), math.log(median300)
        return (
            log_rr - log_mean8,
            log_rr - math.log(median64),
            log_rr - math.log(before),
            math.log(before) - log_mean8,
            math.log(second) - log_mean8,
            spread8 / mean8,
            step16 / median64,
            min(p8) / mean8,
            log_rr - log_median300,
            math.log(median8) - log_median300,
            min(max((rr - median8) / (Z_OF_MEDIAN * median8 + Z_OF_DEVIATION * deviation), -Z_LIMIT), Z_LIMIT),
            step32 / median32,
            sum(abs(p / median32 - 1.0) > IRREGULAR_DEVIATION for p in p32) / len(p32),
        )
