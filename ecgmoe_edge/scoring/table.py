"""The figures of an evaluation as a text table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_COLUMNS = ("se", "ppv", "f1", "tp", "fn", "fp")
_HEADINGS = ("Se %", "+P %", "F1 %", "found", "missed", "false")


def render_table(evaluation: Mapping[str, Any], *, per_record: bool = False) -> str:
    """What `Evaluation.to_json` gave, as lines of text: R peaks, beat classes, confusion, delays, skipped records."""
    return "\n".join(_lines(evaluation, per_record))


def _lines(evaluation: Mapping[str, Any], per_record: bool) -> Iterator[str]:
    yield f"{evaluation['records']} records"
    yield _row("", _HEADINGS)
    for name, counts in _rows(evaluation):
        yield _row(name, [_figure(counts[key]) for key in _COLUMNS])
    if evaluation["confusion"] is not None:
        yield ""
        yield _row("truth \\ answer", list(next(iter(evaluation["confusion"].values()))))
        for truth, answers in evaluation["confusion"].items():
            yield _row(truth, [str(count) for count in answers.values()])
    yield ""
    for name, delays in evaluation["delay_ms"].items():
        figures = ", ".join(f"{key} {_figure(value)}" for key, value in delays.items())
        yield f"delay to {name}, ms: {figures}"
    if per_record:
        yield from _record_lines(evaluation["per_record"])
    for name, reason in evaluation["skipped_records"].items():
        yield f"skipped {name}: {reason}"


def _rows(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for tolerance, counts in evaluation["rpeaks"].items():
        yield f"R peaks, {tolerance}", counts
    if "reference" in evaluation:
        reference = evaluation["reference"]
        for tolerance, counts in reference["rpeaks"].items():
            yield f"{reference['detector']}, {tolerance}", counts
    for name, counts in (evaluation["beats"] or {}).items():
        yield f"class {name}", counts
    if evaluation["S_without_232"] is not None:
        yield "S without 232", evaluation["S_without_232"]


def _record_lines(records: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    classes = ("N", "S", "V", "F")
    yield _row("record", ["R Se %", "R +P %", *(f"{name} F1 %" for name in classes)])
    for name, record in records.items():
        peaks = record["rpeaks"]["150ms"]
        beats = [record["beats"][of]["f1"] if record["beats"] else None for of in classes]
        yield _row(name, [_figure(value) for value in (peaks["se"], peaks["ppv"], *beats)])


def _row(name: str, cells: tuple[str, ...] | list[str]) -> str:
    return f"{name:<18}" + "".join(f"{cell:>9}" for cell in cells)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
