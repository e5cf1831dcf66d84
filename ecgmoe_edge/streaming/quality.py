"""Signal quality of a beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUGHNESS = 0.03  # of the R amplitude: quality is one half there


def beat_quality(window: NDArray[np.float32], r_index: int, clipped: float) -> float:
    """How smooth the beat is away from its QRS, where only noise is rough; a heuristic, not a probability."""
    near = window[r_index - 13 : r_index + 13 + 1]
    amplitude = max(float(np.abs(near).max()), 1e-3)
    bends = np.abs(np.diff(window, 2))
    away = np.concatenate((bends[: r_index - 10], bends[r_index + 14 :]))
    roughness = float(np.median(away)) / amplitude
    return (1.0 - clipped) / (1.0 + (roughness / _ROUGHNESS) ** 2)
