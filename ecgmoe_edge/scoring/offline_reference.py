"""Offline R-peak detectors to compare with the live detector; each of them reads the whole recording at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import MissingExtra, UsageError


def detect_offline(signal: NDArray[np.float64], fs: float, detector: str = "neurokit") -> NDArray[np.int64]:
    """Detect R peaks in one lead with a detector of another library and its default settings.

    Args:
        signal: the whole lead, `(n,)` in mV; each invalid sample (NaN) is replaced by the last valid one.
        fs: sampling rate, Hz.
        detector: one of DETECTORS.

    Returns:
        R peaks, `(m,)` in samples, ascending; empty if the library finds none.

    Raises:
        UsageError: there is no such detector.
        MissingExtra: the library is not installed.
    """
    if detector not in DETECTORS:
        raise UsageError(f"There is no offline detector {detector!r}. They are {', '.join(DETECTORS)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # neurokit2 warns if there are too few peaks for a heart rate
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
        raise MissingExtra("wfdb, which contains the detector xqrs,", "records") from missing
    detector = processing.XQRS(signal, fs)
    detector.detect(verbose=False)
    return np.asarray(detector.qrs_inds, dtype=np.int64)


DETECTORS: Mapping[str, Callable[[NDArray[np.float64], float], NDArray[np.int64]]] = MappingProxyType(
    {"sleepecg": _sleepecg, "neurokit": _neurokit, "pantompkins1985": _pantompkins, "xqrs": _xqrs}
)


def _hold(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """The signal with each NaN replaced by the last valid sample before it, or by 0 if there is none."""
    valid = np.isfinite(signal)
    if valid.all():
        return signal
    last = np.maximum.accumulate(np.where(valid, np.arange(len(signal)), -1))
    return np.where(last >= 0, signal[np.maximum(last, 0)], 0.0)
