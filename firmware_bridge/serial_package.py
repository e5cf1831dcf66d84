"""Imports pyserial, and explains what to do if another module called `serial` hides it.

`pip install serial` installs a package that has nothing to do with serial ports, and a file serial.py in the current
folder hides any package. All modules that need pyserial import it from here.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from ecgmoe_edge.errors import DeviceError

__all__ = ["list_ports", "serial"]


def what_is_wrong(error: Exception) -> str:
    """Why `import serial` did not give pyserial, and what to do."""
    place = _place()
    if place is None:
        return (
            f"pyserial, which reads serial ports, is not installed ({error}): install it with `pip install pyserial`."
        )
    return (
        f"The module `serial` at {place} is not pyserial, which reads serial ports. If it came with "
        "`pip install serial`: `pip uninstall serial`, then `pip install --force-reinstall pyserial`. If it is a file "
        "of yours: rename it, or run the command in another folder."
    )


def _place() -> str | None:
    """The file or folder that `import serial` finds; None if there is none."""
    try:
        spec = importlib.util.find_spec("serial")
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    place = spec.origin or (folders[0] if folders else None)
    return None if place is None else os.path.abspath(place)


def _looks_right() -> bool:
    """Whether the files are pyserial's, checked before any of its code runs. A packed module (zip) is not checked."""
    place = _place()
    if place is None or not os.path.isfile(place):
        return True
    folder = Path(place).parent
    return all((folder / name).is_file() for name in ("serialutil.py", "tools/list_ports.py"))


if not _looks_right():
    raise DeviceError(what_is_wrong(ImportError("another module")))
try:
    import serial
    from serial.tools import list_ports

    _NEEDED = (serial.Serial, serial.SerialException, list_ports.comports)
except Exception as error:
    raise DeviceError(what_is_wrong(error)) from error
