"""What is known of a recording as a whole, by the name of the task that asks for it: the label readers of `evaluate`.

A classification's fact is one of its classes, a regression's a number in its unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from ecgmoe_edge.records.recording import Recording, Sex

Facts: TypeAlias = Mapping[str, str | float]  # task -> class or value

_SEXES: Mapping[Sex, str] = MappingProxyType({"F": "female", "M": "male"})


def stated_facts(age: float | None = None, sex: Sex | None = None, **further: str | float | None) -> Facts:
    """Facts of those that are known: age in years, sex, and any task's class or value by its name.

    >>> stated_facts(63, "F", potassium=None)
    {'age': 63, 'sex': 'female'}
    """
    facts = {"age": age, "sex": None if sex is None else _SEXES[sex], **further}
    return {name: value for name, value in facts.items() if value is not None}


def facts_of(recording: Recording) -> Facts:
    """What the file itself says."""
    return stated_facts(recording.age, recording.sex)
