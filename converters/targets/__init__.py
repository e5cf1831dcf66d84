"""Formats that a student is exported to: one object a format, found by name.

A further format is one more module here that holds a `TARGET`, and its entry in `device_profiles.formats`. Importing
this package needs none of the formats' own packages.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path

from ecgmoe_edge.converters.targets.target import Target
from ecgmoe_edge.errors import ConversionError

__all__ = ["Target", "register", "target_named", "target_of_engine", "target_of_file", "targets", "unregister"]


@cache
def _registry() -> dict[str, Target]:
    modules = [entry.name for entry in pkgutil.iter_modules(__path__) if entry.name != "target"]
    found = [import_module(f"{__name__}.{name}").TARGET for name in modules]
    return {target.name: target for target in found}


def targets() -> tuple[Target, ...]:
    """All targets, by name."""
    return tuple(target for _, target in sorted(_registry().items()))


def register(target: Target) -> None:
    """Add a target, or replace the one of its name."""
    _registry()[target.name] = target


def unregister(name: str) -> None:
    """Take a target out again; one that is not there is no mistake."""
    _registry().pop(name, None)


def target_named(name: str) -> Target:
    """The target of a format.

    Raises:
        ConversionError: nothing writes that format.
    """
    if name not in _registry():
        raise ConversionError(f"This version writes no {name} files; it writes {_listed()}.")
    return _registry()[name]


def target_of_engine(engine: str) -> Target:
    """The target whose files an engine of a profile runs.

    Raises:
        ConversionError: no target has such an engine.
    """
    for target in targets():
        if engine in target.engines:
            return target
    engines = (engine for target in targets() for engine in target.engines)
    raise ConversionError(f"There is no runtime {engine!r}; choose one of {', '.join(engines)}.")


def target_of_file(path: Path | str) -> Target:
    """The target that wrote a file, by the file's suffix.

    Raises:
        ConversionError: none writes such files.
    """
    suffix = Path(path).suffix.removeprefix(".")
    if suffix not in _registry():
        raise ConversionError(f"{Path(path).name} is no model file; its name ends in one of {_listed()}.")
    return _registry()[suffix]


def _listed() -> str:
    return ", ".join(target.name for target in targets())
