"""Opens a recording of any known format.

To add a format, add a module to `records.formats` with an object `FORMAT` (see `recording.Format`); nothing else has to
be changed.
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
from ecgmoe_edge.records.recording import Format, Lead, OpenOptions, Recording, Truncated
from ecgmoe_edge.records.unsupported_files import describe_unsupported_file


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
    """Open a recording of any known format; the signal is read later, block by block.

    Args:
        path: path of the recording (of a WFDB record with or without `.hea`), or `calibration` for the recording that
            ships with the package.
        fs: sampling rate, Hz, for a file that does not state it.
        unit: unit, such as mV (the default) or uV, for a file that does not state it.
        columns: names or indices from 0 of the columns of a table that are leads; None reads all that may be an ECG.
        truncated: for a signal that is shorter than its header states: "read" reads the samples that are present,
            "error" raises RecordError.
        uv_per_lsb: microvolts per count, for a file that holds counts of an A/D converter.
        time_column: name or index of the column of a table that holds the time; `none` if the rows are evenly spaced.

    Raises:
        RecordError: there is no such file, its format is unknown, or it cannot be read.
        UsageError: the sampling rate is unknown, or the file states a property that an argument states too.
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
            _refuse_unsupported(path)
        elif _states_what_the_file_states(one, options):
            stated = f"{shown_path(path)} is read as {one.name}, which states its own rate and unit"
            raise UsageError(f"{stated}: omit --fs and --unit.")
        return one.open(recognised, options)
    if is_folder:
        raise RecordError(f"{shown_path(path)} is a folder. Name one recording: {_listed(known_formats())}.")
    if is_absent(path):
        raise RecordError(f"There is no recording {shown_path(path)}. Known formats are: {_listed(known_formats())}.")
    _refuse_unsupported(path)
    raise RecordError(f"The format of {shown_path(path)} is not known. Known formats are: {_listed(known_formats())}.")


def recognised_path(path: Path) -> Path | None:
    """The path that `open_recording` uses for the recording named by `path`; None if there is no recording."""
    return next((found for one in known_formats() if (found := _recognised_by(one, path)) is not None), None)


def is_recording(path: Path) -> bool:
    """Whether there is a recording at `path`; at most its first bytes are read."""
    return recognised_path(path) is not None


def holds_recordings(folder: Path) -> bool:
    """Whether `find_recordings` finds at least one recording in a folder."""
    return any(next(one.find(folder), None) is not None for one in known_formats())


def find_recordings(folder: Path) -> list[Path]:
    """Paths of the recordings directly in a folder, as `open_recording` accepts them, sorted.

    Files of formats that need not state their rate, such as tables of samples, are not found; open them by name.
    """
    return sorted({path for one in known_formats() for path in one.find(folder)})


def formats_in_folders() -> str:
    """Names of the formats that `find_recordings` searches for, for a message."""
    return _listed([one for one in known_formats() if one.in_folders])


@cache
def known_formats() -> tuple[Format, ...]:
    """All formats, sorted by module name; the first that recognises a path opens it.

    Tables of samples come last, because they are recognised by their extension only. The other formats are recognised
    by their first bytes or by a second file.
    """
    names = sorted((module.name for module in pkgutil.iter_modules(formats.__path__)), key=_by_name_tables_last)
    return tuple(import_module(f"{formats.__name__}.{name}").FORMAT for name in names)


def _by_name_tables_last(module: str) -> tuple[bool, str]:
    return module == "csv_record", module


def _recognised_by(one: Format, path: Path) -> Path | None:
    try:
        return one.recognise(path)
    except OSError:  # such as a name that is too long after an extension is added, or a folder without permission
        return None


def _states_what_the_file_states(one: Format, options: OpenOptions) -> bool:
    """Whether the user states a property that files of this format state; `may_lack` lists those that some lack."""
    may_lack: Sequence[str] = getattr(one, "may_lack", ())
    stated = ("fs", "unit", "columns", "uv_per_lsb", "time_column")
    return any(getattr(options, name) is not None for name in stated if name not in may_lack)


def _refuse_unsupported(path: Path) -> None:
    foreign = describe_unsupported_file(path)
    if foreign is not None:
        raise RecordError(foreign)


def _listed(some: Sequence[Format]) -> str:
    return "; ".join(one.name for one in some)
