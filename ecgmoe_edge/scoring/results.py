"""Results of an evaluation: the scores of each record, gross and average statistics, and their JSON form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.databases import Origin
from ecgmoe_edge.records.plausibility import remarks_json
from ecgmoe_edge.records.recording import Remark
from ecgmoe_edge.scoring.beat_traces import BeatTrace
from ecgmoe_edge.scoring.bootstrap import Figures, bootstrap
from ecgmoe_edge.scoring.ec57 import (
    Confusion,
    Counts,
    RecordScore,
    average,
    total_confusion,
    total_peaks,
)
from ecgmoe_edge.scoring.patient_specific import PatientScore, Protocol, patient_specific_json
from ecgmoe_edge.scoring.rr_error import RrErrors, total_rr
from ecgmoe_edge.tasks import BEAT_CLASSES

Reference: TypeAlias = Literal["neurokit"]

# Name of the tolerance in JSON output -> the counts of a record at this tolerance.
_TOLERANCES: Mapping[str, Callable[[RecordScore], Counts]] = {
    "150ms": lambda score: score.rpeaks,
    "50ms": lambda score: score.rpeaks_close,
}


@dataclass(frozen=True)
class RecordResult:
    """Scores, delays and remarks of one record."""

    name: str
    leads: tuple[str, ...]  # several leads were run together
    fs: float
    duration_s: float
    paced: bool
    score: RecordScore
    whole_score: RecordScore  # includes the first five minutes
    reference: RecordScore | None  # score of the offline detector
    detection_delay_ms: NDArray[np.float32]  # (beats,)
    label_delay_ms: NDArray[np.float32]  # (labelled beats,)
    trace: BeatTrace | None = None  # details of each beat, for a report
    origin: Origin | None = None  # identity of the record in a known database
    remarks: tuple[Remark, ...] = ()
    patient_specific: PatientScore | None = None  # with a layer of its first minutes; None: paced, or not asked for

    @property
    def patient(self) -> str:
        """Identifier of the patient; the name of the record if the patient is unknown."""
        return self.name if self.origin is None else self.origin.patient

    @property
    def dominates_s(self) -> bool:
        """Whether it is record 232 of MIT-BIH; the figures of S are also given without this record."""
        return self.origin is not None and self.origin.dominates_s

    def to_json(self) -> dict[str, Any]:
        """Figures of this record, for JSON."""
        figures: dict[str, Any] = {
            "lead": " + ".join(self.leads),
            "fs_hz": self.fs,
            "duration_s": round(self.duration_s, 3),
            "paced": self.paced,
            "rpeaks": _peaks_json([self.score]),
            "beats": _beats_json(self.score.confusion),
            "confusion": None if self.score.confusion is None else self.score.confusion.to_json(),
            "artefacts": None if self.score.confusion is None else self.score.confusion.artefacts_json(),
            "rr_error_ms": self.score.rr.to_json(),
            "remarks": remarks_json(self.remarks),
        }
        if self.reference is not None:
            figures["reference"] = _peaks_json([self.reference])
        return figures


@dataclass(frozen=True)
class Evaluation:
    """Results of all records, with sums over records ("gross" in EC57) and means over records ("average" in EC57)."""

    results: tuple[RecordResult, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)  # record -> reason
    reference: Reference | None = None  # name of the offline detector
    fused: bool = False  # several leads were run together; such figures are reported separately
    protocol: Protocol | None = None  # of the patient-specific figures, which are reported separately too

    @property
    def rpeaks(self) -> Counts:
        """Gross counts of R peaks within 150 ms."""
        return total_peaks(result.score.rpeaks for result in self.results)

    @property
    def confusion(self) -> Confusion | None:
        """Confusion matrix over all records that are not paced; None if beats were not classified."""
        return total_confusion(result.score.confusion for result in self.results)

    @property
    def rr(self) -> RrErrors:
        """RR-interval errors over all records."""
        return total_rr(result.score.rr for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """All figures for JSON, in per cent and ms; a figure with a zero denominator is None (null)."""
        confusion = self.confusion
        totals: dict[str, Any] = {
            "records": len(self.results),
            "fused_leads": self.fused,
            "skipped_records": dict(self.skipped),
            "rpeaks": _peaks_json([result.score for result in self.results]),
            "beats": _beats_json(confusion),
            "confusion": None if confusion is None else confusion.to_json(),
            "artefacts": None if confusion is None else confusion.artefacts_json(),
            "S_without_232": self._s_without_dominant(lambda one: one.score),
            "whole_record": self._whole_record(),
            "intervals": self._intervals(),
            "average": self._averages(),
            "rr_error_ms": {**self.rr.to_json(), "average": self._average_rr()},
            "per_record": {result.name: result.to_json() for result in self.results},
            "delay_ms": {
                "detection": _delays([result.detection_delay_ms for result in self.results]),
                "label": _delays([result.label_delay_ms for result in self.results]),
            },
        }
        if self.reference is not None:
            scores = [result.reference for result in self.results if result.reference is not None]
            totals["reference"] = {"detector": self.reference, "rpeaks": _peaks_json(scores)}
        if self.protocol is not None:
            personal = {one.name: one.patient_specific for one in self.results if one.patient_specific is not None}
            dominant = [one.name for one in self.results if one.dominates_s]
            totals[self.protocol.kind] = patient_specific_json(personal, self.protocol, dominant)
        return totals

    def _whole_record(self) -> dict[str, Any]:
        """The same figures with the first five minutes included, as in much of the literature."""
        scores = [result.whole_score for result in self.results]
        return {
            "rpeaks": _peaks_json(scores),
            "beats": _beats_json(total_confusion(score.confusion for score in scores)),
            "S_without_232": self._s_without_dominant(lambda one: one.whole_score),
        }

    def _s_without_dominant(self, score: Callable[[RecordResult], RecordScore]) -> dict[str, float | int | None] | None:
        others = [result for result in self.results if not result.dominates_s]
        confusion = total_confusion(score(result).confusion for result in others)
        if confusion is None or len(others) == len(self.results):
            return None
        return confusion.class_json("S")

    def _intervals(self) -> dict[str, Any]:
        """Bootstrap confidence intervals of the gross statistics: R peaks, classes, and S without record 232."""
        peaks = [[counts(one.score) for counts in _TOLERANCES.values()] for one in self.results]
        rpeaks = np.array([[(each.tp, each.fn, each.fp) for each in row] for row in peaks])
        intervals = bootstrap([one.patient for one in self.results], rpeaks, _peak_figures).to_json()
        labelled = [one for one in self.results if one.score.confusion is not None]
        if labelled:
            intervals["figures"] |= _beat_intervals(labelled, BEAT_CLASSES)
            others = [one for one in labelled if not one.dominates_s]
            if 0 < len(others) < len(labelled):
                without = _beat_intervals(others, ("S",))
                intervals["figures"] |= {name.replace("S.", "S_without_232."): pair for name, pair in without.items()}
        return intervals

    def _averages(self) -> dict[str, Any]:
        scores = [result.score for result in self.results]
        labelled = [score.confusion for score in scores if score.confusion is not None]
        classes = {name: average([confusion.counts(name) for confusion in labelled]) for name in BEAT_CLASSES}
        return {
            "rpeaks": {name: average([counts(score) for score in scores]) for name, counts in _TOLERANCES.items()},
            "beats": classes if labelled else None,
        }

    def _average_rr(self) -> float | None:
        values = [value for value in (result.score.rr.rms_ms() for result in self.results) if value is not None]
        return round(sum(values) / len(values), 3) if values else None


@dataclass(frozen=True)
class NoiseEvaluation:
    """Results with one kind of added noise at several signal-to-noise ratios."""

    kind: str  # em, ma or bw
    at_snr_db: Mapping[float, Evaluation]

    def to_json(self) -> dict[str, Any]:
        """The kind of noise, and the output of `Evaluation.to_json` for each ratio in dB."""
        levels = {f"{snr:g}": evaluation.to_json() for snr, evaluation in self.at_snr_db.items()}
        return {"kind": self.kind, "snr_db": levels}


def _peaks_json(scores: Sequence[RecordScore]) -> dict[str, dict[str, float | int | None]]:
    return {name: total_peaks(map(counts, scores)).to_json() for name, counts in _TOLERANCES.items()}


def _beats_json(confusion: Confusion | None) -> dict[str, dict[str, float | int | None]] | None:
    return None if confusion is None else {name: confusion.class_json(name) for name in BEAT_CLASSES}


def _peak_figures(total: NDArray[Any]) -> Figures:
    return {
        f"rpeaks.{name}.{key}": getattr(Counts(*row.tolist()), key)
        for name, row in zip(_TOLERANCES, total, strict=True)
        for key in ("se", "ppv", "f1")
    }


def _beat_intervals(results: Sequence[RecordResult], classes: Sequence[str]) -> dict[str, Any]:
    def figures(total: NDArray[Any]) -> Figures:
        counts = {name: Confusion(total).counts(name) for name in classes}
        return {f"{name}.{key}": getattr(each, key) for name, each in counts.items() for key in ("se", "ppv", "f1")}

    tables = np.array([one.score.confusion.table for one in results if one.score.confusion is not None])
    intervals: dict[str, Any] = bootstrap([one.patient for one in results], tables, figures).to_json()["figures"]
    return intervals


def _delays(record_delays: Sequence[NDArray[np.float32]]) -> dict[str, float | None]:
    delays = np.concatenate(record_delays)
    if not delays.size:
        return {"p50": None, "p95": None, "max": None}
    p50, p95 = np.percentile(delays, [50, 95])
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "max": round(float(delays.max()), 1)}
