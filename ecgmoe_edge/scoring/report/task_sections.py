"""The sections of a report about rhythm, mean RR, age or sex."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ecgmoe_edge.scoring.report import drawings
from ecgmoe_edge.scoring.report.curves import reliability, separation
from ecgmoe_edge.scoring.report.markup import folded, paragraph, picture, table
from ecgmoe_edge.scoring.task_records import TaskRecord
from ecgmoe_edge.scoring.task_results import TaskEvaluation
from ecgmoe_edge.tasks import Task, task_named

_WORST = 25


def task_sections(scored: TaskEvaluation, evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Titles and HTML of the sections, in order.

    Args:
        scored: the evaluation of the task.
        evaluation: the output of `scored.to_json`.
    """
    yield "Summary", _summary(evaluation)
    classes = scored.class_table()
    if classes is not None:
        unit = evaluation[scored.task]["unit"]
        drawn = drawings.confusion_drawing(classes.classes, classes.answers, classes.table, unit)
        yield "Confusion matrix", picture(drawn, "Rows: true class. Columns: predicted class.")
    answered = [one for one in scored.records if one.probabilities and one.truth is not None]
    if answered:
        yield "Wrong predictions", _wrong(answered)
        yield "Calibration and separation of the scores", _scores(answered)
    task = task_named(scored.task)
    if task.score == "intervals":
        yield "Distribution of the errors", _rr_errors(scored.records)
    if task.score == "value":
        yield "Predicted and true values", _values(task, scored.records)
    if any(one.experts for one in scored.records):
        yield "Use of the experts", _experts(scored.records)
    yield "Figures per record", folded(f"{len(scored.records)} records", _records(evaluation))


def _summary(evaluation: Mapping[str, Any]) -> str:
    task = evaluation["task"]
    bootstrap = evaluation["intervals"]
    figures: dict[str, Any] = {k: v for k, v in evaluation[task].items() if isinstance(v, (int, float)) or v is None}
    for name, each in evaluation[task].get("classes", {}).items():
        figures |= {f"{name}.{key}": value for key, value in each.items()}
    rows = []
    for name, value in figures.items():
        pair = bootstrap["figures"].get(name)
        rows.append((name, value, f"{pair[0]:.2f} to {pair[1]:.2f}" if pair else ""))
    baseline = evaluation[task].get("baseline")
    return (
        paragraph(f"{evaluation['records']} records of {evaluation['patients']} patients.")
        + table(("figure", "value", f"{100 * bootstrap['level']:g} % confidence interval over patients"), rows)
        + (table(("Baseline without an ECG", ""), baseline.items()) if baseline else "")
    )


def _wrong(records: Sequence[TaskRecord]) -> str:
    wrong = [one for one in records if one.answer != one.truth]
    wrong.sort(key=lambda one: -one.probabilities.get(str(one.answer), 0.0))
    rows = ((one.name, one.truth, one.answer, one.probabilities.get(str(one.answer))) for one in wrong[:_WORST])
    return paragraph(f"{len(wrong)} of {len(records)} records. Those with the highest score:") + table(
        ("record", "true", "predicted", "score"), rows
    )


def _scores(records: Sequence[TaskRecord]) -> str:
    classes = tuple(records[0].probabilities)
    scores = np.array([[one.probabilities[name] for name in classes] for one in records])
    truth = np.array([str(one.truth) for one in records])
    label = {"the label": reliability(scores.max(1), np.array(classes)[scores.argmax(1)] == truth)}
    separations = {name: separation(scores[:, column], truth == name) for column, name in enumerate(classes)}
    curves = {name: curve for name, curve in separations.items() if curve is not None}
    content = picture(
        drawings.reliability_drawing(label), "Reliability: observed share of correct labels against the score."
    )
    if curves:
        content += picture(drawings.separation_drawing(curves), "Each class against the rest, over records.")
    return content


def _rr_errors(records: Sequence[TaskRecord]) -> str:
    errors = np.concatenate([one.rr_errors_ms for one in records if one.rr_errors_ms is not None])
    drawn = drawings.errors_drawing({"model": errors[:, 0], "detector alone": errors[:, 1]}, "ms")
    return picture(drawn, "Share of the 10 s windows whose error of the mean RR interval is below each limit.")


def _values(task: Task, records: Sequence[TaskRecord]) -> str:
    known = [
        (float(one.truth), float(one.answer)) for one in records if one.answer is not None and one.truth is not None
    ]
    points = np.array(known).reshape(-1, 2)
    if not len(points):
        return paragraph("The model gave no prediction for any record.")
    return picture(
        drawings.scatter_drawing(points[:, 0], points[:, 1], task.unit),
        f"Predicted against true {task.name}, one point per record.",
    )


def _experts(records: Sequence[TaskRecord]) -> str:
    parts = [paragraph("Each row shows how the beats of its records are shared among the experts. Last row: the load.")]
    for path in dict.fromkeys(path for one in records for path in one.experts):
        counts: dict[str, Any] = {}
        for one in records:
            row = one.truth if isinstance(one.truth, str) else "records"
            counts[row] = counts.get(row, 0) + np.array(one.experts[path])
        rows = sorted(counts)
        drawn = drawings.load_drawing(rows, np.array([counts[row] for row in rows]))
        parts.append(picture(drawn, f"Path {path}: selected expert by true class of the record."))
    return "\n".join(parts)


def _records(evaluation: Mapping[str, Any]) -> str:
    records = evaluation["per_record"]
    keys = [key for key, value in next(iter(records.values())).items() if not isinstance(value, dict)]
    return table(("record", *keys), ((name, *(one[key] for key in keys)) for name, one in records.items()))
