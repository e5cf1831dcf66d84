"""The one place that knows which file formats there are: a path in, a recording out.

A format is one module of `records.formats` that has a `FORMAT` (see `recording.Format`); nothing else has to be changed
to add one.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records import formats
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
    for one in known_formats():
        recognised = one.recognise(path)
        if recognised is None:
            continue
        if one.states_rate and any(value is not None for value in (fs, unit, columns, uv_per_lsb, time_column)):
            raise UsageError(f"{path} states its own rate and unit: leave --fs and --unit out.")
        return one.open(recognised, OpenOptions(fs, unit, columns, truncated, uv_per_lsb, time_column))
    if path.is_dir():
        raise RecordError(f"{path} is a folder. Name one recording: {_listed(known_formats())}.")
    if path.exists():
        raise RecordError(f"{path} is of no format that can be read here. Known are: {_listed(known_formats())}.")
    raise RecordError(f"There is no recording {path}. Known formats are: {_listed(known_formats())}.")


def recognised_path(path: Path) -> Path | None:
    """The path under which `open_recording` opens what `path` names; None where there is no recording."""
    return next((found for one in known_formats() if (found := one.recognise(path)) is not None), None)


def is_recording(path: Path) -> bool:
    """Whether a recording lies at `path`; its files are not opened."""
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
    """All formats, by the names of their modules: the first that recognises a path opens it."""
    names = sorted(module.name for module in pkgutil.iter_modules(formats.__path__))
    return tuple(import_module(f"{formats.__name__}.{name}").FORMAT for name in names)


def _listed(some: Sequence[Format]) -> str:
    return "; ".join(one.name for one in some)
