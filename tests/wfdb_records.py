"""Writes WFDB records with the wfdb package, for tests that need a valid record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_wfdb(
    folder: Path,
    name: str,
    signals: NDArray[np.float64],
    fs: float,
    *,
    leads: Sequence[str] = ("II",),
    units: Sequence[str] | None = None,
    gains: Sequence[float] | None = None,
    r_peaks: NDArray[np.int64] | None = None,
    symbols: str = "N",
    comments: Sequence[str] = (),
) -> Path:
    """Write a record of format 16 and, if R peaks are given, its beat annotations.

    Args:
        folder: folder of the record; it is created if it does not exist.
        name: name of the record.
        signals: `(leads, n)` in `units`; NaN is written as an invalid sample.
        fs: sampling rate, Hz.
        leads: names of the leads.
        units: unit of each lead; None: all mV.
        gains: counts per unit of each lead; None: 1000 for all.
        r_peaks: samples of the R peaks, `(beats,)`; None: no annotation file.
        symbols: annotation symbols of the beats; they repeat until all beats have one.
        comments: comments in the header.

    Returns:
        The path of the record, without extension.
    """
    import wfdb

    folder.mkdir(parents=True, exist_ok=True)
    n_leads = len(leads)
    wfdb.wrsamp(
        name,
        fs=fs,
        units=list(units or ["mV"] * n_leads),
        sig_name=list(leads),
        p_signal=signals.T,
        fmt=["16"] * n_leads,
        adc_gain=list(gains or [1000.0] * n_leads),
        baseline=[0] * n_leads,
        comments=list(comments),
        write_dir=str(folder),
    )
    if r_peaks is not None:
        codes = [symbols[beat % len(symbols)] for beat in range(len(r_peaks))]
        wfdb.wrann(name, "atr", np.asarray(r_peaks), symbol=codes, write_dir=str(folder))
    return folder / name
