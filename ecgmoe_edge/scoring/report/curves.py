"""Calibration and separation of scores: reliability diagram with ECE, ROC curve and precision-recall curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BINS = 10
_POINTS = 200  # points of a drawn curve


@dataclass(frozen=True)
class Reliability:
    """Reliability diagram: mean score and observed accuracy of each bin that is not empty."""

    predicted: NDArray[np.float64]  # (bins,) mean score
    observed: NDArray[np.float64]  # (bins,) share of correct labels
    count: NDArray[np.int64]  # (bins,)

    @property
    def ece(self) -> float | None:
        """Expected calibration error: mean distance of predicted and observed, weighted by count; None if empty."""
        total = self.count.sum()
        return float((np.abs(self.predicted - self.observed) * self.count).sum() / total) if total else None


def reliability(scores: NDArray[np.floating], correct: NDArray[np.bool_]) -> Reliability:
    """Reliability diagram in ten bins of equal width (Guo et al., On Calibration of Modern Neural Networks, 2017).

    Args:
        scores: `(n,)` from 0 to 1.
        correct: `(n,)` whether the label with this score is correct.
    """
    position = np.minimum((np.asarray(scores, np.float64) * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(position, minlength=_BINS)
    filled = count > 0
    predicted = np.bincount(position, weights=scores, minlength=_BINS)[filled] / count[filled]
    observed = np.bincount(position, weights=correct.astype(np.float64), minlength=_BINS)[filled] / count[filled]
    return Reliability(predicted, observed, count[filled])


@dataclass(frozen=True)
class Separation:
    """ROC and precision-recall curve of one class against the rest, with a falling threshold."""

    false_rate: NDArray[np.float64]  # (points,) false positive rate, 0 to 1
    se: NDArray[np.float64]  # (points,) sensitivity, 0 to 1
    ppv: NDArray[np.float64]  # (points,) positive predictivity, 0 to 1
    auroc: float
    average_precision: float
    positives: int


def separation(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> Separation | None:
    """ROC and precision-recall curve of one class against the rest.

    Equal scores are one step of the threshold, so a constant score has an AUROC of 0.5.

    Args:
        scores: `(n,)`.
        positive: `(n,)` whether the sample belongs to the class.

    Returns:
        The curves; None if the class or the rest is empty.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ranked, hit = np.asarray(scores)[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # last of each group of equal scores
    true, false = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    se = np.concatenate([[0.0], true / positives])
    false_rate = np.concatenate([[0.0], false / negatives])
    ppv = np.concatenate([[1.0], true / (true + false)])
    auroc = float((np.diff(false_rate) * (se[1:] + se[:-1]) / 2).sum())
    average_precision = float((np.diff(se) * ppv[1:]).sum())
    # The drawn points are evenly spaced along the curve, so that its corner stays sharp.
    length = np.concatenate([[0.0], np.cumsum(np.diff(se) + np.diff(false_rate))])
    chosen = np.unique(np.searchsorted(length, np.linspace(0.0, length[-1], _POINTS)).clip(0, len(se) - 1))
    return Separation(false_rate[chosen], se[chosen], ppv[chosen], auroc, average_precision, positives)
