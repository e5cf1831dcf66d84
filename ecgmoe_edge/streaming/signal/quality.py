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
and far smaller than the patient's R peaks. It has the quality of itself alone. A P wave in a standstill of the
ventricles is as small and of good quality. It rises slower, for its height, than the patient's QRS complexes do, or it
is what came before them; QRS complexes that have become small keep their slope. Neither is a beat (`no_qrs`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.ordered_sum import Real, ordered_sum
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
# A P wave: of 25,000 beats in ds1-fit and svdb-fit one is so small and so slow.
_P_WAVE_MV = 0.3  # at most
_SLOPE_LAG = 2  # points, over which the steepest change is taken: noise hardly moves it
_SLOW = 0.85  # of the patient's median of that over amplitude; P waves beside QRS complexes of 80 ms have 0.7
_P_HALF, _P_END = 10, 5  # points: half a P wave, and where it has ended before R
_P_ALIKE, _P_SCALE = 0.9, 1.5  # correlation with what comes before R, and how much larger or smaller it may be
_P_MARGIN = 0.03  # by which it may be more like the QRS complex: wide ones without a notch are alike
_OLD = 0.9  # share that the means of what is before and round R keep with each beat
_MOST_P_WAVES = 256  # in a row: the atria of a standstill do not go on for so long, so these are QRS complexes
_CLIPPED = 0.5  # of the quality is left where the QRS was cut off: it can be found and not measured


class SignalQuality:
    """Quality of one beat after the other, 0 (unusable) to 1 (clean)."""

    length = 4 * _AMPLITUDE_BEATS + _BEGIN - _P_END + 2 * _NEAR_R + 1  # numbers that it holds

    def __init__(self) -> None:
        self.no_qrs = False  # the last beat was a peak of noise or a P wave
        self._forget_beats()
        self.restart()

    def _forget_beats(self) -> None:
        self._amplitude = RunningMedian(_AMPLITUDE_BEATS)  # R amplitude of the others, mV; a break forgets nothing
        self._steepness = RunningMedian(_AMPLITUDE_BEATS)  # steepest change over amplitude, of the same
        self._before_r = np.zeros(_BEGIN - _P_END)  # mean of what comes before R, mV
        self._qrs = np.zeros(2 * _NEAR_R + 1)  # and of what is round it
        self._p_waves = 0  # in a row

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
            if self._is_no_qrs(
                window[r_index - _BEGIN : r_index - _P_END], near, own
            ):  # it says nothing about the beats beside it, which are larger
                return 1.0 / (1.0 + math.exp(-own))
            self._logit = own if self._logit is None else self._logit + _MEMORY * (own - self._logit)
        quality = 1.0 / (1.0 + math.exp(-(self._logit or 0.0)))
        return _CLIPPED * quality if clipped else quality

    def _is_no_qrs(self, before: NDArray[np.float32], near: NDArray[np.float32], own: float) -> bool:
        """Whether what is `near` R, with so much logit by itself, is noise or a P wave; else it is learnt from."""
        amplitude = float(np.abs(near).max())
        wave = _off_line(near)
        steepness = float(_moves(wave, _SLOPE_LAG).max()) / max(float(np.abs(wave).max()), _LITTLE_BENDS_MV)
        if len(self._amplitude) >= _FEWEST_BEATS and amplitude < _SMALL * self._amplitude.value():
            is_p_wave = amplitude < _P_WAVE_MV and (
                steepness < _SLOW * self._steepness.value() or self._comes_before_r(near)
            )
            self._p_waves = self._p_waves + 1 if is_p_wave else 0
            if self._p_waves > _MOST_P_WAVES:
                self._forget_beats()
            else:
                self.no_qrs = is_p_wave or own < _POOR_LOGIT
        else:
            self._p_waves = 0
        if not self.no_qrs:
            first = not len(self._amplitude)
            self._amplitude.add(amplitude)
            self._steepness.add(steepness)
            share = 1.0 if first else 1.0 - _OLD
            self._before_r += share * (before - self._before_r)
            self._qrs += share * (near - self._qrs)
        return self.no_qrs

    def _comes_before_r(self, near: NDArray[np.float32]) -> bool:
        """Whether what is `near` a peak has form and height of a wave that comes before R, rather than a QRS form."""
        middle = near.size // 2
        centre = slice(middle - _P_HALF, middle + _P_HALF + 1)
        own = _off_line(near[centre].astype(np.float64))
        past = _off_line(np.vstack((sliding_window_view(self._before_r, own.size), self._qrs[centre])))
        own_size, size = float(np.sqrt(ordered_sum(own * own))), np.sqrt(ordered_sum(past * past, 1))
        likeness = ordered_sum(past * own, 1) / (size * own_size + _LITTLE_BENDS_MV**2)
        alike = (likeness >= _P_ALIKE) & (likeness > abs(likeness[-1]) - _P_MARGIN)
        return bool((alike & (size <= _P_SCALE * own_size) & (own_size <= _P_SCALE * size))[:-1].any())


def _off_line(x: NDArray[Real]) -> NDArray[Real]:
    """`x` (..., points) off the straight line through its ends: waves without the wander that they ride on."""
    first, last = x[..., :1], x[..., -1:]
    return np.asarray(x - (first + (last - first) * np.linspace(0.0, 1.0, x.shape[-1], dtype=x.dtype)))


def _bends(x: NDArray[np.float32]) -> NDArray[np.float32]:
    steps = x[1:] - x[:-1]
    return np.asarray(np.abs(steps[1:] - steps[:-1]))


def _moves(x: NDArray[np.float32], lag: int = _LAG) -> NDArray[np.float32]:
    return np.asarray(np.abs(x[lag:] - x[:-lag]))


def _log_ratio(before: NDArray[np.float32], near: NDArray[np.float32], little_mv: float) -> float:
    """Logarithm of the median of one (the upper of two in the middle) over the largest of the other.

    The less the QRS complex has beyond `little_mv`, the less its neighbourhood can be called still: in a signal without
    content both are nothing.
    """
    before.sort()
    largest = max(float(near.max()), little_mv)
    return math.log(float(before[before.size // 2]) / largest + _LEAST + (little_mv / largest) ** 2)
