"""ECG in a text table with one row per sample and one column per lead.

The sampling rate comes from a time column, from the lines above the samples, or from the user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, Sex, Truncated, choose_leads, read_from_blocks
from ecgmoe_edge.records.sample_table.layout import Layout, is_sample_row, layout_of
from ecgmoe_edge.records.sample_table.roles import Roles, roles_of
from ecgmoe_edge.records.sample_table.rows import RowReader, transposed
from ecgmoe_edge.records.sample_table.text import TextSource, is_transposed, open_text
from ecgmoe_edge.records.sample_table.timeline import Clock, SampleCounter, Timeline

_EXTENSIONS = (".csv", ".tsv", ".txt")
_TIME_HEAD_LINES = 5000  # lines from which the timing is estimated; many rows may share a time stamp


@dataclass(frozen=True)
class CsvRecord:
    """A table of samples, opened with `open_csv`.

    An empty cell, `nan`, `NA`, `-` or `?` is a missing sample. In a table of one column, so is an empty line. In other
    tables, empty lines are allowed only at the end, or if a time column shows whether samples are missing.
    """

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]  # names of the chosen columns, in the order of the choice
    units: tuple[str, ...]  # stated by the file or the user; uV for counts
    source: TextSource
    layout: Layout
    roles: Roles
    age: int | None = None
    sex: Sex | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def name(self) -> str:
        """Name of the file, without extension."""
        return self.path.stem

    @cached_property
    def n_samples(self) -> int:
        """Samples per lead, including missing time; the first use reads the file to count them."""
        return sum(block.shape[1] for block in self.blocks(leads=[0]))

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples from `start` up to, but not including, `stop`: `(leads, n)` in mV; the file is read up to `stop`."""
        return read_from_blocks(self.blocks(leads=leads), start, stop)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV; missing samples are NaN, and the last block is shorter.

        Raises:
            RecordError: a cell is not a finite number, a row is too short or too long, there is an empty line in a
                table of several columns, time goes backwards, or there are no samples. The message names the line and
                the column.
        """
        chosen = choose_leads(self.leads, leads, self.name)
        size = max(1, round(seconds * self.fs))
        held: list[NDArray[np.float64]] = []
        n, empty = 0, True
        for piece in self._pieces(chosen):
            held.append(piece)
            n += piece.shape[1]
            if n < size:
                continue
            joined = np.concatenate(held, axis=1)
            for start in range(0, n - n % size, size):
                empty = False
                yield joined[:, start : start + size]
            held, n = [joined[:, n - n % size :]], n % size
        if n:
            empty = False
            yield np.concatenate(held, axis=1)
        if empty:
            raise RecordError(f"{self.path.name} contains no samples. Give a table with one row per sample.")

    def _pieces(self, chosen: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        reader = RowReader(self.source, self.layout, self.roles, chosen)
        timeline = self._timeline()
        for rows in reader.rows():
            yield from timeline.add(rows)
        yield from timeline.finish()

    def _timeline(self) -> Timeline:
        time, counter = self.roles.time, self.roles.counter
        name = self.path.name
        clock = None
        if time is not None and time.timing is not None:
            unit = time.scale if time.whole_numbers and time.kind == "number" else 0.0
            clock = Clock(name, time.timing, unit, time.kind == "clock")
        if (
            counter is None
            or counter.step is None
            or (time is not None and time.timing is not None and time.timing.is_even)
        ):
            return Timeline(clock)
        samples = SampleCounter(name, counter.step, counter.modulus, 86_400 * self.fs)
        if clock is not None and counter.modulus is not None:
            clock.quantum = counter.modulus / counter.step
        return Timeline(clock if counter.modulus is not None else None, samples)


def open_csv(
    path: Path | str,
    fs: float | None = None,
    *,
    unit: str | None = None,
    columns: Sequence[Lead] | None = None,
    uv_per_lsb: float | None = None,
    time_column: Lead | None = None,
    truncated: Truncated = "error",
) -> CsvRecord:
    """Open a table of samples; its layout, units, time and leads are determined from its first lines.

    Args:
        path: the file.
        fs: sampling rate, Hz; None if the file states it.
        unit: unit of the columns for which the file states none: V, mV (the default), uV, nV or count.
        columns: columns to read as leads: names or indices from 0 among all columns of the file; None reads all
            columns that may be an ECG.
        uv_per_lsb: microvolts per count.
        time_column: column that content the time; `none` if the rows are evenly spaced.
        truncated: "read" ignores an incomplete last row; "error" raises RecordError when it is read.

    Raises:
        RecordError: the file is missing, empty or not text; there is no such column; the layout is ambiguous; the
            unit is unknown; or the rate is not positive.
        UsageError: the sampling rate is unknown, or an argument contradicts the file.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(f"There is no file {path}. Name a CSV file that exists.")
    source = open_text(path)
    remarks: list[Remark] = []
    if source.encoding != "utf-8":
        remarks.append(Remark("encoding", f"{path.name} is not UTF-8; it is read as {source.encoding}."))
    if is_transposed(source):
        source = source.of(transposed(source))
        remarks.append(Remark("lead", f"{path.name} has one row per lead; it is transposed."))
    lines, _ = source.head(_TIME_HEAD_LINES)
    layout = layout_of(lines, path.name)
    width = layout.width if truncated == "read" else 0
    source, footer = source.without_footer(lambda line: is_sample_row(line, layout.separator, width))
    if footer:
        lines_are = f"last {footer} lines of {path.name} are" if footer > 1 else f"last line of {path.name} is"
        remarks.append(Remark("length", f"The {lines_are} ignored: not a row of samples."))
    roles = roles_of(layout, OpenOptions(fs, unit, columns, truncated, uv_per_lsb, time_column), path.name)
    return CsvRecord(
        path=path,
        fs=roles.fs,
        leads=tuple(column.name for column in roles.leads),
        units=roles.units,
        source=source,
        layout=replace(layout, rows=()),
        roles=roles,
        remarks=(*remarks, *roles.remarks),
    )


class CsvFormat:
    """A table of samples, recognised by its extension only, because any text might be a table."""

    name = f"table of samples ({', '.join(_EXTENSIONS)})"
    states_rate = False
    in_folders = False  # a folder of recordings may contain other tables, such as REFERENCE.csv

    def recognise(self, path: Path) -> Path | None:
        """The file itself, if its extension is that of a table."""
        return path if path.suffix.lower() in _EXTENSIONS and path.is_file() else None

    def find(self, folder: Path) -> Iterator[Path]:
        """Nothing, because the user may have to state the sampling rate of each file."""
        return iter(())

    def open(self, path: Path, options: OpenOptions) -> CsvRecord:
        """Open the file with `open_csv`."""
        return open_csv(
            path,
            options.fs,
            unit=options.unit,
            columns=options.columns,
            uv_per_lsb=options.uv_per_lsb,
            time_column=options.time_column,
            truncated=options.truncated,
        )


FORMAT = CsvFormat()
