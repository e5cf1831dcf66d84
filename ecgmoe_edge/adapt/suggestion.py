"""The beats worth a label as files: a page of ECG strips, and a table whose labels are to be filled in."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.adapt.adaptation import usable_before
from ecgmoe_edge.adapt.beats import PatientBeats
from ecgmoe_edge.adapt.choice import choose
from ecgmoe_edge.adapt.gate import LEAST_LABELS
from ecgmoe_edge.adapt.labels import CHOSEN, CLUSTER, LABEL, SAMPLE, TIME, UNCERTAIN
from ecgmoe_edge.durable_files import write_text
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Recording
from ecgmoe_edge.scoring.report.markup import clock, page, paragraph, picture

PAGE, TABLE = "beats.html", "labels.csv"
_BEFORE_S, _AFTER_S = 3.0, 2.0  # of a strip
_WIDTH, _LEAD_HEIGHT, _HEAD = 1000, 170, 22  # points of the drawing
_LARGE_S, _LARGE_MV = 0.2, 0.5  # large squares of ECG paper
_LEAST_MV = 1.0  # height of a lead that hardly moves
_TRACE_HZ = 250.0  # points of a trace per second


def write_suggestion(
    folder: Path,
    patient: PatientBeats,
    recording: Recording,
    positions: Sequence[int],
    count: int,
    until_s: float,
) -> tuple[Path, Path, list[dict[str, Any]]]:
    """Choose beats and write their strips and their table.

    Args:
        folder: receives the two files; it is created if it does not exist.
        patient: the beats of the recording.
        recording: the recording, for the strips.
        positions: its leads to draw.
        count: number of beats.
        until_s: the beats are chosen before this time.

    Returns:
        The page, the table, and the beats for JSON.

    Raises:
        RecordError: there are fewer beats that can get a label, or the folder cannot be written.
    """
    window = usable_before(patient, until_s)
    if len(window) < max(count, LEAST_LABELS):
        raise RecordError(
            f"{recording.name} has {len(window)} beats of sufficient quality in its first {until_s / 60:.3g} min, "
            f"fewer than {count}: use more of it with --minutes, or choose fewer beats."
        )
    choice = choose(patient, window, count)
    kinds = dict.fromkeys(choice.centres.tolist(), CLUSTER) | dict.fromkeys(choice.uncertain.tolist(), UNCERTAIN)
    rows = [(beat, kinds[beat]) for beat in choice.beats.tolist()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table, strips = folder / TABLE, folder / PAGE
        if table.exists():
            raise RecordError(f"{table} exists already and may have labels: name another folder with -o, or remove it.")
        write_text(strips, _page(patient, recording, positions, rows))
        write_text(table, _table(patient, rows))
    except OSError as error:
        raise RecordError(
            f"The beats cannot be written to {folder} ({error.strerror or error}). Name another folder with -o."
        ) from error
    listed = [
        {TIME: round(float(patient.times_s[beat]), 3), SAMPLE: int(patient.samples[beat]), CHOSEN: kind}
        for beat, kind in rows
    ]
    return strips, table, listed


def _table(patient: PatientBeats, rows: Sequence[tuple[int, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((TIME, SAMPLE, LABEL, CHOSEN))
    for beat, kind in rows:
        writer.writerow((f"{patient.times_s[beat]:.3f}", patient.samples[beat], "", kind))
    return text.getvalue()


def _page(
    patient: PatientBeats, recording: Recording, positions: Sequence[int], rows: Sequence[tuple[int, str]]
) -> str:
    introduction = paragraph(
        f"Label the beat in the marked band of each strip: write N, S, V or F into the column {LABEL} of {TABLE}, or "
        "Q if you cannot tell. An empty label is left out. Labels that contradict each other do harm: if you are "
        "not sure of a beat, leave it empty."
    ) + paragraph(
        "Small letters above the trace are the labels of the shared model for the other beats. A large square is "
        f"{_LARGE_S:g} s by {_LARGE_MV:g} mV.",
        small=True,
    )
    strips = "".join(_strip(patient, recording, positions, number, *row) for number, row in enumerate(rows, 1))
    return page(f"ecgmoe-edge: beats of {recording.name} to label", [("Labels", introduction), ("Strips", strips)])


def _strip(
    patient: PatientBeats, recording: Recording, positions: Sequence[int], number: int, beat: int, kind: str
) -> str:
    r, fs = int(patient.samples[beat]), patient.fs
    start, stop = max(0, r - round(_BEFORE_S * fs)), min(recording.n_samples, r + round(_AFTER_S * fs))
    signal = recording.read(start, stop, leads=list(positions))
    near = np.flatnonzero((patient.samples >= start) & (patient.samples < stop))
    labels = [(int(patient.samples[k]) - start, "" if k == beat else str(patient.shared.labels[k])) for k in near]
    names = [recording.leads[position] for position in positions]
    why = "stands for a cluster of beats" if kind == CLUSTER else "the model is not sure of it"
    caption = f"{number}: beat at {clock(r / fs)} (sample {r}), {', '.join(names)}; {why}"
    return picture(strip_drawing(signal, fs, r - start, labels), caption)


def strip_drawing(signal: NDArray[np.float64], fs: float, marked: int, labels: Sequence[tuple[int, str]]) -> bytes:
    """Draw a strip of ECG on paper with large squares, as SVG.

    Args:
        signal: (leads, samples) in mV; NaN is left out.
        fs: sampling rate, Hz.
        marked: sample of the beat to mark.
        labels: sample and text of each beat in the strip.
    """
    leads, samples = signal.shape
    height = _HEAD + leads * _LEAD_HEIGHT
    per_sample = _WIDTH / max(1, samples)
    x_marked, half = marked * per_sample, 0.3 * fs * per_sample
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fffdfb"/>',
        f'<rect x="{x_marked - half:.1f}" width="{2 * half:.1f}" height="{height}" fill="#ffe9a8"/>',
        *(_line(at * per_sample, _HEAD, at * per_sample, height) for at in np.arange(0, samples, _LARGE_S * fs)),
    ]
    for lead in range(leads):
        parts += _trace(signal[lead], fs, _HEAD + lead * _LEAD_HEIGHT, per_sample)
    parts += [
        f'<text x="{at * per_sample:.1f}" y="15" font-size="13" text-anchor="middle" fill="#566270">{text}</text>'
        for at, text in labels
    ]
    return "".join([*parts, "</svg>"]).encode()


def _trace(x: NDArray[np.float64], fs: float, top: float, per_sample: float) -> list[str]:
    known = x[np.isfinite(x)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    span = max(high - low, _LEAST_MV) * 1.1
    middle = (low + high) / 2

    def y(value: float) -> float:
        return top + _LEAD_HEIGHT * (0.5 - (value - middle) / span)

    levels = np.arange(np.ceil((middle - span / 2) / _LARGE_MV), (middle + span / 2) / _LARGE_MV) * _LARGE_MV
    parts = [_line(0, y(level), _WIDTH, y(level)) for level in levels[:40].tolist()]
    step = max(1, round(fs / _TRACE_HZ))
    points: list[str] = []
    for at in [*range(0, len(x), step), len(x)]:
        if at < len(x) and np.isfinite(x[at]):
            points.append(f"{at * per_sample:.1f},{y(x[at]):.1f}")
        elif points:
            parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="#1c2530" stroke-width="1.3"/>')
            points = []
    return parts


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#f0c4c0" stroke-width="0.7"/>'
