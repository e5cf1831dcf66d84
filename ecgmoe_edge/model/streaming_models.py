"""The full-precision models in a bundle's place: what a `Monitor` needs of a teacher or a student, run in torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ecgmoe_edge.contract import BEAT_TASK, CONTEXT_SAMPLES, INPUTS, SHAPES, unusable_outputs
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.student import load_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import load_teacher
from ecgmoe_edge.model.weights_file import read_metadata
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.tasks import TASK_CLASSES, task_named

_TRAINED = "trained_tasks"  # in a teacher's metadata: the heads that its training had labels for


class StreamingTeacher:
    """The teacher as a BeatModel. It sees the last 10 s, and is asked of many beats at once where that is possible.

    Regressions come out in their unit (rr in s, age in years), classifications as logits.
    """

    batched = True
    context_samples = CONTEXT_SAMPLES

    def __init__(self, model: EcgMoe, tasks: tuple[str, ...], decision: DecisionRule | None = None) -> None:
        if BEAT_TASK not in tasks:
            raise ModelError("A monitor needs a model with the task beat. Train one that has it.")
        self._model = model.eval()
        self.leads = model.config.leads
        self.tasks = tasks
        self.decision = decision or DecisionRule()
        self.classes: Mapping[str, tuple[str, ...]] = {t: TASK_CLASSES[t] for t in tasks if t in TASK_CLASSES}

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """As `BeatModel.infer`, with any number of beats, and with `rr` and `age` (b, 1) where they were trained."""
        with torch.inference_mode():
            given = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}
            outputs = self._model(**given, tasks=self.tasks)
        answers = {name: value.float().numpy() for name, value in outputs.items()}
        for name in self.tasks:
            task = task_named(name)
            if task.kind == "regression":
                answers[name] = answers[name] * np.float32(task.scale) + np.float32(task.offset)
        return answers


class StreamingStudent:
    """A student in torch as a BeatModel: in float, or with its quantization simulated."""

    batched = True
    context_samples = 0

    def __init__(self, model: nn.Module, tasks: tuple[str, ...], decision: DecisionRule | None = None) -> None:
        self._model = model.eval()
        self.tasks = tasks
        self.decision = decision or DecisionRule()
        self.classes: Mapping[str, tuple[str, ...]] = {task: TASK_CLASSES[task] for task in self.tasks}

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """As `BeatModel.infer`, with any number of beats."""
        with torch.inference_mode():
            given = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in inputs.items()}
            outputs = self._model(**given)
        return {name: value.float().numpy() for name, value in outputs.items()}


def load_streaming_teacher(path: Path, *, trust_code: bool = False) -> StreamingTeacher:
    """The teacher of a file that `train` wrote, with the heads that were trained. `trust_code`: see `load_teacher`.

    Raises:
        ModelError: the file is absent, is no teacher, names code that is not trusted, or has no trained beat head.
    """
    model = load_teacher(path, trust_code=trust_code)
    return StreamingTeacher(model, taught_tasks(path, model))


def refuse_unusable(model: StreamingTeacher | StreamingStudent, path: Path) -> None:
    """Run a model on zeros, and refuse it where an answer is not finite or absurdly large (ModelError)."""
    sizes: dict[str, tuple[int, ...]] = {name: SHAPES[name] for name in INPUTS}
    if model.context_samples:
        sizes["context"] = (getattr(model, "leads", 1), model.context_samples)
    answers = model.infer({name: np.zeros((1, *size), np.float32) for name, size in sizes.items()})
    if unusable := unusable_outputs(answers):
        raise ModelError(
            f"{path} answers {', '.join(unusable)} with NaN, infinity or absurdly large numbers, so its labels mean "
            "nothing. Give other weights, or train it again."
        )


def taught_tasks(path: Path, model: EcgMoe) -> tuple[str, ...]:
    """The heads of the teacher in the file `path` that its training had labels for, in the order of its tasks."""
    stated = read_metadata(path).get(_TRAINED)
    trained = stated.split(",") if stated else [task.name for task in model.tasks if task.trained]
    return tuple(task.name for task in model.tasks if task.name in trained)


def load_streaming_student(path: Path) -> StreamingStudent:
    """The float student of a file that `distill` wrote.

    Raises:
        ModelError: the file is absent or is no float student.
    """
    student = load_student(path)
    return StreamingStudent(student, student.config.tasks)
