"""ECG in a text table: one row a sample, one column a lead; a time column or the user tells the rate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.records.recording import Lead, OpenOptions, Remark, Sex, Truncated, choose_leads, read_of_blocks
from ecgmoe_edge.records.sample_table.layout import Layout, holds_sample, layout_of
from ecgmoe_edge.records.sample_table.roles import Roles, roles_of
from ecgmoe_edge.records.sample_table.rows import RowReader, upright
from ecgmoe_edge.records.sample_table.text import TextSource, is_on_its_side, open_text
from ecgmoe_edge.records.sample_table.timeline import Clock, SampleCounter, Timeline

_EXTENSIONS = (".csv", ".tsv", ".txt")
_TIME_HEAD_LINES = 5000  # that show how time passes, of stamps that a second of rows may share


@dataclass(frozen=True)
class CsvRecord:
    """A table of samples, opened with `open_csv`. An empty cell, `nan`, `NA`, `-` or `?` is a missing sample.

    So is an empty line where there is one column, for there it is an empty cell. Where there are more, empty lines may
    only stand at the end, or where a time column tells whether samples are missing.
    """

    path: Path
    fs: float  # Hz
    leads: tuple[str, ...]  # the chosen columns, in the order they were chosen
    units: tuple[str, ...]  # as the file or the user states them; of counts uV
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
        """Samples a lead, missing time included, counted by reading the file."""
        return sum(block.shape[1] for block in self.blocks(leads=[0]))

    def read(self, start: int = 0, stop: int | None = None, leads: Sequence[Lead] | None = None) -> NDArray[np.float64]:
        """Samples `start` to `stop` (not included), `(leads, n)` in mV; the file is read up to there."""
        return read_of_blocks(self.blocks(leads=leads), start, stop)

    def blocks(self, seconds: float = 60.0, leads: Sequence[Lead] | None = None) -> Iterator[NDArray[np.float64]]:
        """Successive blocks of `seconds`, `(leads, n)` in mV, missing samples as NaN; the last is shorter.

        Raises:
            RecordError: a cell that is no finite number, named by line and column; a row that is too short or too
                long, an empty line amid several columns; time that goes back; no samples at all.
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
            raise RecordError(f"{self.path.name} holds no samples. Give a table with one row a sample.")

    def _pieces(self, chosen: Sequence[int]) -> Iterator[NDArray[np.float64]]:
        reader = RowReader(self.source, self.layout, self.roles, chosen)
        timeline = self._timeline()
        for rows in reader.rows():
            yield from timeline.put(rows)
        yield from timeline.rest()

    def _timeline(self) -> Timeline:
        time, counter = self.roles.time, self.roles.counter
        name = self.path.name
        clock = None
        if time is not None and time.pace is not None:
            unit = time.scale if time.whole_numbers and time.kind == "number" else 0.0
            clock = Clock(name, time.pace, unit, time.kind == "clock")
        if (
            counter is None
            or counter.step is None
            or (time is not None and time.pace is not None and time.pace.is_even)
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
    """Open a table of samples; its layout, units, time and leads are judged from its head.

    Args:
        path: the file.
        fs: samples a second, Hz; None where the file tells it.
        unit: of the columns whose unit the file does not state: V, mV (the default), uV, nV, or count.
        columns: names or positions counted from 0, of all columns of the file; None is all that may be an ECG.
        uv_per_lsb: microvolts of one count.
        time_column: the column that holds the time; `none` takes the rows as even.
        truncated: "read" leaves out a last row that is cut short; "error" refuses it when it is read.

    Raises:
        RecordError: no such file, empty, no text, no such column, a layout that can be read in two ways, unknown unit,
            or a rate that is not above 0.
        UsageError: no rate is known, or an option contradicts the file.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordError(f"There is no file {path}. Name a CSV file that exists.")
    source = open_text(path)
    remarks: list[Remark] = []
    if source.encoding != "utf-8":
        remarks.append(Remark("encoding", f"{path.name} is not UTF-8; it is read as {source.encoding}."))
    if is_on_its_side(source):
        source = source.of(upright(source))
        remarks.append(Remark("lead", f"{path.name} has one row a lead; it is read on its side."))
    lines, _ = source.head(_TIME_HEAD_LINES)
    layout = layout_of(lines, path.name)
    width = layout.width if truncated == "read" else 0
    source, footer = source.without_footer(lambda line: holds_sample(line, layout.separator, width))
    if footer:
        text = f"The last {footer} lines of {path.name} are no samples and are left out."
        remarks.append(Remark("length", text if footer > 1 else text.replace("1 lines", "line").replace("are", "is")))
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
    """A table of samples, known by its name alone: what any text file holds might be one."""

    name = f"table of samples ({', '.join(_EXTENSIONS)})"
    states_rate = False
    in_folders = False  # a folder of recordings may hold tables that are none: REFERENCE.csv, ptbxl_database.csv

    def recognise(self, path: Path) -> Path | None:
        """The file itself."""
        return path if path.suffix.lower() in _EXTENSIONS and path.is_file() else None

    def find(self, folder: Path) -> Iterator[Path]:
        """Nothing: somebody may have to state the rate of each."""
        return iter(())

    def open(self, path: Path, options: OpenOptions) -> CsvRecord:
        """See `open_csv`."""
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
