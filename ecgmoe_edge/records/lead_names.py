"""Names of leads: each once in a recording, and the 12 leads as their devices and standards spell them."""

from __future__ import annotations

from collections.abc import Sequence

LIMB_AND_CHEST = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_LONGEST = 40  # characters; more is what a damaged file says
_SPELLED = {name.casefold(): name for name in LIMB_AND_CHEST}


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, a repeated one with a number after it: ECG, ECG 2.

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
    """`AVR` and `Lead avr` as aVR, and so on; any other name as it is.

    >>> usual_name("Lead avr"), usual_name("v5"), usual_name("Resp")
    ('aVR', 'V5', 'Resp')
    """
    bare = plain_text(name)
    if bare.casefold().startswith("lead "):
        bare = bare[5:].strip()
    return _SPELLED.get(bare.casefold(), bare)


def plain_text(text: object) -> str:
    """What a file calls something, fit to stand in a sentence: on one line, printable and not endless."""
    return "".join(char if char.isprintable() else " " for char in str(text)[:_LONGEST]).strip()
