"""Steps before a command starts its work: checks of packages and folders, and silence for other libraries."""

from __future__ import annotations

import errno
import logging
import os
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from ecgmoe_edge.errors import MissingExtra, RecordError

_LIBRARIES = ("torch", "torchao", "litert_torch", "onnxscript", "onnx_ir")


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


def quiet_libraries() -> None:
    """Suppress warnings and log messages of other libraries, but not errors; call this before they are imported."""
    warnings.filterwarnings("ignore", module=r"(?!ecgmoe_edge)")
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TORCH_LOGS", "-all")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GLOG_minloglevel", "3")


def check_folders(folders: Mapping[str, Path | None]) -> None:
    """Check that results can be written to folders, before a long computation.

    Args:
        folders: the folder of each option; None if the option was not given.

    Raises:
        RecordError: a folder is not a folder, or is not writable.
    """
    for option, folder in folders.items():
        if folder is not None and (why := _why_unwritable(folder)):
            raise RecordError(f"Results cannot be written to {option} {folder} ({why}). Give another folder.")


def _why_unwritable(folder: Path) -> str:
    """The reason why a folder cannot be written or created; empty if it can."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        return os.strerror(errno.ENOTDIR)
    return "" if os.access(nearest, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
