"""Signal quality of a beat: how much stiller the signal is just before its QRS complex than in it.

Between P wave and T wave a heart is slow; muscle noise is rough there, and electrode motion moves. Two measures, each
the median over the 0.27 s that end 80 ms before R, which a wave or two cannot move, over the largest within 0.1 s of R:

- roughness: |second difference| at 128 Hz, for muscle noise;
- motion: |change within 39 ms|, for electrode motion.

The logit of quality is linear in their logarithms, and averaged over the last beats, since noise lasts longer than a
beat. Its constants are those of a logistic regression: beats found in `ds1-fit` as it is, against those found with the
first half of NSTDB's `em` and `ma` at 0 and -6 dB, equal in weight. So one half means: as likely clean as buried in
noise. Nothing is compared with other beats of the wearer, lest an ectopic beat look like noise; and nothing later than
0.1 s after R is needed, so that it is the same whether a model runs or not.

A peak of noise in a standstill of the heart is another matter: it is poor by itself, whatever the beats before it were,
and far smaller than the patient's R peaks. It has the quality of itself alone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.running_median import RunningMedian

POOR_QUALITY = 0.005  # below it a beat is `?`: chosen on ds1-fit; `benchmarks/signal_quality.py` says what it costs
_BEGIN, _END = 45, 10  # points at 128 Hz before R
_NEAR_R = 13
LOOKED_AT = (_BEGIN, _NEAR_R)  # points before and after R
_LAG = 5
_ROUGHNESS, _MOTION, _OFFSET = -3.08, -4.54, -19.79
_LEAST = 1e-3  # of what the QRS complex has: below it the converter's steps are seen and no noise
_LITTLE_BENDS_MV, _LITTLE_MOVES_MV = 0.0003, 0.0025  # less content round R than this is none: a QRS of 10 uV has more
_FEWEST = 8  # points before R; a signal that began later cannot be judged yet
_MEMORY = 0.3  # share of the newest beat
UNKNOWN = 0.5  # quality of a beat that nothing is known of
_POOR_LOGIT = math.log(POOR_QUALITY / (1.0 - POOR_QUALITY))
_SMALL = 0.3  # of the patient's median R amplitude
_AMPLITUDE_BEATS, _FEWEST_BEATS = 32, 3  # of which that median is
_CLIPPED = 0.5  # of the quality is left where the QRS was cut off: it can be found and not measured


class SignalQuality:
    """Quality of one beat after the other, 0 (unusable) to 1 (clean)."""

    def __init__(self) -> None:
        self.no_qrs = False  # the last beat was a peak of noise or a P wave
        self._amplitude = RunningMedian(_AMPLITUDE_BEATS)  # R amplitude of the others, mV; a break forgets nothing
        self.restart()

    def restart(self) -> None:
        """Forget the beats so far: the signal broke off."""
        self._logit: float | None = None

    def of_beat(self, window: NDArray[np.float32], r_index: int, *, seen: int, clipped: bool) -> float:
        """Quality of the next beat.

        `window` (points,) in mV at 128 Hz has R at `r_index`, 45 points before it or more and 13 after; `seen`: points
        before R since the signal began; `clipped` says that some of its QRS complex was cut off. With too little signal
        before R nothing is known of the beat: it has the quality of the beats before, of one half if it is the first.
        """
        before = window[r_index - min(seen, _BEGIN) : r_index - _END]
        near = window[r_index - _NEAR_R : r_index + _NEAR_R + 1]
        self.no_qrs = False
        if before.size >= _FEWEST:
            own = (
                _OFFSET
                + _ROUGHNESS * _log_ratio(_bends(before), _bends(near), _LITTLE_BENDS_MV)
                + _MOTION * _log_ratio(_moves(before), _moves(near), _LITTLE_MOVES_MV)
            )
            amplitude = float(np.abs(near).max())
            known = len(self._amplitude) >= _FEWEST_BEATS
            self.no_qrs = own < _POOR_LOGIT and known and amplitude < _SMALL * self._amplitude.value()
            if self.no_qrs:  # it says nothing about the beats beside it, which are larger
                return 1.0 / (1.0 + math.exp(-own))
            self._amplitude.add(amplitude)
            self._logit = own if self._logit is None else self._logit + _MEMORY * (own - self._logit)
        quality = 1.0 / (1.0 + math.exp(-(self._logit or 0.0)))
        return _CLIPPED * quality if clipped else quality


def _bends(x: NDArray[np.float32]) -> NDArray[np.float32]:
    steps = x[1:] - x[:-1]
    return np.asarray(np.abs(steps[1:] - steps[:-1]))


def _moves(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.abs(x[_LAG:] - x[:-_LAG]))


def _log_ratio(before: NDArray[np.float32], near: NDArray[np.float32], little_mv: float) -> float:
    """Logarithm of the median of one (the upper of two in the middle) over the largest of the other.

    The less the QRS complex has beyond `little_mv`, the less its neighbourhood can be called still: in a signal without
    content both are nothing.
    """
    before.sort()
    largest = max(float(near.max()), little_mv)
    return math.log(float(before[before.size // 2]) / largest + _LEAST + (little_mv / largest) ** 2)
