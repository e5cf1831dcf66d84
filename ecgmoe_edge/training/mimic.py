"""MIMIC-IV-ECG beside MIMIC-IV: the records, their RR interval, age and sex, and the potassium drawn near them.

MIMIC-IV-ECG is open (ODbL); MIMIC-IV is for credentialed users of PhysioNet who signed its data use agreement. Tables
as of MIMIC-IV-ECG 1.0 (record_list.csv, machine_measurements.csv) and MIMIC-IV 2.2 and later (hosp/labevents.csv.gz,
hosp/patients.csv.gz; plain .csv is read too). They are read row by row: memory grows with the number of ECGs, never
with that of laboratory values, of which there are more than a hundred million.
"""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Sex
from ecgmoe_edge.records.registry import is_recording

#: Potassium in blood by the chemistry laboratory, and in whole blood by the blood gas analyser (d_labitems).
POTASSIUM_ITEMS = ("50971", "50822")
#: mmol/L (for potassium the same number as mEq/L); outside it is abnormal. The usual adult reference interval.
NORMAL_POTASSIUM = (3.5, 5.0)
#: What machine_measurements.csv writes where the machine measured none.
MISSING_RR_MS = 29999
_OLDEST = 90.0  # years; all above 89 are given the age 91


@dataclass(frozen=True)
class MimicRecord:
    """One ECG and what the tables know of it; None where they do not."""

    path: Path  # as `open_recording` takes it
    patient: str
    rr_s: float | None
    age: float | None  # years
    sex: Sex | None
    potassium: str | None  # normal or abnormal


@dataclass
class _Ecg:
    path: Path
    subject: str
    study: str
    time: datetime
    rr_s: float | None = None
    age: float | None = None
    sex: Sex | None = None
    value: float | None = None  # mmol/L of the nearest draw
    distance_s: float = math.inf


def mimic_records(folder: Path, clinical: Path, window_h: float = 1.0) -> list[MimicRecord]:
    """The ECGs of `folder` that lie on the disk, with their labels.

    Args:
        folder: MIMIC-IV-ECG, with record_list.csv and files/.
        clinical: MIMIC-IV, with labevents and patients in it or in its hosp/; without them there is no potassium, age
            or sex.
        window_h: a draw counts up to so many hours before or after the ECG; the nearest decides, of two equally near
            the first in the table.

    Raises:
        RecordError: a table is missing, damaged or lacks a column, or none of the records listed is there.
    """
    ecgs = _listed(folder)
    _read_rr(folder / "machine_measurements.csv", ecgs)
    patients, draws = _table(clinical, "patients"), _table(clinical, "labevents")
    if patients is not None:
        _read_patients(patients, ecgs)
    if draws is not None:
        _read_potassium(draws, ecgs, window_h * 3600.0)
    return [MimicRecord(e.path, e.subject, e.rr_s, e.age, e.sex, _potassium_class(e.value)) for e in ecgs]


def _listed(folder: Path) -> list[_Ecg]:
    table, ecgs = folder / "record_list.csv", []
    for row in _rows(table, ("subject_id", "study_id", "ecg_time", "path")):
        path = folder / row["path"]
        if is_recording(path):
            ecgs.append(_Ecg(path, row["subject_id"], row["study_id"], _time(row["ecg_time"], table)))
    if not ecgs:
        raise RecordError(f"{folder} holds none of the records that its record_list.csv lists. Copy files/ beside it.")
    return ecgs


def _read_rr(table: Path, ecgs: list[_Ecg]) -> None:
    of_study = {ecg.study: ecg for ecg in ecgs}
    for row in _rows(table, ("study_id", "rr_interval")):
        ecg, rr_ms = of_study.get(row["study_id"]), _number(row["rr_interval"])
        if ecg is not None and rr_ms is not None and 0 < rr_ms < MISSING_RR_MS:
            ecg.rr_s = rr_ms / 1000.0


def _read_patients(table: Path, ecgs: list[_Ecg]) -> None:
    of_subject = _by_subject(ecgs)
    for row in _rows(table, ("subject_id", "gender", "anchor_age", "anchor_year")):
        age, year = _number(row["anchor_age"]), _number(row["anchor_year"])
        for ecg in of_subject.get(row["subject_id"], ()):
            ecg.sex = "M" if row["gender"] == "M" else "F" if row["gender"] == "F" else None
            if age is not None and year is not None and age < _OLDEST:
                ecg.age = age + ecg.time.year - year


def _read_potassium(table: Path, ecgs: list[_Ecg], window_s: float) -> None:
    of_subject = _by_subject(ecgs)
    for row in _rows(table, ("subject_id", "itemid", "charttime", "valuenum")):
        if row["itemid"] not in POTASSIUM_ITEMS or row["subject_id"] not in of_subject:
            continue
        value = _number(row["valuenum"])
        if value is None or not row["charttime"]:
            continue
        drawn, of_patient = _time(row["charttime"], table), of_subject[row["subject_id"]]
        nearest = bisect_left(of_patient, drawn, key=lambda ecg: ecg.time)
        for step in (1, -1):  # away from the draw, later ECGs and then earlier ones
            at = nearest if step == 1 else nearest - 1
            while 0 <= at < len(of_patient):
                ecg = of_patient[at]
                distance = abs((ecg.time - drawn).total_seconds())
                if distance > window_s:
                    break
                if distance < ecg.distance_s:
                    ecg.value, ecg.distance_s = value, distance
                at += step


def _by_subject(ecgs: list[_Ecg]) -> dict[str, list[_Ecg]]:
    of_subject: dict[str, list[_Ecg]] = {}
    for ecg in sorted(ecgs, key=lambda ecg: ecg.time):
        of_subject.setdefault(ecg.subject, []).append(ecg)
    return of_subject


def _potassium_class(value: float | None) -> str | None:
    if value is None:
        return None
    low, high = NORMAL_POTASSIUM
    return "normal" if low <= value <= high else "abnormal"


def _table(folder: Path, name: str) -> Path | None:
    candidates = (folder / place / f"{name}.csv{end}" for place in (".", "hosp") for end in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _rows(table: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The rows of a table, these columns alone.

    Raises:
        RecordError: the table is missing, damaged or lacks a column.
    """
    try:
        opened = gzip.open if table.suffix == ".gz" else open
        with opened(table, "rt", newline="", encoding="utf-8") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            missing = [name for name in columns if name not in header]
            if missing:
                raise RecordError(f"{table} has no column {', '.join(missing)}. Copy the table anew from PhysioNet.")
            at = [header.index(name) for name in columns]
            for line in lines:
                if len(line) > max(at):
                    yield dict(zip(columns, (line[i] for i in at), strict=True))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"The table {table} cannot be read ({error}). Copy it from PhysioNet.") from error


def _time(text: str, table: Path) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise RecordError(f"{table} has {text!r} where a time such as 2180-07-23 08:44:00 belongs.") from None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
