"""What the models are asked: tasks, classes and units. Labels are partial, each data set teaches some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.runtime.task_classes import TASK_CLASSES

#: AAMI classes of a beat (ANSI/AAMI EC57); Q is never predicted.
BEAT_CLASSES = TASK_CLASSES["beat"]
#: Rhythm of the last seconds, the classes of the CinC 2017 challenge.
RHYTHM_CLASSES = TASK_CLASSES["rhythm"]
SEX_CLASSES = TASK_CLASSES["sex"]
POTASSIUM_CLASSES = TASK_CLASSES["potassium"]


@dataclass(frozen=True)
class Task:
    """One question to the model: a classification (logits, one a class) or a regression (one number in `unit`)."""

    name: str
    kind: Literal["classification", "regression"]
    classes: tuple[str, ...] = ()
    unit: str = ""
    trained: bool = True  # False: the head exists, no open data set here teaches it
    scale: float = 1.0  # regression: the head's output times `scale` plus `offset` is in `unit`
    offset: float = 0.0

    @property
    def n_outputs(self) -> int:
        """Width of the head: classes, or one number."""
        return len(self.classes) if self.kind == "classification" else 1


#: Teacher tasks in the order of its heads. Means and spreads of the regressions keep the heads' targets near 0 +- 1.
TASKS = (
    Task("beat", "classification", BEAT_CLASSES),
    Task("rhythm", "classification", RHYTHM_CLASSES),
    Task("rr", "regression", unit="s", scale=0.25, offset=0.8),
    Task("age", "regression", unit="years", scale=18.0, offset=60.0),
    Task("sex", "classification", SEX_CLASSES),
    Task("potassium", "classification", POTASSIUM_CLASSES, trained=False),
)
TASK_NAMES = tuple(task.name for task in TASKS)
#: Tasks of the student and of every bundle, in this order.
STUDENT_TASKS = ("beat", "rhythm")


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        ModelError: there is no such task.
    """
    for task in TASKS:
        if task.name == name:
            return task
    raise ModelError(f"There is no task {name!r}. Known tasks: {', '.join(TASK_NAMES)}.")


def tasks_named(names: Sequence[str]) -> tuple[Task, ...]:
    """The tasks of those names, in the order given."""
    return tuple(task_named(name) for name in names)


def refuse_untrained(names: Sequence[str]) -> None:
    """Refuse tasks whose shipped head is untrained.

    Raises:
        ModelError: one of the tasks is taught by none of the open data sets; says what to do.
    """
    untrained = [task.name for task in TASKS if task.name in names and not task.trained]
    if untrained:
        raise ModelError(
            f"The {', '.join(untrained)} head is untrained: no open recording has its labels, so it is left out "
            "of every bundle and gives no answers. Train one on MIMIC-IV-ECG of your own; see docs/guide-own-data.md."
        )
