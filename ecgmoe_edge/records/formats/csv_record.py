"""ECG in a text table: one row a sample, one column a lead; the user tells rate and unit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, Sex, choose_leads, millivolts_per, read_of_blocks

_EXTENSIONS = (".csv", ".tsv", ".txt")
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class CsvRecord:
    """A table of samples, opened with `open_csv`. An empty cell or `nan` is an invalid sample.

    So is an empty line where there is one column, for there it is an empty cell. Where there are more, empty lines may
    only stand at the end.
    """

    path: Path
    fs: float  # Hz
    unit: str
    leads: tuple[str, ...]  # the chosen columns, in the order they were chosen
    columns: tuple[int, ...]  # where they stand in the file, counted from 0
    width: int  # columns of the file
    delimiter: str | None  # None: white space
    header_rows: int
    age: int | None = None
    sex: Sex | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @property
    def units(self) -> tuple[str, ...]:
        """The same of every lead."""
        return (self.unit,) * len(self.leads)

    @cached_property
    def n_samples(self) -> int:
        """Samples a lead, counted by reading the file."""
        return sum(block.shape[1] for block in self.blocks(leads=[0]))

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV; the file is read up to there."""
        return read_of_blocks(self.blocks(leads=leads), start, stop)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV, invalid samples as NaN; the last is shorter.

        Raises:
            RecordError: a cell that is no finite number, named by line and column; a row that is too short, an empty
                line amid several columns; no samples at all.
        """
        columns = [self.columns[position] for position in choose_leads(self.leads, leads, self.name)]
        scale = millivolts_per(self.unit)
        size = max(1, round(seconds * self.fs))
        empty = True
        with _open_text(self.path) as file:
            lines = self._lines_with_samples(file)
            while block := [self._row(line, number, columns) for number, line in itertools.islice(lines, size)]:
                empty = False
                yield np.array(block, dtype=np.float64).T * scale
        if empty:
            raise RecordError(f"{self.path.name} holds no samples. Give a table with one row a sample.")

    def _lines_with_samples(self, file: TextIO) -> Iterator[tuple[int, str]]:
        """Each line that is a sample, after its number in the file, counted from 1."""
        empty_line = None
        for number, line in enumerate(_lines(self.path, file), 1):
            if number <= self.header_rows:
                continue
            if self.width > 1 and not line.strip(" \n"):  # a tab may part two empty cells
                empty_line = empty_line or number
            elif empty_line is not None:
                raise RecordError(
                    f"Line {empty_line} of {self.path.name} is empty, and there are samples after it. Remove it, or "
                    "write a row of empty cells where a sample is missing."
                )
            else:
                yield number, line

    def _row(self, line: str, number: int, columns: Sequence[int]) -> list[float]:
        cells = line.rstrip("\r\n").split(self.delimiter) or [""]
        try:
            values = [float(cells[column]) for column in columns]
        except (ValueError, IndexError):
            return [self._cell(cells, column, number) for column in columns]
        if any(math.isinf(value) for value in values):
            return [self._cell(cells, column, number) for column in columns]
        return values

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
        if not _is_number(cell) or math.isinf(float(cell)):
            raise RecordError(
                f"Line {number}, column {column + 1} ({lead}) of {self.path.name} holds {cell!r}, which is not a "
                f"{'finite ' if _is_number(cell) else ''}number. Correct it, or leave the cell empty where a sample "
                "is missing."
            )
        return float(cell)


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
        first = next(_lines(path, file), "").rstrip("\r\n")
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
        width=len(cells),
        delimiter=delimiter,
        header_rows=1 if named else 0,
    )


class CsvFormat:
    """A table of samples, known by its name alone: what any text file holds might be one."""

    name = f"table of samples ({', '.join(_EXTENSIONS)})"
    states_rate = False
    in_folders = False  # a folder of recordings may hold tables that are none: REFERENCE.csv, ptbxl_database.csv

    def recognise(self, path: Path) -> Path | None:
        """The file itself."""
        return path if path.suffix.lower() in _EXTENSIONS and path.is_file() else None

    def find(self, folder: Path) -> Iterator[Path]:
        """Nothing: somebody has to state the rate of each."""
        return iter(())

    def open(self, path: Path, options: OpenOptions) -> CsvRecord:
        """See `open_csv`; the rate must be stated."""
        return open_csv(path, options.fs or 0.0, unit=options.unit or "mV", columns=options.columns)


FORMAT = CsvFormat()


def _open_text(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline=None)


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    try:
        yield from file
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
