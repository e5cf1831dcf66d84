"""What the models are asked, in one table: of each task its classes or unit, labels, loss, score and how it is shown.

A task that is asked of a recording as a whole (its classes or one number) is one entry of `TASKS` and a reader of its
label: from a file's header or a data base's table in `records.facts`, from a training data set's in `training.sources`.
Heads, losses, weights, validation, `evaluate --task` and model cards follow from the entry. Labels are partial: each
data set teaches some tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from ecgmoe_edge.errors import ModelError

Kind: TypeAlias = Literal["classification", "regression"]
#: What one label is of: a beat, the seconds before a beat, or the recording (its patient) as a whole.
Scope: TypeAlias = Literal["beat", "seconds", "recording"]
#: "beats" EC57, beat by beat; "rhythm" by duration, or a class a record; "intervals" beside the detector; "class" and
#: "value" one answer a record.
Score: TypeAlias = Literal["beats", "rhythm", "intervals", "class", "value"]
#: "beat": log loss of the classes that annotation and rhythm leave possible.
Loss: TypeAlias = Literal["beat", "cross entropy", "absolute error"]


@dataclass(frozen=True)
class Task:
    """One question to the model: a classification (logits, one a class) or a regression (one number in `unit`)."""

    name: str
    kind: Kind
    scope: Scope
    score: Score
    loss: Loss
    loss_weight: float  # in the teacher's loss, unless the configuration says otherwise
    classes: tuple[str, ...] = ()
    unit: str = ""
    scale: float = 1.0  # regression: the head's output times `scale` plus `offset` is in `unit`
    offset: float = 0.0
    database: str | None = None  # scored on, in a folder of several where nobody says; None: `evaluate` reads no labels
    figure: tuple[str, str] = ("", "")  # for a model card: words, and the key among the figures
    beside: tuple[str, str] | None = None  # another figure to compare it with
    trained: bool = True  # False: the head exists, no open data set here teaches it
    in_student: bool = False  # of the student and of every bundle

    @property
    def n_outputs(self) -> int:
        """Width of the head: classes, or one number.

        >>> task_named("rhythm").n_outputs, task_named("age").n_outputs
        (4, 1)
        """
        return len(self.classes) if self.kind == "classification" else 1


#: Teacher tasks in the order of its heads. Means and spreads of the regressions keep the heads' targets near 0 +- 1.
TASKS = (
    Task(
        "beat",
        "classification",
        "beat",
        score="beats",
        loss="beat",
        loss_weight=1.0,
        classes=("N", "S", "V", "F"),  # ANSI/AAMI EC57; Q is never predicted
        database="mitdb",
        in_student=True,
    ),
    Task(
        "rhythm",
        "classification",
        "seconds",
        score="rhythm",
        loss="cross entropy",
        loss_weight=0.5,
        classes=("N", "AF", "other", "noisy"),  # of the CinC 2017 challenge
        database="cinc2017",
        figure=("mean F1 of N, AF, other, %", "mean_f1"),
        in_student=True,
    ),
    Task(
        "rr",
        "regression",
        "seconds",
        score="intervals",
        loss="absolute error",
        loss_weight=0.2,
        unit="s",
        scale=0.25,
        offset=0.8,
        database="mitdb",
        figure=("mean RR over 10 s, mean absolute error, ms", "mae_ms"),
        beside=("the detector alone", "detector_mae_ms"),
    ),
    Task(
        "age",
        "regression",
        "recording",
        score="value",
        loss="absolute error",
        loss_weight=0.05,
        unit="years",
        scale=18.0,
        offset=60.0,
        database="ptbxl",
        figure=("age, mean absolute error, years", "mae_years"),
        beside=("saying the mean age", "mean_age_mae_years"),
    ),
    Task(
        "sex",
        "classification",
        "recording",
        score="class",
        loss="cross entropy",
        loss_weight=0.05,
        classes=("female", "male"),
        database="ptbxl",
        figure=("sex, mean F1, %", "mean_f1"),
    ),
    Task(
        "potassium",
        "classification",
        "recording",
        score="class",
        loss="cross entropy",
        loss_weight=0.05,
        classes=("normal", "abnormal"),
        figure=("potassium, mean F1, %", "mean_f1"),
        trained=False,
    ),
)
TASK_NAMES = tuple(task.name for task in TASKS)
#: Task -> its classes in the order of the logits.
TASK_CLASSES = MappingProxyType({task.name: task.classes for task in TASKS if task.classes})
BEAT_CLASSES = TASK_CLASSES["beat"]
RHYTHM_CLASSES = TASK_CLASSES["rhythm"]
#: Tasks of the student and of every bundle, in this order.
STUDENT_TASKS = tuple(task.name for task in TASKS if task.in_student)


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        ModelError: there is no such task.

    >>> task_named("beat").classes
    ('N', 'S', 'V', 'F')
    """
    for task in TASKS:
        if task.name == name:
            return task
    raise ModelError(f"There is no task {name!r}. Known tasks: {', '.join(TASK_NAMES)}.")


def tasks_named(names: Sequence[str]) -> tuple[Task, ...]:
    """The tasks of those names, in the order given.

    >>> [task.kind for task in tasks_named(["rhythm", "age"])]
    ['classification', 'regression']
    """
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
