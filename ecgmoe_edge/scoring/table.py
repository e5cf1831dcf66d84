"""The figures of an evaluation as text: the statistics of EC57, in tables like those of PhysioNet's `bxb`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ecgmoe_edge.scoring.patient_specific import patient_specific_lines

_COLUMNS = ("se", "ppv", "f1", "tp", "fn", "fp")
_HEADINGS = ("Se %", "+P %", "F1 %", "found", "missed", "false")
_NO_BEAT = "no beat"  # heading: false positives of a class where no beat is annotated
_NAME_WIDTH, _CELL_WIDTH = 18, 9

# Letters of bxb: upper case for annotated classes, lower case for the labels of the monitor.
_ROW_LETTERS = {"none": "O"}
_COLUMN_LETTERS = {"?": "q", "missed": "o"}


def render_table(evaluation: Mapping[str, Any], *, per_record: bool = False) -> str:
    """The output of `Evaluation.to_json` as text.

    It has gross and average statistics of R peaks and beat classes, the RR-interval error, the delays, the beat-by-beat
    table, the artefacts and the figures with added noise if there are any, and the skipped records.

    Args:
        evaluation: the output of `Evaluation.to_json`.
        per_record: also print one line per record.
    """
    return "\n".join(_lines(evaluation, per_record))


def beat_table(confusion: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The beat-by-beat table as `bxb -S` prints it.

    Rows are annotated classes, columns the labels of the monitor. Column `q` counts beats labelled `?` and column `o`
    missed beats; row `O` counts detections where no beat is annotated. The row and column `x` of bxb, for periods in
    which a detector is shut down, are omitted: the monitor has no such periods.

    Args:
        confusion: the output of `Confusion.to_json`.

    Returns:
        The lines of the table.
    """
    columns = list(next(iter(confusion.values())))
    lines = ["     " + "".join(f"{_COLUMN_LETTERS.get(name, name.lower()):>8}" for name in columns)]
    lines.append("    " + "_" * (8 * len(columns) + 1))
    for truth, answers in confusion.items():
        counts = {name: count for name, count in answers.items() if (truth, name) != ("none", "missed")}
        lines.append(f" {_ROW_LETTERS.get(truth, truth)} | " + "".join(f"{count:>8}" for count in counts.values()))
    return lines


def _lines(evaluation: Mapping[str, Any], per_record: bool) -> Iterator[str]:
    if per_record:
        yield from _record_lines(evaluation["per_record"])
    fused = ", several leads of each record run together" if evaluation.get("fused_leads") else ""
    yield f"{evaluation['records']} records{fused}"
    yield _row("", [*_HEADINGS, *([_NO_BEAT] if evaluation["beats"] else [])])
    for name, counts in _rows(evaluation):
        yield _row(name, _cells(counts))
    yield from _interval_lines(evaluation["intervals"])
    yield from _average_lines(evaluation["average"])
    yield ""
    yield _rr_line(evaluation["rr_error_ms"])
    for name, delays in evaluation["delay_ms"].items():
        figures = ", ".join(f"{key} {_figure(value)}" for key, value in delays.items())
        yield f"delay to {name}, ms: {figures}"
    if evaluation["confusion"] is not None:
        yield ""
        yield "beat by beat (rows: annotated class, O: no beat annotated; columns: label, q: unclassified, o: missed)"
        yield from beat_table(evaluation["confusion"])
        yield from artefact_lines(evaluation["artefacts"])
    for kind in ("patient_specific", "retrospective"):
        if kind in evaluation:
            yield from patient_specific_lines(evaluation[kind])
    if "noise" in evaluation:
        yield from _noise_lines(evaluation["noise"])
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


def _interval_lines(intervals: Mapping[str, Any]) -> Iterator[str]:
    known = {name: pair for name, pair in intervals["figures"].items() if pair is not None}
    if not known:
        return
    yield ""
    yield _row(f"{100 * intervals['level']:g} % intervals", ("", "Se %", "", "+P %", "", "F1 %"))
    names = dict.fromkeys(name.rpartition(".")[0] for name in intervals["figures"])
    for name in names:
        pairs = [known.get(f"{name}.{key}") for key in ("se", "ppv", "f1")]
        title = {"rpeaks.150ms": "R peaks, 150ms", "rpeaks.50ms": "R peaks, 50ms", "S_without_232": "S without 232"}
        cells = [cell for pair in pairs for cell in (("-", "-") if pair is None else map(_figure, pair))]
        if any(pairs):
            yield _row(title.get(name, f"class {name}"), cells)
    yield f"bootstrap over {intervals['patients']} patients, {intervals['draws']} resamples"


def _average_lines(averages: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield _row("mean over records", ("Se %", "+P %", "F1 %", "records"))
    rows = {f"R peaks, {tolerance}": figures for tolerance, figures in averages["rpeaks"].items()}
    rows |= {f"class {name}": figures for name, figures in (averages["beats"] or {}).items()}
    for name, figures in rows.items():
        cells = [_figure(figures[key]) for key in ("se", "ppv", "f1")]
        yield _row(name, [*cells, str(figures["records"]["se"])])


def _rr_line(error: Mapping[str, Any]) -> str:
    classes = [f"{name} {_figure(each['rms'])}" for name, each in error["classes"].items() if each["intervals"]]
    return f"RMS RR interval error, ms: {_figure(error['rms'])}, mean over records {_figure(error['average'])}" + (
        f"; by class {', '.join(classes)}" if classes else ""
    )


def _noise_lines(noise: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    classified = any(evaluation["beats"] for evaluation in noise["snr_db"].values())
    yield _row(f"noise {noise['kind']}", [*_HEADINGS, "F1 50 ms", *([_NO_BEAT] if classified else [])])
    for snr, evaluation in noise["snr_db"].items():
        cells = [_figure(evaluation["rpeaks"]["150ms"][key]) for key in _COLUMNS]
        yield _row(f"SNR {snr} dB", [*cells, _figure(evaluation["rpeaks"]["50ms"]["f1"])])
        for name, counts in (evaluation["beats"] or {}).items():
            *cells, no_beat = _cells(counts)
            yield _row(f"  class {name}", [*cells, "", no_beat])
        if evaluation["artefacts"]:
            yield from (f"  {line}" for line in artefact_lines(evaluation["artefacts"]))


def artefact_lines(artefacts: Mapping[str, Any]) -> Iterator[str]:
    """The artefacts as one line; no line if there are none, as with a model that does not have this answer.

    Args:
        artefacts: the output of `Confusion.artefacts_json`.
    """
    if not artefacts["detections"]:
        return
    lost = ", ".join(f"{name} {count}" for name, count in artefacts["lost_beats"].items() if count)
    yield (
        f"answered artefact: {artefacts['detections']} detections, {artefacts['no_beat']} of them no beat; "
        f"lost beats: {lost or 'none'}"
    )


def _record_lines(records: Mapping[str, Any]) -> Iterator[str]:
    classes = ("N", "S", "V", "F") if any(record["beats"] for record in records.values()) else ()
    headings = [f"{name} {figure}" for name in ("R", *classes) for figure in ("Se", "+P")]
    yield _row("record", [*headings, "RR ms"])
    for name, record in records.items():
        counts = [record["rpeaks"]["150ms"]]
        counts += [record["beats"][one] if record["beats"] else {"se": None, "ppv": None} for one in classes]
        cells = [_figure(each[key]) for each in counts for key in ("se", "ppv")]
        yield _row(name, [*cells, _figure(record["rr_error_ms"]["rms"])])
    yield ""


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<{_NAME_WIDTH}}" + "".join(f"{cell:>{_CELL_WIDTH}}" for cell in cells)


def _cells(counts: Mapping[str, Any]) -> list[str]:
    """The columns of a row; a row of a class also has its false positives where no beat is annotated."""
    cells = [_figure(counts[key]) for key in _COLUMNS]
    return [*cells, str(counts["false_no_beat"])] if "false_no_beat" in counts else cells


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.2f}"
