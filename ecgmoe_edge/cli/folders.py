"""Whether results can be written to a folder that an option names, judged before they take their time."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from ecgmoe_edge.errors import RecordError


def check_folders(folders: Mapping[str, Path | None]) -> None:
    """Refuse folders for results, by their options, that are none or could not be written (RecordError)."""
    for option, folder in folders.items():
        if folder is not None and (why := _why_unwritable(folder)):
            raise RecordError(f"Nothing can be written to {option} {folder} ({why}). Give another folder.")


def _why_unwritable(folder: Path) -> str:
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        return os.strerror(errno.ENOTDIR)
    return "" if os.access(nearest, os.W_OK | os.X_OK) else os.strerror(errno.EACCES)
