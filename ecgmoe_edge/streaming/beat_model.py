"""What the monitor needs of a model: what it declares of itself, and one beat's inference in each lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.decision import DecisionRule


class BeatModel(Protocol):
    """A bundle, or anything else that classifies one beat at a time."""

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Task -> its classes in the order of the logits; "beat" is always there."""
        ...

    @property
    def decision(self) -> DecisionRule:
        """Constants of the rule that turns beat logits into a label."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """All that it answers, in the order of its outputs: the tasks of `classes`, and values such as `age`."""
        ...

    @property
    def context_samples(self) -> int:
        """Samples at 128 Hz before the window's end that it is given as "context"; 0 for none."""
        ...

    @property
    def batched(self) -> bool:
        """Whether many beats at once take it much less time than one by one."""
        ...

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        """Outputs of each task (leads, width) and router logits `route_*` (leads, experts) of one beat.

        `inputs`: those of `ecgmoe_edge.contract`, a row a lead: "beat" (leads, 2, 103), "features" (leads, 27) and
        "rr_sequence" (leads, 2, 32); with `context_samples` above 0 also "context" (leads, 1, context_samples).
        A `batched` model takes any number of rows.
        """
        ...


@dataclass(frozen=True)
class ModelFunction:
    """A model that is a function of its inputs, with what it declares of itself."""

    classes: Mapping[str, tuple[str, ...]]
    decision: DecisionRule
    infer: Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]
    context_samples: int = 0
    batched: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it answers: the tasks that have classes."""
        return tuple(self.classes)
