"""Whether a path that a user names can be read as a file, judged before anything opens it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ecgmoe_edge.errors import InputFileError

_SHOWN_LENGTH = 120  # characters of a path in a message
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_input_file(path: Path, what: str) -> None:
    """Return where `path` is a regular file with at least one byte that this process may read; otherwise raise.

    It answers at once whatever lies there: a FIFO, a socket and a device file are named by their kind and never
    opened, as opening one can wait for ever or change a device. A link is followed. Of a regular file one byte is
    read, so that missing permission, a failing disk and an empty file are found here and not in a parser.

    Args:
        path: as the user has given it; a path of any length, with any character in it.
        what: the file in the user's words without article, such as "recording" or "device profile".

    Raises:
        InputFileError: nothing is there; a folder, FIFO, socket or device; a link that leads nowhere or in a circle;
            no permission; empty; or a name that no file can have. One sentence or two that say what to do.
    """
    shown = shown_path(path)
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            raise InputFileError(f"{shown} is {_kind_of(kind)}, not a {what}. Name a file.")
        descriptor = os.open(path, os.O_RDONLY | _NON_BLOCKING)  # non-blocking: it may have been replaced since
        try:
            first = os.read(descriptor, 1)
        finally:
            os.close(descriptor)
    except ValueError:
        raise InputFileError(f"{shown} has a NUL character, which no file name can hold. Name the {what}.") from None
    except OSError as error:
        raise InputFileError(_reason(path, what, error)) from None
    if not first:
        raise InputFileError(f"{shown} is empty: it has no bytes. Copy the {what} again from its source.")


def is_absent(path: Path) -> bool:
    """Whether nothing at all lies at `path`, not even a broken link; False where that cannot be found out."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return False


def shown_path(path: Path) -> str:
    """The path as a message has it: shortened in the middle, with control characters written out."""
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
        return f"{shown} is a link to {shown_path(path.readlink())}, which is not there. Name the {what} itself."
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
