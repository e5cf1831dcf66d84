"""What a model is given of a beat besides its waveform: RR intervals and shape, relative to the wearer's own past.

Only ratios, never absolute times or amplitudes: those are what keeps a model from transferring to other patients.
One implementation serves training (batches) and the stream (one beat).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

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

_SHORTEST_S, _LONGEST_S = 0.15, 4.0
_PARTS = ((0, 103), (32, 62), (8, 36), (62, 103))  # beat, QRS, P, T on BEAT_GRID
_WIDTH_WEIGHTS = (np.arange(-20, 21, dtype=np.float32) ** 2)[None]


class RRMemory:
    """The wearer's RR intervals of the past, and the features of the present one."""

    def __init__(self) -> None:
        self._past = np.zeros(0)  # s, at most RR_MEMORY, oldest first
        self._sequence = np.zeros((2, RR_SEQUENCE), np.float32)  # log ratio to the running median; mask

    def add(self, rr_s: float | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (15,) and sequence (2, 32) of a beat whose RR interval is `rr_s`; None where it is not known.

        An interval that is not known enters neither the memory nor the features: those are zero, with the mask zero.
        """
        if rr_s is None:
            features = np.zeros(len(RR_FEATURE_NAMES), np.float32)
            features[-1] = self._length()
            self._push(0.0, 0.0)
            return features, self._sequence.copy()
        rr = min(max(rr_s, _SHORTEST_S), _LONGEST_S)
        past = self._past if self._past.size else np.array([rr])
        features = self._features(rr, past)
        self._push(features[8], 1.0)
        self._past = np.append(self._past[-(RR_MEMORY - 1) :], rr)
        return features, self._sequence.copy()

    def _length(self) -> float:
        return float(np.log1p(self._past.size) / np.log1p(RR_MEMORY))

    def _push(self, ratio: float, known: float) -> None:
        self._sequence[:, :-1] = self._sequence[:, 1:]
        self._sequence[0, -1], self._sequence[1, -1] = min(max(ratio, -1.5), 1.5), known

    def _features(self, rr: float, past: NDArray[np.float64]) -> NDArray[np.float32]:
        p64, p32, p8 = past[-64:], past[-32:], past[-8:]
        before = past[-1]
        second = past[-2] if past.size > 1 else before
        mean8, median8, median32 = p8.mean(), _median(p8), _median(p32)
        median64, median300 = _median(p64), _median(past)
        deviation = _median(np.abs(p32 - median32))
        steps = np.abs(np.diff(p64))
        step16 = steps[-15:].mean() if steps.size > 1 else 0.0
        step32 = _median(steps[-31:]) if steps.size > 1 else 0.0
        return np.array(
            (
                np.log(rr / mean8),
                np.log(rr / median64),
                np.log(rr / before),
                np.log(before / mean8),
                np.log(second / mean8),
                p8.std() / mean8,
                step16 / median64,
                p8.min() / mean8,
                np.log(rr / median300),
                np.log(median8 / median300),
                min(max((rr - median8) / (0.03 * median8 + 1.48 * deviation), -8.0), 8.0),
                step32 / median32,
                np.mean(np.abs(p32 / median32 - 1.0) > IRREGULAR_DEVIATION),
                1.0,
                self._length(),
            ),
            np.float32,
        )


def _median(x: NDArray[np.float64]) -> float:
    """Median of a short array; a third of numpy's time, which matters at ten a beat."""
    ordered = np.sort(x)
    middle = x.size // 2
    return float(ordered[middle] if x.size % 2 else 0.5 * (ordered[middle - 1] + ordered[middle]))


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
    beat = np.clip(np.stack((windows / scale, templates / scale), axis=1), -WAVEFORM_LIMIT, WAVEFORM_LIMIT)
    raw = np.concatenate((rr_features, _template_features(beat[:, 0], beat[:, 1])), axis=1)
    features = np.clip((raw - FEATURE_CENTRE) / FEATURE_SCALE, -FEATURE_LIMIT, FEATURE_LIMIT)
    unknown = rr_features[:, IRREGULAR_SHARE + 1] == 0.0
    features[unknown, : IRREGULAR_SHARE + 1] = 0.0
    return beat.astype(np.float32), features.astype(np.float32)


def _template_features(x: NDArray[np.float32], t: NDArray[np.float32]) -> NDArray[np.float32]:
    """How the beats `x` (beats, 103) differ from the wearer's template `t`; both over the running R amplitude."""
    columns = []
    for low, high in _PARTS:
        u = x[:, low:high] - x[:, low:high].mean(axis=1, keepdims=True)
        v = t[:, low:high] - t[:, low:high].mean(axis=1, keepdims=True)
        energy_u, energy_v = (u * u).sum(axis=1) + 1e-3, (v * v).sum(axis=1) + 1e-3
        columns += [
            (u * v).sum(axis=1) / np.sqrt(energy_u * energy_v),
            np.clip(0.5 * np.log(energy_u / energy_v), -3, 3),
        ]
    near_x, near_t = np.abs(x[:, 25:66]), np.abs(t[:, 25:66])
    columns += [
        _width(near_x) - _width(near_t),
        np.clip(np.log(_slope(x) / _slope(t)), -3, 3),
        np.log(np.sqrt(((x[:, 4:36] - t[:, 4:36]) ** 2).mean(axis=1)) + 0.02),
        np.log((near_x.max(axis=1) + 0.05) / (near_t.max(axis=1) + 0.05)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _width(magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
    total = np.maximum(magnitude.sum(axis=1), 1e-3)
    return np.asarray(np.sqrt((magnitude * _WIDTH_WEIGHTS).sum(axis=1) / total) / 10.0, np.float32)


def _slope(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.abs(np.diff(x[:, 33:58], axis=1)).max(axis=1) + 0.02, np.float32)
