"""Figures and confidence intervals of rhythm, mean RR, age and sex over all records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.plausibility import remarks_json
from ecgmoe_edge.scoring.bootstrap import Bootstrap, Figures, bootstrap
from ecgmoe_edge.scoring.class_table import ClassTable, rounded
from ecgmoe_edge.scoring.cosen import cosen_figures
from ecgmoe_edge.scoring.rhythm_durations import ANSWERS, RHYTHMS
from ecgmoe_edge.scoring.task_records import TaskRecord
from ecgmoe_edge.tasks import Score, Task, task_named

#: The score of the CinC 2017 challenge is the mean F1 of these classes.
CHALLENGE_RHYTHMS = ("N", "AF", "other")
_NO_ANSWER = "none"  # column of the confusion matrix for records without a prediction


@dataclass(frozen=True)
class Baseline:
    """Prediction without an ECG: the mean value or the most frequent class."""

    answer: str | float
    patients: int
    source: str  # the patients over which the mean is taken, in words


@dataclass(frozen=True)
class TaskEvaluation:
    """Results of one task over all records."""

    task: str
    records: tuple[TaskRecord, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)  # record -> reason
    baseline: Baseline | None = None  # only for tasks about a whole record

    def to_json(self) -> dict[str, Any]:
        """All figures for JSON, in per cent, ms, years or s; a figure with a zero denominator is None (null)."""
        score: Mapping[Score, Callable[[], tuple[dict[str, Any], Bootstrap]]] = {
            "rhythm": self._rhythm,
            "intervals": self._rr,
            "value": self._value,
            "class": self._class,
        }
        figures, intervals = score[self._task.score]()
        return {
            "task": self.task,
            "records": len(self.records),
            "patients": len({one.patient for one in self.records}),
            "skipped_records": dict(self.skipped),
            self.task: figures,
            "intervals": intervals.to_json(),
            "per_record": {one.name: _record_json(self._task, one) for one in self.records},
        }

    def class_table(self) -> ClassTable | None:
        """Confusion matrix in records, or in seconds if rhythms are annotated by segment; None for a regression."""
        if self._task.score not in ("rhythm", "class"):
            return None
        return _summed(*self._class_tables())

    @property
    def _task(self) -> Task:
        return task_named(self.task)

    def _rhythm(self) -> tuple[dict[str, Any], Bootstrap]:
        classes, answers, tables = self._class_tables()
        by_duration = classes == RHYTHMS
        scored = RHYTHMS if by_duration else CHALLENGE_RHYTHMS

        def figures(total: NDArray[Any]) -> Figures:
            return ClassTable(classes, answers, total).figures(scored)

        table = _summed(classes, answers, tables)
        unit = "s" if by_duration else "records"
        shown = {"unit": unit, **table.to_json(scored), "cosen": self._cosen()}
        return shown, self._intervals(tables, figures)

    def _cosen(self) -> dict[str, Any]:
        """Figures of the classical measure of AF on the same records."""
        return cosen_figures(
            [one.patient for one in self.records], np.array([one.af_by_cosen for one in self.records], np.float64)
        )

    def _class(self) -> tuple[dict[str, Any], Bootstrap]:
        classes, answers, tables = self._class_tables()
        table = _summed(classes, answers, tables)
        intervals = self._intervals(tables, lambda total: ClassTable(classes, answers, total).figures())
        figures = {"unit": "records", **table.to_json()}
        if self.baseline is not None:
            correct = sum(one.truth == self.baseline.answer for one in self.records)
            figures["baseline"] = {
                "says": self.baseline.answer,
                "accuracy": round(100.0 * correct / len(self.records), 3),
                "of": self.baseline.source,
            }
        return figures, intervals

    def _class_tables(self) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.float64]]:
        if self.records[0].table is not None:
            return RHYTHMS, ANSWERS, np.array([one.table for one in self.records])
        classes = self._task.classes
        answers = (*classes, _NO_ANSWER) if self._task.score == "class" else classes
        tables = np.zeros((len(self.records), len(classes), len(answers)))
        for row, one in enumerate(self.records):
            tables[row, classes.index(str(one.truth)), answers.index(str(one.answer or _NO_ANSWER))] = 1
        return classes, answers, tables

    def _rr(self) -> tuple[dict[str, Any], Bootstrap]:
        sums = np.array([_rr_sums(one.rr_errors_ms) for one in self.records])
        figures = {**rounded(_rr_figures(sums.sum(0))), "windows": int(sums[:, 3].sum()), "window_s": 10}
        return figures, self._intervals(sums, _rr_figures)

    def _value(self) -> tuple[dict[str, Any], Bootstrap]:
        task = self._task
        sums = np.array([_value_sums(one, self.baseline) for one in self.records])
        intervals = self._intervals(sums, lambda total: _value_figures(task, total))
        figures: dict[str, Any] = {**rounded(_value_figures(task, sums.sum(0))), "answered": int(sums[:, 1].sum())}
        if self.baseline is not None:
            mean = round(float(self.baseline.answer), 2)
            figures["baseline"] = {f"says_{task.unit}": mean, "of": self.baseline.source}
        return figures, intervals

    def _intervals(self, tables: NDArray[Any], figures: Callable[[NDArray[Any]], Figures]) -> Bootstrap:
        return bootstrap([one.patient for one in self.records], tables, figures)


def _summed(classes: Sequence[str], answers: Sequence[str], tables: NDArray[np.float64]) -> ClassTable:
    return ClassTable(tuple(classes), tuple(answers), tables.sum(0))


def _rr_sums(errors: NDArray[np.float64] | None) -> list[float]:
    """Sum and number of the absolute errors of the model, then of the detector; errors are `(windows, 2)` in ms."""
    if errors is None or not len(errors):
        return [0.0] * 4
    absolute = np.abs(errors)
    sums, counts = np.nansum(absolute, axis=0), (~np.isnan(absolute)).sum(axis=0)
    return [float(sums[0]), float(counts[0]), float(sums[1]), float(counts[1])]


def _rr_figures(sums: NDArray[Any]) -> Figures:
    return {"mae_ms": _ratio(sums[0], sums[1]), "detector_mae_ms": _ratio(sums[2], sums[3])}


def _value_sums(one: TaskRecord, baseline: Baseline | None) -> list[float]:
    """Absolute error of the model, number of predictions, and absolute error of the baseline, of one record."""
    if one.answer is None:
        return [0.0, 0.0, 0.0]
    truth = float(one.truth or 0.0)
    baseline_error = abs(truth - float(baseline.answer)) if baseline is not None else np.nan
    return [abs(float(one.answer) - truth), 1.0, baseline_error]


def _value_figures(task: Task, sums: NDArray[Any]) -> Figures:
    model, baseline = _ratio(sums[0], sums[1]), _ratio(sums[2], sums[1])
    gain = None if model is None or baseline is None else baseline - model
    return {f"mae_{task.unit}": model, f"mean_{task.name}_mae_{task.unit}": baseline, f"better_by_{task.unit}": gain}


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole and np.isfinite(part) else None


def _record_json(task: Task, one: TaskRecord) -> dict[str, Any]:
    shared: dict[str, Any] = {"patient": one.patient, "lead": one.lead, "duration_s": round(one.duration_s, 3)}
    shared |= {"beats": one.beats, "remarks": remarks_json(one.remarks)}
    if one.table is not None:
        table = ClassTable(RHYTHMS, ANSWERS, one.table)
        return shared | {name: value for name, value in table.to_json().items() if name in ("classes", "confusion")}
    if task.score == "intervals":
        sums = np.array(_rr_sums(one.rr_errors_ms))
        return shared | dict(rounded(_rr_figures(sums))) | {"windows": int(sums[3])}
    if task.score == "value":
        return shared | {task.name: one.truth, "answer": None if one.answer is None else round(float(one.answer), 2)}
    probabilities = {name: round(probability, 4) for name, probability in one.probabilities.items()}
    return shared | {"truth": one.truth, "answer": one.answer, "probabilities": probabilities}
