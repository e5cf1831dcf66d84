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
        scored: the records.
        evaluation: what `scored.to_json` gave.
    """
    yield "In sum", _in_sum(evaluation)
    classes = scored.class_table()
    if classes is not None:
        unit = evaluation[scored.task]["unit"]
        drawn = drawings.confusion_drawing(classes.classes, classes.answers, classes.table, unit)
        yield "Truth and answer", picture(drawn, "Rows: what is true. Columns: what the model said.")
    said = [one for one in scored.records if one.probabilities and one.truth is not None]
    if said:
        yield "What was wrong", _wrong(said)
        yield "Can the scores be believed", _scores(said)
    task = task_named(scored.task)
    if task.score == "intervals":
        yield "How large the errors are", _rr_errors(scored.records)
    if task.score == "value":
        yield "Truth and answer", _values(task, scored.records)
    if any(one.experts for one in scored.records):
        yield "What the experts do", _experts(scored.records)
    yield "Record by record", folded(f"{len(scored.records)} records", _records(evaluation))


def _in_sum(evaluation: Mapping[str, Any]) -> str:
    task = evaluation["task"]
    made = evaluation["intervals"]
    figures: dict[str, Any] = {k: v for k, v in evaluation[task].items() if isinstance(v, (int, float)) or v is None}
    for name, each in evaluation[task].get("classes", {}).items():
        figures |= {f"{name}.{key}": value for key, value in each.items()}
    rows = []
    for name, value in figures.items():
        pair = made["figures"].get(name)
        rows.append((name, value, f"{pair[0]:.2f} to {pair[1]:.2f}" if pair else ""))
    base = evaluation[task].get("baseline")
    plain = table(("Without looking at the ECG", ""), base.items()) if base else ""
    return (
        paragraph(f"{evaluation['records']} records of {evaluation['patients']} patients.")
        + table(("figure", "value", f"{100 * made['level']:g} % interval over patients"), rows)
        + plain
    )


def _wrong(records: Sequence[TaskRecord]) -> str:
    wrong = [one for one in records if one.answer != one.truth]
    wrong.sort(key=lambda one: -one.probabilities.get(str(one.answer), 0.0))
    rows = ((o.name, o.truth, o.answer, o.probabilities.get(str(o.answer))) for o in wrong[:_WORST])
    return paragraph(f"{len(wrong)} of {len(records)} records. Those where the model was surest:") + table(
        ("record", "truth", "answer", "score"), rows
    )


def _scores(records: Sequence[TaskRecord]) -> str:
    classes = tuple(records[0].probabilities)
    scores = np.array([[one.probabilities[name] for name in classes] for one in records])
    truth = np.array([str(one.truth) for one in records])
    believed = {"the label": reliability(scores.max(1), np.array(classes)[scores.argmax(1)] == truth)}
    split = {name: separation(scores[:, column], truth == name) for column, name in enumerate(classes)}
    curves = {name: curve for name, curve in split.items() if curve is not None}
    drawn = picture(drawings.reliability_drawing(believed), "Reliability: how often a score was right.")
    if curves:
        drawn += picture(drawings.separation_drawing(curves), "Each class against the rest, one point a record.")
    return drawn


def _rr_errors(records: Sequence[TaskRecord]) -> str:
    errors = np.concatenate([one.rr_errors_ms for one in records if one.rr_errors_ms is not None])
    drawn = drawings.errors_drawing({"model": errors[:, 0], "detector alone": errors[:, 1]}, "ms")
    return picture(drawn, "Share of the ten-second windows whose mean RR interval is off by less than so much.")


def _values(task: Task, records: Sequence[TaskRecord]) -> str:
    known = [(float(o.truth), float(o.answer)) for o in records if o.answer is not None and o.truth is not None]
    points = np.array(known).reshape(-1, 2)
    if not len(points):
        return paragraph("No record got an answer.")
    return picture(
        drawings.scatter_drawing(points[:, 0], points[:, 1], task.unit),
        f"{task.name.capitalize()} said against {task.name}, a point a record.",
    )


def _experts(records: Sequence[TaskRecord]) -> str:
    parts = [paragraph("Shares are of the beats of the records in a row; the last row is the load.")]
    for path in dict.fromkeys(path for one in records for path in one.experts):
        counts: dict[str, Any] = {}
        for one in records:
            row = one.truth if isinstance(one.truth, str) else "records"
            counts[row] = counts.get(row, 0) + np.array(one.experts[path])
        rows = sorted(counts)
        drawn = drawings.load_drawing(rows, np.array([counts[row] for row in rows]))
        parts.append(picture(drawn, f"Path {path}: which expert takes the beats of which records."))
    return "\n".join(parts)


def _records(evaluation: Mapping[str, Any]) -> str:
    records = evaluation["per_record"]
    keys = [key for key, value in next(iter(records.values())).items() if not isinstance(value, dict)]
    return table(("record", *keys), ((name, *(one[key] for key in keys)) for name, one in records.items()))
