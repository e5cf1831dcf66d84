"""Reads the rows of a table as numbers, block by block; blocks that are not well-formed are read line by line."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.sample_table.cells import BadCellError, bare, numbers_of, split
from ecgmoe_edge.records.sample_table.labels import states_rate_or_unit
from ecgmoe_edge.records.sample_table.layout import Column, Layout, is_comment
from ecgmoe_edge.records.sample_table.roles import Roles
from ecgmoe_edge.records.sample_table.stamps import seconds_of
from ecgmoe_edge.records.sample_table.text import TextSource
from ecgmoe_edge.records.sample_table.timeline import Floats, Ints, Rows

_MOST_CELLS = 4_000_000  # largest transposed table


class RowReader:
    """Reads the rows of a table: the chosen leads in mV, the time stamps and the sample counter.

    Args:
        source: the text of the table.
        layout: its layout.
        roles: the roles of its columns.
        chosen: indices of the leads to read, among `roles.leads`.
    """

    def __init__(self, source: TextSource, layout: Layout, roles: Roles, chosen: Sequence[int]) -> None:
        self._source = source
        self._layout = layout
        self._chosen = [(roles.leads[at], roles.scales[at]) for at in chosen]
        self._time = roles.time
        self._counter = roles.counter
        self._name = source.path.name
        needed = [column.position for column, _ in self._chosen]
        needed += [one.column.position for one in (self._time, self._counter) if one is not None]
        self._needed = max(needed) + 1  # smallest number of cells in a row
        self._empty_line: int | None = None

    def rows(self) -> Iterator[Rows]:
        """Successive blocks of rows.

        Raises:
            RecordError: a row or a cell cannot be read; the message names line and column.
        """
        number = 1
        above = self._layout.header_lines
        for block in self._source.blocks():
            n = block.count("\n")
            if above >= n:
                above -= n
            else:
                body = block.split("\n", above)[above] if above else block
                rows = self._block(body[:-1], number + above)
                above = 0
                if len(rows.lines):
                    yield rows
            number += n

    def _block(self, text: str, first: int) -> Rows:
        """The rows in complete lines of text, the first of which is line `first` of the file."""
        columns = self._at_once(text)
        if columns is None:
            columns, lines = self._line_by_line(text.split("\n"), first)
        else:
            lines = np.arange(first, first + len(columns[0]))
        careful = "_" in text or not text.isascii()
        values = np.empty((len(self._chosen), len(lines)))
        for row, (column, scale) in enumerate(self._chosen):
            values[row] = self._numbers(columns[column.position], column, lines, careful=careful) * scale
        stamps = counts = None
        if self._time is not None:
            stamps = self._stamps(columns[self._time.column.position], lines)
        if self._counter is not None:
            counts = self._numbers(columns[self._counter.column.position], self._counter.column, lines, careful=careful)
        return Rows(values, lines, stamps, counts)

    def _at_once(self, text: str) -> list[list[str]] | None:
        """Cells by column if every line has as many cells as the table has columns; otherwise None."""
        separator, width = self._layout.separator, self._layout.width
        if separator == " ":
            text = "\n".join([" ".join(line.split()) for line in text.split("\n")])
        if width == 1 and separator is None:
            return (
                None if '"' in text or "#" in text or "%" in text or "/" in text or ";" in text else [text.split("\n")]
            )
        if separator is None or "#" in text or "%" in text:
            return None
        if '"' in text:
            try:
                rows = list(csv.reader(text.split("\n"), delimiter=separator, skipinitialspace=True))
            except csv.Error:
                return None
            if len(rows) != text.count("\n") + 1 or any(len(row) != width for row in rows):
                return None
            return [list(column) for column in zip(*rows, strict=True)]
        raw = np.frombuffer(text.encode("utf-8", "replace"), np.uint8)
        ends = np.concatenate([np.flatnonzero(raw == ord("\n")), [len(raw)]])
        marks = np.searchsorted(np.flatnonzero(raw == ord(separator)), ends)
        if np.any(np.diff(marks, prepend=0) != width - 1):
            return None
        cells = text.replace("\n", separator).split(separator)
        return [cells[at::width] for at in range(width)]

    def _line_by_line(self, lines: Sequence[str], first: int) -> tuple[list[list[str]], Ints]:
        separator, width = self._layout.separator, self._layout.width
        rows: list[list[str]] = []
        numbers: list[int] = []
        for number, line in enumerate(lines, first):
            if is_comment(line, separator):
                continue
            if width > 1 and not line.strip(" \r"):  # a tab may separate two empty cells
                if self._time is None:
                    self._empty_line = self._empty_line or number
                continue
            if self._empty_line is not None:
                raise RecordError(
                    f"Line {self._empty_line} of {self._name} is empty, but samples follow. Remove the line, or write "
                    "a row of empty cells for a missing sample."
                )
            rows.append(self._row(line, number))
            numbers.append(number)
        columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
        return columns, np.array(numbers, dtype=np.int64)

    def _row(self, line: str, number: int) -> list[str]:
        width = self._layout.width
        if line.count('"') % 2:
            raise RecordError(
                f"Line {number} of {self._name} has an opening quote without a closing one. Write each row in one line."
            )
        cells = split(line, self._layout.separator)
        if len(cells) < self._needed:
            column = self._layout.columns[len(cells)]
            named = next((one for one, _ in self._chosen if one.position >= len(cells)), column)
            raise RecordError(
                f"Line {number} of {self._name} ends before column {named.position + 1} ({named.name}): it has "
                f"{len(cells)} columns. Complete the row, or leave the cell of a missing sample empty."
            )
        if any(bare(cell) for cell in cells[width:]):
            raise RecordError(
                f"Line {number} of {self._name} has {len(cells)} columns, but the table has {width}. Correct the row; "
                "numbers need decimal points."
            )
        return [*cells[:width], *itertools.repeat("", width - len(cells))]

    def _numbers(self, cells: list[str], column: Column, lines: Ints, *, careful: bool) -> Floats:
        try:
            return numbers_of(cells, column.decimal, carefully=careful)
        except BadCellError as bad:
            raise self._error(bad, column, lines) from None

    def _stamps(self, cells: list[str], lines: Ints) -> Floats:
        time = self._time
        if time is None or not cells:
            return np.zeros(0)
        try:
            return seconds_of(cells, time.kind, time.column.decimal, time.scale)
        except BadCellError as bad:
            raise self._error(bad, time.column, lines) from None

    def _error(self, bad: BadCellError, column: Column, lines: Ints) -> RecordError:
        return RecordError(
            f"Line {lines[bad.index]}, column {column.position + 1} ({column.name}) of {self._name} contains "
            f"{bad.cell[:60]!r}, {bad.why}."
        )


def transposed(source: TextSource) -> str:
    """The text of a table with one row per lead, transposed to one row per sample.

    Raises:
        RecordError: the table is too large, or its rows differ in length.
    """
    name = source.path.name
    lines = [line for line in source.whole().split("\n") if line.strip()]
    stated = [line for line in lines if is_comment(line, ",") or states_rate_or_unit(line)]
    lines = [line for line in lines if line not in stated]
    mark = max(("\t", ";", "|", ",", " "), key=lambda one: min((line.count(one) for line in lines), default=0))
    rows = [[bare(cell) for cell in split(line, mark)] for line in lines]
    for row in rows:
        if row and not row[-1]:
            row.pop()
    if not rows or len({len(row) for row in rows}) > 1 or sum(map(len, rows)) > _MOST_CELLS:
        raise RecordError(
            f"{name} has one row per lead, and the rows differ in length or have too many values. Write it with one "
            "row per sample and one column per lead."
        )
    turned = io.StringIO()
    turned.writelines(f"{line}\n" for line in stated)
    csv.writer(turned, delimiter=";" if mark != "," else ",", lineterminator="\n").writerows(zip(*rows, strict=True))
    return turned.getvalue()
