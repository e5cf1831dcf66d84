"""The features of a beat that a model gets with its waveform: RR intervals and shape, relative to patient history.

The features are ratios, never absolute times or amplitudes, since a model that depends on these does not transfer to
other patients. Training (in batches) and the live stream (one beat) use the same code.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.patient.rr_history import RR_FEATURE_NAMES, RR_KNOWN
from ecgmoe_edge.streaming.signal.sums import ordered_mean, ordered_sum
from ecgmoe_edge.streaming.signal.windows import BEAT_GRID

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

# Centre and scale of each feature, in the order of FEATURE_NAMES: mean and spread over ds1-fit and svdb-fit, rounded;
# those of beat and T were measured with LONG_GRID.
# All scaled features have about the same range, so that one int8 scale suffices for them.
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
FEATURE_LIMIT = 4.0  # largest absolute value of a scaled feature
WAVEFORM_LIMIT = 6.0  # largest absolute value of a waveform, in R amplitudes
LOG_LIMIT = 3.0  # largest absolute value of a log ratio of two energies or slopes
# Added to a value, or its least value, so that a flat signal gives a number. In R amplitudes.
LEAST_AMPLITUDE = 1e-3  # mV; of the R amplitude itself
LEAST_ENERGY = 1e-3
LEAST_AREA = 1e-3
LITTLE_SLOPE = LITTLE_DIFFERENCE = 0.02
LITTLE_AMPLITUDE = 0.05
WIDTH_POINTS = 10.0  # unit of the QRS width, in points


def _points(first: int, last: int) -> slice:
    """Indices in a beat window of the points `first` to `last` (inclusive), counted from R at 128 Hz (7.8 ms)."""
    return slice(first - int(BEAT_GRID[0]), last + 1 - int(BEAT_GRID[0]))


_BEAT = slice(None)
_QRS = _points(-13, 16)  # -0.10 to +0.13 s
_P = _points(-37, -10)  # -0.29 to -0.08 s
_T = slice(_QRS.stop, None)  # +0.13 s to the end of the window
PARTS = (_BEAT, _QRS, _P, _T)
AROUND_R = _points(-20, 20)  # -0.16 to +0.16 s: for QRS width and R amplitude
_WIDTH_WEIGHTS = np.arange(-20, 21, dtype=np.float32) ** 2  # squared distance from R of each of these points
SLOPE_FROM, SLOPE_TO = _points(-12, 11), _points(-11, 12)  # neighbouring points, -0.09 to +0.09 s: for the slope
BEFORE_QRS = _points(-41, -10)  # -0.32 to -0.08 s
_BEFORE_QRS_POINTS = np.float32(BEFORE_QRS.stop - BEFORE_QRS.start)


def model_inputs(
    windows: NDArray[np.float32],
    templates: NDArray[np.float32],
    amplitude: NDArray[np.float32],
    rr_features: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute the inputs "beat" and "features" of a model for a batch of beats.

    Args:
        windows: (beats, points) on BEAT_GRID, or on LONG_GRID for a model with the 10 s context, in any unit.
        templates: (beats, points), in the same unit.
        amplitude: (beats,) the patient's running R amplitude, in the same unit.
        rr_features: (beats, 15) from `RRHistory`.

    Returns:
        "beat" (beats, 2, points): waveform and template over the amplitude, within +-6; and "features" (beats, 27):
        centred and scaled, within +-4.
    """
    scale = np.maximum(amplitude, LEAST_AMPLITUDE).astype(np.float32)[:, None]
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
    unknown = rr_features[:, RR_KNOWN] == 0.0
    features[unknown, :RR_KNOWN] = 0.0
    return beat, features


def _limit(x: NDArray[np.float32], limit: float) -> None:
    """Limit `x` to +-limit in place; np.clip takes several times as long on one beat."""
    np.minimum(x, limit, out=x)
    np.maximum(x, -limit, out=x)


def _template_features(beat: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Compute how beats differ from the patient's template.

    Args:
        beat: (beats, 2, points) window and template over the running R amplitude.
        out: (beats, 12) is overwritten by the features of TEMPLATE_FEATURE_NAMES.
    """
    energy = np.empty((len(beat), len(PARTS), 2), np.float32)
    shared = np.empty((len(beat), len(PARTS)), np.float32)
    for k, points in enumerate(PARTS):
        raw = beat[:, :, points]
        part = raw - ordered_mean(raw, 2)[:, :, None]
        energy[:, k] = ordered_sum(part * part, 2)
        shared[:, k] = ordered_sum(part[:, 0] * part[:, 1], 1)
    energy += LEAST_ENERGY
    out[:, 0:8:2] = shared / np.sqrt(energy[:, :, 0] * energy[:, :, 1])
    ratio = 0.5 * np.log(energy[:, :, 0] / energy[:, :, 1])
    _limit(ratio, LOG_LIMIT)
    out[:, 1:8:2] = ratio
    near = np.abs(beat[:, :, AROUND_R])
    total = np.maximum(ordered_sum(near, 2), np.float32(LEAST_AREA))
    width = np.sqrt(ordered_sum(near * _WIDTH_WEIGHTS, 2) / total) / np.float32(WIDTH_POINTS)
    out[:, 8] = width[:, 0] - width[:, 1]
    steps = np.abs(beat[:, :, SLOPE_TO] - beat[:, :, SLOPE_FROM])
    before = beat[:, 0, BEFORE_QRS] - beat[:, 1, BEFORE_QRS]
    logs = np.empty((len(beat), 5), np.float32)
    logs[:, :2] = np.maximum.reduce(steps, axis=2) + np.float32(LITTLE_SLOPE)
    logs[:, 2] = np.sqrt(ordered_sum(before * before, 1) / _BEFORE_QRS_POINTS) + np.float32(LITTLE_DIFFERENCE)
    logs[:, 3:] = np.maximum.reduce(near, axis=2) + np.float32(LITTLE_AMPLITUDE)
    np.log(logs, out=logs)
    out[:, 9] = logs[:, 0] - logs[:, 1]
    _limit(out[:, 9], LOG_LIMIT)
    out[:, 10] = logs[:, 2]
    out[:, 11] = logs[:, 3] - logs[:, 4]
