"""Reads the first and last bytes of a file, by which most formats are recognised, and lists files by extension."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ecgmoe_edge.errors import RecordError

_HEAD_BYTES = 4096


def first_bytes(path: Path) -> bytes:
    """The first 4096 bytes of a regular file; empty if it is not a regular file or cannot be read.

    A FIFO is not opened, because opening it could block.
    """
    try:
        if not os.path.isfile(path):
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def last_bytes(path: Path) -> bytes:
    """The last 4096 bytes of a regular file; empty if it is not a regular file or cannot be read."""
    try:
        if not os.path.isfile(path):
            return b""
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _HEAD_BYTES))
            return file.read(_HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def files_in(folder: Path, extensions: Sequence[str]) -> Iterator[Path]:
    """Files directly in a folder with one of these extensions, in upper or lower case."""
    return (path for path in folder.glob("*") if path.suffix.lower() in extensions)


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading, unbuffered, because readers of recordings request large pieces.

    Raises:
        RecordError: the file has disappeared or may not be read.
    """
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror or error}). Check that it is still there.") from None
