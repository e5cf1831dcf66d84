"""Names of recordings, from their paths, and names of leads: unique, and in the standard spelling of the 12 leads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

LIMB_AND_CHEST = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_LONGEST = 40  # characters; a longer name is from a damaged file
_SPELLED = {name.casefold(): name for name in LIMB_AND_CHEST}


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


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with a number appended to repeated ones.

    >>> unique_names(["ECG", "ECG"])
    ('ECG', 'ECG 2')

    >>> unique_names(["ECG", "ECG", "V1"])
    ('ECG', 'ECG 2', 'V1')
    """
    unique: list[str] = []
    for base in names:
        name, number = base, 1
        while name in unique:
            number += 1
            name = f"{base} {number}"
        unique.append(name)
    return tuple(unique)


def usual_name(name: str) -> str:
    """The standard spelling of a lead of the 12-lead ECG; any other name is unchanged.

    >>> usual_name("Lead avr")
    'aVR'

    >>> usual_name("Lead avr"), usual_name("v5"), usual_name("Resp")
    ('aVR', 'V5', 'Resp')
    """
    bare = plain_text(name)
    if bare.casefold().startswith("lead "):
        bare = bare[5:].strip()
    return _SPELLED.get(bare.casefold(), bare)


def plain_text(text: object) -> str:
    """A name from a file as printable text of one line and limited length, for a message."""
    return "".join(char if char.isprintable() else " " for char in str(text)[:_LONGEST]).strip()
