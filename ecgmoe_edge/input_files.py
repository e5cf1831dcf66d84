"""Checks whether a path that the user names can be read as a file, before a parser opens it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ecgmoe_edge.errors import InputFileError

_SHOWN_LENGTH = 120  # characters of a path in a message
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_input_file(path: Path, what: str) -> None:
    """Check that a path is a regular, readable file with at least one byte.

    The check never blocks: FIFOs, sockets and device files are not opened, because opening them can block or change a
    device. Links are followed. One byte of a regular file is read, so that missing permission, a failing disk and an
    empty file are found here and not in a parser.

    Args:
        path: the path as the user gave it, of any length and with any characters.
        what: the kind of file for messages, without article, such as "recording" or "device profile".

    Raises:
        InputFileError: there is no file; it is a folder, FIFO, socket or device; a link is broken or circular;
            permission is missing; the file is empty; or the name is invalid.
    """
    shown = shown_path(path)
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            raise InputFileError(f"{shown} is {_kind_of(kind)}, not a {what}. Name a file.")
        # Non-blocking, because a FIFO may have replaced the file since the check above.
        descriptor = os.open(path, os.O_RDONLY | _NON_BLOCKING)
        try:
            first = os.read(descriptor, 1)
        finally:
            os.close(descriptor)
    except ValueError:
        raise InputFileError(f"{shown} has a NUL character, which no file name can contain. Name the {what}.") from None
    except OSError as error:
        raise InputFileError(_reason(path, what, error)) from None
    if not first:
        raise InputFileError(f"{shown} is empty: it has no bytes. Copy the {what} again from its source.")


def is_absent(path: Path) -> bool:
    """Whether nothing exists at `path`, not even a broken link; False if this cannot be determined."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return False


def shown_path(path: Path) -> str:
    """The path for a message: shortened in the middle, with control characters escaped."""
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(path))
    if len(text) <= _SHOWN_LENGTH:
        return text
    return f"{text[: _SHOWN_LENGTH // 2]}...{text[-_SHOWN_LENGTH // 2 :]}"


def _kind_of(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a FIFO (named pipe)"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device file"


def _reason(path: Path, what: str, error: OSError) -> str:
    shown = shown_path(path)
    if error.errno == errno.ENOENT and os.path.islink(path):
        return f"{shown} is a link to {shown_path(path.readlink())}, which does not exist. Name the {what} itself."
    sentences = {
        errno.ENOENT: f"There is no {what} {shown}. Check the spelling and the folder.",
        errno.ENOTDIR: f"There is no {what} {shown}: a part of this path is a file and not a folder. Check the path.",
        errno.ELOOP: f"{shown} is a link that leads back to itself. Name the {what} itself.",
        errno.ENAMETOOLONG: f"The name {shown} is longer than a file name can be. Name the {what} by its path.",
        errno.EACCES: f"{shown} cannot be read: permission is denied. Give yourself the right to read it (chmod u+r).",
    }
    return sentences.get(
        error.errno or 0, f"{shown} cannot be read ({error.strerror or error}). Copy the {what} again from its source."
    )
