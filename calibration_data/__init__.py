"""A real recording that ships with the package, for calibration, demonstration and tests. It needs only numpy."""

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
    """A recording and its origin, without beat annotations."""

    fs: float  # Hz
    signal: NDArray[np.float64]  # (leads, samples) mV
    leads: tuple[str, ...]
    source: str
    licence: str


def load_calibration() -> CalibrationRecording:
    """Load five minutes of MIT-BIH record 208: lead MLII at 360 Hz, 108,000 samples, with many ventricular beats."""
    path = Path(str(resources.files("ecgmoe_edge.calibration_data"))) / CALIBRATION_FILE
    with np.load(path, allow_pickle=False) as file:
        return CalibrationRecording(
            fs=float(file["fs"]),
            signal=file["signal"].astype(np.float64) / float(file["units_per_mv"]),
            leads=tuple(str(name) for name in file["leads"]),
            source=str(file["source"]),
            licence=str(file["licence"]),
        )
