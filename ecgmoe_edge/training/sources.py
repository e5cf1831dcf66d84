"""Which records a data set has, which of them fit and which validate, and what is known of each as a whole."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.model.tasks import RHYTHM_CLASSES
from ecgmoe_edge.records.splits import locate
from ecgmoe_edge.training.config import DataSet

_SPLIT = "split:"
# REFERENCE.csv of the CinC 2017 challenge: normal, atrial fibrillation, other, too noisy.
_CINC_RHYTHM = {"N": "N", "A": "AF", "O": "other", "~": "noisy"}
_PTBXL_SEX = {"0": "M", "1": "F"}
_PTBXL_OLDEST = 120.0  # years; the data base writes 300 for all above 89


@dataclass(frozen=True)
class Source:
    """One record of a data set. Age and sex here come from a table; those in a header are read with the record."""

    data: DataSet
    path: Path  # without extension
    patient: str
    rhythm: str | None = None  # of the whole record
    age: float | None = None  # years
    sex: str | None = None  # M or F


@dataclass(frozen=True)
class Division:
    """The records of one data set, divided; no patient is in both halves where patients are known."""

    fit: tuple[Source, ...]
    validation: tuple[Source, ...]


def divide(data: DataSet, data_dir: Path) -> Division:
    """The records of `data`, below `data_dir`, that fit and those that validate.

    Raises:
        RecordError: the folder, its table or a named record is not there.
        UsageError: nothing is left to fit on, or a record is named for both halves.
    """
    sources = _all_sources(data, data_dir)
    validation = _chosen(data, data.validation, sources, data_dir)
    if data.validation_share:
        validation = {name for name, source in sources.items() if _lot(source) < data.validation_share}
    rest = set(sources) - validation
    fit = rest if data.fit == "rest" else _chosen(data, data.fit, sources, data_dir)
    if not isinstance(data.fit, str) and not data.validation_share and fit & validation:
        raise UsageError(f"Data set {data.name!r}: {', '.join(sorted(fit & validation))} would fit and validate.")
    fit = (fit & rest) - set(data.leave_out)
    validation -= set(data.leave_out)
    held_out = {sources[name].patient for name in validation}
    division = Division(
        tuple(sources[name] for name in sorted(fit) if sources[name].patient not in held_out),
        tuple(sources[name] for name in sorted(validation)),
    )
    if not division.fit:
        raise UsageError(f"Data set {data.name!r} has no record left to fit on. Change fit, validation or leave_out.")
    return division


def _lot(source: Source) -> float:
    """A number in 0..1 that depends on the patient's name alone, so that a growing folder keeps its division."""
    digest = hashlib.sha256(f"{source.data.name}/{source.patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _chosen(data: DataSet, names: tuple[str, ...], sources: dict[str, Source], data_dir: Path) -> set[str]:
    chosen: set[str] = set()
    for name in names:
        if name.startswith(_SPLIT):
            chosen |= {path.name for path in locate(data_dir / data.folder, split=name.removeprefix(_SPLIT))}
        else:
            chosen.add(name)
    missing = sorted(chosen - set(sources))
    if missing:
        raise RecordError(
            f"Data set {data.name!r}: {data_dir / data.folder} lacks {', '.join(missing[:5])}"
            f"{' and more' if len(missing) > 5 else ''}. Complete the download or change the configuration."
        )
    return chosen


def _all_sources(data: DataSet, data_dir: Path) -> dict[str, Source]:
    folder = data_dir / data.folder
    if not folder.is_dir():
        raise RecordError(f"Data set {data.name!r}: there is no folder {folder}. Check --data and the configuration.")
    if data.labels == "ptbxl":
        return {source.path.name: source for source in _ptbxl(data, folder)}
    paths = {header.stem: header.with_suffix("") for header in sorted(folder.glob("*.hea"))}
    if not paths:
        raise RecordError(f"Data set {data.name!r}: {folder} holds no WFDB header (.hea).")
    if data.labels == "beats":
        return {name: Source(data, path, name) for name, path in paths.items()}
    rhythm = {row[0]: row[1] for row in _rows(folder / "REFERENCE.csv") if len(row) >= 2}
    unknown = {label for label in rhythm.values() if label not in _CINC_RHYTHM}
    if unknown:
        raise RecordError(f"{folder / 'REFERENCE.csv'} has labels that are none of N A O ~: {sorted(unknown)[:5]}.")
    return {
        name: Source(data, path, name, rhythm=_CINC_RHYTHM[rhythm[name]])
        for name, path in paths.items()
        if name in rhythm
    }


def _ptbxl(data: DataSet, folder: Path) -> list[Source]:
    rows = _rows(folder / "ptbxl_database.csv")
    if not rows or not {"patient_id", "age", "sex", "filename_lr"} <= set(rows[0]):
        raise RecordError(f"{folder / 'ptbxl_database.csv'} lacks its columns. Copy the table of PTB-XL anew.")
    sources = []
    for row in rows[1:]:
        values = dict(zip(rows[0], row, strict=False))
        path = folder / values["filename_lr"]
        if path.with_name(path.name + ".hea").is_file():
            age = float(values["age"]) if values["age"] else None
            age = age if age is not None and age < _PTBXL_OLDEST else None
            sources.append(Source(data, path, values["patient_id"], age=age, sex=_PTBXL_SEX.get(values["sex"])))
    if not sources:
        raise RecordError(f"{folder} holds none of the records that its ptbxl_database.csv lists.")
    return sources


def _rows(table: Path) -> list[list[str]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"The table {table} cannot be read ({error}).") from error


def rhythm_index(label: str) -> int:
    """Index in RHYTHM_CLASSES of a label as MIT-BIH annotates it: N, AFIB (AF), anything else is "other"."""
    return RHYTHM_CLASSES.index({"N": "N", "AFIB": "AF"}.get(label, "other"))
