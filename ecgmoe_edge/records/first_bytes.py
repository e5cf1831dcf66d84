"""The first bytes of a file, by which most formats are known, and the files of a folder by their extension."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ecgmoe_edge.errors import RecordError

_HEAD_BYTES = 4096


def first_bytes(path: Path) -> bytes:
    """The first 4096 bytes of a regular file; none of what is no file or cannot be read. A FIFO is not opened."""
    try:
        if not os.path.isfile(path):
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def last_bytes(path: Path) -> bytes:
    """The last 4096 bytes, as `first_bytes`."""
    try:
        if not os.path.isfile(path):
            return b""
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _HEAD_BYTES))
            return file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def files_in(folder: Path, extensions: Sequence[str]) -> Iterator[Path]:
    """Files directly in a folder whose extension, in any case, is one of these."""
    return (path for path in folder.glob("*") if path.suffix.lower() in extensions)


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading, without a buffer of its own: what reads a recording asks for large pieces.

    Raises:
        RecordError: it has gone or may not be read.
    """
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror or error}). Check that it is still there.") from None
