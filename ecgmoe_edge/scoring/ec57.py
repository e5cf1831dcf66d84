"""Beat-by-beat scores as ANSI/AAMI EC57 defines them and as PhysioNet's `bxb` counts them.

- A detected and an annotated beat match within 150 ms. A missed beat is a false negative of its class. A detection
  without a matching annotation is a false positive of its label. A beat labelled `?` lowers the Se of its class; an
  artefact is such a beat.
- In records of six minutes or more, the first five minutes are a learning period and are not scored.
- Ventricular flutter (`[` to `]`) is excluded. Beats are matched before the exclusion, so that a beat next to the
  border is not a false positive because its annotation lies on the other side.
- Records with paced beats are scored for R peaks only. In `mitdb` these are 102, 104, 107 and 217.
- False positives of V are N, S and detections without annotation; F or Q labelled V count neither as correct nor as
  false. False positives of S are N, V, F and detections without annotation. EC57 has no such exception for N and F:
  any other beat with that label is a false positive.

One deviation from `bxb -C`: it counts escape beats (e, j, n) as S; here they are N, as in most of the literature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.annotations import AAMI_CLASSES, BeatAnnotations
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.scoring.rr_error import RrErrors, rr_errors
from ecgmoe_edge.tasks import BEAT_CLASSES

NO_BEAT = "none"  # no beat is annotated there
TRUTHS = (*AAMI_CLASSES, NO_BEAT)  # rows of the confusion matrix
ANSWERS = (*BEAT_CLASSES, "?", "missed")  # columns of the confusion matrix

TOLERANCE_S = 0.150
CLOSE_TOLERANCE_S = 0.050  # not in EC57: shows whether a detector locates R itself or only the beat
LEARNING_S = 300.0
SHORT_RECORD_S = 360.0

_FALSE_POSITIVES = MappingProxyType(
    {
        "N": ("S", "V", "F", "Q", "none"),
        "S": ("N", "V", "F", "none"),
        "V": ("N", "S", "none"),
        "F": ("N", "S", "V", "Q", "none"),
    }
)


@dataclass(frozen=True)
class Counts:
    """True positives, false negatives and false positives; a figure with a zero denominator is None.

    >>> found = Counts(tp=90, fn=10, fp=30)
    >>> found.se, found.ppv, round(found.f1, 1)
    (90.0, 75.0, 81.8)
    >>> Counts().se is None
    True
    """

    tp: int = 0
    fn: int = 0
    fp: int = 0

    @property
    def se(self) -> float | None:
        """Sensitivity, %."""
        return _per_cent(self.tp, self.tp + self.fn)

    @property
    def ppv(self) -> float | None:
        """Positive predictivity +P, %."""
        return _per_cent(self.tp, self.tp + self.fp)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of Se and +P, %; None if no beat of this class is annotated."""
        return _per_cent(2 * self.tp, 2 * self.tp + self.fn + self.fp) if self.tp + self.fn else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fn + other.fn, self.fp + other.fp)

    def to_json(self) -> dict[str, float | int | None]:
        """Se, +P and F1 in per cent, and the counts, for JSON."""
        figures = {"se": self.se, "ppv": self.ppv, "f1": self.f1}
        rounded = {key: None if value is None else round(value, 3) for key, value in figures.items()}
        return {**rounded, "tp": self.tp, "fn": self.fn, "fp": self.fp}


def average(counts: Sequence[Counts]) -> dict[str, Any]:
    """Average statistics as EC57 defines them: every record has the same weight, however many beats it has.

    Args:
        counts: the counts of each record.

    Returns:
        The mean of Se, +P and F1, in per cent, over the records in which each is defined, and under "records" the
        number of these records.

    >>> average([Counts(tp=9, fn=1), Counts(tp=1, fn=1)])["se"]
    70.0
    """
    figures: dict[str, Any] = {}
    defined = {}
    for key in ("se", "ppv", "f1"):
        values = [value for value in (getattr(each, key) for each in counts) if value is not None]
        figures[key] = round(sum(values) / len(values), 3) if values else None
        defined[key] = len(values)
    return {**figures, "records": defined}


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix of beats.

    Attributes:
        table: number of beats, `(TRUTHS, ANSWERS)`.
        artefacts: how many in the column `?` the model answered to be artefacts, `(TRUTHS,)`.
    """

    table: NDArray[np.int64]
    artefacts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(TRUTHS), np.int64))

    @classmethod
    def empty(cls) -> Confusion:
        """A confusion matrix without beats."""
        return cls(np.zeros((len(TRUTHS), len(ANSWERS)), dtype=np.int64))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.table + other.table, self.artefacts + other.artefacts)

    def count(self, truth: str, answer: str) -> int:
        """Number of beats of class `truth` that were labelled `answer`."""
        return int(self.table[TRUTHS.index(truth), ANSWERS.index(answer)])

    @property
    def beats(self) -> int:
        """Number of annotated beats of BEAT_CLASSES."""
        return int(self.table[: len(BEAT_CLASSES)].sum())

    @property
    def wrong(self) -> int:
        """Number of wrong beats: detected beats of BEAT_CLASSES with another label, and S, V or F without a beat."""
        classes = len(BEAT_CLASSES)
        detected = self.table[:classes, : ANSWERS.index("missed")]
        no_beat = self.table[TRUTHS.index(NO_BEAT), ANSWERS.index("S") : classes]
        return int(detected.sum() - np.trace(detected) + no_beat.sum())

    def counts(self, beat_class: str) -> Counts:
        """True positives, false negatives and false positives of one of BEAT_CLASSES."""
        found = self.count(beat_class, beat_class)
        annotated = int(self.table[TRUTHS.index(beat_class)].sum())
        false = sum(self.count(truth, beat_class) for truth in _FALSE_POSITIVES[beat_class])
        return Counts(found, annotated - found, false)

    def class_json(self, beat_class: str) -> dict[str, float | int | None]:
        """Figures and counts of a class, for JSON; `false_no_beat`: false positives where no beat is annotated."""
        return {**self.counts(beat_class).to_json(), "false_no_beat": self.count(NO_BEAT, beat_class)}

    def artefacts_json(self) -> dict[str, Any]:
        """Detections answered artefact, for JSON: their number, those of no annotated beat, and lost beats by class."""
        by_truth = dict(zip(TRUTHS, self.artefacts.tolist(), strict=True))
        no_beat = by_truth.pop(NO_BEAT)
        return {"detections": int(self.artefacts.sum()), "no_beat": no_beat, "lost_beats": by_truth}

    def to_json(self) -> dict[str, dict[str, int]]:
        """Annotated class -> label -> number of beats, for JSON."""
        return {truth: {answer: self.count(truth, answer) for answer in ANSWERS} for truth in TRUTHS}


@dataclass(frozen=True)
class RecordScore:
    """The scores of one record."""

    rpeaks: Counts  # within 150 ms
    rpeaks_close: Counts  # within 50 ms
    confusion: Confusion | None  # None: the record is paced, or beats were not classified
    rr: RrErrors  # RR intervals between beats matched within 150 ms


def score_record(
    reference: BeatAnnotations,
    samples: Sequence[int] | NDArray[np.int64],
    labels: Sequence[str | None] | None = None,
    *,
    fs: float,
    n_samples: int,
    whole: bool = False,
    artefacts: Sequence[bool] | None = None,
    skip_s: float = 0.0,
) -> RecordScore:
    """Score the detected beats of one record against its annotations.

    Args:
        reference: the annotated beats.
        samples: detected R peaks, `(m,)`, in samples of the record, in any order.
        labels: N, S, V, F or `?` for each detection; None, or None for each beat, if beats were not classified.
        fs: sampling rate, Hz.
        n_samples: length of the record, samples.
        whole: also score the first five minutes.
        artefacts: for each detection, whether it is `?` because it is an artefact; None if none is.
        skip_s: the beats before this time are not scored either, s.

    Returns:
        Counts of R peaks, the confusion matrix and the RR-interval errors.
    """
    order = np.argsort(np.asarray(samples, dtype=np.int64), kind="stable")
    detected = np.asarray(samples, dtype=np.int64)[order]
    answers = None
    if labels is not None and any(label is not None for label in labels):
        answers = [labels[position] or "?" for position in order]

    region = scored_region(reference, fs, n_samples, whole)
    region = Region(max(region.first, skip_s * fs), region.excluded)
    paired = _scored_pairs(reference.samples, detected, TOLERANCE_S * fs, region)
    close = _scored_pairs(reference.samples, detected, CLOSE_TOLERANCE_S * fs, region)
    confusion = None
    if answers is not None and not reference.paced:
        is_artefact = np.zeros(len(order), bool) if artefacts is None else np.asarray(artefacts, bool)[order]
        confusion = _confusion(paired, reference.classes.tolist(), answers, is_artefact.tolist())
    rr = rr_errors(reference.samples, reference.classes, detected, paired.matched, reference.flutter, fs)
    return RecordScore(_count_peaks(paired), _count_peaks(close), confusion, rr)


def total_peaks(counts: Iterable[Counts]) -> Counts:
    """Gross statistics of R peaks: every beat has the same weight, whichever record it is in.

    >>> round(total_peaks([Counts(tp=9, fn=1), Counts(tp=1, fn=1)]).se, 1)
    83.3
    """
    return sum(counts, start=Counts())


def total_confusion(confusions: Iterable[Confusion | None]) -> Confusion | None:
    """The sum of all confusion matrices that are not None; None if there is none."""
    present = [confusion for confusion in confusions if confusion is not None]
    return sum(present, start=Confusion.empty()) if present else None


def first_scored_sample(fs: float, n_samples: int, whole: bool) -> float:
    """First scored sample: after five minutes, or 0 if the record is shorter than six minutes or `whole` is set.

    >>> first_scored_sample(360.0, n_samples=650_000, whole=False)  # 30 minutes: from the sixth minute on
    108000.0
    >>> first_scored_sample(360.0, n_samples=100_000, whole=False)  # shorter than six minutes: from its start
    0.0
    """
    return 0.0 if whole or n_samples < SHORT_RECORD_S * fs else LEARNING_S * fs


@dataclass(frozen=True)
class Region:
    """The part of a record that is scored."""

    first: float  # first scored sample
    excluded: Sequence[tuple[int, int]]  # first and last sample of each excluded segment

    def contains(self, samples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of these samples is scored."""
        inside = samples >= self.first
        for start, end in self.excluded:
            inside &= (samples < start) | (samples > end)
        return inside


def scored_region(reference: BeatAnnotations, fs: float, n_samples: int, whole: bool) -> Region:
    """The part of a record that is scored: from `first_scored_sample` on, without ventricular flutter."""
    return Region(first_scored_sample(fs, n_samples, whole), reference.flutter)


@dataclass(frozen=True)
class _Pairs:
    """The scored beats, as indices into the annotated and the detected beats."""

    matched: list[tuple[int, int]]  # (annotated, detected)
    missed: list[int]  # annotated beats
    false: list[int]  # detected beats


def _scored_pairs(
    reference: NDArray[np.int64], detected: NDArray[np.int64], tolerance: float, region: Region
) -> _Pairs:
    """Match all beats, then keep those in the region; the annotated beat decides whether a match is inside."""
    pairing = pair_beats(reference, detected, tolerance)
    scored = region.contains(reference)
    has_match = pairing.detection_index >= 0
    matched = np.flatnonzero(scored & has_match)
    return _Pairs(
        matched=list(zip(matched.tolist(), pairing.detection_index[matched].tolist(), strict=True)),
        missed=np.flatnonzero(scored & ~has_match).tolist(),
        false=np.flatnonzero(region.contains(detected) & (pairing.reference_index < 0)).tolist(),
    )


def _count_peaks(pairs: _Pairs) -> Counts:
    return Counts(len(pairs.matched), len(pairs.missed), len(pairs.false))


def _confusion(pairs: _Pairs, classes: Sequence[str], answers: Sequence[str], is_artefact: Sequence[bool]) -> Confusion:
    confusion = Confusion.empty()
    detected = [
        *((classes[annotated], found) for annotated, found in pairs.matched),
        *((NO_BEAT, found) for found in pairs.false),
    ]
    for truth, found in detected:
        confusion.table[TRUTHS.index(truth), ANSWERS.index(answers[found])] += 1
        confusion.artefacts[TRUTHS.index(truth)] += is_artefact[found]
    for annotated in pairs.missed:
        confusion.table[TRUTHS.index(classes[annotated]), ANSWERS.index("missed")] += 1
    return confusion


def _per_cent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
