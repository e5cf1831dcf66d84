"""ECG in a text table: one row a sample, one column a lead; the user tells rate and unit."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Lead, Sex, choose_leads, millivolts_per

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class CsvRecord:
    """A table of samples, opened with `open_csv`. An empty cell or `nan` is an invalid sample."""

    path: Path
    fs: float  # Hz
    unit: str
    leads: tuple[str, ...]  # the chosen columns, in the order they were chosen
    columns: tuple[int, ...]  # where they stand in the file, counted from 0
    delimiter: str | None  # None: white space
    header_rows: int
    n_samples: int | None = None  # only reading the file would tell
    age: int | None = None
    sex: Sex | None = None

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV, invalid samples as NaN; the last is shorter.

        Raises:
            RecordError: a cell that is no number, named by line and column, or a row that is too short.
        """
        columns = [self.columns[position] for position in choose_leads(self.leads, leads, self.name)]
        scale = millivolts_per(self.unit)
        size = max(1, round(seconds * self.fs))
        with _open_text(self.path) as file:
            first_line = 1 + sum(1 for _ in itertools.islice(file, self.header_rows))
            while lines := _next_lines(self.path, file, size):
                block = self._parse(lines, first_line, columns)
                first_line += len(lines)
                if block.size:
                    yield block * scale

    def _parse(self, lines: list[str], first_line: int, columns: Sequence[int]) -> NDArray[np.float64]:
        rows = [self._row(line, number, columns) for number, line in enumerate(lines, first_line) if line.strip()]
        return np.array(rows, dtype=np.float64).reshape(-1, len(columns)).T

    def _row(self, line: str, number: int, columns: Sequence[int]) -> list[float]:
        cells = line.rstrip("\r\n").split(self.delimiter)
        try:
            return [float(cells[column]) for column in columns]
        except (ValueError, IndexError):
            return [self._cell(cells, column, number) for column in columns]

    def _cell(self, cells: Sequence[str], column: int, number: int) -> float:
        lead = self.leads[self.columns.index(column)]
        if column >= len(cells):
            raise RecordError(
                f"Line {number} of {self.path.name} ends before column {column + 1} ({lead}): it has "
                f"{len(cells)} columns. Complete the row, or leave a missing sample's cell empty."
            )
        cell = cells[column].strip().strip("\"'")
        if not cell:
            return float("nan")
        try:
            return float(cell)
        except ValueError:
            raise RecordError(
                f"Line {number}, column {column + 1} ({lead}) of {self.path.name} holds {cell!r}, which is "
                "not a number. Correct it, or leave the cell empty where a sample is missing."
            ) from None


def open_csv(
    path: Path | str,
    fs: float,
    *,
    unit: str = "mV",
    columns: Sequence[Lead] | None = None,
    header: bool | None = None,
) -> CsvRecord:
    """Open a table of samples: comma, semicolon, tab or white space between cells, a point in decimals.

    Args:
        path: the file.
        fs: samples a second, Hz.
        unit: of every chosen column: V, mV, uV, µV or nV.
        columns: names (of the header row) or positions counted from 0; None is all of them.
        header: whether the first row names the columns; None finds out.

    Raises:
        RecordError: no such file, empty, no such column, unknown unit, or a rate that is not above 0.
    """
    path = Path(path)
    millivolts_per(unit)
    if not (np.isfinite(fs) and fs > 0):
        raise RecordError(f"A sampling rate of {fs} Hz cannot be. Give the rate that {path.name} was recorded with.")
    if not path.is_file():
        raise RecordError(f"There is no file {path}. Name a CSV file that exists.")
    with _open_text(path) as file:
        first = "".join(_next_lines(path, file, 1)).rstrip("\r\n")
    if not first.strip():
        raise RecordError(
            f"{path.name} starts with an empty line. Its first line must name the columns or hold samples."
        )
    delimiter = next((mark for mark in _DELIMITERS if mark in first), None)
    cells = [cell.strip().strip("\"'") for cell in first.split(delimiter)]
    named = header if header is not None else not all(_is_number(cell) for cell in cells)
    names = cells if named else [str(position) for position in range(len(cells))]
    chosen = choose_leads(names, columns, path.name)
    return CsvRecord(
        path=path,
        fs=float(fs),
        unit=unit,
        leads=tuple(names[position] for position in chosen),
        columns=tuple(chosen),
        delimiter=delimiter,
        header_rows=1 if named else 0,
    )


def _open_text(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline=None)


def _next_lines(path: Path, file: TextIO, count: int) -> list[str]:
    try:
        return list(itertools.islice(file, count))
    except UnicodeDecodeError:
        raise RecordError(
            f"{path.name} is not a text file. Give a CSV table, or a WFDB record by its header."
        ) from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell
    return True
