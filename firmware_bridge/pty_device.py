"""The device's end of a pseudo terminal: the program at the other end sees a serial port.

A symlink with a constant path stands in for the port, so that a device can be unplugged and plugged in again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import socket
import struct
import sys
import termios
import threading
import tty
from pathlib import Path

from ecgmoe_edge.errors import DeviceError

_PSEUDO_TERMINALS = "/dev/pts/"
_POLL_MS = 20


class PtyDevice:
    """A serial device made of a pseudo terminal.

    Args:
        link: path of the symlink to the port; None: no symlink.

    Raises:
        DeviceError: the symlink cannot be made, or belongs to another running device.
    """

    def __init__(self, link: str | os.PathLike[str] | None = None) -> None:
        self._link = Path(link) if link is not None else None
        self._master = -1
        self._name = ""
        self._lock = _lock(self._link) if self._link is not None else None
        self.plug_in()

    @property
    def port(self) -> str:
        """The path that a reader opens: the symlink if there is one, else the pseudo terminal."""
        return str(self._link) if self._link is not None else self._name

    def plug_in(self) -> None:
        """Create the port."""
        self._master, slave = os.openpty()
        tty.setraw(slave)  # the kernel keeps these settings as long as the master is open
        self._name = os.ttyname(slave)
        os.close(slave)  # from now on the master detects whether a reader has the port open
        os.set_blocking(self._master, False)
        if self._link is not None:
            try:
                self._make_link(self._link)
            except BaseException:
                self.unplug()
                raise

    def unplug(self, will_return: bool = False) -> None:
        """Remove the port with all bytes that were not read yet. Safe to call twice.

        Args:
            will_return: the device will be plugged in again, so no other device may take its symlink meanwhile.
        """
        if not will_return and self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._master < 0:
            return
        if self._link is not None and self._link.is_symlink() and os.readlink(self._link) == self._name:
            self._link.unlink()
        os.close(self._master)
        self._master = -1

    def reader(self) -> tuple[bool, bytes]:
        """Whether a program has the port open, and the bytes it has sent since the last call."""
        flags = self._poll(select.POLLIN, 0)
        try:
            data = os.read(self._master, 4096) if flags & select.POLLIN else b""
            return not flags & select.POLLHUP, data  # a reader that has closed the port may have sent bytes before
        except OSError:
            return False, b""

    def write(self, data: bytes, stopped: threading.Event) -> bool:
        """Write as fast as the reader accepts bytes. False if the reader went away meanwhile, or `stopped` was set."""
        rest = memoryview(data)
        while rest:
            if stopped.is_set():
                return False
            try:
                rest = rest[os.write(self._master, rest) :]
            except BlockingIOError:
                if self._poll(select.POLLOUT, _POLL_MS) & select.POLLHUP:
                    return False
        return True

    def _poll(self, wanted: int, timeout_ms: int) -> int:
        poll = select.poll()
        poll.register(self._master, wanted)
        return next((flags for _, flags in poll.poll(timeout_ms)), 0)

    def unread(self) -> int:
        """Number of bytes that wait for the reader, without those that the kernel has yet to move to its side."""
        slave = os.open(self._name, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            answer = fcntl.ioctl(slave, termios.FIONREAD, struct.pack("i", 0))
        finally:
            os.close(slave)
        return int(struct.unpack("i", answer)[0])

    def _make_link(self, link: Path) -> None:
        """Make the symlink. It replaces a symlink that an earlier device left behind, but nothing else."""
        if link.is_symlink():
            if link.exists() and not os.path.realpath(link).startswith(_PSEUDO_TERMINALS):
                raise DeviceError(f"{link} is a link to a real device: give --pty another path.")
        elif link.exists():
            raise DeviceError(f"{link} exists and is not a link to a port: give --pty another path.")
        temporary = link.with_name(f"{link.name}.{os.getpid()}")
        try:
            os.symlink(self._name, temporary)
            os.replace(temporary, link)
        except OSError as error:
            raise DeviceError(
                f"{link} cannot be created ({error.strerror}): give --pty a path in a folder that you may write to."
            ) from error


def _lock(link: Path) -> socket.socket | None:
    """Lock the path `link` for this process until the lock is closed or the process ends in any way.

    Without it, two devices with the same symlink would take it from each other unnoticed. A name in Linux's abstract
    socket namespace leaves nothing behind, unlike a lock file. On other systems there is no lock (None).
    """
    if not sys.platform.startswith("linux"):
        return None
    path = os.path.join(os.path.realpath(link.parent), link.name)
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind("\0ecgmoe-device:" + hashlib.sha256(path.encode()).hexdigest())
    except OSError as error:
        lock.close()
        raise DeviceError(
            f"{link} is the port of another replay that is still running: end that one first, or give --pty another "
            "path."
        ) from error
    return lock
