"""Names of leads: each once in a recording, and the 12 leads as their devices and standards spell them."""

from __future__ import annotations

from collections.abc import Sequence

LIMB_AND_CHEST = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_SPELLED = {name.casefold(): name for name in LIMB_AND_CHEST}


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, a repeated one with a number after it: ECG, ECG 2."""
    unique: list[str] = []
    for base in names:
        name, number = base, 1
        while name in unique:
            number += 1
            name = f"{base} {number}"
        unique.append(name)
    return tuple(unique)


def usual_name(name: str) -> str:
    """`AVR` and `Lead avr` as aVR, and so on; any other name as it is."""
    bare = name.strip()
    if bare.casefold().startswith("lead "):
        bare = bare[5:].strip()
    return _SPELLED.get(bare.casefold(), bare)
