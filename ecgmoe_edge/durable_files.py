"""Writing that never loses a good file: what is written gets a name of its own beside the target, is flushed to the
disk, and takes the target's name only when it is whole. A crash or a full disk leaves the old or the new, never half.
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
_ABANDONED_S = 3600.0  # a partial file so old belongs to a process that was killed
_LONGEST_PREFIX = 60  # characters of the target's name in that of the partial file: names end at 255 bytes
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextlib.contextmanager
def replace_file(path: str | Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """A new empty file to write to, which takes the name `path` at the end of the `with` block.

    It lies in the same folder, which must exist. At the end it is given to `check` (which raises where it is not what
    was to be written), flushed to the disk and renamed. After any exception it is removed, and a file that had the name
    before is as it was. A link is followed: the file it leads to is replaced, the link stays.

    Raises:
        OSError: it names `path`: no space, no permission, or something there that is no plain file.
    """
    given = Path(path)
    with _named(given):
        target = _plain_target(given)
        if _is_character_device(target):
            yield target  # /dev/null, say: nothing can be lost there, and renaming would take its name from it
            return
        _sweep(target)
        partial = _new_name(target)
        try:
            partial.touch(exist_ok=False)
            yield partial
            if check is not None:
                check(partial)
            with contextlib.suppress(FileNotFoundError):
                partial.chmod(stat.S_IMODE(target.stat().st_mode))  # as the file that it replaces
            flush_to_disk(partial)
            partial.replace(target)
            flush_to_disk(target.parent)
        finally:
            partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Put `text` as UTF-8 into the file `path`, as `replace_file` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Put `content` into the file `path`, as `replace_file` does."""

    def whole(written: Path) -> None:
        if written.stat().st_size != len(content):
            raise OSError(errno.EIO, f"{written.stat().st_size} of {len(content)} bytes were written")

    with replace_file(path, whole) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def replace_folder(folder: str | Path) -> Iterator[Path]:
    """A new empty folder to write into, which takes the name `folder` at the end of the `with` block.

    As `replace_file`; a folder of that name is replaced as a whole, in one step where the file system can do it, and
    its content is removed. Whether it may be is for the caller to judge.

    Raises:
        OSError: it names `folder`.
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
    """An OSError inside names `path`, not the partial file; one of a full disk names no file at all by itself."""
    try:
        yield
    except OSError as error:
        if error.strerror is None or (error.filename is not None and _SUFFIX not in os.fsdecode(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _plain_target(path: Path) -> Path:
    """What `path` leads to, refused where writing would wait for a reader, or there is a folder."""
    target = Path(os.path.realpath(path))
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file", str(path))
    if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a disk, and only a file is written; name one", str(path))
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
    """A name beside `path` that nothing has; the permissions of what gets it follow the umask, unlike tempfile's."""
    return path.with_name(f"{_prefix(path)}{secrets.token_hex(6)}{_SUFFIX}")


def flush_to_disk(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL or not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise  # some file systems of networks cannot flush a folder
    finally:
        os.close(handle)


def _sweep(target: Path) -> None:
    """Remove what killed processes have left half written of this file."""
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
        return  # what was there now has the scratch name, and goes with it
    old = _new_name(folder)
    folder.replace(old)
    try:
        scratch.replace(folder)
    except OSError:
        old.replace(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step (renameat2 of Linux); False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done != 0 and ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    return bool(done == 0)
