"""What the monitor needs of a model: class names, a decision rule, and one beat's inference in each lead."""

from __future__ import annotations

from collections.abc import Mapping
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

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
        """Logits of each task (leads, classes) and router logits `route_*` (leads, experts) of one beat.

        `inputs`: "beat" (leads, 2, 103), "features" (leads, 27), "rr_sequence" (leads, 2, 32). A model with an
        attribute `context_samples` above 0 gets "context" too, (leads, 1, context_samples): the last seconds at 128 Hz
        over the running R amplitude, within +-6.
        """
        ...
