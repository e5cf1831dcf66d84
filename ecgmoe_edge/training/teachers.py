"""The model that a student learns from: a teacher, or another student (self-distillation)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.streaming_models import trained_heads
from ecgmoe_edge.model.student import Student, load_student
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_file import load_teacher
from ecgmoe_edge.model.weights_file import read_metadata
from ecgmoe_edge.training.augment import Batch

TeachingModel: TypeAlias = EcgMoe | Student


def load_teaching_model(path: Path, *, trust_code: bool = False) -> tuple[TeachingModel, tuple[str, ...]]:
    """Load a teacher or a float student, in evaluation mode, and return it with the tasks that it was trained for.

    Args:
        path: the file.
        trust_code: whether to run code that a teacher's file names; see `load_teacher`.

    Raises:
        ModelError: the file is missing, damaged, or neither a teacher nor a float student.
    """
    if read_metadata(path).get("format", "").startswith("ecgmoe-edge student"):
        student = load_student(path)
        return student, student.tasks
    teacher = load_teacher(path, trust_code=trust_code)
    return teacher, trained_heads(path, teacher)


def refuse_untrained(path: Path, trained: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Check that a student can learn its tasks from this file.

    Raises:
        UsageError: the model in the file was not trained for one of them.
    """
    if untrained := set(wanted) - set(trained):
        raise UsageError(
            f"{path} was not trained for {', '.join(sorted(untrained))}, so a student cannot learn it from this "
            "teacher. Train a teacher on recordings with such labels; see docs/training.md."
        )


def teaching_outputs(model: TeachingModel, batch: Batch, tasks: tuple[str, ...]) -> Mapping[str, Tensor]:
    """Return the logits of the tasks, (b, classes) by name, from the inputs of a teacher or of a student."""
    outputs: Mapping[str, Tensor]
    outputs = (
        model(*batch.student_inputs()) if isinstance(model, Student) else model(*batch.teacher_inputs(), tasks=tasks)
    )
    return {task: outputs[task] for task in tasks}
