"""Checks before a command starts that the optional packages it needs are installed."""

from __future__ import annotations

from importlib.util import find_spec

from ecgmoe_edge.errors import MissingExtra


def require(extra: str, *modules: str) -> None:
    """Check that modules are installed, without importing them.

    Args:
        extra: the extra that installs the modules.
        modules: names of the modules.

    Raises:
        MissingExtra: a module is not installed.
    """
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtra(module, extra)
