"""Opening a serial port, with a sentence for each way in which that fails."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

import serial

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.ports import list_serial_ports

_PSEUDO_TERMINALS = "/dev/pts/"


def open_port(port: str, baud: int, timeout_s: float, start: bytes = b"") -> serial.Serial:
    """Open `port` for this program alone, 8N1, and send `start`. Raises DeviceError."""
    try:
        # pyserial sets DTR and RTS while opening, and lets pass that a pseudo terminal has none.
        opened = serial.Serial(port, baud, timeout=timeout_s, write_timeout=1.0, exclusive=True)
    except (OSError, ValueError) as error:
        raise explain(port, baud, error) from error
    try:
        if start:
            opened.write(start)
    except OSError as error:
        opened.close()
        raise explain(port, baud, error) from error
    return opened


def explain(port: str, baud: int, error: Exception) -> DeviceError:
    """What went wrong with `port`, and what to do about it."""
    number = getattr(error, "errno", None)
    if isinstance(error, ValueError):
        return DeviceError(f"{port} cannot be opened at {baud} baud: {error}.")
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        known = ", ".join(info.port for info in list_serial_ports())
        present = f"Serial ports on this machine: {known}." if known else "This machine has no serial ports now."
        return DeviceError(f"There is no port {port}: plug the device in, or correct --port. {present}")
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError(
            f"No permission to open {port}: add yourself to its group, on most systems with "
            "`sudo usermod -aG dialout $USER`, then log in again."
        )
    if number in (errno.EBUSY, errno.EAGAIN):
        return DeviceError(
            f"{port} is in use by another program: close that program first (`fuser {port}` says which it is)."
        )
    return DeviceError(f"{port} cannot be used as a serial port ({error}): give the path of a serial device.")


@dataclass(frozen=True)
class PortIdentity:
    """Which thing a path stood for when it was opened.

    The number of a pseudo terminal is given to the next program that asks, which may be somebody's shell. A symlink
    that was left behind must not make us open that one: it counts as back only once it has been made anew.
    """

    port: str
    link: tuple[int, int] | None  # inode and change time (ns) of a symlink to a pseudo terminal

    @classmethod
    def of(cls, port: str) -> PortIdentity:
        """Of the path as it is now."""
        try:
            if os.path.islink(port) and os.path.realpath(port).startswith(_PSEUDO_TERMINALS):
                status = os.lstat(port)
                return cls(port, (status.st_ino, status.st_ctime_ns))
        except OSError:
            pass
        return cls(port, None)

    def may_be_back(self) -> bool:
        """Whether the path may be opened again after the port went away."""
        return self.link is None or PortIdentity.of(self.port).link != self.link
