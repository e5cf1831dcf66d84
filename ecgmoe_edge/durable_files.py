"""Writes files and folders atomically.

New content is written under a temporary name in the folder of the target, flushed to the disk, and renamed only when it
is complete. After a crash or on a full disk, the target is either the old or the new file, never a part of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_SUFFIX = ".partial"
_ABANDONED_S = 3600.0  # an older partial file is from a process that was killed
_LONGEST_PREFIX = 60  # characters of the target's name in the temporary name, which may have at most 255 bytes
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextlib.contextmanager
def replace_file(path: str | Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Replace a file atomically: yields a new empty file that is renamed to `path` at the end of the `with` block.

    After an exception the new file is removed, and an existing file at `path` is unchanged. A link is followed: its
    target is replaced, and the link stays.

    Args:
        path: the file to write; its folder must exist.
        check: receives the complete new file before it is renamed, and raises an exception if the content is wrong.

    Yields:
        The path of the new file, in the same folder.

    Raises:
        OSError: there is no space, permission is missing, or `path` is not a regular file; the error names `path`.
    """
    given = Path(path)
    with _named(given):
        target = _plain_target(given)
        if _is_character_device(target):
            yield target  # such as /dev/null, which must not be replaced
            return
        _sweep(target)
        partial = _new_name(target)
        try:
            partial.touch(exist_ok=False)
            yield partial
            if check is not None:
                check(partial)
            with contextlib.suppress(FileNotFoundError):
                partial.chmod(stat.S_IMODE(target.stat().st_mode))  # keep the permissions of the old file
            flush_to_disk(partial)
            partial.replace(target)
            flush_to_disk(target.parent)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to the file `path`, with `replace_file`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` to the file `path`, with `replace_file`."""

    def check_size(written: Path) -> None:
        if written.stat().st_size != len(content):
            raise OSError(errno.EIO, f"{written.stat().st_size} of {len(content)} bytes were written")

    with replace_file(path, check_size) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def replace_folder(folder: str | Path) -> Iterator[Path]:
    """Replace a folder: yields a new empty folder that is renamed to `folder` at the end of the `with` block.

    An existing folder is replaced completely, atomically if the file system supports it, and its content is removed.
    The caller must make sure that the content may be removed. After an exception the old folder is unchanged.

    Yields:
        The path of the new folder, beside `folder`.

    Raises:
        OSError: the folder cannot be written; the error names `folder`.
    """
    folder = Path(folder)
    with _named(folder):
        scratch = _new_name(folder)
        try:
            scratch.mkdir()
            yield scratch
            for inside in scratch.rglob("*"):
                flush_to_disk(inside)
            flush_to_disk(scratch)
            _put_in_place(scratch, folder)
            flush_to_disk(folder.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Make an OSError name `path` instead of the temporary file; the error of a full disk names no file."""
    try:
        yield
    except OSError as error:
        if error.strerror is None or (error.filename is not None and _SUFFIX not in os.fsdecode(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _plain_target(path: Path) -> Path:
    """The target of `path` after following links.

    Raises:
        OSError: it is a folder, a pipe, a socket or a block device, or may not be written.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file", str(path))
    if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a disk; name a file", str(path))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target


def _prefix(path: Path) -> str:
    return f".{path.name[:_LONGEST_PREFIX]}."


def _is_character_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def _new_name(path: Path) -> Path:
    """An unused name in the folder of `path`; unlike with tempfile, permissions of a new file follow the umask."""
    return path.with_name(f"{_prefix(path)}{secrets.token_hex(6)}{_SUFFIX}")


def flush_to_disk(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL or not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise  # only folders on some network file systems cannot be flushed
    finally:
        os.close(handle)


def _sweep(target: Path) -> None:
    """Remove partial files of this target that killed processes left."""
    prefix = _prefix(target)
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S:
                        os.unlink(entry.path)


def _put_in_place(scratch: Path, folder: Path) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        scratch.replace(folder)
        return
    if _exchange(scratch, folder):
        return  # the old folder now has the temporary name and is removed with it
    old = _new_name(folder)
    folder.replace(old)
    try:
        scratch.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names atomically (renameat2 of Linux); False if the system or the file system does not support it."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done != 0 and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    return bool(done == 0)
