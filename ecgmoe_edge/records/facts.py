"""Labels of a whole recording, by task: a class for a classification, a number in the task's unit for a regression."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from ecgmoe_edge.records.recording import Recording, Sex

Facts: TypeAlias = Mapping[str, str | float]  # task -> class or value

_SEXES: Mapping[Sex, str] = MappingProxyType({"F": "female", "M": "male"})


def stated_facts(age: float | None = None, sex: Sex | None = None, **further: str | float | None) -> Facts:
    """The known facts: age in years, sex, and the class or value of any other task by its name.

    >>> stated_facts(63, "F", potassium=None)
    {'age': 63, 'sex': 'female'}
    """
    facts = {"age": age, "sex": None if sex is None else _SEXES[sex], **further}
    return {name: value for name, value in facts.items() if value is not None}


def facts_of(recording: Recording) -> Facts:
    """The facts that the file of a recording states."""
    return stated_facts(recording.age, recording.sex)
