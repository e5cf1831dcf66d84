"""Offline R-peak detectors to hold the live one against: each sees the whole recording at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import MissingExtra, UsageError


def detect_offline(signal: NDArray[np.float64], fs: float, detector: str = "neurokit") -> NDArray[np.int64]:
    """R peaks of one lead by a detector of another library, with that library's own defaults.

    Args:
        signal: the whole lead, `(n,)` in mV; invalid samples (NaN) are held at the last valid one.
        fs: samples a second, Hz.
        detector: one of DETECTORS.

    Returns:
        R peaks, in samples, ascending; none where the library finds nothing to detect.

    Raises:
        UsageError: there is no such detector.
        MissingExtra: its library is not installed.
    """
    if detector not in DETECTORS:
        raise UsageError(f"There is no offline detector {detector!r}. They are {', '.join(DETECTORS)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neurokit2 warns where too few peaks are left to tell a heart rate
        try:
            found = DETECTORS[detector](_hold(signal), fs)
        except (ValueError, IndexError, ZeroDivisionError):  # a flat or very short signal
            return np.empty(0, dtype=np.int64)
    return np.sort(np.asarray(found, dtype=np.int64))


def _neurokit(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    return _neurokit_method(signal, fs, "neurokit")


def _pantompkins(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    return _neurokit_method(signal, fs, "pantompkins1985")


def _neurokit_method(signal: NDArray[np.float64], fs: float, method: str) -> NDArray[np.int64]:
    try:
        import neurokit2
    except ImportError as missing:
        raise MissingExtra("neurokit2, the offline reference,", "records") from missing
    cleaned = neurokit2.ecg_clean(signal, sampling_rate=fs, method=method)
    found = neurokit2.ecg_findpeaks(cleaned, sampling_rate=fs, method=method)["ECG_R_Peaks"]
    return np.asarray(found, dtype=np.int64)


def _sleepecg(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    try:
        from sleepecg.heartbeats import detect_heartbeats
    except ImportError as missing:
        raise MissingExtra("sleepecg, an offline detector,", "dev") from missing
    return np.asarray(detect_heartbeats(signal, fs), dtype=np.int64)


def _xqrs(signal: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    try:
        from wfdb import processing
    except ImportError as missing:
        raise MissingExtra("wfdb, and with it the detector xqrs,", "records") from missing
    detector = processing.XQRS(signal, fs)
    detector.detect(verbose=False)
    return np.asarray(detector.qrs_inds, dtype=np.int64)


DETECTORS: Mapping[str, Callable[[NDArray[np.float64], float], NDArray[np.int64]]] = MappingProxyType(
    {"sleepecg": _sleepecg, "neurokit": _neurokit, "pantompkins1985": _pantompkins, "xqrs": _xqrs}
)


def _hold(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The signal with each NaN replaced by the last valid sample before it (0 before the first)."""
    valid = np.isfinite(signal)
    if valid.all():
        return signal
    last = np.maximum.accumulate(np.where(valid, np.arange(len(signal)), -1))
    return np.where(last >= 0, signal[np.maximum(last, 0)], 0.0)
