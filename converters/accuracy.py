"""Accuracy of an exported model against its float student, beat by beat through the whole live pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.converters.parity import Infer
from ecgmoe_edge.runtime.manifest import Gate, Metrics
from ecgmoe_edge.streaming.decision import DecisionRule

#: Classes whose F1 is held against the float student's: those that matter, with beats in every validation set.
CLASSES = ("S", "V")


@dataclass(frozen=True)
class Candidate:
    """A model in memory, as a `Monitor` takes it."""

    classes: Mapping[str, tuple[str, ...]]
    decision: DecisionRule
    infer: Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class AccuracyResult:
    """Gates and figures of one comparison."""

    gates: tuple[Gate, ...]
    metrics: Metrics


#: Float student and exported model, to gates and figures.
AccuracyCheck: TypeAlias = Callable[[Candidate, Candidate], AccuracyResult]


def gate_names() -> tuple[str, ...]:
    """Names of the accuracy gates, run or not."""
    return tuple(f"{name} F1 lost" for name in CLASSES)


def accuracy_on(records: Sequence[Path], name: str, limit_points: float) -> AccuracyCheck:
    """A check on annotated WFDB records: F1 of S and V must not fall more than `limit_points` below the float student.

    Args:
        records: paths without extension.
        name: what to call them in the manifest, such as "ds1-val".
        limit_points: in points of F1 (per cent).
    """

    def check(full: Candidate, exported: Candidate) -> AccuracyResult:
        before, after = _f1(records, full), _f1(records, exported)
        gates = []
        for gate, of in zip(gate_names(), CLASSES, strict=True):
            old, new = before[f"{of} F1"], after[f"{of} F1"]
            if old is None:
                why = f"{name} holds no {of} beat"
                gates.append(Gate.not_run(gate, why, limit=limit_points, sense="at most", unit="points"))
            else:
                lost = old - (new or 0.0)
                gates.append(Gate.judge(gate, lost, limit_points, "at most", data=name, unit="points"))
        return AccuracyResult(tuple(gates), Metrics(name, before, after))

    return check


def _f1(records: Sequence[Path], model: Candidate) -> dict[str, float | None]:
    from ecgmoe_edge.scoring.ec57 import total_confusion
    from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate_record

    options = EvaluationOptions()
    confusion = total_confusion(evaluate_record(path, options, model).score.confusion for path in records)
    if confusion is None:
        return dict.fromkeys((f"{name} F1" for name in CLASSES), None)
    return {f"{name} F1": confusion.counts(name).f1 for name in CLASSES}


def not_run(why: str, limit_points: float) -> tuple[Gate, ...]:
    """The accuracy gates where there are no annotated records."""
    return tuple(Gate.not_run(name, why, limit=limit_points, sense="at most", unit="points") for name in gate_names())


def candidate(infer: Infer, classes: Mapping[str, tuple[str, ...]], decision: DecisionRule) -> Candidate:
    """An inference function with what a monitor needs besides."""
    return Candidate(dict(classes), decision, infer)
