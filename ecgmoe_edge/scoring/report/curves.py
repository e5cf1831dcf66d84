"""How far scores can be believed and how well they separate: reliability with ECE, ROC and precision-recall curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BINS = 10
_POINTS = 200  # of a curve that is drawn


@dataclass(frozen=True)
class Reliability:
    """How often those with a score near `said` were right: `observed`; of bins that hold anything."""

    said: NDArray[np.float64]  # (bins,) mean score
    observed: NDArray[np.float64]  # (bins,) share that was right
    count: NDArray[np.int64]  # (bins,)

    @property
    def ece(self) -> float | None:
        """Expected calibration error: mean distance of said and observed, weighted by count; None where nothing is."""
        total = self.count.sum()
        return float((np.abs(self.said - self.observed) * self.count).sum() / total) if total else None


def reliability(scores: NDArray[np.floating], right: NDArray[np.bool_]) -> Reliability:
    """Scores (n,) from 0 to 1 in ten bins of equal width, against whether each was right (Guo et al. 2017)."""
    place = np.minimum((np.asarray(scores, np.float64) * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(place, minlength=_BINS)
    held = count > 0
    said = np.bincount(place, weights=scores, minlength=_BINS)[held] / count[held]
    observed = np.bincount(place, weights=right.astype(np.float64), minlength=_BINS)[held] / count[held]
    return Reliability(said, observed, count[held])


@dataclass(frozen=True)
class Separation:
    """One class against the rest, as the threshold falls."""

    false_rate: NDArray[np.float64]  # (points,) share of the rest that is called so
    se: NDArray[np.float64]  # (points,) share of the class that is called so
    ppv: NDArray[np.float64]  # (points,)
    auroc: float
    average_precision: float
    positives: int


def separation(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> Separation | None:
    """ROC and precision-recall of scores (n,); None where one of the two sides is empty.

    Ties count as one step: a score that does not separate gives an AUROC of one half.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ranked, hit = np.asarray(scores)[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each run of equal scores
    true, false = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    se = np.concatenate([[0.0], true / positives])
    false_rate = np.concatenate([[0.0], false / negatives])
    ppv = np.concatenate([[1.0], true / (true + false)])
    auroc = float((np.diff(false_rate) * (se[1:] + se[:-1]) / 2).sum())
    average_precision = float((np.diff(se) * ppv[1:]).sum())
    # Drawn points lie evenly along the curve's length, so that its corner is not lost.
    length = np.concatenate([[0.0], np.cumsum(np.diff(se) + np.diff(false_rate))])
    chosen = np.unique(np.searchsorted(length, np.linspace(0.0, length[-1], _POINTS)).clip(0, len(se) - 1))
    return Separation(false_rate[chosen], se[chosen], ppv[chosen], auroc, average_precision, positives)
