"""The C monitor (`firmware_bridge/firmware/monitor`) as an engine of Python, if its extension was built.

The extension is built if a C compiler is found when the package is installed, and left out if none is. Without it, and
for what it has no room for, the numpy reference in `ecgmoe_edge.streaming` runs.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Final

NAME: Final = f"{__name__}._core"


def extension() -> ModuleType | None:
    """Return the extension module; None if it was not built, or cannot be loaded on this machine."""
    try:
        return import_module(NAME)
    except ImportError:
        return None
