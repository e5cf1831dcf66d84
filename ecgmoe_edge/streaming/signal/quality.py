"""Signal quality of a beat: how much quieter the signal is just before the QRS complex than in it.

Between the P wave and the T wave the heart's signal is slow; muscle noise is rough there, and a moving electrode
changes the level. Two measures are taken. Each is the median over the 0.27 s that end 80 ms before R (a single wave
hardly changes it), divided by the largest value within 0.1 s of R:

- roughness: |second difference| at 128 Hz, for muscle noise;
- motion: |change within 39 ms|, for electrode motion.

The logit of the quality is linear in the logarithms of these two ratios, and averaged over the last beats, since noise
lasts longer than a beat. The constants are those of a logistic regression: beats detected in `ds1-fit`, against those
detected with the first half of NSTDB's `em` and `ma` at 0 and -6 dB added, both classes with equal weight. A quality of
one half thus means: as likely clean as buried in noise. Nothing is compared with other beats of the patient, so that an
ectopic beat does not look like noise. Nothing later than 0.1 s after R is needed, so that the quality is the same with
and without a model.

Two kinds of peaks in a cardiac standstill are no beats (`no_qrs`). Both are far smaller than the patient's R peaks:

- a peak of noise: its own quality is poor, whatever the beats before it were. It keeps its own quality, not averaged;
- a P wave in a ventricular standstill, of good quality. For its height, it rises more slowly than the patient's QRS
  complexes do, or it resembles the wave that came before them. QRS complexes that have become small keep their slope.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ecgmoe_edge.streaming.signal.median import RunningMedian
from ecgmoe_edge.streaming.signal.sums import Real, ordered_sum

POOR_QUALITY = 0.005  # below this a beat is `?`; chosen on ds1-fit, benchmarks/signal_quality.py shows what it costs
# Times in points of the model's rate, 128 Hz.
BEGIN, END = 45, 10  # the signal before the QRS complex: from 45 to 10 points before R
NEAR_R = 13  # the QRS complex: up to so many points from R
EXAMINED = (BEGIN, NEAR_R)  # all that quality depends on: points before and after R
LAG = 5  # 39 ms, for the measure of motion
ROUGHNESS, MOTION, OFFSET = -3.08, -4.54, -19.79  # the fitted constants
LEAST_RATIO = 1e-3  # added to a ratio: less than this are the converter's steps, not noise
# Roughness and motion of the QRS complex that count as nothing; a QRS complex of 10 uV has more.
LITTLE_ROUGHNESS_MV, LITTLE_MOTION_MV = 0.0003, 0.0025
FEWEST_POINTS = 8  # with fewer points before R, quality cannot be determined
NEWEST_SHARE = 0.3  # weight of the newest beat in the average
POOR_LOGIT = math.log(POOR_QUALITY / (1.0 - POOR_QUALITY))
CLIPPED = 0.5  # factor of the quality of a clipped QRS complex: it can be detected and not measured

# Peaks that are no QRS complex.
SMALL = 0.3  # largest height, as a fraction of the patient's median R amplitude
AMPLITUDE_BEATS, FEWEST_BEATS = 32, 3  # number of beats in that median: at most, and at least
# P waves; of 25,000 beats in ds1-fit and svdb-fit only one is so small and so slow.
P_WAVE_MV = 0.3  # largest height
SLOPE_LAG = 2  # points over which the steepest change is taken, since noise hardly affects it
SLOW = 0.85  # largest steepness over height, as a fraction of the patient's median; P waves beside QRS of 80 ms: 0.7
P_HALF, P_END = 10, 5  # half the width of a P wave, and the end of P waves before R
P_ALIKE, P_SCALE = 0.9, 1.5  # least correlation with a wave before R, and largest ratio of their sizes
P_MARGIN = 0.03  # by so much it may correlate better with the QRS complex: wide ones without a notch resemble a P wave
MEAN_KEEPS = 0.9  # weight of the past in the means of the signal before and around R, at each beat
MOST_P_WAVES = 256  # more in a row are QRS complexes: in a standstill the atria do not go on for so long


class SignalQuality:
    """Quality of the beats of one lead, one after the other: 0 (unusable) to 1 (clean)."""

    length = 4 * AMPLITUDE_BEATS + BEGIN - P_END + 2 * NEAR_R + 1  # how many numbers the state has

    def __init__(self) -> None:
        self.no_qrs = False  # whether the last beat was a peak of noise or a P wave
        self._forget_beats()
        self.restart()

    def _forget_beats(self) -> None:
        # Of the patient's QRS complexes; a break of the signal does not clear them.
        self._amplitude = RunningMedian(AMPLITUDE_BEATS)  # R amplitude, mV
        self._steepness = RunningMedian(AMPLITUDE_BEATS)  # steepest change over amplitude
        self._before_r = np.zeros(BEGIN - P_END)  # mean signal before R, mV
        self._qrs = np.zeros(2 * NEAR_R + 1)  # mean signal around R, mV
        self._p_waves = 0  # number of P waves in a row

    def restart(self) -> None:
        """Forget the average over the last beats, after a break of the signal."""
        self._logit: float | None = None

    def of_beat(self, window: NDArray[np.float32], r_index: int, *, seen: int, clipped: bool) -> float:
        """Return the quality of the next beat.

        Args:
            window: the beat (points,) in mV at 128 Hz, from 45 points or more before R to 13 points or more after R.
            r_index: index of R in `window`.
            seen: number of points before R since the signal began. With too few, the beat has the quality of the beats
                before it, or one half if it is the first.
            clipped: whether part of the QRS complex is clipped.
        """
        before = window[r_index - min(seen, BEGIN) : r_index - END]
        near = window[r_index - NEAR_R : r_index + NEAR_R + 1]
        self.no_qrs = False
        if before.size >= FEWEST_POINTS:
            own = (
                OFFSET
                + ROUGHNESS * _log_ratio(_roughness(before), _roughness(near), LITTLE_ROUGHNESS_MV)
                + MOTION * _log_ratio(_motion(before), _motion(near), LITTLE_MOTION_MV)
            )
            if self._is_no_qrs(window[r_index - BEGIN : r_index - P_END], near, own):
                # The beats beside it are larger, so it is not averaged with them.
                return 1.0 / (1.0 + math.exp(-own))
            self._logit = own if self._logit is None else self._logit + NEWEST_SHARE * (own - self._logit)
        quality = 1.0 / (1.0 + math.exp(-(self._logit or 0.0)))
        return CLIPPED * quality if clipped else quality

    def _is_no_qrs(self, before: NDArray[np.float32], near: NDArray[np.float32], own: float) -> bool:
        """Whether a peak is noise or a P wave; if not, it is added to the patient's QRS complexes.

        Args:
            before: signal from 45 to 5 points before R, mV.
            near: signal up to 13 points from R, mV.
            own: logit of the quality of this beat alone.
        """
        amplitude = float(np.abs(near).max())
        wave = _without_line(near)
        steepness = float(_motion(wave, SLOPE_LAG).max()) / max(float(np.abs(wave).max()), LITTLE_ROUGHNESS_MV)
        if len(self._amplitude) >= FEWEST_BEATS and amplitude < SMALL * self._amplitude.value():
            is_p_wave = amplitude < P_WAVE_MV and (
                steepness < SLOW * self._steepness.value() or self._resembles_p_wave(near)
            )
            self._p_waves = self._p_waves + 1 if is_p_wave else 0
            if self._p_waves > MOST_P_WAVES:
                self._forget_beats()
            else:
                self.no_qrs = is_p_wave or own < POOR_LOGIT
        else:
            self._p_waves = 0
        if not self.no_qrs:
            first = not len(self._amplitude)
            self._amplitude.add(amplitude)
            self._steepness.add(steepness)
            share = 1.0 if first else 1.0 - MEAN_KEEPS
            self._before_r += share * (before - self._before_r)
            self._qrs += share * (near - self._qrs)
        return self.no_qrs

    def _resembles_p_wave(self, near: NDArray[np.float32]) -> bool:
        """Whether a peak has form and size of a wave before the patient's R peaks, and not the form of their QRS."""
        middle = near.size // 2
        centre = slice(middle - P_HALF, middle + P_HALF + 1)
        own = _without_line(near[centre].astype(np.float64))
        # All places before R, and the QRS complex in the last row.
        past = _without_line(np.vstack((sliding_window_view(self._before_r, own.size), self._qrs[centre])))
        own_size, size = float(np.sqrt(ordered_sum(own * own))), np.sqrt(ordered_sum(past * past, 1))
        correlation = ordered_sum(past * own, 1) / (size * own_size + LITTLE_ROUGHNESS_MV**2)
        alike = (correlation >= P_ALIKE) & (correlation > abs(correlation[-1]) - P_MARGIN)
        return bool((alike & (size <= P_SCALE * own_size) & (own_size <= P_SCALE * size))[:-1].any())


def _without_line(x: NDArray[Real]) -> NDArray[Real]:
    """`x` (..., points) minus the straight line through its ends, which removes baseline wander."""
    first, last = x[..., :1], x[..., -1:]
    return np.asarray(x - (first + (last - first) * np.linspace(0.0, 1.0, x.shape[-1], dtype=x.dtype)))


def _roughness(x: NDArray[np.float32]) -> NDArray[np.float32]:
    steps = x[1:] - x[:-1]
    return np.asarray(np.abs(steps[1:] - steps[:-1]))


def _motion(x: NDArray[np.float32], lag: int = LAG) -> NDArray[np.float32]:
    return np.asarray(np.abs(x[lag:] - x[:-lag]))


def _log_ratio(before: NDArray[np.float32], near: NDArray[np.float32], little_mv: float) -> float:
    """Logarithm of the median of `before` (of an even count, the upper of the two) over the largest of `near`.

    The less the largest of `near` exceeds `little_mv`, the more is added to the ratio. In a signal without content both
    are close to nothing, and it must not be called quiet before R.
    """
    before.sort()
    largest = max(float(near.max()), little_mv)
    return math.log(float(before[before.size // 2]) / largest + LEAST_RATIO + (little_mv / largest) ** 2)
