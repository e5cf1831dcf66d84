"""An offline R-peak detector to hold the live one against: neurokit2's, which sees the whole recording at once."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import MissingExtra


def detect_offline(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    """R peaks of one lead by neurokit2's own method, cleaned and detected with its defaults.

    Args:
        signal: the whole lead, `(n,)` in mV; invalid samples (NaN) are held at the last valid one.
        fs: samples a second, Hz.

    Returns:
        R peaks, in samples, ascending; none where neurokit2 finds nothing to detect.

    Raises:
        MissingExtra: neurokit2 is not installed.
    """
    try:
        import neurokit2
    except ImportError as missing:
        raise MissingExtra("neurokit2, the offline reference,", "records") from missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neurokit2 warns where too few peaks are left to tell a heart rate
        try:
            cleaned = neurokit2.ecg_clean(_hold(signal), sampling_rate=fs)
            found = neurokit2.ecg_findpeaks(cleaned, sampling_rate=fs)["ECG_R_Peaks"]
        except (ValueError, IndexError, ZeroDivisionError):  # a flat or very short signal
            return np.empty(0, dtype=np.int64)
    return np.sort(np.asarray(found, dtype=np.int64))


def _hold(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The signal with each NaN replaced by the last valid sample before it (0 before the first)."""
    valid = np.isfinite(signal)
    if valid.all():
        return signal
    last = np.maximum.accumulate(np.where(valid, np.arange(len(signal)), -1))
    return np.where(last >= 0, signal[np.maximum(last, 0)], 0.0)
