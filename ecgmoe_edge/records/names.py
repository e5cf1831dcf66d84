"""The name of a recording, derived from the path that opens it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def record_name(path: Path) -> str:
    """The `name` of the recording that `open_recording(path)` opens, without opening it.

    The path of a WFDB record has no extension, and its name may contain a dot. The name of a recording of another
    format is the name of its file without extension. Annotations are in the same folder as `<name>.atr`.

    >>> record_name(Path("mitdb/100"))
    '100'
    """
    return path.stem if path.suffix and path.is_file() else path.name


def one_of_each_name(paths: Iterable[Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """Keep one recording of each name; two may share a name if a recording is present in two formats.

    Returns:
        The first path of each name, and for the file name of each other path the reason why it is skipped.
    """
    chosen: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    for path in paths:
        name = record_name(path)
        if name in chosen and path != chosen[name]:
            left_out[path.name] = f"{chosen[name].name} has the same name and is used. Rename one of the two."
        else:
            chosen[name] = path
    return chosen, left_out
