"""A beat model for tests: its outputs are a function that the test supplies, and it records its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.tasks import BEAT_CLASSES, TASK_CLASSES

Tensors: TypeAlias = Mapping[str, NDArray[np.float32]]


class FakeModel:
    """A beat model whose outputs are `outputs(inputs)`.

    Args:
        outputs: from the inputs of one call, a row per beat and lead, to the outputs by name.
        tasks: tasks of the model.
        context_samples: length of the input "context"; 0 for none.
        batched: whether the model accepts the beats of a whole record at once.
    """

    decision = DecisionRule()

    def __init__(
        self,
        outputs: Callable[[Tensors], Tensors],
        tasks: Sequence[str] = ("beat",),
        *,
        context_samples: int = 0,
        batched: bool = False,
    ) -> None:
        self._outputs = outputs
        self.tasks = tuple(tasks)
        self.classes = {task: TASK_CLASSES[task] for task in tasks if task in TASK_CLASSES}
        self.context_samples = context_samples
        self.batched = batched
        self.inputs: list[Tensors] = []

    def infer(self, inputs: Tensors) -> Tensors:
        self.inputs.append(inputs)
        return self._outputs(inputs)


def always(label: str) -> FakeModel:
    """A model that gives every beat the same label."""
    logits = np.array([9.0 if name == label else 0.0 for name in BEAT_CLASSES], np.float32)
    return FakeModel(lambda inputs: {"beat": np.tile(logits, (len(inputs["beat"]), 1))})
