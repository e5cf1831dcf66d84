"""Whether RR intervals exclude atrial fibrillation: they follow from those before, or most of them are equal.

Breathing modulates a sinus rhythm smoothly. A linear prediction of each interval from the three before it is fitted to
the last 32 intervals by their autocorrelation (Levinson's recursion). The measure is the fraction of the variance that
the prediction does not explain. In atrial fibrillation (records 201 and 203) it is 0.5 or more in 99 % of the stretches
of 16 intervals and in all of 32. In simulated respiratory arrhythmia (depth 10 to 30 %, period 3 to 12 s, jitter 1 to
3 %) it is below 0.5 in 95 % of the stretches of 16 and in 99 % of 32.

With ectopic beats, or if the detector misses some of them, a few intervals are much shorter or longer, and most are
equal. At least 60 % of 32 intervals are within 5 % of their median in 81 % of the stretches that are annotated normal,
in the Long-Term AF Database (`ltafdb-val`) as in DS1, and in 2.0 % and none of those in atrial fibrillation. This was
counted once on the annotations; no command of the project prints it.
"""

from __future__ import annotations

import math
from collections import deque

from ecgmoe_edge.streaming.signal.sums import plain_sum

INTERVALS = 32
ORDER = 3  # number of intervals that predict the next one
LEAST_SPREAD = 0.04  # smallest standard deviation of ln RR; on a rhythm with less the model decides
PREDICTABLE = 0.5  # RR intervals are predictable if less than this fraction of the variance is not explained
STEADY_WITHIN = 0.05  # an interval is equal to the median if it differs by less than this fraction
STEADY_SHARE = 0.6  # RR intervals are steady if at least this fraction of them is equal to the median
OUTLIER = 0.3  # differences of ln RR from the median are limited to this, because of ectopic beats


class Predictability:
    """The last RR intervals of a patient."""

    def __init__(self) -> None:
        self._rr_ms: deque[float] = deque(maxlen=INTERVALS)

    def __len__(self) -> int:
        return len(self._rr_ms)

    def add(self, rr_ms: float) -> None:
        """Add the next RR interval."""
        self._rr_ms.append(rr_ms)

    def is_smooth(self) -> bool:
        """Whether the intervals vary and are predictable; there must be at least one interval."""
        correlation = self._correlation()
        varies = correlation[0] >= LEAST_SPREAD**2 * len(self._rr_ms)
        return varies and _unexplained(correlation) < PREDICTABLE

    def is_steady(self) -> bool:
        """Whether most intervals are equal; there must be at least one interval."""
        middle = self._median()
        equal = sum(abs(rr - middle) < STEADY_WITHIN * middle for rr in self._rr_ms)
        return equal >= STEADY_SHARE * len(self._rr_ms)

    def unexplained(self) -> float:
        """Return the fraction of the variance that is not explained, 0 to 1; there must be at least one interval."""
        return _unexplained(self._correlation())

    def _median(self) -> float:
        return sorted(self._rr_ms)[len(self._rr_ms) // 2]

    def _correlation(self) -> list[float]:
        """Return the autocorrelation of ln RR at lags 0 to `ORDER`, as sums of products."""
        middle = self._median()
        x = [min(max(math.log(rr / middle), -OUTLIER), OUTLIER) for rr in self._rr_ms]
        mean = plain_sum(x) / len(x)
        x = [value - mean for value in x]
        return [plain_sum(a * b for a, b in zip(x, x[lag:], strict=False)) for lag in range(ORDER + 1)]


def _unexplained(correlation: list[float]) -> float:
    """Return the fraction of the variance that is not explained, by Levinson's recursion on an autocorrelation."""
    error = correlation[0]
    if error <= 0.0:
        return 0.0
    taps: list[float] = []
    for order in range(ORDER):
        past = plain_sum(tap * correlation[order - k] for k, tap in enumerate(taps))
        reflection = (correlation[order + 1] - past) / error
        taps = [tap - reflection * other for tap, other in zip(taps, reversed(taps), strict=True)] + [reflection]
        error *= 1.0 - reflection * reflection
    return error / correlation[0]
