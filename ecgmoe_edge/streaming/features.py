"""What a model is given of a beat besides its waveform: RR intervals and shape, relative to patient history.

Only ratios, never absolute times or amplitudes: those are what keeps a model from transferring to other patients.
One implementation serves training (batches) and the stream (one beat).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.patient.rr_history import IRREGULAR_SHARE, RR_FEATURE_NAMES
from ecgmoe_edge.streaming.signal.sums import ordered_mean, ordered_sum

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

_PARTS = ((0, 103), (32, 62), (8, 36), (62, 103))  # beat, QRS, P, T on BEAT_GRID
_WIDTH_WEIGHTS = np.arange(-20, 21, dtype=np.float32) ** 2


def model_inputs(
    windows: NDArray[np.float32],
    templates: NDArray[np.float32],
    amplitude: NDArray[np.float32],
    rr_features: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The tensors of a batch of beats.

    `windows` and `templates` (beats, 103) and `amplitude` (beats,), the patient's running R amplitude, share any unit;
    `rr_features` (beats, 15) come from `RRHistory`. Gives `beat` (beats, 2, 103): waveform and template over the
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
    """How beats differ from the patient's template, `beat` (beats, 2, 103) being both over the running R amplitude.

    Into `out` (beats, 12).
    """
    energy = np.empty((len(beat), len(_PARTS), 2), np.float32)
    shared = np.empty((len(beat), len(_PARTS)), np.float32)
    for k, (low, high) in enumerate(_PARTS):
        raw = beat[:, :, low:high]
        part = raw - ordered_mean(raw, 2)[:, :, None]
        energy[:, k] = ordered_sum(part * part, 2)
        shared[:, k] = ordered_sum(part[:, 0] * part[:, 1], 1)
    energy += 1e-3
    out[:, 0:8:2] = shared / np.sqrt(energy[:, :, 0] * energy[:, :, 1])
    ratio = 0.5 * np.log(energy[:, :, 0] / energy[:, :, 1])
    _limit(ratio, 3.0)
    out[:, 1:8:2] = ratio
    near = np.abs(beat[:, :, 25:66])
    total = np.maximum(ordered_sum(near, 2), np.float32(1e-3))
    width = np.sqrt(ordered_sum(near * _WIDTH_WEIGHTS, 2) / total) / np.float32(10.0)
    out[:, 8] = width[:, 0] - width[:, 1]
    steps = np.abs(beat[:, :, 34:58] - beat[:, :, 33:57])
    before = beat[:, 0, 4:36] - beat[:, 1, 4:36]
    logs = np.empty((len(beat), 5), np.float32)
    logs[:, :2] = np.maximum.reduce(steps, axis=2) + np.float32(0.02)
    logs[:, 2] = np.sqrt(ordered_sum(before * before, 1) / np.float32(32.0)) + np.float32(0.02)
    logs[:, 3:] = np.maximum.reduce(near, axis=2) + np.float32(0.05)
    np.log(logs, out=logs)
    out[:, 9] = logs[:, 0] - logs[:, 1]
    _limit(out[:, 9], 3.0)
    out[:, 10] = logs[:, 2]
    out[:, 11] = logs[:, 3] - logs[:, 4]
