"""What a model is given of a beat besides its waveform: RR intervals and shape, relative to the wearer's own past.

Only ratios, never absolute times or amplitudes: those are what keeps a model from transferring to other patients.
One implementation serves training (batches) and the stream (one beat).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.running_median import RunningMedian

RR_MEMORY = 300  # beats; shorter memories lose the usual rhythm during long runs of S
RR_SEQUENCE = 32  # intervals that the rhythm path sees one by one
IRREGULAR_DEVIATION = 0.12  # share off the median that makes an RR interval irregular

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
TEMPLATE_FEATURE_NAMES: Final = (
    "correlation, beat",
    "log energy ratio, beat",
    "correlation, QRS",
    "log energy ratio, QRS",
    "correlation, P",
    "log energy ratio, P",
    "correlation, T",
    "log energy ratio, T",
    "difference of QRS width",
    "log slope ratio",
    "log difference before the QRS",
    "log amplitude ratio",
)
FEATURE_NAMES: Final = RR_FEATURE_NAMES + TEMPLATE_FEATURE_NAMES
N_FEATURES: Final = len(FEATURE_NAMES)

# Centre and scale of each feature, in the order of FEATURE_NAMES: mean and spread over ds1-fit and svdb-fit, rounded.
# After them one int8 scale holds all features.
_CENTRE_AND_SCALE = np.array(
    [
        (0, 0.17),
        (0, 0.18),
        (0, 0.24),
        (0, 0.15),
        (0, 0.16),
        (0.1, 0.11),
        (0.12, 0.15),
        (0.85, 0.16),
        (0, 0.19),
        (0, 0.12),
        (0, 1.4),
        (0.09, 0.14),
        (0.2, 0.25),
        (0, 1),
        (0, 1),
        (0.87, 0.28),
        (0.09, 0.22),
        (0.88, 0.33),
        (0.06, 0.21),
        (0.67, 0.38),
        (0.26, 0.47),
        (0.84, 0.3),
        (0.13, 0.39),
        (0.02, 0.085),
        (0.02, 0.16),
        (-2.8, 0.62),
        (0.02, 0.17),
    ],
    np.float32,
)
FEATURE_CENTRE, FEATURE_SCALE = _CENTRE_AND_SCALE.T
FEATURE_LIMIT = 4.0
WAVEFORM_LIMIT = 6.0
RR_RATIO_LIMIT = 1.5  # natural logarithm

_SHORTEST_S, _LONGEST_S = 0.15, 4.0
_PARTS = ((0, 103), (32, 62), (8, 36), (62, 103))  # beat, QRS, P, T on BEAT_GRID
_WIDTH_WEIGHTS = np.arange(-20, 21, dtype=np.float32) ** 2


class RRMemory:
    """The wearer's RR intervals of the past, and the features of the present one."""

    def __init__(self) -> None:
        self._past: deque[float] = deque(maxlen=32)  # s, oldest first
        self._steps: deque[float] = deque(maxlen=15)  # from each to the next, s
        self._median64, self._median300 = RunningMedian(64), RunningMedian(RR_MEMORY)
        self._median_step = RunningMedian(31)
        self._sequence = np.zeros((2, RR_SEQUENCE), np.float32)  # log ratio to the running median; mask

    def add(self, rr_s: float | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (15,) and sequence (2, 32) of a beat whose RR interval is `rr_s`; None where it is not known.

        An interval that is not known enters neither the memory nor the features: those are zero, with the mask zero.
        """
        length = math.log1p(len(self._median300)) / math.log1p(RR_MEMORY)
        if rr_s is None:
            features = np.zeros(len(RR_FEATURE_NAMES), np.float32)
            features[-1] = length
            self._push(0.0, 0.0)
            return features, self._sequence.copy()
        rr = min(max(rr_s, _SHORTEST_S), _LONGEST_S)
        is_first = not self._past
        if is_first:  # it is its own past
            self._remember(rr)
        features = np.array((*self._features(rr), 1.0, length), np.float32)
        self._push(float(features[8]), 1.0)
        if not is_first:
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
        self._sequence[:, :-1] = self._sequence[:, 1:]
        self._sequence[0, -1], self._sequence[1, -1] = _within(ratio, RR_RATIO_LIMIT), known

    def _features(self, rr: float) -> tuple[float, ...]:
        """All but the last two, in the order of RR_FEATURE_NAMES; plain numbers, since arrays this short cost more."""
        p32 = list(self._past)
        p8 = p32[-8:]
        before = p32[-1]
        second = p32[-2] if len(p32) > 1 else before
        mean8, median8, median32 = sum(p8) / len(p8), _median(p8), _median(p32)
        spread8 = math.sqrt(sum((p - mean8) ** 2 for p in p8) / len(p8))
        median64, median300 = self._median64.value(), self._median300.value()
        deviation = _median([abs(p - median32) for p in p32])
        has_steps = len(self._steps) > 1
        step16 = sum(self._steps) / len(self._steps) if has_steps else 0.0
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
            min(max((rr - median8) / (0.03 * median8 + 1.48 * deviation), -8.0), 8.0),
            step32 / median32,
            sum(abs(p / median32 - 1.0) > IRREGULAR_DEVIATION for p in p32) / len(p32),
        )


def _within(x: float, limit: float) -> float:
    return min(max(x, -limit), limit)


def _median(x: Sequence[float]) -> float:
    ordered = sorted(x)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])


def model_inputs(
    windows: NDArray[np.float32],
    templates: NDArray[np.float32],
    amplitude: NDArray[np.float32],
    rr_features: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The tensors of a batch of beats.

    `windows` and `templates` (beats, 103) and `amplitude` (beats,), the wearer's running R amplitude, share any unit;
    `rr_features` (beats, 15) come from `RRMemory`. Gives `beat` (beats, 2, 103): waveform and template over the
    amplitude, within +-6; and `features` (beats, 27): centred, scaled, within +-4. Raises nothing.
    """
    scale = np.maximum(amplitude, 1e-3).astype(np.float32)[:, None]
    beat = np.empty((len(windows), 2, windows.shape[1]), np.float32)
    np.divide(windows, scale, out=beat[:, 0])
    np.divide(templates, scale, out=beat[:, 1])
    _limit(beat, WAVEFORM_LIMIT)
    features = np.empty((len(windows), N_FEATURES), np.float32)
    features[:, : len(RR_FEATURE_NAMES)] = rr_features
    _template_features(beat, features[:, len(RR_FEATURE_NAMES) :])
    features -= FEATURE_CENTRE
    features /= FEATURE_SCALE
    _limit(features, FEATURE_LIMIT)
    unknown = rr_features[:, IRREGULAR_SHARE + 1] == 0.0
    features[unknown, : IRREGULAR_SHARE + 1] = 0.0
    return beat, features


def _limit(x: NDArray[np.float32], limit: float) -> None:
    """To within +-limit, in place; np.clip costs several times as much on one beat."""
    np.minimum(x, limit, out=x)
    np.maximum(x, -limit, out=x)


def _template_features(beat: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """How beats differ from the wearer's template, `beat` (beats, 2, 103) being both over the running R amplitude.

    Into `out` (beats, 12).
    """
    energy = np.empty((len(beat), len(_PARTS), 2), np.float32)
    shared = np.empty((len(beat), len(_PARTS)), np.float32)
    for k, (low, high) in enumerate(_PARTS):
        raw = beat[:, :, low:high]
        part = raw - np.add.reduce(raw, axis=2, keepdims=True) / np.float32(high - low)
        np.add.reduce(part * part, axis=2, out=energy[:, k])
        np.add.reduce(part[:, 0] * part[:, 1], axis=1, out=shared[:, k])
    energy += 1e-3
    out[:, 0:8:2] = shared / np.sqrt(energy[:, :, 0] * energy[:, :, 1])
    ratio = 0.5 * np.log(energy[:, :, 0] / energy[:, :, 1])
    _limit(ratio, 3.0)
    out[:, 1:8:2] = ratio
    near = np.abs(beat[:, :, 25:66])
    total = np.maximum(np.add.reduce(near, axis=2), np.float32(1e-3))
    width = np.sqrt(np.add.reduce(near * _WIDTH_WEIGHTS, axis=2) / total) / np.float32(10.0)
    out[:, 8] = width[:, 0] - width[:, 1]
    steps = np.abs(beat[:, :, 34:58] - beat[:, :, 33:57])
    before = beat[:, 0, 4:36] - beat[:, 1, 4:36]
    logs = np.empty((len(beat), 5), np.float32)
    logs[:, :2] = np.maximum.reduce(steps, axis=2) + np.float32(0.02)
    logs[:, 2] = np.sqrt(np.add.reduce(before * before, axis=1) / np.float32(32.0)) + np.float32(0.02)
    logs[:, 3:] = np.maximum.reduce(near, axis=2) + np.float32(0.05)
    np.log(logs, out=logs)
    out[:, 9] = logs[:, 0] - logs[:, 1]
    _limit(out[:, 9], 3.0)
    out[:, 10] = logs[:, 2]
    out[:, 11] = logs[:, 3] - logs[:, 4]
