"""RR-interval error: root mean square difference between detected and annotated RR intervals, in ms.

EC57 asks for this figure, and `bxb` prints it. Here an interval is compared only if both of its beats were detected and
nothing was detected between them. This is one deviation from `bxb`, which also compares the intervals before and after
a missed beat: there a miss, which already lowers Se, also counts as an error of a whole RR interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.annotations import AAMI_CLASSES


@dataclass(frozen=True)
class RrErrors:
    """Sums over RR intervals, by the AAMI class of the beat that ends the interval, in the order of AAMI_CLASSES."""

    squares: NDArray[np.float64]  # (5,) sum of squared errors, ms^2
    intervals: NDArray[np.int64]  # (5,) number of intervals

    @classmethod
    def empty(cls) -> RrErrors:
        """The sums over no interval."""
        return cls(np.zeros(len(AAMI_CLASSES)), np.zeros(len(AAMI_CLASSES), dtype=np.int64))

    def __add__(self, other: RrErrors) -> RrErrors:
        return RrErrors(self.squares + other.squares, self.intervals + other.intervals)

    def rms_ms(self, beat_class: str | None = None) -> float | None:
        """Root mean square error over all intervals, or over those that end in `beat_class`; None if there is none."""
        chosen = slice(None) if beat_class is None else AAMI_CLASSES.index(beat_class)
        intervals = int(np.sum(self.intervals[chosen]))
        return float(np.sqrt(np.sum(self.squares[chosen]) / intervals)) if intervals else None

    def to_json(self) -> dict[str, Any]:
        """RMS error in ms and number of intervals, over all intervals and by class, for JSON."""
        classes = {
            name: {"rms": _rounded(self.rms_ms(name)), "intervals": int(count)}
            for name, count in zip(AAMI_CLASSES, self.intervals, strict=True)
        }
        return {"rms": _rounded(self.rms_ms()), "intervals": int(self.intervals.sum()), "classes": classes}


def total_rr(errors: Iterable[RrErrors]) -> RrErrors:
    """Gross statistics of RR intervals: every interval has the same weight."""
    return sum(errors, start=RrErrors.empty())


def rr_errors(
    reference: NDArray[np.int64],
    classes: NDArray[np.str_],
    detected: NDArray[np.int64],
    matched: Sequence[tuple[int, int]],
    interruptions: Sequence[tuple[int, int]],
    fs: float,
) -> RrErrors:
    """Compare the RR intervals whose two beats were both detected.

    Args:
        reference: annotated beats, `(n,)`, in samples, ascending.
        classes: AAMI class of each annotated beat, `(n,)`.
        detected: detected beats, `(m,)`, in samples, ascending.
        matched: indices of the matched beats in `reference` and `detected`, ascending.
        interruptions: first and last sample of segments across which there is no RR interval.
        fs: sampling rate, Hz.

    Returns:
        Sums of squared errors and numbers of intervals.

    >>> annotated, detected = np.array([0, 250, 500]), np.array([0, 251, 501])
    >>> matched = [(0, 0), (1, 1), (2, 2)]
    >>> errors = rr_errors(annotated, np.array(["N", "N", "V"]), detected, matched, [], fs=250.0)
    >>> errors.rms_ms("N"), errors.rms_ms("V")  # intervals that end in an N beat, in a V beat
    (4.0, 0.0)
    """
    if len(matched) < 2:
        return RrErrors.empty()
    pairs = np.array(matched, dtype=np.int64)
    follows = (np.diff(pairs, axis=0) == 1).all(axis=1)  # consecutive among annotations and among detections
    first, second = pairs[:-1][follows], pairs[1:][follows]
    begins, ends = reference[first[:, 0]], reference[second[:, 0]]
    uninterrupted = np.ones(len(begins), dtype=bool)
    for start, _ in interruptions:
        uninterrupted &= ~((begins <= start) & (start < ends))
    difference = (detected[second[:, 1]] - detected[first[:, 1]]) - (ends - begins)
    squares = (difference * (1000.0 / fs)) ** 2
    class_index = np.array([AAMI_CLASSES.index(name) for name in classes[second[:, 0]]], dtype=np.int64)
    counted = class_index[uninterrupted]
    return RrErrors(
        squares=np.bincount(counted, weights=squares[uninterrupted], minlength=len(AAMI_CLASSES)).astype(np.float64),
        intervals=np.bincount(counted, minlength=len(AAMI_CLASSES)).astype(np.int64),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
