"""`evaluate --task`: scores a task other than beats, and writes the reports of beats and of other tasks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgmoe_edge.cli.evaluate_model import describe_model
from ecgmoe_edge.cli.output import result, result_json, say, say_remarks

if TYPE_CHECKING:
    from ecgmoe_edge.records.recording import OpenOptions
    from ecgmoe_edge.scoring.record_runs import ModelFile
    from ecgmoe_edge.scoring.results import Evaluation
    from ecgmoe_edge.streaming.signal.mains import MainsChoice
    from ecgmoe_edge.tasks import Task


def evaluate_other_task(
    task: Task,
    model: ModelFile,
    data: Path | None,
    *,
    split: str | None,
    records: list[str] | None,
    lead: str | int | None,
    stated: OpenOptions,
    invert: bool,
    mains: MainsChoice,
    whole: bool,
    annotator: str,
    jobs: int,
    report: Path | None,
    as_json: bool,
) -> None:
    """Score one task, print the figures, and write the report if `report` is given."""
    from ecgmoe_edge.records.layouts import known_records
    from ecgmoe_edge.records.splits import DEFAULT_DATABASE
    from ecgmoe_edge.scoring.task_evaluation import evaluate_task
    from ecgmoe_edge.scoring.task_records import TaskOptions
    from ecgmoe_edge.scoring.task_table import render_task

    found = known_records(data, task.database or DEFAULT_DATABASE, split=split, records=records)
    options = TaskOptions(task.name, lead, invert, mains, whole, annotator, stated)
    scored = evaluate_task(found, options, model, jobs=jobs, on_record=report_progress)
    for one in scored.records:
        say_remarks(one.name, one.remarks)
    evaluation = scored.to_json() | {"model": describe_model(model), "command": command()}
    if as_json:
        result_json(evaluation)
    else:
        result(render_task(evaluation))
    if report is not None:
        from ecgmoe_edge.scoring.report.page import write_task_report

        say(f"wrote {write_task_report(report, scored, evaluation, command())}")


def evaluate_annotated_beats(
    model: ModelFile,
    data: Path | None,
    *,
    split: str | None,
    records: list[str] | None,
    annotator: str,
    whole: bool,
    jobs: int,
    as_json: bool,
) -> None:
    """Score atrial fibrillation from the RR intervals of annotated beats, and print the figures.

    `model` is scored beside CoSEn; without a model, CoSEn alone is scored.
    """
    from ecgmoe_edge.records.splits import locate
    from ecgmoe_edge.scoring.annotated_beats import score_annotated_beats
    from ecgmoe_edge.scoring.task_table import render_annotated_rhythm

    paths = locate(data, split=split, records=records)
    scored = score_annotated_beats(paths, model, annotator, whole=whole, jobs=jobs, on_record=report_progress)
    evaluation = scored.to_json() | {"model": describe_model(model), "command": command()}
    if as_json:
        result_json(evaluation)
    else:
        result(render_annotated_rhythm(evaluation))


def write_beat_report(folder: Path, scored: Evaluation, evaluation: Mapping[str, Any]) -> None:
    """Write the report of beats."""
    from ecgmoe_edge.scoring.report.page import write_beat_report as write

    say(f"wrote {write(folder, scored, evaluation, command())}")


def report_progress(name: str, done: int, total: int, why_skipped: str | None) -> None:
    """Print one line on stderr after each record."""
    say(f"{done}/{total} {name}" + (f": skipped, {why_skipped}" if why_skipped else ""))


def command() -> str:
    """The command line of this process."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
