"""Signal quality of a beat: how far the signal just before it stands still, over how high the beat is.

Between P wave and T wave a heart is slow and small; muscle noise is rough there, and electrode motion moves. Two
medians over the 0.27 s that end 80 ms before R, which a wave or two cannot move, each over the beat's R amplitude:

- roughness: |second difference| at 128 Hz, for muscle noise;
- motion: |change within 39 ms|, for electrode motion.

The logit of quality is linear in their logarithms, and averaged over the last beats, since noise lasts longer than a
beat. Its constants are those of a logistic regression of clean beats of `ds1-fit` against the same beats with the first
half of NSTDB's `em` and `ma` at 0 and -6 dB, equal in weight. So one half means: as likely clean as buried in noise.
Nothing is compared with other beats of the wearer, lest an ectopic beat look like noise; and nothing after R is needed,
so that it is the same whether a model runs or not.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_BEGIN, _END = 45, 10  # points at 128 Hz before R
_NEAR_R = 13
_LAG = 5
_ROUGHNESS, _MOTION, _OFFSET = -2.36, -5.37, -20.72
_LEAST = 1e-3  # of the R amplitude: below it the converter's steps are seen and no noise
_MEMORY = 0.3  # share of the newest beat
_CLIPPED = 0.5  # of the quality is left where the QRS was cut off: it can be found and not measured


class SignalQuality:
    """Quality of one beat after the other, 0 (unusable) to 1 (clean)."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget the beats so far: the signal broke off."""
        self._logit: float | None = None

    def of_beat(self, window: NDArray[np.float32], r_index: int, *, clipped: bool) -> float:
        """Quality of the next beat.

        `window` (points,) in mV at 128 Hz has R at `r_index`, 45 points before it or more and 13 after; `clipped` says
        that some of its QRS complex was cut off.
        """
        amplitude = max(float(np.abs(window[r_index - _NEAR_R : r_index + _NEAR_R + 1]).max()), 1e-3)
        before = window[r_index - _BEGIN : r_index - _END]
        steps = before[1:] - before[:-1]
        own = (
            _OFFSET
            + _ROUGHNESS * math.log(_median(steps[1:] - steps[:-1]) / amplitude + _LEAST)
            + _MOTION * math.log(_median(before[_LAG:] - before[:-_LAG]) / amplitude + _LEAST)
        )
        self._logit = own if self._logit is None else self._logit + _MEMORY * (own - self._logit)
        quality = 1.0 / (1.0 + math.exp(-self._logit))
        return _CLIPPED * quality if clipped else quality


def _median(x: NDArray[np.float32]) -> float:
    """Of |x|; the upper one of two in the middle."""
    ordered = np.abs(x)
    ordered.sort()
    return float(ordered[x.size // 2])
