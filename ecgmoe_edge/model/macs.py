"""Multiplications of a student: those of the trunk, of each expert and of the tail, and those of a beat on a route."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecgmoe_edge.contract import INPUTS, PATHS, SHAPES, routes_by_path
from ecgmoe_edge.model.student import Student, StudentConfig


@dataclass(frozen=True)
class StudentMacs:
    """Multiply-accumulates of a beat in each part; convolutions and linear layers, with merged LoRA adapters."""

    trunk: int
    experts: Mapping[str, tuple[int, ...]]  # by path, in the order of the bank
    tail: int

    @property
    def most(self) -> int:
        """The most of one beat: the most expensive expert of each path."""
        return self.trunk + self.tail + sum(max(bank) for bank in self.experts.values())

    def of_beats(self, routes: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Multiply-accumulates of each beat, (n,).

        Args:
            routes: number of the expert that runs for each beat, (n,), by path.
        """
        total = sum(np.array(self.experts[path], np.int64)[routes[path]] for path in PATHS)
        return np.asarray(total, np.int64) + self.trunk + self.tail

    def mean(self, outputs: Mapping[str, NDArray[np.float32]]) -> float:
        """Mean multiply-accumulates of a beat with the hard route.

        Args:
            outputs: outputs of the student, among them the router logits (n, experts).
        """
        routes = {path: logits.argmax(1) for path, logits in routes_by_path(outputs).items()}
        return float(self.of_beats(routes).mean())


def relative_costs(macs: Sequence[int]) -> tuple[float, ...]:
    """Return the cost of each expert of a bank, from 0 for the cheapest to 1 for the most expensive.

    >>> relative_costs((100, 150, 300))
    (0.0, 0.25, 1.0)
    >>> relative_costs((100, 100))
    (0.0, 0.0)
    """
    least, span = min(macs), max(max(macs) - min(macs), 1)
    return tuple((each - least) / span for each in macs)


@functools.lru_cache(maxsize=256)
def count_macs(config: StudentConfig) -> StudentMacs:
    """Count the multiply-accumulates of a student; it is neither allocated nor computed."""
    with torch.device("meta"):
        student = Student(config).eval()
        trunk, (z_morphology, z_rhythm, _, _, *gates) = _counted(
            student.trunk, *(torch.zeros(1, *SHAPES[name]) for name in INPUTS)
        )
        inputs = dict(zip(PATHS, (z_morphology, z_rhythm), strict=True))
        banks = dict(zip(PATHS, (student.morphology, student.rhythm), strict=True))
        experts = {path: tuple(_counted(expert, inputs[path])[0] for expert in banks[path]) for path in PATHS}
        y = (student.morphology[0](z_morphology), student.rhythm[0](z_rhythm))
        tail, _ = _counted(student.tail, *y, *gates)
    return StudentMacs(trunk, experts, tail)


def _counted(part: nn.Module, *inputs: Tensor) -> tuple[int, tuple[Tensor, ...]]:
    """Run a part for one beat; return the multiply-accumulates of its layers, and its output."""
    counted = [0]

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        weight = layer.get_parameter("weight")
        # A row of the tail's matrix is the vector of one path, so a layer can run on more than one row of a beat.
        counted[0] += weight[0].numel() * output.numel()

    hooks = [one.register_forward_hook(count) for one in part.modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        outputs = part(*inputs)
    for hook in hooks:
        hook.remove()
    return counted[0], outputs
