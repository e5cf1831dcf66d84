"""Does an exported file say what the PyTorch model says? Routes, labels and scores compared, and gates on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecgmoe_edge.contract import INPUTS, is_route
from ecgmoe_edge.errors import GateFailed, SignalError
from ecgmoe_edge.runtime.manifest import Gate

Tensors: TypeAlias = Mapping[str, NDArray[np.float32]]
#: Named inputs to named outputs, (beats, ...) each; an engine's `run`, a bundle's `infer`, or `torch_model`.
Infer: TypeAlias = Callable[[Tensors], Tensors]

_SHOWN = 8  # beats in the message of a failed gate


@dataclass(frozen=True)
class ParityLimits:
    """What an exported file may differ by from the model that it was made of."""

    logit_difference: float  # largest, over beats that took the same experts in both
    route_agreement: float  # least share of beats that take the same experts
    label_agreement: float  # least share of beats with the same label, in the worst task


@dataclass(frozen=True)
class Difference:
    """A beat for which two models differ."""

    beat: int
    chosen: Mapping[str, tuple[int, int]]  # by task or router: its largest logit in the first and the second model
    # Largest difference of the tasks' logits; of other experts, where the route differs; infinite where an answer is no
    # finite number.
    logits: float

    def said(self, place: str, classes: Mapping[str, Sequence[str]]) -> str:
        """In words; `place` says which beat it is."""
        changes = [
            f"{name} {' -> '.join(classes[name][one] if name in classes else str(one) for one in pair)}"
            for name, pair in self.chosen.items()
        ]
        apart = f"logits differ by {self.logits:.2g}" if isfinite(self.logits) else "an answer is not finite"
        return f"{place}: {', '.join((*changes, apart))}"


@dataclass(frozen=True)
class ParityReport:
    """How two models that should be one differ, over the same beats."""

    beats: int
    route_agreement: float  # share of beats with the same expert in every path
    label_agreement: Mapping[str, float]  # share of beats with the same class, by task
    # Largest over all tasks, on beats of the same route; NaN where no route is the same, or where any answer of either
    # model is not finite.
    logit_difference: float
    # Answers that are not finite first, then other routes, then other labels, then the largest difference.
    differences: tuple[Difference, ...] = ()

    def gates(self, limits: ParityLimits, data: str) -> tuple[Gate, ...]:
        """The three gates of a manifest; `data` says what they ran on."""
        worst = min(self.label_agreement.values())
        return (
            Gate.judge("route agreement", self.route_agreement, limits.route_agreement, "at least", data=data),
            Gate.judge("label agreement", worst, limits.label_agreement, "at least", data=data),
            Gate.judge("logit difference", self.logit_difference, limits.logit_difference, "at most", data=data),
        )


def compare(reference: Tensors, exported: Tensors) -> ParityReport:
    """Compare the outputs of two models for the same beats.

    A quantized router may change its mind where two experts are nearly equal, and everything after it then differs
    with good reason: so routes are compared by themselves, and scores only where the routes are the same.

    Args:
        reference: outputs of the model that was exported: logits (beats, classes) by task, and "route_..." logits.
        exported: those of the file.

    Raises:
        SignalError: the two do not have the same outputs, or no beat.
    """
    if reference.keys() != exported.keys():
        odd = ", ".join(sorted(reference.keys() ^ exported.keys()))
        raise SignalError(f"The two models have different outputs ({odd}); compare a file with what it was made of.")
    routes = [name for name in reference if is_route(name)]
    tasks = [name for name in reference if name not in routes]
    beats = len(reference[tasks[0]])
    if not beats:
        raise SignalError("There is no beat to compare models with; give a recording that has some.")
    finite = {name: _finite(reference[name]) & _finite(exported[name]) for name in reference}
    usable = np.logical_and.reduce(list(finite.values()))
    agree = {name: _same_class(reference[name], exported[name]) & finite[name] for name in reference}
    same = np.logical_and.reduce([np.ones(beats, bool), *(agree[name] for name in routes)])
    counted = same & usable
    differences = [float(np.abs(reference[task][counted] - exported[task][counted]).max(initial=0.0)) for task in tasks]
    return ParityReport(
        beats=beats,
        route_agreement=float(same.mean()),
        label_agreement={task: float(agree[task].mean()) for task in tasks},
        logit_difference=max(differences) if usable.all() and same.any() else float("nan"),
        differences=_differences(reference, exported, routes, tasks, usable),
    )


def _differences(
    reference: Tensors, exported: Tensors, routes: Sequence[str], tasks: Sequence[str], usable: NDArray[np.bool_]
) -> tuple[Difference, ...]:
    apart = np.full(len(usable), np.inf)
    apart[usable] = np.max([np.abs(reference[task][usable] - exported[task][usable]).max(-1) for task in tasks], 0)
    chosen = {name: (reference[name].argmax(-1), exported[name].argmax(-1)) for name in (*routes, *tasks)}
    other = {name: before != after for name, (before, after) in chosen.items()}
    rank = 4 * ~usable + 2 * np.any([other[name] for name in routes], 0) + np.any([other[name] for name in tasks], 0)
    shown = np.union1d(np.flatnonzero(rank), apart.argmax())
    return tuple(
        Difference(
            int(beat),
            {name: (int(pair[0][beat]), int(pair[1][beat])) for name, pair in chosen.items() if other[name][beat]},
            float(apart[beat]),
        )
        for beat in sorted(shown, key=lambda beat: (-rank[beat], -apart[beat]))
    )


def _finite(a: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Beats whose numbers are all finite."""
    return np.asarray(np.isfinite(a).all(-1))


def _same_class(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(a.argmax(-1) == b.argmax(-1))


def enforce(gates: Sequence[Gate], beats: Sequence[str] = ()) -> None:
    """Let passed and not-run gates through.

    Args:
        gates: the gates.
        beats: the beats that a failure is due to, in words, worst first.

    Raises:
        GateFailed: a gate failed; the message names each with its value and limit, and the first of the beats.
    """
    failed = [f"{gate.name} is {_value(gate)} and must be {gate.sense} {gate.limit}" for gate in gates if _failed(gate)]
    if failed:
        raise GateFailed(
            f"Outside the profile's limits: {'; '.join(failed)}. Nothing was written. Train with quantization in the "
            "loop (`ecgmoe-edge distill`), calibrate on recordings of your own, or choose a float32 profile."
            + _listed(beats)
        )


def _listed(beats: Sequence[str]) -> str:
    if not beats:
        return ""
    more = f"; and {len(beats) - _SHOWN} more" if len(beats) > _SHOWN else ""
    return f" Beats: {'; '.join(beats[:_SHOWN])}{more}."


def _value(gate: Gate) -> str:
    return "no finite number" if gate.value is None else str(gate.value)


def _failed(gate: Gate) -> bool:
    return gate.status == "failed"


def torch_model(model: nn.Module | Callable[..., Mapping[str, Any]], batch: int = 256) -> Infer:
    """A PyTorch student, or its pieces, as something to compare with: numpy in, numpy out."""

    def infer(inputs: Tensors) -> Tensors:
        arrays = [torch.from_numpy(np.ascontiguousarray(inputs[name], np.float32)) for name in INPUTS]
        with torch.no_grad():
            parts = [model(*(array[i : i + batch] for array in arrays)) for i in range(0, len(arrays[0]), batch)]
        return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}

    return infer
