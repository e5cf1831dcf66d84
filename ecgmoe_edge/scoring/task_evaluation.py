"""Tasks besides the beats, run over records through the live pipeline and scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.layouts import KnownRecord, others_of
from ecgmoe_edge.records.recording import Sex
from ecgmoe_edge.records.registry import is_recording, open_recording
from ecgmoe_edge.scoring.record_runs import ModelFile, OnRecord, run_records
from ecgmoe_edge.scoring.task_records import TaskName, TaskOptions, TaskRecord, answer_record
from ecgmoe_edge.scoring.task_results import Baseline, TaskEvaluation
from ecgmoe_edge.streaming.beat_model import BeatModel

#: The data base that each task is scored on in a folder of several, where nobody says.
DEFAULT_DATABASE = {"rhythm": "cinc2017", "rr": "mitdb", "age": "ptbxl", "sex": "ptbxl"}


def evaluate_task(
    records: Sequence[KnownRecord],
    options: TaskOptions,
    model: ModelFile,
    *,
    jobs: int = 1,
    on_record: OnRecord | None = None,
) -> TaskEvaluation:
    """Run the live pipeline over records and score one task.

    Args:
        records: as `records.layouts.known_records` gives them; all of one layout.
        options: how records are run and scored.
        model: must have the task; without a model, `rr` is scored of the detector alone.
        jobs: processes to spread the records over.
        on_record: called in this process as each record is done.

    Raises:
        UsageError: the model has not the task, records of several layouts, or no job.
        RecordError: not one record could be scored.
        BundleError, ModelError, MissingExtra: the model cannot be loaded.
    """
    if len({one.layout for one in records if is_recording(one.path)}) > 1:  # an absent one is skipped, wherever it was
        raise UsageError("These records are of several data bases. Evaluate one at a time, with --data.")
    _check_task(options.task, model)
    outcomes = run_records(
        {one.name: one for one in records},
        partial(_answer, options=options),
        model,
        jobs=jobs,
        on_record=on_record,
    )
    baseline = _baseline(records) if options.task in ("age", "sex") else None
    return TaskEvaluation(options.task, tuple(outcomes.of.values()), outcomes.skipped, baseline)


def _answer(known: KnownRecord, model: BeatModel | None, options: TaskOptions) -> TaskRecord:
    return answer_record(known, model, options)


def _check_task(task: TaskName, model: ModelFile) -> None:
    opened = model.open()
    if opened is None:
        if task != "rr":
            raise UsageError(f"The task {task} needs a model: leave --only rpeaks out.")
        return
    tasks = tuple(getattr(opened, "tasks", tuple(opened.classes)))
    if task not in tasks:
        raise UsageError(
            f"This model has no trained head for the task {task}; it has {', '.join(tasks)}. The full-precision "
            f"teacher has more: add --teacher, or --teacher FILE for one of your own, trained on data that say {task}."
        )


def _baseline(records: Sequence[KnownRecord]) -> Baseline:
    """Of the data base's other patients where there are any; else of the evaluated ones, which flatters it."""
    others = others_of(records)
    ages = [one.age for one in others if one.age is not None]
    sexes = [one.sex for one in others if one.sex is not None]
    source = "the other patients of the data base"
    if not ages or not sexes:
        told = [_age_and_sex(one) for one in records]
        ages = [age for age, _ in told if age is not None]
        sexes = [told_sex for _, told_sex in told if told_sex is not None]
        source = "the evaluated records themselves"
    commoner = Counter(sexes).most_common(1)[0][0] if sexes else "M"
    age = float(np.mean(ages)) if ages else float("nan")
    return Baseline(age, "female" if commoner == "F" else "male", len(others) or len(records), source)


def _age_and_sex(one: KnownRecord) -> tuple[float | None, Sex | None]:
    if one.layout == "ptbxl":
        return one.age, one.sex
    try:
        record = open_recording(one.path)
    except RecordError:
        return None, None
    return record.age, record.sex
