"""Runs the live pipeline over records and scores one task other than beats: rhythm, mean RR, age or sex."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.layouts import KnownRecord, other_patients
from ecgmoe_edge.records.names import one_of_each_name
from ecgmoe_edge.records.opening import open_in_batch
from ecgmoe_edge.records.recording import Facts, facts_of
from ecgmoe_edge.records.registry import is_recording
from ecgmoe_edge.scoring.record_runs import ModelFile, OnRecord, run_records
from ecgmoe_edge.scoring.task_records import TaskOptions, TaskRecord, answer_record
from ecgmoe_edge.scoring.task_results import Baseline, TaskEvaluation
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.tasks import Task, task_named


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
        records: records as `records.layouts.known_records` returns them; all of one layout.
        options: how records are run and scored.
        model: a model with this task. Without a model, only `rr` can be scored, from the R-peak detector alone.
        jobs: number of processes.
        on_record: called in this process after each record.

    Returns:
        The results of all records, and the skipped records.

    Raises:
        UsageError: the model does not have the task, the records are of several layouts, or `jobs` is less than one.
        RecordError: no record could be scored.
        BundleError, ModelError, MissingExtra: the model cannot be loaded.
    """
    if len({one.layout for one in records if is_recording(one.path)}) > 1:  # absent records are skipped later
        raise UsageError("These records are from several databases. Evaluate one database at a time, with --data.")
    _check_task(task_named(options.task), model)
    named, duplicates = one_of_each_name(one.path for one in records)
    outcomes = run_records(
        {one.name: one for one in records if named[one.name] == one.path},
        partial(_answer, options=options),
        model,
        jobs=jobs,
        on_record=on_record,
    )
    task = task_named(options.task)
    baseline = _baseline(task, records) if task.scope == "recording" else None
    return TaskEvaluation(options.task, tuple(outcomes.results.values()), {**outcomes.skipped, **duplicates}, baseline)


def _answer(known: KnownRecord, model: BeatModel | None, options: TaskOptions) -> TaskRecord:
    return answer_record(known, model, options)


def _check_task(task: Task, model: ModelFile) -> None:
    opened = model.open()
    if opened is None:
        if task.score != "intervals":
            raise UsageError(f"The task {task.name} needs a model: omit --only rpeaks.")
        return
    if task.name not in opened.tasks:
        raise UsageError(
            f"This model has no trained head for the task {task.name}; it has {', '.join(opened.tasks)}. The "
            f"full-precision teacher has more tasks: add --teacher, or --teacher FILE for a teacher you trained."
        )


def _baseline(task: Task, records: Sequence[KnownRecord]) -> Baseline:
    """Baseline from the other patients of the database, if there are any; else, optimistically, from the records."""
    others = other_patients(records)
    known = [one.facts[task.name] for one in others if task.name in one.facts]
    source = "the other patients of the database"
    if not known:
        known = [facts[task.name] for one in records if task.name in (facts := _facts(one))]
        source = "the evaluated records themselves"
    if task.kind == "regression":
        answer: str | float = float(np.mean(np.array(known, np.float64))) if known else float("nan")
    else:
        answer = Counter(map(str, known)).most_common(1)[0][0] if known else task.classes[-1]
    return Baseline(answer, len(others) or len(records), source)


def _facts(one: KnownRecord) -> Facts:
    if one.layout == "ptbxl":  # the headers of PTB-XL state neither age nor sex
        return one.facts
    try:
        return {**facts_of(open_in_batch(one.path)), **one.facts}
    except RecordError:
        return one.facts
