"""The figures of one task as text: what `TaskEvaluation.to_json` gave, in lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ecgmoe_edge.tasks import Score, Task, task_named

_NAME_WIDTH, _CELL_WIDTH = 26, 12


def render_task(evaluation: Mapping[str, Any]) -> str:
    """Figures with their intervals, the table of truth against answer, and skipped records."""
    return "\n".join(_lines(evaluation))


def _lines(evaluation: Mapping[str, Any]) -> Iterator[str]:
    task = evaluation["task"]
    figures, made = evaluation[task], evaluation["intervals"]
    patients = evaluation["patients"]
    yield f"{task}: {evaluation['records']} records of {patients} patient{'' if patients == 1 else 's'}"
    yield f"in brackets: {100 * made['level']:g} % interval over patients, {made['draws']} draws"
    lines: Mapping[Score, Callable[[Task, Mapping[str, Any], Mapping[str, Any]], Iterator[str]]] = {
        "rhythm": _class_lines, "class": _class_lines, "intervals": _rr_lines, "value": _value_lines
    }  # fmt: skip
    asked = task_named(task)
    yield from lines[asked.score](asked, figures, made["figures"])
    for name, reason in evaluation["skipped_records"].items():
        yield f"skipped {name}: {reason}"


def _class_lines(task: Task, figures: Mapping[str, Any], intervals: Mapping[str, Any]) -> Iterator[str]:
    for name, each in figures["classes"].items():
        cells = [_with_interval(each[key], intervals.get(f"{name}.{key}")) for key in ("se", "ppv", "f1")]
        yield f"{name:<10}" + "".join(
            f"{title} {cell:<26}" for title, cell in zip(("Se", "+P", "F1"), cells, strict=True)
        )
    mean = ", ".join(figures["mean_f1_of"])
    yield f"mean F1 of {mean}, %: {_with_interval(figures['mean_f1'], intervals.get('mean_f1'))}"
    yield f"accuracy, %: {_with_interval(figures['accuracy'], intervals.get('accuracy'))}"
    if "baseline" in figures:
        plain = figures["baseline"]
        yield f"saying {plain['says']} of everybody, accuracy %: {plain['accuracy']:.2f}"
    yield ""
    yield f"truth in rows, answers in columns, {figures['unit']}"
    answers = list(next(iter(figures["confusion"].values())))
    yield f"{'':<{_NAME_WIDTH}}" + "".join(f"{name:>{_CELL_WIDTH}}" for name in answers)
    for truth, row in figures["confusion"].items():
        yield f"{truth:<{_NAME_WIDTH}}" + "".join(f"{cell:>{_CELL_WIDTH}.0f}" for cell in row.values())


def _rr_lines(task: Task, figures: Mapping[str, Any], intervals: Mapping[str, Any]) -> Iterator[str]:
    yield f"mean RR of the beats in {figures['window_s']} s, {figures['windows']} windows, mean absolute error in ms"
    yield f"  model: {_with_interval(figures['mae_ms'], intervals['mae_ms'])}"
    yield f"  detector alone: {_with_interval(figures['detector_mae_ms'], intervals['detector_mae_ms'])}"


def _value_lines(task: Task, figures: Mapping[str, Any], intervals: Mapping[str, Any]) -> Iterator[str]:
    own, mean, better = (f"{key}_{task.unit}" for key in ("mae", f"mean_{task.name}_mae", "better_by"))
    yield f"{task.name}, {figures['answered']} records, mean absolute error in {task.unit}"
    yield f"  model: {_with_interval(figures[own], intervals[own])}"
    plain = figures.get("baseline")
    if plain is not None:
        said = _with_interval(figures[mean], intervals[mean])
        yield f"  saying {plain[f'says_{task.unit}']:.1f}, the mean of {plain['of']}: {said}"
        yield f"  better by: {_with_interval(figures[better], intervals[better])}"


def _with_interval(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" [{interval[0]:.2f} to {interval[1]:.2f}]" if interval else "")
