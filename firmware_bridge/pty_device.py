"""The device's end of a pseudo terminal: to the program at the other end it is a serial port.

A stable symlink stands in for the port's name, so that a device can be unplugged and plugged in again.
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

    Raises DeviceError if `link` cannot be made, or if it is that of another device that is still there.
    """

    def __init__(self, link: str | os.PathLike[str] | None = None) -> None:
        self._link = Path(link) if link is not None else None
        self._master = -1
        self._name = ""
        self._claim = _claim(self._link) if self._link is not None else None
        self.plug_in()

    @property
    def port(self) -> str:
        """What a reader opens: the symlink if there is one, else the pseudo terminal itself."""
        return str(self._link) if self._link is not None else self._name

    def plug_in(self) -> None:
        """Make the port appear."""
        self._master, slave = os.openpty()
        tty.setraw(slave)  # outlives the closing: the kernel keeps the settings as long as the master is open
        self._name = os.ttyname(slave)
        os.close(slave)  # from here on the master sees whether somebody has the port open
        os.set_blocking(self._master, False)
        if self._link is not None:
            try:
                self._point(self._link)
            except BaseException:
                self.unplug()
                raise

    def unplug(self, again: bool = False) -> None:
        """Make the port vanish, with all that was not read yet. Safe to call twice.

        again: it will be plugged in again, so meanwhile no other device gets its link.
        """
        if not again and self._claim is not None:
            self._claim.close()
            self._claim = None
        if self._master < 0:
            return
        if self._link is not None and self._link.is_symlink() and os.readlink(self._link) == self._name:
            self._link.unlink()
        os.close(self._master)
        self._master = -1

    def reader(self) -> tuple[bool, bytes]:
        """Whether somebody has the port open, and the bytes that came from there since the last call."""
        flags = self._poll(select.POLLIN, 0)
        try:
            data = os.read(self._master, 4096) if flags & select.POLLIN else b""
            return not flags & select.POLLHUP, data  # who has closed it may have said something before
        except OSError:
            return False, b""

    def write(self, data: bytes, stopped: threading.Event) -> bool:
        """Write as fast as the reader takes it; False if it went away meanwhile, or `stopped` was set."""
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
        """Bytes that wait for the reader; those that the kernel has not moved there yet are not counted."""
        slave = os.open(self._name, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            answer = fcntl.ioctl(slave, termios.FIONREAD, struct.pack("i", 0))
        finally:
            os.close(slave)
        return int(struct.unpack("i", answer)[0])

    def _point(self, link: Path) -> None:
        """Make the symlink, replacing one that an earlier device left behind but nothing else."""
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
                f"{link} cannot be made ({error.strerror}): give --pty a path in a folder of yours."
            ) from error


def _claim(link: Path) -> socket.socket | None:
    """Hold the name of `link` for this process, until it is closed or the process ends, whatever ends it.

    Two devices at one link would take it from each other without a word. A name in Linux's abstract namespace leaves
    nothing behind, as a lock file would; elsewhere nothing is held.
    """
    if not sys.platform.startswith("linux"):
        return None
    path = os.path.join(os.path.realpath(link.parent), link.name)
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind("\0ecgmoe-device:" + hashlib.sha256(path.encode()).hexdigest())
    except OSError as error:
        holder.close()
        raise DeviceError(
            f"{link} is the port of another replay that is still running: end that one first, or give --pty another "
            "path."
        ) from error
    return holder
