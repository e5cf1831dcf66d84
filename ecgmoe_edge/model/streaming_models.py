"""Runs a teacher or a student in PyTorch as the model of a `Monitor`, instead of an exported bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecgmoe_edge.contract import BEAT_TASK, CONTEXT, CONTEXT_SAMPLES, SHAPES, SHAPES_WITH_CONTEXT, unusable_outputs
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.student import load_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import load_teacher
from ecgmoe_edge.model.weights_file import read_metadata
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.tasks import TASK_CLASSES, task_named

_TRAINED = "trained_tasks"  # metadata of a teacher's file: tasks for which its training had labels


class StreamingTeacher:
    """The teacher as a `BeatModel`. It needs the last 10 s as context and can run many beats at once.

    Regressions are returned in their unit (rr in s, age in years), classifications as logits.
    """

    batched = True
    context_samples = CONTEXT_SAMPLES

    def __init__(self, model: EcgMoe, tasks: tuple[str, ...], decision: DecisionRule | None = None) -> None:
        if BEAT_TASK not in tasks:
            raise ModelError("A monitor needs a model with the task beat. Train one with this task.")
        self._model = model.eval()
        self.leads = model.config.leads
        self.tasks = tasks
        self.decision = decision or DecisionRule()
        self.classes: Mapping[str, tuple[str, ...]] = {t: TASK_CLASSES[t] for t in tasks if t in TASK_CLASSES}

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """See `BeatModel.infer`; b is any number of beats. If `rr` and `age` are trained, they are (b, 1)."""
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}
            outputs = self._model(**tensors, tasks=self.tasks)
        arrays = {name: value.float().numpy() for name, value in outputs.items()}
        for name in self.tasks:
            task = task_named(name)
            if task.kind == "regression":
                arrays[name] = arrays[name] * np.float32(task.scale) + np.float32(task.offset)
        return arrays


class StreamingStudent:
    """A student in PyTorch as a `BeatModel`, in float or with simulated quantization."""

    batched = True
    context_samples = 0

    def __init__(
        self, model: nn.Module, classes: Mapping[str, tuple[str, ...]], decision: DecisionRule | None = None
    ) -> None:
        self._model = model.eval()
        self.classes = classes
        self.tasks = tuple(classes)
        self.decision = decision or DecisionRule()

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """See `BeatModel.infer`; b is any number of beats."""
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}
            outputs = self._model(**tensors)
        return {name: value.float().numpy() for name, value in outputs.items()}


def load_streaming_teacher(path: Path, *, trust_code: bool = False) -> StreamingTeacher:
    """Load a teacher that `train` wrote, with those heads that were trained.

    Args:
        path: the file.
        trust_code: see `load_teacher`.

    Raises:
        ModelError: `load_teacher` refuses the file, or its beat head is untrained.
    """
    model = load_teacher(path, trust_code=trust_code)
    return StreamingTeacher(model, trained_heads(path, model))


def refuse_unusable(model: StreamingTeacher | StreamingStudent, path: Path) -> None:
    """Run a model on zeros and check its outputs.

    Args:
        model: the model.
        path: its file, for the message.

    Raises:
        ModelError: an output is not finite, or absurdly large.
    """
    shapes = dict(SHAPES_WITH_CONTEXT if model.context_samples else SHAPES)
    if isinstance(model, StreamingTeacher):
        shapes[CONTEXT] = (model.leads, model.context_samples)
    outputs = model.infer({name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()})
    if unusable := unusable_outputs(outputs):
        raise ModelError(
            f"{path} gives {', '.join(unusable)} with NaN, infinity or absurdly large numbers, so its labels are "
            "meaningless. Give other weights, or train it again."
        )


def trained_heads(path: Path, model: EcgMoe) -> tuple[str, ...]:
    """Names of the tasks for which the training of a teacher had labels, in the order of its heads.

    Args:
        path: file of the teacher.
        model: the teacher.
    """
    stated = read_metadata(path).get(_TRAINED)
    trained = stated.split(",") if stated else [task.name for task in model.tasks if task.trained]
    return tuple(task.name for task in model.tasks if task.name in trained)


def load_streaming_student(path: Path) -> StreamingStudent:
    """Load a float student that `distill` wrote.

    Raises:
        ModelError: the file is missing, damaged, or not a float student.
    """
    student = load_student(path)
    return StreamingStudent(student, student.config.classes)
