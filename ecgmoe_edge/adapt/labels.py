"""Reads the labels of beats that somebody gave: a WFDB annotation file, or a table (CSV)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.input_files import check_input_file, shown_path
from ecgmoe_edge.records.annotations import AAMI, AAMI_CLASSES, Timeline, annotations_on, timeline_of
from ecgmoe_edge.records.recording import Recording
from ecgmoe_edge.shown_text import shown

#: Columns of a table of labels.
TIME, SAMPLE, LABEL, CHOSEN = "time_s", "sample", "label", "chosen_as"
#: Values of the column CHOSEN, which `adapt --suggest` writes.
CLUSTER, UNCERTAIN = "cluster", "uncertain"
_MOST_BYTES: Final = 8 * 2**20
_SEPARATORS: Final = ",;\t"
_SAME_BEAT_S: Final = 0.02  # largest difference of the two times of a row: times are rounded


@dataclass(frozen=True)
class BeatLabels:
    """Beats with labels, in the order of time."""

    samples: NDArray[np.int64]  # (m,) R peak
    classes: tuple[str, ...]  # AAMI classes: N, S, V, F or Q
    # R peaks of the beats that `adapt --suggest` chose for its clusters, labelled or not; None: it chose none.
    centres: NDArray[np.int64] | None = None

    def before(self, sample: float) -> BeatLabels:
        """Return the labels of the beats before a sample."""
        count = int(np.searchsorted(self.samples, sample))
        return BeatLabels(self.samples[:count], self.classes[:count], self.centres)


def read_labels(file: Path, record: Recording) -> BeatLabels:
    """Read the labels of a recording.

    A table has the columns `label` and `time_s` (s) or `sample`; a row without a label is skipped. Labels are N, S, V,
    F and Q, or symbols of WFDB beat annotations.

    Args:
        file: the file; a table is recognised by its content.
        record: the recording.

    Raises:
        InputFileError: there is no such file.
        RecordError: the file cannot be read, a row is wrong, or a beat lies outside the recording.
    """
    check_input_file(file, "file of labels")
    if file.stat().st_size > _MOST_BYTES:
        raise RecordError(f"{shown_path(file)} has over {_MOST_BYTES // 2**20} MiB, too many for labels: name another.")
    raw = file.read_bytes()
    if b"\0" not in raw:
        return _read_table(raw, shown_path(file), record)
    if not file.suffix[1:]:
        raise RecordError(f"{shown_path(file)} has no extension: rename this annotation file, such as {file.name}.atr.")
    time = timeline_of(record)
    stated = Timeline(file.with_suffix(""), time.fs, time.n_samples, time.frame_rate, time.stated_samples)
    beats = annotations_on(stated, file.suffix[1:])
    return BeatLabels(beats.samples, tuple(beats.classes.tolist()))


def _read_table(raw: bytes, name: str, record: Recording) -> BeatLabels:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    first = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise RecordError(
            f"{name} is no table of labels ({error}): write it as CSV with the columns {TIME},{LABEL}."
        ) from None
    titles = [title.strip().casefold() for title in rows[0]] if rows else []
    if LABEL not in titles or not {TIME, SAMPLE} & set(titles):
        raise RecordError(
            f"{name} is no table of labels: its first row must name the columns {LABEL} and {TIME} (or {SAMPLE}), and "
            f"is {shown(first.strip()[:80])!r}."
        )
    twice = [title for title in titles if title and titles.count(title) > 1]
    if twice:
        raise RecordError(f"{name} has two columns {shown(twice[0])!r}: leave one of them.")
    labelled: dict[int, tuple[str, int]] = {}
    centres: list[int] = []
    for number, sample, label, chosen_as in _beats(rows, titles, name, record, decimal_comma=separator != ","):
        if chosen_as == CLUSTER:
            centres.append(sample)
        if not label:
            continue
        before, row = labelled.setdefault(sample, (label, number))
        if before != label:
            raise RecordError(
                f"{name}, row {number}: this beat is {label}, and in row {row} it is {before}: correct one."
            )
    if not labelled:
        raise RecordError(f"{name} has no label: write N, S, V or F into the column {LABEL}.")
    samples = sorted(labelled)
    return BeatLabels(
        np.array(samples, np.int64),
        tuple(labelled[sample][0] for sample in samples),
        np.array(sorted(set(centres)), np.int64) if CHOSEN in titles else None,
    )


def _beats(
    rows: Sequence[Sequence[str]], titles: Sequence[str], name: str, record: Recording, *, decimal_comma: bool
) -> Iterator[tuple[int, int, str, str]]:
    """Yield number of the row, sample, AAMI class (empty without a label) and value of CHOSEN of each beat."""
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(titles):
            raise RecordError(f"{name}, row {number}: it has {len(row)} cells, and the first row has {len(titles)}.")
        cells = {title: cell.strip() for title, cell in zip(titles, row, strict=True)}
        where = f"{name}, row {number}"
        label = _class_of(cells[LABEL], where)
        sample = _sample_of(cells, where, record, decimal_comma=decimal_comma)
        yield number, sample, label, cells.get(CHOSEN, "")


def _class_of(label: str, where: str) -> str:
    if label in ("", *AAMI_CLASSES):
        return label
    if label == "f":  # of WFDB: a fusion with a paced beat; but also F, typed in a hurry
        raise RecordError(f"{where}: the label 'f' has two meanings: write F for a fusion beat, Q for a paced one.")
    if label not in AAMI:
        raise RecordError(
            f"{where}: {shown(label[:20])!r} is no label: write N, S, V, F, or Q if the class is unknown."
        )
    return AAMI[label]


def _sample_of(cells: dict[str, str], where: str, record: Recording, *, decimal_comma: bool) -> int:
    sample: float | None = None
    for column in (TIME, SAMPLE):
        cell = cells.get(column, "")
        if not cell:
            continue
        unit = "seconds from the start of the recording, such as 12.5" if column == TIME else "a sample, such as 4500"
        try:
            value = float(cell.replace(",", ".") if decimal_comma else cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or (column == SAMPLE and value != int(value)):
            raise RecordError(f"{where}: {column} is {shown(cell[:20])!r}: write {unit}.")
        own = value * record.fs if column == TIME else value
        if sample is not None and abs(own - sample) > _SAME_BEAT_S * record.fs:
            raise RecordError(
                f"{where}: {TIME} and {SAMPLE} are different times at {record.fs:g} Hz: correct one of them."
            )
        sample = own
    if sample is None:
        raise RecordError(f"{where}: it has no time: write the {TIME} or the {SAMPLE} of the beat.")
    if not -0.5 <= sample < record.n_samples:
        raise RecordError(
            f"{where}: the beat at {sample / record.fs:.6g} s lies outside the recording, which is "
            f"{record.n_samples / record.fs:.6g} s long: check that both belong together."
        )
    return max(0, round(sample))
