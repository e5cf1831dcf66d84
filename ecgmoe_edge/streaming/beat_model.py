"""The interface of a model: what it declares, and the inference of one beat in each lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.decision import DecisionRule


class BeatModel(Protocol):
    """A bundle, or any other model that classifies one beat at a time."""

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Classes of each task, in the order of the logits; the task "beat" is always present."""
        ...

    @property
    def decision(self) -> DecisionRule:
        """Constants of the rule that turns beat logits into labels."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """All tasks, in the order of the outputs: those with `classes`, and values such as `age`."""
        ...

    @property
    def context_samples(self) -> int:
        """Length of the input "context", in samples at 128 Hz up to the end of the beat window; 0 for none."""
        ...

    @property
    def batched(self) -> bool:
        """Whether the inference of many beats at once is much faster than one by one."""
        ...

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        """Return the outputs of each task (leads, width) and the router logits `route_*` (leads, experts) of one beat.

        Args:
            inputs: those of `ecgmoe_edge.contract`, one row for each lead: "beat" (leads, 2, 82), "features" (leads,
                27) and "rr_sequence" (leads, 2, 32). With `context_samples` above 0, "beat" is (leads, 2, 103), and
                there is "context" (leads, 1, context_samples). A `batched` model takes any number of rows.
        """
        ...


@dataclass(frozen=True)
class ModelFunction:
    """A model that consists of a function and its declarations."""

    classes: Mapping[str, tuple[str, ...]]
    decision: DecisionRule
    infer: Callable[[Mapping[str, NDArray[np.float32]]], Mapping[str, NDArray[np.float32]]]
    context_samples: int = 0
    batched: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have classes."""
        return tuple(self.classes)
