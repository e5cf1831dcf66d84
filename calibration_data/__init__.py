"""A real recording that ships with the package: to calibrate, to demonstrate and to test with. numpy alone
reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["CALIBRATION_FILE", "CalibrationRecording", "load_calibration"]

CALIBRATION_FILE = "mitbih208_5min.npz"


@dataclass(frozen=True)
class CalibrationRecording:
    """A recording and where it comes from. Beat annotations do not ship with it."""

    fs: float  # Hz
    signal: NDArray[np.float64]  # (leads, samples) mV
    leads: tuple[str, ...]
    source: str
    licence: str


def load_calibration() -> CalibrationRecording:
    """Five minutes of MIT-BIH record 208, lead MLII, 360 Hz: 108,000 samples with many ventricular beats."""
    path = Path(str(resources.files("ecgmoe_edge.calibration_data"))) / CALIBRATION_FILE
    with np.load(path, allow_pickle=False) as held:
        return CalibrationRecording(
            fs=float(held["fs"]),
            signal=held["signal"].astype(np.float64) / float(held["units_per_mv"]),
            leads=tuple(str(name) for name in held["leads"]),
            source=str(held["source"]),
            licence=str(held["licence"]),
        )
