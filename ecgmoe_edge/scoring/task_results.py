"""Figures of the tasks besides the beats, over all records: rhythm, mean RR, age and sex, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.records.plausibility import remarks_json
from ecgmoe_edge.scoring.bootstrap import Bootstrap, Figures, bootstrap
from ecgmoe_edge.scoring.class_table import ClassTable, rounded
from ecgmoe_edge.scoring.rhythm_durations import ANSWERS, RHYTHMS
from ecgmoe_edge.scoring.task_records import TaskRecord
from ecgmoe_edge.tasks import Score, Task, task_named

#: Those whose mean F1 is the score of the CinC 2017 challenge.
CHALLENGE_RHYTHMS = ("N", "AF", "other")
_NOTHING = "none"  # the answer of a record without one


@dataclass(frozen=True)
class Baseline:
    """What someone says who has seen no ECG: the mean value, the commonest class."""

    answer: str | float
    patients: int
    source: str  # whose mean it is, in words


@dataclass(frozen=True)
class TaskEvaluation:
    """The records of one task."""

    task: str
    records: tuple[TaskRecord, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)  # record -> why
    baseline: Baseline | None = None  # of tasks about a record as a whole

    def to_json(self) -> dict[str, Any]:
        """All figures, JSON-ready; per cent, ms, years, s. None (null) where there is nothing to divide."""
        score: Mapping[Score, Callable[[], tuple[dict[str, Any], Bootstrap]]] = {
            "rhythm": self._rhythm,
            "intervals": self._rr,
            "value": self._value,
            "class": self._class,
        }
        figures, intervals = score[self._asked.score]()
        return {
            "task": self.task,
            "records": len(self.records),
            "patients": len({one.patient for one in self.records}),
            "skipped_records": dict(self.skipped),
            self.task: figures,
            "intervals": intervals.to_json(),
            "per_record": {one.name: _record_json(self._asked, one) for one in self.records},
        }

    def class_table(self) -> ClassTable | None:
        """Truth against answer: records, or seconds where rhythms are annotated stretch by stretch."""
        if self._asked.score not in ("rhythm", "class"):
            return None
        return _summed(*self._class_tables())

    @property
    def _asked(self) -> Task:
        return task_named(self.task)

    def _rhythm(self) -> tuple[dict[str, Any], Bootstrap]:
        classes, answers, tables = self._class_tables()
        by_duration = classes == RHYTHMS
        scored = RHYTHMS if by_duration else CHALLENGE_RHYTHMS

        def figures(total: NDArray[Any]) -> Figures:
            return ClassTable(classes, answers, total).figures(scored)

        table = _summed(classes, answers, tables)
        made = self._intervals(tables, figures)
        unit = "s" if by_duration else "records"
        return {"unit": unit, **table.to_json(scored)}, made

    def _class(self) -> tuple[dict[str, Any], Bootstrap]:
        classes, answers, tables = self._class_tables()
        table = _summed(classes, answers, tables)
        made = self._intervals(tables, lambda total: ClassTable(classes, answers, total).figures())
        figures = {"unit": "records", **table.to_json()}
        if self.baseline is not None:
            right = sum(one.truth == self.baseline.answer for one in self.records)
            figures["baseline"] = {
                "says": self.baseline.answer,
                "accuracy": round(100.0 * right / len(self.records), 3),
                "of": self.baseline.source,
            }
        return figures, made

    def _class_tables(self) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.float64]]:
        if self.records[0].table is not None:
            return RHYTHMS, ANSWERS, np.array([one.table for one in self.records])
        classes = self._asked.classes
        answers = (*classes, _NOTHING) if self._asked.score == "class" else classes
        tables = np.zeros((len(self.records), len(classes), len(answers)))
        for row, one in enumerate(self.records):
            tables[row, classes.index(str(one.truth)), answers.index(str(one.answer or _NOTHING))] = 1
        return classes, answers, tables

    def _rr(self) -> tuple[dict[str, Any], Bootstrap]:
        sums = np.array([_rr_sums(one.rr_errors_ms) for one in self.records])
        made = self._intervals(sums, _rr_figures)
        return {**rounded(_rr_figures(sums.sum(0))), "windows": int(sums[:, 3].sum()), "window_s": 10}, made

    def _value(self) -> tuple[dict[str, Any], Bootstrap]:
        task = self._asked
        sums = np.array([_value_sums(one, self.baseline) for one in self.records])
        made = self._intervals(sums, lambda total: _value_figures(task, total))
        figures: dict[str, Any] = {**rounded(_value_figures(task, sums.sum(0))), "answered": int(sums[:, 1].sum())}
        if self.baseline is not None:
            said = round(float(self.baseline.answer), 2)
            figures["baseline"] = {f"says_{task.unit}": said, "of": self.baseline.source}
        return figures, made

    def _intervals(self, tables: NDArray[Any], figures: Callable[[NDArray[Any]], Figures]) -> Bootstrap:
        return bootstrap([one.patient for one in self.records], tables, figures)


def _summed(classes: Sequence[str], answers: Sequence[str], tables: NDArray[np.float64]) -> ClassTable:
    return ClassTable(tuple(classes), tuple(answers), tables.sum(0))


def _rr_sums(errors: NDArray[np.float64] | None) -> list[float]:
    if errors is None or not len(errors):
        return [0.0] * 4
    off = np.abs(errors)
    return [float(np.nansum(off[:, 0])), float((~np.isnan(off[:, 0])).sum()),
            float(np.nansum(off[:, 1])), float((~np.isnan(off[:, 1])).sum())]  # fmt: skip


def _rr_figures(sums: NDArray[Any]) -> Figures:
    return {"mae_ms": _ratio(sums[0], sums[1]), "detector_mae_ms": _ratio(sums[2], sums[3])}


def _value_sums(one: TaskRecord, baseline: Baseline | None) -> list[float]:
    if one.answer is None:
        return [0.0, 0.0, 0.0]
    truth = float(one.truth or 0.0)
    plain = abs(truth - float(baseline.answer)) if baseline is not None else np.nan
    return [abs(float(one.answer) - truth), 1.0, plain]


def _value_figures(task: Task, sums: NDArray[Any]) -> Figures:
    own, plain = _ratio(sums[0], sums[1]), _ratio(sums[2], sums[1])
    better = None if own is None or plain is None else plain - own
    return {f"mae_{task.unit}": own, f"mean_{task.name}_mae_{task.unit}": plain, f"better_by_{task.unit}": better}


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole and np.isfinite(part) else None


def _record_json(task: Task, one: TaskRecord) -> dict[str, Any]:
    said: dict[str, Any] = {"patient": one.patient, "lead": one.lead, "duration_s": round(one.duration_s, 3)}
    said |= {"beats": one.beats, "remarks": remarks_json(one.remarks)}
    if one.table is not None:
        table = ClassTable(RHYTHMS, ANSWERS, one.table)
        return said | {name: value for name, value in table.to_json().items() if name in ("classes", "confusion")}
    if task.score == "intervals":
        sums = np.array(_rr_sums(one.rr_errors_ms))
        return said | dict(rounded(_rr_figures(sums))) | {"windows": int(sums[3])}
    if task.score == "value":
        return said | {task.name: one.truth, "answer": None if one.answer is None else round(float(one.answer), 2)}
    shares = {name: round(share, 4) for name, share in one.probabilities.items()}
    return said | {"truth": one.truth, "answer": one.answer, "probabilities": shares}
