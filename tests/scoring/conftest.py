"""A small folder of databases laid out as PhysioNet's: simulated records with annotated beats, and noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wfdb_records import write_wfdb

FS = 250.0


@pytest.fixture
def write_noisy_set(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> Callable[..., Path]:
    """`write_noisy_set("1", "2")`: writes records of seven minutes to mitdb/ and noise to nstdb/em; returns their
    parent folder.
    """
    pytest.importorskip("wfdb", reason="records need the records extra")

    def write(*names: str) -> Path:
        data = tmp_path / "data"
        for seed, name in enumerate(names or ("1",)):
            ecg = simulated_ecg(420.0, fs=FS, noise_mv=0.02, seed=seed)
            write_wfdb(data / "mitdb", name, ecg.signal[None], FS, leads=["L0"], r_peaks=ecg.r_peaks)
        white = np.random.default_rng(9).normal(size=(2, round(840 * FS)))
        smoothed = np.apply_along_axis(lambda row: np.convolve(row, np.ones(12) / 12, "same"), 1, white)
        write_wfdb(data / "nstdb", "em", smoothed, FS, leads=["L0", "L1"])
        return data

    return write
