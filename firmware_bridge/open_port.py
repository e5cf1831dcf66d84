"""Opening a serial port for this program alone, with a sentence for each way in which that fails."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import termios
from pathlib import Path

import serial

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.ports import PSEUDO_TERMINALS, list_serial_ports


def open_port(port: str, baud: int, timeout_s: float) -> serial.Serial:
    """Open `port` for this program alone, 8N1; nothing is sent. Raises DeviceError."""
    try:
        # pyserial sets DTR and RTS while opening, and lets pass that a pseudo terminal has none.
        opened = serial.Serial(port, baud, timeout=timeout_s, write_timeout=1.0, exclusive=True)
    except (OSError, ValueError) as error:
        raise explain(port, baud, error) from error
    if not os.path.realpath(port).startswith(PSEUDO_TERMINALS):
        # The lock above binds only those who ask for it. A pseudo terminal would keep this one beyond our end.
        with contextlib.suppress(OSError, termios.error):
            fcntl.ioctl(opened.fileno(), termios.TIOCEXCL)
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
        return DeviceError(f"No permission to open {port}: {_how_to_be_allowed(port)}")
    if number in (errno.EBUSY, errno.EAGAIN):
        holders = ", ".join(holders_of(port))
        who = f" ({holders})" if holders else f" (`fuser {port}` says which it is)"
        return DeviceError(f"{port} is in use by another program{who}: close that program first.")
    return DeviceError(f"{port} cannot be used as a serial port ({error}): give the path of a serial device.")


def holders_of(port: str) -> list[str]:
    """The other programs that have `port` open, as far as this user may see them, such as "minicom, process 4711"."""
    real = os.path.realpath(port)
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*")):
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            if any(os.path.realpath(handle) == real for handle in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()}, process {process.name}")
    return found


def _how_to_be_allowed(port: str) -> str:
    """By joining the group that may use it, or, where only root may, by a rule for udev."""
    group = None
    with contextlib.suppress(OSError, KeyError):
        status = os.stat(port)
        if status.st_mode & 0o060 == 0o060 and status.st_gid != 0:
            group = grp.getgrgid(status.st_gid).gr_name
    if group is not None:
        return (
            f"its group `{group}` may. Join it with `sudo usermod -aG {group} $USER`, then log out and in again "
            "(`groups` must list it)."
        )
    usb_id = next((info.usb_id for info in list_serial_ports() if info.port == os.path.realpath(port)), None)
    vendor, product = usb_id.split(":") if usb_id else ("VVVV", "PPPP")
    where = "" if usb_id else " (`ecgmoe-edge ports` or `lsusb` has the two numbers)"
    return (
        "no group may use it. Write into /etc/udev/rules.d/60-ecg.rules the line "
        f'`SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}", GROUP="dialout", '
        f'MODE="0660"`{where}, run `sudo udevadm control --reload`, add yourself with '
        "`sudo usermod -aG dialout $USER`, and plug the device in again."
    )
