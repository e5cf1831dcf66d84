"""The beat model of all tests: its outputs are a function that the test supplies, and it records its inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import INPUTS, SHAPES, SHAPES_WITH_CONTEXT
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.tasks import BEAT_ANSWERS, BEAT_CLASSES, TASK_CLASSES

Tensors: TypeAlias = Mapping[str, NDArray[np.float32]]


class FakeModel:
    """A beat model whose outputs are `outputs(inputs)`.

    Args:
        outputs: from the inputs of one call, a row per beat and lead, to the outputs by name.
        tasks: tasks of the model.
        decision: constants of the decision rules; None for the defaults.
        context_samples: length of the input "context"; 0 for none.
        batched: whether the model accepts the beats of a whole record at once.
        answers: answers of the model for a peak, in the order of its logits; by default without the artefact.
    """

    def __init__(
        self,
        outputs: Callable[[Tensors], Tensors],
        tasks: Sequence[str] = ("beat",),
        *,
        decision: DecisionRule | None = None,
        context_samples: int = 0,
        batched: bool = False,
        answers: tuple[str, ...] = BEAT_CLASSES,
    ) -> None:
        self._outputs = outputs
        self.tasks = tuple(tasks)
        self.classes = {
            task: answers if task == "beat" else TASK_CLASSES[task] for task in tasks if task in TASK_CLASSES
        }
        self.decision = decision or DecisionRule()
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


def answering(answers: Iterable[str]) -> FakeModel:
    """A model with the answer artefact: beat by beat, it gives these answers, and then the last one again and again."""
    remaining = iter(answers)
    current = "N"

    def outputs(inputs: Tensors) -> Tensors:
        nonlocal current
        rows = []
        for _ in inputs["beat"]:
            current = next(remaining, current)
            rows.append([9.0 if name == current else 0.0 for name in BEAT_ANSWERS])
        return {"beat": np.array(rows, np.float32)}

    return FakeModel(outputs, answers=BEAT_ANSWERS)


def random_model(tasks: Sequence[str] = ("beat", "rhythm"), *, context_samples: int = 0) -> FakeModel:
    """A model of fixed random weights on all inputs but "context", so that any change in them changes its outputs."""
    shapes = SHAPES_WITH_CONTEXT if context_samples else SHAPES
    return FakeModel(random_outputs(tasks, shapes), tasks, context_samples=context_samples)


def random_outputs(
    tasks: Sequence[str], shapes: Mapping[str, tuple[int, ...]] = SHAPES
) -> Callable[[Tensors], dict[str, NDArray[np.float32]]]:
    """The outputs of `random_model`: logits of the tasks, and those of one router."""
    random = np.random.default_rng(3)
    size = sum(math.prod(shapes[name]) for name in INPUTS)
    weights = {
        name: random.normal(0, 0.3, (size, width)).astype(np.float32)
        for name, width in (("beat", 4), ("rhythm", 4), ("route_morphology", 3))
    }

    def outputs(inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        rows = len(inputs["beat"])
        x = np.concatenate([inputs[name].reshape(rows, -1) for name in INPUTS], axis=1)
        return {name: x @ weight for name, weight in weights.items() if name in tasks or name == "route_morphology"}

    return outputs
