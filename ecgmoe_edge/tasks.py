"""The table of model tasks: classes or unit, loss, score and presentation of each task.

To add a task about a whole recording (a class or one number), add an entry to `TASKS` and a reader of its label: in
`records.recording` for labels in the header of a file, in `records.layouts` for labels in the table of a database, and
in `training.sources` for labels of a training data set. Heads, losses, weights, validation, `evaluate --task` and model
cards follow from the entry. Labels are partial: each data set has labels for some of the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from ecgmoe_edge.errors import ModelError

Kind: TypeAlias = Literal["classification", "regression"]
#: What a label describes: one beat, the seconds before a beat, or the whole recording (its patient).
Scope: TypeAlias = Literal["beat", "seconds", "recording"]
#: "beats": EC57, beat by beat. "rhythm": by duration, or one class per record. "intervals": RR intervals, compared with
#: those of the detector. "class" and "value": one prediction per record.
Score: TypeAlias = Literal["beats", "rhythm", "intervals", "class", "value"]
#: "beat": log loss over the classes that are compatible with the annotation and the rhythm.
Loss: TypeAlias = Literal["beat", "cross entropy", "absolute error"]


#: The beat classes of ANSI/AAMI EC57 that a beat can be labelled with; Q is never predicted.
BEAT_CLASSES: Final = ("N", "S", "V", "F")
#: Answer of a model for a detected peak that is no beat.
ARTEFACT: Final = "?"


@dataclass(frozen=True)
class Task:
    """One task of the model: a classification (one logit per class) or a regression (one number in `unit`)."""

    name: str
    kind: Kind
    scope: Scope
    score: Score
    loss: Loss
    loss_weight: float  # default weight in the loss of the teacher
    classes: tuple[str, ...] = ()
    unit: str = ""
    scale: float = 1.0  # regression: output of the head * `scale` + `offset` is in `unit`
    offset: float = 0.0
    database: str | None = None  # scored by default if a folder holds several; None: `evaluate` reads no such labels
    figure: tuple[str, str] = ("", "")  # main figure in a model card: its title, and its key in the JSON output
    baseline_figure: tuple[str, str] | None = None  # title and key of the figure to compare it with
    trained: bool = True  # False: the head exists, but no open data set has its labels
    in_student: bool = False  # part of the student and of every bundle

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the head: the number of classes, or 1.

        >>> task_named("rhythm").n_outputs, task_named("age").n_outputs
        (4, 1)
        """
        return len(self.classes) if self.kind == "classification" else 1


#: Tasks of the teacher in the order of its heads. Scale and offset keep the targets of the regressions near 0 +- 1.
TASKS = (
    Task(
        "beat",
        "classification",
        "beat",
        score="beats",
        loss="beat",
        loss_weight=1.0,
        classes=(*BEAT_CLASSES, ARTEFACT),
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
        classes=("N", "AF", "other", "noisy"),  # as in the CinC 2017 challenge
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
        baseline_figure=("the detector alone", "detector_mae_ms"),
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
        baseline_figure=("predicting the mean age", "mean_age_mae_years"),
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
#: Task -> classes in the order of the logits.
TASK_CLASSES = MappingProxyType({task.name: task.classes for task in TASKS if task.classes})
#: Answers of a model for a detected peak: the beat classes, and the artefact.
BEAT_ANSWERS = TASK_CLASSES["beat"]
RHYTHM_CLASSES = TASK_CLASSES["rhythm"]
#: Tasks of the student and of every bundle, in this order.
STUDENT_TASKS = tuple(task.name for task in TASKS if task.in_student)


def task_named(name: str) -> Task:
    """Return the task with this name.

    Raises:
        ModelError: there is no such task.

    >>> task_named("beat").classes
    ('N', 'S', 'V', 'F', '?')
    """
    for task in TASKS:
        if task.name == name:
            return task
    raise ModelError(f"There is no task {name!r}. Known tasks: {', '.join(TASK_NAMES)}.")


def tasks_named(names: Sequence[str]) -> tuple[Task, ...]:
    """Return the tasks with these names, in the same order.

    Raises:
        ModelError: one of the tasks does not exist.

    >>> [task.kind for task in tasks_named(["rhythm", "age"])]
    ['classification', 'regression']
    """
    return tuple(task_named(name) for name in names)


def refuse_untrained(names: Sequence[str]) -> None:
    """Check that the heads of these tasks are trained.

    Raises:
        ModelError: no open data set has labels for one of the tasks.
    """
    untrained = [task.name for task in TASKS if task.name in names and not task.trained]
    if untrained:
        raise ModelError(
            f"The {', '.join(untrained)} head is untrained: no open recording has its labels, so no bundle contains "
            "it. Train one on your own copy of MIMIC-IV-ECG; see docs/guide-own-data.md."
        )
