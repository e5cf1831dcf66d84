"""Accuracy gates: an exported model against its float student, on annotated records and with the live pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import unusable_outputs
from ecgmoe_edge.converters.beat_macs import TakenRoutes
from ecgmoe_edge.converters.calibration import LEAST_BEATS
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.runtime.manifest import Gate, Metrics
from ecgmoe_edge.scoring.evaluation import unscorable
from ecgmoe_edge.streaming.beat_model import ModelFunction

#: Classes whose F1 is compared: the ectopic classes that occur in every validation set.
CLASSES = ("S", "V")


@dataclass(frozen=True)
class AccuracyResult:
    """Gates and metrics of one comparison."""

    gates: tuple[Gate, ...]
    metrics: Metrics | None  # None if no record could be scored
    changed_beats: tuple[str, ...] = ()  # one sentence for each beat that the two models label differently
    left_out: Mapping[str, str] = field(default_factory=dict)  # reason by record that could not be scored
    routes: TakenRoutes | None = None  # experts that the beats of the exported model took; None if none was counted


#: Compares an exported model (second argument) with its float student (first argument).
AccuracyCheck: TypeAlias = Callable[[ModelFunction, ModelFunction], AccuracyResult]


def gate_names() -> tuple[str, ...]:
    """Return the names of the accuracy gates, whether they run or not."""
    return tuple(f"{name} F1 lost" for name in CLASSES)


def accuracy_on(
    records: Sequence[Path],
    name: str,
    limit_points: float,
    *,
    also_counted: Mapping[str, Sequence[Path]] = MappingProxyType({}),
) -> AccuracyCheck:
    """Make a check on annotated records: F1 of S and V may be at most `limit_points` below that of the float student.

    A gate fails if an output of either model is not finite. The gate of a class with fewer than `LEAST_BEATS` annotated
    beats is not run. A record that cannot be scored is left out. All beats that the exported model classifies are
    counted by the experts that they take, those of `also_counted` too.

    Args:
        records: paths that `open_recording` accepts.
        name: name of the records in the manifest, such as "ds1-val".
        limit_points: in percentage points of F1.
        also_counted: further records by the name of their set, which only the exported model runs on.
    """

    def check(full: ModelFunction, exported: ModelFunction) -> AccuracyResult:
        reference, candidate = _CheckedModel(full), _CheckedModel(exported)
        left_out = unscorable(records)  # checked first, before the models run for minutes
        usable = [path for path in records if record_name(path) not in left_out]
        if not usable:
            why = f"no record of {name} can be scored"
            return AccuracyResult(not_run_gates(why, limit_points), None, left_out=left_out)
        before, old_beats, annotated = _f1(usable, reference.model)
        after, new_beats, _ = _f1(usable, candidate.model)
        counted = [name]
        for more, paths in also_counted.items():
            without = unscorable(paths)
            left_out |= without
            if scorable := [path for path in paths if record_name(path) not in without]:
                _f1(scorable, candidate.model)
                counted.append(more)
        routes = replace(candidate.routes, data=" and ".join(counted)) if len(candidate.routes) else None
        unusable = reference.unusable + candidate.unusable
        gates = []
        for gate, label in zip(gate_names(), CLASSES, strict=True):
            old, new = before[f"{label} F1"], after[f"{label} F1"]
            if old is None or (annotated[label] < LEAST_BEATS and not unusable):
                count = (
                    f"no {label} beat" if old is None else f"{annotated[label]} {label} beats, {LEAST_BEATS} are needed"
                )
                why = f"{name} contains {count}"
                gates.append(Gate.not_run(gate, why, limit=limit_points, sense="at most", unit="points"))
            else:
                # If an output of either model is not finite, F1 has no meaning and the gate must fail.
                lost = math.nan if unusable else old - (new or 0.0)
                gates.append(Gate.judge(gate, lost, limit_points, "at most", data=name, unit="points"))
        changed = [
            f"{place}: {truth} was labelled {old_beats[place][1]}, now {label}"
            for place, (truth, label) in new_beats.items()
            if place in old_beats and old_beats[place][1] != label and {truth, label} & set(CLASSES)
        ]
        return AccuracyResult(tuple(gates), Metrics(name, before, after), tuple(changed), left_out, routes)

    return check


class _CheckedModel:
    """Wraps a model; counts its outputs that are not finite, and the experts that its beats take."""

    def __init__(self, model: ModelFunction) -> None:
        self.model = replace(model, infer=self._infer)
        self.unusable = 0  # number of inferences with such an output
        self.routes = TakenRoutes()
        self._infer_of_model = model.infer

    def _infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        outputs = self._infer_of_model(inputs)
        self.unusable += bool(unusable_outputs(outputs))
        self.routes.add(outputs)
        return outputs


def _f1(
    records: Sequence[Path], model: ModelFunction
) -> tuple[dict[str, float | None], dict[str, tuple[str, str]], dict[str, int]]:
    """Score a model on records.

    Returns:
        F1 (per cent) by class; annotated and predicted class by scored beat; number of annotated beats by class.
    """
    from ecgmoe_edge.scoring.ec57 import total_confusion
    from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate_record

    options = EvaluationOptions(traces=True)
    results = [evaluate_record(path, options, model) for path in records]
    beats = {
        f"{record_name(path)} at {time_s:.1f} s": (str(truth), str(label))
        for path, result in zip(records, results, strict=True)
        if result.trace is not None
        for time_s, truth, label in zip(result.trace.time_s, result.trace.truth, result.trace.label, strict=True)
    }
    confusion = total_confusion(result.score.confusion for result in results)
    if confusion is None:
        return dict.fromkeys((f"{name} F1" for name in CLASSES), None), beats, dict.fromkeys(CLASSES, 0)
    counts = {name: confusion.counts(name) for name in CLASSES}
    annotated = {name: each.tp + each.fn for name, each in counts.items()}
    return {f"{name} F1": each.f1 for name, each in counts.items()}, beats, annotated


def not_run_gates(why: str, limit_points: float) -> tuple[Gate, ...]:
    """Return the accuracy gates as not run, with the reason."""
    return tuple(Gate.not_run(name, why, limit=limit_points, sense="at most", unit="points") for name in gate_names())
