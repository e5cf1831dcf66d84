"""A small folder of recordings laid out as PhysioNet's: simulated records with beats, and noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

FS = 250.0


def _write(folder: Path, name: str, signals: NDArray[np.float64]) -> None:
    import wfdb

    folder.mkdir(parents=True, exist_ok=True)
    leads = len(signals)
    wfdb.wrsamp(
        name, fs=FS, units=["mV"] * leads, sig_name=[f"L{lead}" for lead in range(leads)], p_signal=signals.T,
        fmt=["16"] * leads, adc_gain=[1000.0] * leads, baseline=[0] * leads, write_dir=str(folder),
    )  # fmt: skip


@pytest.fixture
def write_noisy_set(tmp_path: Path, simulated_ecg: Callable[..., Any]) -> Callable[..., Path]:
    """`write_noisy_set("1", "2")`: records of seven minutes in mitdb/ and noise `em` in nstdb/; gives their folder."""
    pytest.importorskip("wfdb", reason="records need the records extra")
    import wfdb

    def write(*names: str) -> Path:
        data = tmp_path / "data"
        for seed, name in enumerate(names or ("1",)):
            ecg = simulated_ecg(420.0, fs=FS, noise_mv=0.02, seed=seed)
            _write(data / "mitdb", name, ecg.signal[None])
            codes = ["N"] * len(ecg.r_peaks)
            wfdb.wrann(name, "atr", ecg.r_peaks, symbol=codes, write_dir=str(data / "mitdb"))
        rough = np.random.default_rng(9).normal(size=(2, round(840 * FS)))
        smooth = np.apply_along_axis(lambda row: np.convolve(row, np.ones(12) / 12, "same"), 1, rough)
        _write(data / "nstdb", "em", smooth)
        return data

    return write
