"""The one place that knows which file formats there are: a path in, a recording out.

A format is one module of `records.formats` that has a `FORMAT` (see `recording.Format`); nothing else has to be changed
to add one.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from ecgmoe_edge.errors import InputFileError, RecordError, UsageError
from ecgmoe_edge.input_files import check_input_file, is_absent, shown_path
from ecgmoe_edge.records import formats
from ecgmoe_edge.records.foreign_files import name_of_foreign_file
from ecgmoe_edge.records.recording import Format, Lead, OpenOptions, Recording, Truncated


def open_recording(
    path: Path | str,
    *,
    fs: float | None = None,
    unit: str | None = None,
    columns: Sequence[Lead] | None = None,
    truncated: Truncated = "error",
    uv_per_lsb: float | None = None,
    time_column: Lead | None = None,
) -> Recording:
    """Open a recording of any known format; its signal is read in blocks, when a block is asked for.

    Args:
        path: of the recording, as its format names one (a WFDB record with or without `.hea`), or `calibration`.
        fs: sampling rate in Hz, of a file that does not state it.
        unit: of a file that does not state it, such as mV (the default) or uV.
        columns: of a table, by name or position counted from 0; None is all of them.
        truncated: "read" takes what is there of a signal shorter than its header says; "error" refuses it.
        uv_per_lsb: microvolts of one count, of a table that holds the counts of an A/D converter.
        time_column: of a table, where its head does not show which one holds the time.

    Raises:
        RecordError: nothing is there, it is of no known format, or it cannot be read.
        UsageError: a rate that nobody states, or a rate, unit or columns for a file that states its own.
        MissingExtra: a package that reads this format is not installed.
    """
    path = Path(path)
    options = OpenOptions(fs, unit, columns, truncated, uv_per_lsb, time_column)
    is_folder = os.path.isdir(path)
    if not is_absent(path) and not is_folder:
        try:
            check_input_file(path, "recording")
        except InputFileError as refusal:
            raise RecordError(str(refusal)) from None
    for one in known_formats():
        recognised = _recognised_by(one, path)
        if recognised is None:
            continue
        if not one.states_rate:
            _refuse_foreign(path)
        elif _states_what_the_file_states(one, options):
            stated = f"{shown_path(path)} is read as {one.name}, which states its own rate and unit"
            raise UsageError(f"{stated}: leave --fs and --unit out.")
        return one.open(recognised, options)
    if is_folder:
        raise RecordError(f"{shown_path(path)} is a folder. Name one recording: {_listed(known_formats())}.")
    if is_absent(path):
        raise RecordError(f"There is no recording {shown_path(path)}. Known formats are: {_listed(known_formats())}.")
    _refuse_foreign(path)
    raise RecordError(
        f"{shown_path(path)} is of no format that can be read here. Known are: {_listed(known_formats())}."
    )


def recognised_path(path: Path) -> Path | None:
    """The path under which `open_recording` opens what `path` names; None where there is no recording."""
    return next((found for one in known_formats() if (found := _recognised_by(one, path)) is not None), None)


def is_recording(path: Path) -> bool:
    """Whether a recording lies at `path`; at most its first bytes are read."""
    return recognised_path(path) is not None


def holds_recordings(folder: Path) -> bool:
    """Whether `find_recordings` would find any, without listing them all."""
    return any(next(one.find(folder), None) is not None for one in known_formats())


def find_recordings(folder: Path) -> list[Path]:
    """Paths of the recordings that lie directly in a folder, for `open_recording`, sorted.

    Files that do not state their own rate, such as tables of samples, are not among them: they are opened by name.
    """
    return sorted({path for one in known_formats() for path in one.find(folder)})


def formats_in_folders() -> str:
    """The formats that `find_recordings` looks for, as words for a message."""
    return _listed([one for one in known_formats() if one.in_folders])


@cache
def known_formats() -> tuple[Format, ...]:
    """All formats, by the names of their modules: the first that recognises a path opens it.

    Tables of samples come last: they are known by their extension, the others by their first bytes or a second file.
    """
    names = sorted((module.name for module in pkgutil.iter_modules(formats.__path__)), key=_by_name_tables_last)
    return tuple(import_module(f"{formats.__name__}.{name}").FORMAT for name in names)


def _by_name_tables_last(module: str) -> tuple[bool, str]:
    return module == "csv_record", module


def _recognised_by(one: Format, path: Path) -> Path | None:
    try:
        return one.recognise(path)
    except OSError:  # a name that is too long once an extension is added, a folder without permission
        return None


def _states_what_the_file_states(one: Format, options: OpenOptions) -> bool:
    """Whether the user states what files of this format state; `may_lack` of a format names what some do not."""
    may_lack: Sequence[str] = getattr(one, "may_lack", ())
    stated = ("fs", "unit", "columns", "uv_per_lsb", "time_column")
    return any(getattr(options, name) is not None for name in stated if name not in may_lack)


def _refuse_foreign(path: Path) -> None:
    foreign = name_of_foreign_file(path)
    if foreign is not None:
        raise RecordError(foreign)


def _listed(some: Sequence[Format]) -> str:
    return "; ".join(one.name for one in some)
