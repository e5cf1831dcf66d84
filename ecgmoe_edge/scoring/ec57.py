"""Beat-by-beat scores as ANSI/AAMI EC57 defines them and PhysioNet's `bxb` counts them.

- Beats pair within 150 ms. A missed beat is a miss of its class; a detection without partner is a false
  positive of the label that it got; a beat that the monitor calls `?` costs Se.
- The first five minutes are a learning period and not scored in records of six minutes and more.
- Ventricular flutter (`[` to `]`) is left out. Pairing comes before leaving out, so that a beat at the border
  is not called false because its partner lies across it.
- Records with paced beats count for R peaks only. Of `mitdb` these are 102, 104, 107 and 217.
- +P of V: false are N, S and no partner; a fusion or unclassifiable beat labelled V is neither right nor wrong.
  +P of S: false are N, V, F and no partner. EC57 has no such rule for N and F: there every other beat is false.

One deviation from `bxb -C`: it counts escape beats (e, j, n) as S; here they are N, as in most of the literature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.annotations import AAMI_CLASSES, BeatAnnotations
from ecgmoe_edge.scoring.matching import pair_beats
from ecgmoe_edge.scoring.rr_error import RrErrors, rr_errors
from ecgmoe_edge.tasks import BEAT_CLASSES

TRUTHS = (*AAMI_CLASSES, "none")  # rows of a confusion; "none": no annotated beat there
ANSWERS = (*BEAT_CLASSES, "?", "missed")  # columns of a confusion

TOLERANCE_S = 0.150
CLOSE_TOLERANCE_S = 0.050  # not EC57's: tells a detector that finds R from one that finds a beat
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
    """Beats found, missed and falsely found, and the figures in per cent (None: nothing to divide).

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
        """Harmonic mean of Se and +P, %; None where no such beat is annotated."""
        return _per_cent(2 * self.tp, 2 * self.tp + self.fn + self.fp) if self.tp + self.fn else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fn + other.fn, self.fp + other.fp)

    def to_json(self) -> dict[str, float | int | None]:
        """Figures in per cent, and the counts that they come from."""
        figures = {"se": self.se, "ppv": self.ppv, "f1": self.f1}
        rounded = {key: None if value is None else round(value, 3) for key, value in figures.items()}
        return {**rounded, "tp": self.tp, "fn": self.fn, "fp": self.fp}


def average(counts: Sequence[Counts]) -> dict[str, Any]:
    """Average statistics in EC57's words: every record weighs the same, however many beats it has.

    Each figure is the mean, in per cent, over the records for which it is defined; `records` says how many those are.

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
    """How many beats of each truth got each answer: `table` is `(TRUTHS, ANSWERS)`."""

    table: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Confusion:
        """A confusion of no beats."""
        return cls(np.zeros((len(TRUTHS), len(ANSWERS)), dtype=np.int64))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.table + other.table)

    def count(self, truth: str, answer: str) -> int:
        """Beats of this truth that got this answer."""
        return int(self.table[TRUTHS.index(truth), ANSWERS.index(answer)])

    def counts(self, beat_class: str) -> Counts:
        """Found, missed and false beats of one of BEAT_CLASSES."""
        found = self.count(beat_class, beat_class)
        annotated = int(self.table[TRUTHS.index(beat_class)].sum())
        false = sum(self.count(truth, beat_class) for truth in _FALSE_POSITIVES[beat_class])
        return Counts(found, annotated - found, false)

    def to_json(self) -> dict[str, dict[str, int]]:
        """Truth -> answer -> beats."""
        return {truth: {answer: self.count(truth, answer) for answer in ANSWERS} for truth in TRUTHS}


@dataclass(frozen=True)
class RecordScore:
    """The counts of one record."""

    rpeaks: Counts  # within 150 ms
    rpeaks_close: Counts  # within 50 ms
    confusion: Confusion | None  # None: paced, or nobody classified
    rr: RrErrors  # of the beats within 150 ms


def score_record(
    reference: BeatAnnotations,
    samples: Sequence[int] | NDArray[np.int64],
    labels: Sequence[str | None] | None = None,
    *,
    fs: float,
    n_samples: int,
    whole: bool = False,
) -> RecordScore:
    """Score the detected beats of one record against its annotations.

    Args:
        reference: the annotated beats.
        samples: detected R peaks, `(m,)`, in samples of the record, in any order.
        labels: for each detection N, S, V, F or `?`; None, or None for every beat, where nobody classified.
        fs: samples a second, Hz.
        n_samples: length of the record.
        whole: score the first five minutes too.
    """
    order = np.argsort(np.asarray(samples, dtype=np.int64), kind="stable")
    detected = np.asarray(samples, dtype=np.int64)[order]
    answers = None
    if labels is not None and any(label is not None for label in labels):
        answers = [labels[position] or "?" for position in order]

    region = scored_region(reference, fs, n_samples, whole)
    paired = _scored_pairs(reference.samples, detected, TOLERANCE_S * fs, region)
    close = _scored_pairs(reference.samples, detected, CLOSE_TOLERANCE_S * fs, region)
    confusion = None
    if answers is not None and not reference.paced:
        confusion = _confusion(paired, reference.classes.tolist(), answers)
    rr = rr_errors(reference.samples, reference.classes, detected, paired.matched, reference.flutter, fs)
    return RecordScore(_count_peaks(paired), _count_peaks(close), confusion, rr)


def total_peaks(counts: Iterable[Counts]) -> Counts:
    """Gross statistics: every beat weighs the same, whoever's it is.

    >>> round(total_peaks([Counts(tp=9, fn=1), Counts(tp=1, fn=1)]).se, 1)
    83.3
    """
    return sum(counts, start=Counts())


def total_confusion(confusions: Iterable[Confusion | None]) -> Confusion | None:
    """The sum of all that are there; None where none is."""
    present = [confusion for confusion in confusions if confusion is not None]
    return sum(present, start=Confusion.empty()) if present else None


def first_scored(fs: float, n_samples: int, whole: bool) -> float:
    """Sample from which a record is scored: after five minutes, or at once if it is short or `whole` is wanted.

    >>> first_scored(360.0, n_samples=650_000, whole=False)  # 30 minutes: from the sixth minute on
    108000.0
    >>> first_scored(360.0, n_samples=100_000, whole=False)  # shorter than six minutes: from its start
    0.0
    """
    return 0.0 if whole or n_samples < SHORT_RECORD_S * fs else LEARNING_S * fs


@dataclass(frozen=True)
class Region:
    """The part of a record that is scored."""

    first: float  # sample
    left_out: Sequence[tuple[int, int]]

    def holds(self, samples: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these samples are scored."""
        inside = samples >= self.first
        for start, end in self.left_out:
            inside &= (samples < start) | (samples > end)
        return inside


def scored_region(reference: BeatAnnotations, fs: float, n_samples: int, whole: bool) -> Region:
    """What of a record is scored: not its first five minutes, unless it is short or `whole` is wanted, nor flutter."""
    return Region(first_scored(fs, n_samples, whole), reference.flutter)


@dataclass(frozen=True)
class _Pairs:
    """Positions in the annotated and the detected beats that are scored."""

    matched: list[tuple[int, int]]
    missed: list[int]
    false: list[int]


def _scored_pairs(
    reference: NDArray[np.int64], detected: NDArray[np.int64], tolerance: float, region: Region
) -> _Pairs:
    """Pair all beats, then keep those in the region; a pair lies where its annotated beat lies."""
    pairing = pair_beats(reference, detected, tolerance)
    scored = region.holds(reference)
    has_partner = pairing.of_reference >= 0
    matched = np.flatnonzero(scored & has_partner)
    return _Pairs(
        matched=list(zip(matched.tolist(), pairing.of_reference[matched].tolist(), strict=True)),
        missed=np.flatnonzero(scored & ~has_partner).tolist(),
        false=np.flatnonzero(region.holds(detected) & (pairing.of_detected < 0)).tolist(),
    )


def _count_peaks(pairs: _Pairs) -> Counts:
    return Counts(len(pairs.matched), len(pairs.missed), len(pairs.false))


def _confusion(pairs: _Pairs, classes: Sequence[str], answers: Sequence[str]) -> Confusion:
    confusion = Confusion.empty()
    cells = [
        *((classes[annotated], answers[found]) for annotated, found in pairs.matched),
        *((classes[annotated], "missed") for annotated in pairs.missed),
        *(("none", answers[found]) for found in pairs.false),
    ]
    for truth, answer in cells:
        confusion.table[TRUTHS.index(truth), ANSWERS.index(answer)] += 1
    return confusion


def _per_cent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
