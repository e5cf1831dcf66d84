"""The figures of one task as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ecgmoe_edge.tasks import Score, Task, task_named

_NAME_WIDTH, _CELL_WIDTH = 26, 12


def render_task(evaluation: Mapping[str, Any]) -> str:
    """Figures with confidence intervals, the confusion matrix and the skipped records, as text.

    Args:
        evaluation: the output of `TaskEvaluation.to_json`.
    """
    return "\n".join(_lines(evaluation))


def render_annotated_rhythm(evaluation: Mapping[str, Any]) -> str:
    """Figures of atrial fibrillation from annotated beats, and the skipped records, as text.

    Args:
        evaluation: the output of `AnnotatedRhythms.to_json`.
    """
    patients = evaluation["patients"]
    lines = [
        f"rhythm from annotated beats: {evaluation['records']} records of {patients} "
        f"patient{'' if patients == 1 else 's'}, {evaluation['hours']:.1f} h",
        "in brackets: 95 % interval, bootstrap over patients",
        *([] if evaluation["model_af"] is None else [_af_line("the model", evaluation["model_af"])]),
        cosen_line(evaluation["cosen"]),
        *(f"skipped {name}: {reason}" for name, reason in evaluation["skipped_records"].items()),
    ]
    return "\n".join(lines)


def _lines(evaluation: Mapping[str, Any]) -> Iterator[str]:
    task = evaluation["task"]
    figures, bootstrap = evaluation[task], evaluation["intervals"]
    patients = evaluation["patients"]
    yield f"{task}: {evaluation['records']} records of {patients} patient{'' if patients == 1 else 's'}"
    level, resamples = bootstrap["level"], bootstrap["draws"]
    yield f"in brackets: {100 * level:g} % interval, bootstrap over patients, {resamples} resamples"
    lines: Mapping[Score, Callable[[Task, Mapping[str, Any], Mapping[str, Any]], Iterator[str]]] = {
        "rhythm": _class_lines, "class": _class_lines, "intervals": _rr_lines, "value": _value_lines
    }  # fmt: skip
    described = task_named(task)
    yield from lines[described.score](described, figures, bootstrap["figures"])
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
    if "cosen" in figures:
        yield cosen_line(figures["cosen"])
    if "baseline" in figures:
        baseline = figures["baseline"]
        yield f"predicting {baseline['says']} for every record, accuracy, %: {baseline['accuracy']:.2f}"
    yield ""
    yield f"confusion matrix in {figures['unit']}: true class in rows, predicted class in columns"
    answers = list(next(iter(figures["confusion"].values())))
    yield f"{'':<{_NAME_WIDTH}}" + "".join(f"{name:>{_CELL_WIDTH}}" for name in answers)
    for truth, row in figures["confusion"].items():
        yield f"{truth:<{_NAME_WIDTH}}" + "".join(f"{cell:>{_CELL_WIDTH}.0f}" for cell in row.values())


def cosen_line(cosen: Mapping[str, Any]) -> str:
    """Se, +P and F1 of the classical measure of AF, as text."""
    return _af_line("CoSEn of the RR intervals alone", cosen)


def _af_line(source: str, figures: Mapping[str, Any]) -> str:
    cells = (
        f"{title} {_with_interval(figures['AF'][key], figures['intervals'][key])}"
        for title, key in (("Se", "se"), ("+P", "ppv"), ("F1", "f1"))
    )
    return f"AF by {source}, %: {', '.join(cells)}"


def _rr_lines(task: Task, figures: Mapping[str, Any], intervals: Mapping[str, Any]) -> Iterator[str]:
    yield f"mean RR of the beats in {figures['window_s']} s, {figures['windows']} windows, mean absolute error in ms"
    yield f"  model: {_with_interval(figures['mae_ms'], intervals['mae_ms'])}"
    yield f"  detector alone: {_with_interval(figures['detector_mae_ms'], intervals['detector_mae_ms'])}"


def _value_lines(task: Task, figures: Mapping[str, Any], intervals: Mapping[str, Any]) -> Iterator[str]:
    model, mean, gain = (f"{key}_{task.unit}" for key in ("mae", f"mean_{task.name}_mae", "better_by"))
    yield f"{task.name}, {figures['answered']} records, mean absolute error in {task.unit}"
    yield f"  model: {_with_interval(figures[model], intervals[model])}"
    baseline = figures.get("baseline")
    if baseline is not None:
        error = _with_interval(figures[mean], intervals[mean])
        yield f"  predicting {baseline[f'says_{task.unit}']:.1f}, the mean of {baseline['of']}: {error}"
        yield f"  the model is better by: {_with_interval(figures[gain], intervals[gain])}"


def _with_interval(value: float | None, interval: list[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" [{interval[0]:.2f} to {interval[1]:.2f}]" if interval else "")
