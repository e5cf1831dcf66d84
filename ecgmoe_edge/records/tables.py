"""Reads and checks the label tables of databases: rhythms of CinC 2017, and patients, age and sex of PTB-XL."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TextIO

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Sex

CINC_TABLE = "REFERENCE.csv"
PTBXL_TABLE = "ptbxl_database.csv"

#: Labels of REFERENCE.csv: normal, atrial fibrillation, other, too noisy.
_CINC_RHYTHMS = MappingProxyType({"N": "N", "A": "AF", "O": "other", "~": "noisy"})
_PTBXL_SEX: Mapping[str, Sex | None] = MappingProxyType({"0": "M", "1": "F", "": None})
_PTBXL_OLDEST = 120.0  # years; the table states 300 for every age above 89
_PTBXL_FOLDS = range(1, 11)
_PTBXL_COLUMNS = frozenset({"patient_id", "age", "sex", "strat_fold", "filename_lr"})


@dataclass(frozen=True)
class PtbxlRow:
    """One row of the table of PTB-XL."""

    record: str  # path of the 100 Hz record in the database, without extension
    patient: str  # identifier in the table
    age: float | None  # years; None: unknown, or above 89
    sex: Sex | None
    fold: int  # 1 to 10


def cinc_rhythms(folder: Path) -> dict[str, str]:
    """Read REFERENCE.csv of the CinC 2017 challenge.

    Returns:
        Record -> N, AF, other or noisy.

    Raises:
        RecordError: the table is missing or cannot be read, lists no record, or a line has no record or an unknown
            label.
    """
    table = folder / CINC_TABLE
    rhythms = {}
    with _opened(table, "the challenge") as file:
        rows = csv.reader(file)
        for row in rows:
            if not row:
                continue
            line = f"Line {rows.line_num} of {table}"
            if len(row) < 2:
                raise RecordError(f"{line} does not have a record and a label: complete it, or copy the table again.")
            name, label, *_ = row
            if label not in _CINC_RHYTHMS:
                raise RecordError(f"{line} has the label {label}, which is not N, A, O or ~. Copy the table again.")
            rhythms[name] = _CINC_RHYTHMS[label]
    if not rhythms:
        raise RecordError(f"{table} lists no record. Copy it from the challenge.")
    return rhythms


def ptbxl_rows(folder: Path) -> list[PtbxlRow]:
    """Read the table of PTB-XL, ptbxl_database.csv.

    Raises:
        RecordError: the table is missing or cannot be read, lacks a needed column, lists no record, or has a line that
            is truncated or has an invalid value.
    """
    table = folder / PTBXL_TABLE
    with _opened(table, "PTB-XL") as file:
        rows = csv.DictReader(file)
        if not _PTBXL_COLUMNS.issubset(rows.fieldnames or ()):
            raise RecordError(f"{table} lacks columns of the table of PTB-XL. Copy the table again.")
        read = [_ptbxl_row(row, f"Line {rows.line_num} of {table}") for row in rows]
    if not read:
        raise RecordError(f"{table} lists no record. Copy the table of PTB-XL again.")
    return read


@contextmanager
def _opened(table: Path, source: str) -> Iterator[TextIO]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            yield file
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"The table {table} cannot be read ({error}). Copy it from {source}.") from error


def _ptbxl_row(row: Mapping[str | None, str | None], line: str) -> PtbxlRow:
    cells = {column: cell.strip() for column, cell in row.items() if column is not None and cell is not None}
    if len(cells) < len(row):  # DictReader gives None for a missing cell, and surplus cells under the key None
        raise RecordError(f"{line} has more or fewer cells than the table has columns: copy the table again.")
    for column in ("patient_id", "filename_lr"):
        if not cells[column]:
            raise RecordError(f"{line} has an empty {column}: fill it in, or remove the line.")
    sex = cells["sex"].removesuffix(".0")
    if sex not in _PTBXL_SEX:
        raise RecordError(f"{line} has the sex {sex!r}: write 0 for male, 1 for female, or leave the cell empty.")
    return PtbxlRow(
        cells["filename_lr"], cells["patient_id"], _age(cells["age"], line), _PTBXL_SEX[sex],
        _fold(cells["strat_fold"], line),
    )  # fmt: skip


def _age(cell: str, line: str) -> float | None:
    if not cell:
        return None
    age = _number(cell)
    if age is None or age < 0:
        raise RecordError(f"{line} has the age {cell!r}: write years, or leave the cell empty if the age is unknown.")
    return age if age < _PTBXL_OLDEST else None


def _fold(cell: str, line: str) -> int:
    fold = _number(cell)
    if fold is None or fold not in _PTBXL_FOLDS:
        raise RecordError(f"{line} has the strat_fold {cell!r}: write a fold from 1 to 10, or copy the table again.")
    return int(fold)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
