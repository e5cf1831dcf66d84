"""Records of MIMIC-IV-ECG with labels: RR interval, age, sex, and the potassium measured near the time of the ECG.

MIMIC-IV-ECG is open (ODbL). MIMIC-IV, which has age, sex and potassium, is only for credentialed users of PhysioNet who
signed its data use agreement. The tables are those of MIMIC-IV-ECG 1.0 (record_list.csv, machine_measurements.csv) and
MIMIC-IV 2.2 and later (hosp/labevents.csv.gz, hosp/patients.csv.gz, or the same as plain .csv). They are read row by
row, because labevents has more than a hundred million rows. Memory grows only with the number of ECGs.
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

#: Item numbers of d_labitems: potassium by the chemistry laboratory, and in whole blood by the blood gas analyser.
POTASSIUM_ITEMS = ("50971", "50822")
#: Usual adult reference interval in mmol/L, which is equal to mEq/L for potassium. Values outside are abnormal.
NORMAL_POTASSIUM = (3.5, 5.0)
#: Value of rr_interval in machine_measurements.csv if the machine measured none.
MISSING_RR_MS = 29999
_OLDEST = 90.0  # years; all patients older than 89 have the age 91 in the table


@dataclass(frozen=True)
class MimicRecord:
    """One ECG and its labels; None if the tables have no value."""

    path: Path  # accepted by `open_recording`
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
    value: float | None = None  # mmol/L, potassium of the blood sample nearest in time
    distance_s: float = math.inf  # time between that sample and the ECG


def mimic_records(folder: Path, clinical: Path, window_h: float = 1.0) -> list[MimicRecord]:
    """Return the ECGs in `folder` whose files exist, with their labels.

    Args:
        folder: folder of MIMIC-IV-ECG, with record_list.csv and files/.
        clinical: folder of MIMIC-IV, with the tables labevents and patients in it or in hosp/. Without a table, its
            labels are unknown.
        window_h: largest time in hours between a blood sample and the ECG, before or after. The sample nearest in time
            is used; of two equally near ones, the first in the table.

    Raises:
        RecordError: a table is missing, damaged or lacks a column, or no listed record exists.
    """
    ecgs = _listed(folder)
    _read_rr(folder / "machine_measurements.csv", ecgs)
    patients, samples = _table(clinical, "patients"), _table(clinical, "labevents")
    if patients is not None:
        _read_patients(patients, ecgs)
    if samples is not None:
        _read_potassium(samples, ecgs, window_h * 3600.0)
    return [MimicRecord(e.path, e.subject, e.rr_s, e.age, e.sex, _potassium_class(e.value)) for e in ecgs]


def _listed(folder: Path) -> list[_Ecg]:
    table, ecgs = folder / "record_list.csv", []
    for row in _rows(table, ("subject_id", "study_id", "ecg_time", "path")):
        path = folder / row["path"]
        if is_recording(path):
            ecgs.append(_Ecg(path, row["subject_id"], row["study_id"], _time(row["ecg_time"], table)))
    if not ecgs:
        raise RecordError(
            f"{folder} contains none of the records that its record_list.csv lists. Copy the folder files/ into it."
        )
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
        for step in (1, -1):  # ECGs after the blood sample, then ECGs before it, with increasing distance
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
    """Yield the rows of a table, with only these columns.

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
                raise RecordError(f"{table} has no column {', '.join(missing)}. Copy the table from PhysioNet again.")
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
        raise RecordError(
            f"{table} has {text!r} instead of a time such as 2180-07-23 08:44:00. Copy the table from PhysioNet again."
        ) from None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
