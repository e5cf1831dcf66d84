"""Names of leads: unique within a recording, and the standard spelling of the 12 leads."""

from __future__ import annotations

from collections.abc import Sequence

LIMB_AND_CHEST = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_LONGEST = 40  # characters; a longer name is from a damaged file
_SPELLED = {name.casefold(): name for name in LIMB_AND_CHEST}


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
