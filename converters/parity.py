"""Parity of an exported file with its PyTorch model: routes, labels and logits are compared and gated."""

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
#: Maps inputs by name to outputs by name, (beats, ...) each: an engine's `run`, a bundle's `infer`, or `torch_model`.
Infer: TypeAlias = Callable[[Tensors], Tensors]

_SHOWN = 8  # number of beats that the message of a failed gate lists


@dataclass(frozen=True)
class ParityLimits:
    """Limits for the difference between an exported file and its PyTorch model."""

    logit_difference: float  # largest difference over the beats that use the same experts in both models
    route_agreement: float  # smallest fraction of beats that use the same experts
    label_agreement: float  # smallest fraction of beats with the same label, in the worst task


@dataclass(frozen=True)
class Difference:
    """A beat for which two models differ."""

    beat: int
    chosen: Mapping[str, tuple[int, int]]  # by task or router: index of the largest logit in either model
    # Largest difference of the tasks' logits. If the routes differ, the logits come from different experts. Infinite if
    # an output is not finite.
    logits: float

    def describe(self, place: str, classes: Mapping[str, Sequence[str]]) -> str:
        """Describe the difference in one sentence.

        Args:
            place: record and time of the beat.
            classes: class names by task.
        """
        changes = [
            f"{name} {' -> '.join(classes[name][one] if name in classes else str(one) for one in pair)}"
            for name, pair in self.chosen.items()
        ]
        size = f"logits differ by {self.logits:.2g}" if isfinite(self.logits) else "an output is not finite"
        return f"{place}: {', '.join((*changes, size))}"


@dataclass(frozen=True)
class ParityReport:
    """Differences between two models that should be equal, over the same beats."""

    beats: int
    route_agreement: float  # fraction of beats with the same expert in every path
    label_agreement: Mapping[str, float]  # fraction of beats with the same class, by task
    # Largest difference over all tasks and the beats with the same route. NaN if no beat has the same route, or if any
    # output of either model is not finite.
    logit_difference: float
    # Order: outputs that are not finite, then different routes, then different labels, then the largest difference.
    differences: tuple[Difference, ...] = ()

    def gates(self, limits: ParityLimits, data: str) -> tuple[Gate, ...]:
        """Return the three parity gates of a manifest.

        Args:
            limits: the limits of the gates.
            data: name of the data that the models were compared on.
        """
        worst = min(self.label_agreement.values())
        return (
            Gate.judge("route agreement", self.route_agreement, limits.route_agreement, "at least", data=data),
            Gate.judge("label agreement", worst, limits.label_agreement, "at least", data=data),
            Gate.judge("logit difference", self.logit_difference, limits.logit_difference, "at most", data=data),
        )


def compare(reference: Tensors, exported: Tensors) -> ParityReport:
    """Compare the outputs of two models for the same beats.

    If two experts have nearly equal router logits, a quantized model can choose the other expert, and all later outputs
    differ. Therefore the routes are compared separately, and logits are compared only for beats with the same route.

    Args:
        reference: outputs of the PyTorch model: logits (beats, classes) by task, and router logits "route_...".
        exported: outputs of the file, in the same form.

    Raises:
        SignalError: the models have different outputs, or there is no beat.
    """
    if reference.keys() != exported.keys():
        unmatched = ", ".join(sorted(reference.keys() ^ exported.keys()))
        raise SignalError(
            f"The two models have different outputs ({unmatched}). Compare a file with the model that it was made from."
        )
    routes = [name for name in reference if is_route(name)]
    tasks = [name for name in reference if name not in routes]
    beats = len(reference[tasks[0]])
    if not beats:
        raise SignalError("There is no beat to compare the models on. Give a recording that contains beats.")
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
    """Return, for each beat, whether all its values are finite."""
    return np.asarray(np.isfinite(a).all(-1))


def _same_class(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(a.argmax(-1) == b.argmax(-1))


def enforce(gates: Sequence[Gate], beats: Sequence[str] = ()) -> None:
    """Raise an error if a gate failed. Gates that passed or were not run are accepted.

    Args:
        gates: the gates.
        beats: descriptions of the beats that cause the failure, worst first.

    Raises:
        GateFailed: a gate failed; the message lists the failed gates with value and limit, and the first of the beats.
    """
    failed = [f"{gate.name} is {_value(gate)} and must be {gate.sense} {gate.limit}" for gate in gates if _failed(gate)]
    if failed:
        raise GateFailed(
            f"Outside the profile's limits: {'; '.join(failed)}. Nothing was written. Use quantization-aware training "
            "(`ecgmoe-edge distill`), calibrate on recordings of your own, or choose a float32 profile."
            + _listed(beats)
        )


def _listed(beats: Sequence[str]) -> str:
    if not beats:
        return ""
    more = f"; and {len(beats) - _SHOWN} more" if len(beats) > _SHOWN else ""
    return f" Beats: {'; '.join(beats[:_SHOWN])}{more}."


def _value(gate: Gate) -> str:
    return "not finite" if gate.value is None else str(gate.value)


def _failed(gate: Gate) -> bool:
    return gate.status == "failed"


def torch_model(model: nn.Module | Callable[..., Mapping[str, Any]], batch: int = 256) -> Infer:
    """Wrap a PyTorch student, or its pieces, as a function of numpy arrays.

    Args:
        model: the student; called with beat, features and RR sequence.
        batch: number of beats in one call.
    """

    def infer(inputs: Tensors) -> Tensors:
        arrays = [torch.from_numpy(np.ascontiguousarray(inputs[name], np.float32)) for name in INPUTS]
        with torch.no_grad():
            parts = [model(*(array[i : i + batch] for array in arrays)) for i in range(0, len(arrays[0]), batch)]
        return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}

    return infer
