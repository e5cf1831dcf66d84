"""File formats that a student can be exported to: one `Target` object per format, found by name.

To add a format, add a module with a `TARGET` here and an entry in `device_profiles.formats`. Importing this package
does not import the packages of any format.
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
    """Return all targets, sorted by name."""
    return tuple(target for _, target in sorted(_registry().items()))


def register(target: Target) -> None:
    """Add a target, or replace the target with the same name."""
    _registry()[target.name] = target


def unregister(name: str) -> None:
    """Remove a target; do nothing if there is none with that name."""
    _registry().pop(name, None)


def target_named(name: str) -> Target:
    """Return the target of a format.

    Raises:
        ConversionError: no target writes that format.
    """
    if name not in _registry():
        raise ConversionError(f"This version writes no {name} files; it writes {_listed()}.")
    return _registry()[name]


def target_of_engine(engine: str) -> Target:
    """Return the target whose files are run by an engine of a profile.

    Raises:
        ConversionError: no target has this engine.
    """
    for target in targets():
        if engine in target.engines:
            return target
    engines = (engine for target in targets() for engine in target.engines)
    raise ConversionError(f"There is no runtime {engine!r}; choose one of {', '.join(engines)}.")


def target_of_file(path: Path | str) -> Target:
    """Return the target of a file, by the suffix of its name.

    Raises:
        ConversionError: no target writes files with this suffix.
    """
    suffix = Path(path).suffix.removeprefix(".")
    if suffix not in _registry():
        raise ConversionError(f"{Path(path).name} is not a model file. Its name must end in one of {_listed()}.")
    return _registry()[suffix]


def _listed() -> str:
    return ", ".join(target.name for target in targets())
