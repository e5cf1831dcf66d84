"""RR-interval error: how far the RR intervals of a detector lie from the annotated ones, as a root mean square in ms.

EC57 asks for the RMS difference of test and reference RR intervals, which `bxb` prints. An interval counts here where
both of its beats were found and nothing was found between them: one deviation from `bxb`, which also compares the
intervals before and after a missed beat and so adds each miss, which Se has already counted, as an error of a whole RR.
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
    """Sums over RR intervals by the AAMI class of the beat that ends them, in the order of AAMI_CLASSES."""

    squares: NDArray[np.float64]  # (5,) ms^2
    intervals: NDArray[np.int64]  # (5,)

    @classmethod
    def empty(cls) -> RrErrors:
        """Of no interval."""
        return cls(np.zeros(len(AAMI_CLASSES)), np.zeros(len(AAMI_CLASSES), dtype=np.int64))

    def __add__(self, other: RrErrors) -> RrErrors:
        return RrErrors(self.squares + other.squares, self.intervals + other.intervals)

    def rms_ms(self, beat_class: str | None = None) -> float | None:
        """Root mean square over all intervals, or over those that end in one class; None where there is none."""
        chosen = slice(None) if beat_class is None else AAMI_CLASSES.index(beat_class)
        intervals = int(np.sum(self.intervals[chosen]))
        return float(np.sqrt(np.sum(self.squares[chosen]) / intervals)) if intervals else None

    def to_json(self) -> dict[str, Any]:
        """RMS in ms and number of intervals, of all and by class."""
        classes = {
            name: {"rms": _rounded(self.rms_ms(name)), "intervals": int(count)}
            for name, count in zip(AAMI_CLASSES, self.intervals, strict=True)
        }
        return {"rms": _rounded(self.rms_ms()), "intervals": int(self.intervals.sum()), "classes": classes}


def total_rr(errors: Iterable[RrErrors]) -> RrErrors:
    """Gross statistics: every interval weighs the same."""
    return sum(errors, start=RrErrors.empty())


def rr_errors(
    reference: NDArray[np.int64],
    classes: NDArray[np.str_],
    detected: NDArray[np.int64],
    matched: Sequence[tuple[int, int]],
    interruptions: Sequence[tuple[int, int]],
    fs: float,
) -> RrErrors:
    """Compare the RR intervals whose two beats were both found.

    Args:
        reference: annotated beats, `(n,)`, in samples, ascending.
        classes: AAMI class of each, `(n,)`.
        detected: detected beats, `(m,)`, in samples, ascending.
        matched: positions of the paired beats in `reference` and `detected`, ascending.
        interruptions: first and last sample of stretches across which there is no RR interval.
        fs: samples a second, Hz.

    >>> annotated, detected = np.array([0, 250, 500]), np.array([0, 251, 501])
    >>> matched = [(0, 0), (1, 1), (2, 2)]
    >>> errors = rr_errors(annotated, np.array(["N", "N", "V"]), detected, matched, [], fs=250.0)
    >>> errors.rms_ms("N"), errors.rms_ms("V")  # intervals that end in an N beat, in a V beat
    (4.0, 0.0)
    """
    if len(matched) < 2:
        return RrErrors.empty()
    pairs = np.array(matched, dtype=np.int64)
    follows = (np.diff(pairs, axis=0) == 1).all(axis=1)  # neighbours in the annotations and among the detections
    first, second = pairs[:-1][follows], pairs[1:][follows]
    begins, ends = reference[first[:, 0]], reference[second[:, 0]]
    whole = np.ones(len(begins), dtype=bool)
    for start, _ in interruptions:
        whole &= ~((begins <= start) & (start < ends))
    difference = (detected[second[:, 1]] - detected[first[:, 1]]) - (ends - begins)
    squares = (difference * (1000.0 / fs)) ** 2
    of_class = np.array([AAMI_CLASSES.index(name) for name in classes[second[:, 0]]], dtype=np.int64)
    counted = of_class[whole]
    return RrErrors(
        squares=np.bincount(counted, weights=squares[whole], minlength=len(AAMI_CLASSES)).astype(np.float64),
        intervals=np.bincount(counted, minlength=len(AAMI_CLASSES)).astype(np.int64),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
