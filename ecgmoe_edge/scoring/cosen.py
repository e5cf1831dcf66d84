"""Coefficient of sample entropy (CoSEn): the classical measure of atrial fibrillation from RR intervals alone.

Lake DE, Moorman JR. Accurate estimation of entropy in very short physiological time series: the problem of atrial
fibrillation detection in implanted ventricular devices. Am J Physiol Heart Circ Physiol 300(1):H319-H325, 2011.

It is scored beside every model of rhythm, because a model that does not exceed it is not better than one formula.
Deviations from the paper: up to 64 intervals instead of 12; the tolerance is fixed at 30 ms instead of being enlarged
until enough pairs match (one pair is assumed if none matches); the threshold was chosen on the Long-Term AF Database.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ecgmoe_edge.records.annotations import RhythmSegment
from ecgmoe_edge.scoring.bootstrap import Figures, bootstrap
from ecgmoe_edge.scoring.class_table import rounded
from ecgmoe_edge.scoring.rhythm_durations import af_durations

INTERVALS = 64  # RR intervals of one value
FEWEST = 12
THRESHOLD = -1.2  # AF at and above; chosen on the 71 records of LTAFDB at hand (F1 by duration 95.2 %)
_TOLERANCE_S = 0.03
_STEP = 8  # intervals between two values
_SHORTEST_S = 0.15
LONGEST_S = 4.0  # a longer interval is a gap
_AT_ONCE = 512  # windows in memory at a time


def cosen(rr_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """CoSEn of the RR intervals before and including each interval; high values indicate atrial fibrillation.

    Args:
        rr_s: consecutive RR intervals, (n,) in s.

    Returns:
        (n,) natural logarithms; NaN before the twelfth interval. A new value is computed at every eighth interval.
    """
    rr = np.clip(rr_s, _SHORTEST_S, LONGEST_S)
    values = np.full(len(rr), np.nan)
    for end in range(FEWEST, min(len(rr), INTERVALS - 1) + 1):
        if (end - FEWEST) % _STEP == 0:
            values[end - 1] = _of_windows(rr[None, :end])[0]
    if len(rr) >= INTERVALS:
        windows = sliding_window_view(rr, INTERVALS)[::_STEP]
        full = [_of_windows(windows[at : at + _AT_ONCE]) for at in range(0, len(windows), _AT_ONCE)]
        values[INTERVALS - 1 :: _STEP] = np.concatenate(full)
    return _held(values)


def _of_windows(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """CoSEn of each window, (windows, n) in s, with embedding dimension 1."""
    close = np.abs(windows[:, :, None] - windows[:, None, :]) < _TOLERANCE_S
    itself = windows.shape[1] - 1
    one = close[:, :-1, :-1].sum((1, 2)) - itself
    two = (close[:, :-1, :-1] & close[:, 1:, 1:]).sum((1, 2)) - itself
    entropy = -np.log(np.maximum(two, 1) / np.maximum(one, 1))
    found: NDArray[np.float64] = entropy + math.log(2.0 * _TOLERANCE_S) - np.log(windows.mean(1))
    return found


def _held(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value holds until the next one is known."""
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    return np.where(last >= 0, values[np.maximum(last, 0)], np.nan)


def af_seconds(
    beat_times: NDArray[np.float64], rhythms: Sequence[RhythmSegment], fs: float, first_s: float
) -> NDArray[np.float64]:
    """Seconds in which atrial fibrillation is annotated, reported by CoSEn, or both.

    A beat decides about the RR interval that it ends. Intervals of more than 4 s are gaps and count as not reported.

    Args:
        beat_times: times of the beats, (n,) in s and ascending.
        rhythms: annotated rhythms, in samples; time outside them is not scored.
        fs: sampling rate, Hz.
        first_s: start of the scored part, s.

    Returns:
        (3,) seconds: annotated and reported, annotated only, reported only.
    """
    rr = np.diff(beat_times)
    reported = (cosen(rr) >= THRESHOLD) & (rr <= LONGEST_S)
    reported_s = np.cumsum(np.concatenate([[0.0], np.where(reported, rr, 0.0)]))[: len(beat_times)]
    return af_durations(rhythms, beat_times, reported_s, fs, first_s)


def cosen_figures(patients: Sequence[str], af: NDArray[np.float64]) -> dict[str, Any]:
    """Figures of CoSEn over records for JSON, with 95 % intervals over patients.

    Args:
        patients: patient of each record.
        af: the result of `af_seconds` for each record, (records, 3).
    """
    return {"threshold": THRESHOLD, **af_figures(patients, af)}


def af_figures(patients: Sequence[str], af: NDArray[np.float64]) -> dict[str, Any]:
    """Se, +P and F1 of atrial fibrillation by duration for JSON, with 95 % intervals over patients.

    Args:
        patients: patient of each record.
        af: seconds in each record, (records, 3), as `rhythm_durations.af_durations` returns them.
    """
    figures = rounded(_figures(af.sum(0)))
    intervals = bootstrap(patients, af, _figures).to_json()["figures"]
    return {"AF": dict(figures), "intervals": intervals}


def _figures(total: NDArray[Any]) -> Figures:
    """Se, +P and F1 of atrial fibrillation in per cent; None if the denominator is zero."""
    both, missed, false = (float(each) for each in total)
    return {
        "se": 100.0 * both / (both + missed) if both + missed else None,
        "ppv": 100.0 * both / (both + false) if both + false else None,
        "f1": 200.0 * both / (2.0 * both + missed + false) if both + missed else None,
    }
