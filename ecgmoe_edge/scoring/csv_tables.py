"""Writes the figures of an evaluation as CSV files: one row per record, one per class, and the confusion matrices."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgmoe_edge.durable_files import replace_file
from ecgmoe_edge.errors import RecordError

_FIGURES = ("se", "ppv", "f1", "tp", "fn", "fp")
_OF_CLASS = (*_FIGURES, "false_no_beat")  # figures of a beat class
_ALL = "all"  # stands in the record column for the sum over all records


def write_csv(folder: Path, evaluation: Mapping[str, Any]) -> list[Path]:
    """Write the figures of an evaluation as CSV files.

    - records.csv: one row per record.
    - classes.csv: R peaks and beat classes, gross and average.
    - beat_table.csv, if beats were classified: confusion matrix of each record and of all records together.
    - noise.csv, if noise was added: one row per signal-to-noise ratio and record.

    Figures are in per cent, numbers of beats, or ms. An empty cell is a figure that is not defined.

    Args:
        folder: receives the files; it is created if it does not exist.
        evaluation: the output of `Evaluation.to_json`.

    Returns:
        The files written.

    Raises:
        RecordError: the folder cannot be written.
    """
    tables = {"records": list(_records(evaluation)), "classes": list(_classes(evaluation))}
    if evaluation["confusion"] is not None:
        tables["beat_table"] = list(_beat_tables(evaluation))
    if "noise" in evaluation:
        tables["noise"] = list(_noise(evaluation["noise"]))
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in tables.items():
            file = folder / f"{name}.csv"
            with replace_file(file) as partial, partial.open("w", newline="", encoding="utf-8") as opened:
                writer = csv.DictWriter(opened, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
            written.append(file)
    except OSError as reason:
        raise RecordError(
            f"CSV files cannot be written to {folder} ({reason}). Free some disk space, or give --csv another folder."
        ) from reason
    return written


def _records(evaluation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, record in evaluation["per_record"].items():
        row = {"record": name, **{key: record[key] for key in ("lead", "fs_hz", "duration_s", "paced")}}
        for tolerance, counts in record["rpeaks"].items():
            row |= _prefixed(f"rpeaks_{tolerance}", counts)
        for beat_class in evaluation["beats"] or {}:
            row |= _prefixed(beat_class, (record["beats"] or {}).get(beat_class, {}), _OF_CLASS)
        yield {**row, "rr_error_ms": record["rr_error_ms"]["rms"], "rr_intervals": record["rr_error_ms"]["intervals"]}


def _classes(evaluation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    averages, rr = evaluation["average"], evaluation["rr_error_ms"]
    for tolerance, counts in evaluation["rpeaks"].items():
        yield _class_row(f"rpeaks_{tolerance}", counts, averages["rpeaks"][tolerance], rr)
    for name, counts in (evaluation["beats"] or {}).items():
        yield _class_row(name, counts, averages["beats"][name], rr["classes"][name])


def _class_row(
    name: str, gross: Mapping[str, Any], average: Mapping[str, Any], rr: Mapping[str, Any]
) -> dict[str, Any]:
    row = {"class": name, **{key: gross.get(key) for key in _OF_CLASS}}
    for key in ("se", "ppv", "f1"):
        row |= {f"average_{key}": average[key], f"records_{key}": average["records"][key]}
    return {**row, "rr_error_ms": rr["rms"], "rr_intervals": rr["intervals"]}


def _beat_tables(evaluation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    tables = {_ALL: evaluation["confusion"]}
    tables |= {name: record["confusion"] for name, record in evaluation["per_record"].items() if record["confusion"]}
    for record, confusion in tables.items():
        for truth, answers in confusion.items():
            yield {"record": record, "truth": truth, **answers}


def _noise(noise: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for snr, evaluation in noise["snr_db"].items():
        for name, figures in {_ALL: evaluation, **evaluation["per_record"]}.items():
            row = {"noise": noise["kind"], "snr_db": snr, "record": name}
            for tolerance, counts in figures["rpeaks"].items():
                row |= _prefixed(f"rpeaks_{tolerance}", counts)
            for beat_class in evaluation["beats"] or {}:
                row |= _prefixed(beat_class, (figures["beats"] or {}).get(beat_class, {}), _OF_CLASS)
            yield row


def _prefixed(prefix: str, counts: Mapping[str, Any], figures: Sequence[str] = _FIGURES) -> dict[str, Any]:
    return {f"{prefix}_{key}": counts.get(key) for key in figures}
