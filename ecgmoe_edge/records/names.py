"""What a recording is called, by the path that opens it: of a file its name without extension, of a WFDB record all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def record_name(path: Path) -> str:
    """Name of the record that `open_recording(path)` opens, as its `name` has it, without opening it.

    A WFDB record is named without extension, and its name may hold a point; other formats are named by their file.
    Annotations lie beside either as `<name>.atr`.

    >>> record_name(Path("mitdb/100"))
    '100'
    """
    return path.stem if path.suffix and path.is_file() else path.name


def one_of_each_name(paths: Iterable[Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """Of recordings that share a name (the same one in two formats, say) the first; and why the others are left out.

    The others are named by their file.
    """
    chosen: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    for path in paths:
        name = record_name(path)
        if name in chosen and path != chosen[name]:
            left_out[path.name] = f"{chosen[name].name} has the same name and is taken. Rename one of the two."
        else:
            chosen[name] = path
    return chosen, left_out
