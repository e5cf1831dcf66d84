"""Multiply-accumulates of the beats that run through an exported file: the cost of its parts, and the experts taken."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import PATHS, routes_by_path
from ecgmoe_edge.converters.calibration import LEAST_BEATS
from ecgmoe_edge.converters.cost_breakdown import CostBreakdown, cost_breakdown
from ecgmoe_edge.model.macs import StudentMacs, count_macs
from ecgmoe_edge.model.student import StudentConfig
from ecgmoe_edge.runtime.manifest import BeatMacs


@dataclass
class TakenRoutes:
    """Counts which experts the beats of some data take."""

    data: str = ""  # name of the data
    experts: dict[str, list[int]] = field(default_factory=lambda: {path: [] for path in PATHS})  # of each beat, by path

    def add(self, outputs: Mapping[str, NDArray[np.float32]]) -> None:
        """Count the beats of one inference.

        Args:
            outputs: outputs of the model, among them the router logits (beats, experts).
        """
        for path, logits in routes_by_path(outputs).items():
            self.experts[path] += logits.argmax(-1).tolist()

    def __len__(self) -> int:
        """Number of beats; 0 if the model has no router logits."""
        return min(map(len, self.experts.values()))


def beat_macs(file: Path, config: StudentConfig, routes: TakenRoutes) -> BeatMacs:
    """Return the multiply-accumulates of a beat for the manifest.

    Args:
        file: the model file.
        config: the student that it was converted from, with the tasks of the file.
        routes: the experts that the beats took.

    Raises:
        ConversionError: the file cannot be read.
    """
    parts = _macs_of_parts(cost_breakdown(file), config)
    twin = count_macs(config.dense_twin()).most
    beats = len(routes)
    if beats < LEAST_BEATS:
        why = f"{beats} beats of {routes.data} are too few, {LEAST_BEATS} are needed"
        return BeatMacs(max_macs=parts.most, dense_twin_macs=twin, why=why)
    taken = {path: np.array(experts, np.int64) for path, experts in routes.experts.items()}
    each = parts.of_beats(taken)
    counts = {path: np.bincount(taken[path], minlength=len(parts.experts[path])) for path in PATHS}
    return BeatMacs(
        max_macs=parts.most,
        dense_twin_macs=twin,
        mean_macs=round(float(each.mean()), 1),
        p95_macs=float(np.percentile(each, 95, method="inverted_cdf")),
        data=routes.data,
        beats=beats,
        expert_shares={path: tuple((count / beats).round(4).tolist()) for path, count in counts.items()},
    )


def _macs_of_parts(costs: CostBreakdown, config: StudentConfig) -> StudentMacs:
    """Return the multiply-accumulates of the parts of a file.

    Those of a file with one signature per piece, whose main graph is only the trunk, are those of the student.
    """
    student = count_macs(config)
    banks: dict[str, dict[int, int]] = collections.defaultdict(dict)
    for part in costs.experts:
        path, _, number = part.name.rpartition("_")
        banks[path][int(number)] = part.macs
    experts = {path: tuple(macs for _, macs in sorted(bank.items())) for path, bank in banks.items()}
    if not experts:
        return student
    trunk = sum(part.macs for part in costs.parts if part.name == "trunk")
    tail = sum(part.macs for part in costs.parts if part.name.startswith("tail"))
    return StudentMacs(trunk, experts, tail)
