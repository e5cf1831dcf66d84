"""Accuracy of an exported model against its float student, beat by beat through the whole live pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import unusable_outputs
from ecgmoe_edge.converters.calibration import LEAST_BEATS
from ecgmoe_edge.records.names import record_name
from ecgmoe_edge.runtime.manifest import Gate, Metrics
from ecgmoe_edge.scoring.evaluation import unscorable
from ecgmoe_edge.streaming.beat_model import ModelFunction

#: Classes whose F1 is held against the float student's: those that matter, with beats in every validation set.
CLASSES = ("S", "V")


@dataclass(frozen=True)
class AccuracyResult:
    """Gates and figures of one comparison."""

    gates: tuple[Gate, ...]
    metrics: Metrics | None  # None: not one record could be scored
    shown: tuple[str, ...] = ()  # the beats that the two label differently, in words
    left_out: Mapping[str, str] = field(default_factory=dict)  # record -> why it could not be scored


#: Float student and exported model, to gates and figures.
AccuracyCheck: TypeAlias = Callable[[ModelFunction, ModelFunction], AccuracyResult]


def gate_names() -> tuple[str, ...]:
    """Names of the accuracy gates, run or not."""
    return tuple(f"{name} F1 lost" for name in CLASSES)


def accuracy_on(records: Sequence[Path], name: str, limit_points: float) -> AccuracyCheck:
    """A check on annotated records: F1 of S and V must not fall more than `limit_points` below the float student.

    It fails where either model answers any beat with what is no number. A class of fewer than `LEAST_BEATS` annotated
    beats is not run, and a record that cannot be scored is left out.

    Args:
        records: paths, as `open_recording` takes them.
        name: what to call them in the manifest, such as "ds1-val".
        limit_points: in points of F1 (per cent).
    """

    def check(full: ModelFunction, exported: ModelFunction) -> AccuracyResult:
        reference, candidate = _Watched(full), _Watched(exported)
        left_out = unscorable(records)  # found before the models run on the others
        usable = [path for path in records if record_name(path) not in left_out]
        if not usable:
            why = f"not one record of {name} can be scored"
            return AccuracyResult(not_run(why, limit_points), None, left_out=left_out)
        before, old_beats, annotated = _f1(usable, reference.model)
        after, new_beats, _ = _f1(usable, candidate.model)
        unusable = reference.unusable + candidate.unusable
        gates = []
        for gate, of in zip(gate_names(), CLASSES, strict=True):
            old, new = before[f"{of} F1"], after[f"{of} F1"]
            if old is None or (annotated[of] < LEAST_BEATS and not unusable):
                count = f"no {of} beat" if old is None else f"{annotated[of]} {of} beats, {LEAST_BEATS} are needed"
                why = f"{name} holds {count}"
                gates.append(Gate.not_run(gate, why, limit=limit_points, sense="at most", unit="points"))
            else:
                # A figure of beats without an answer says nothing, whichever model left them out.
                lost = math.nan if unusable else old - (new or 0.0)
                gates.append(Gate.judge(gate, lost, limit_points, "at most", data=name, unit="points"))
        other = [
            f"{place}: {truth} was called {old_beats[place][1]}, now {label}"
            for place, (truth, label) in new_beats.items()
            if place in old_beats and old_beats[place][1] != label and {truth, label} & set(CLASSES)
        ]
        return AccuracyResult(tuple(gates), Metrics(name, before, after), tuple(other), left_out)

    return check


class _Watched:
    """A model whose answers that are no numbers are counted."""

    def __init__(self, model: ModelFunction) -> None:
        self.model = replace(model, infer=self._infer)
        self.unusable = 0  # inferences
        self._infer_of_model = model.infer

    def _infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        outputs = self._infer_of_model(inputs)
        self.unusable += bool(unusable_outputs(outputs))
        return outputs


def _f1(
    records: Sequence[Path], model: ModelFunction
) -> tuple[dict[str, float | None], dict[str, tuple[str, str]], dict[str, int]]:
    """F1 of each class; of each scored beat its place, what it is and what it was called; annotated beats a class."""
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


def not_run(why: str, limit_points: float) -> tuple[Gate, ...]:
    """The accuracy gates where there are no annotated records."""
    return tuple(Gate.not_run(name, why, limit=limit_points, sense="at most", unit="points") for name in gate_names())
