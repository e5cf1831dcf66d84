"""Opens a serial port for exclusive use, and explains each way in which that fails."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import termios
from pathlib import Path

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.ports import PSEUDO_TERMINALS, list_serial_ports
from ecgmoe_edge.firmware_bridge.serial_package import serial

# Programs that open serial ports on their own, by their name in /proc, and what to do about them.
PORT_GRABBING_SERVICES = {
    "brltty": "brltty, the driver of braille displays, takes over CH340, CP2102 and FT232 converters: "
    "`sudo apt remove brltty`, or `sudo systemctl stop brltty-udev`, and plug the device in again.",
    "ModemManager": "ModemManager probes each new port for a modem: wait half a minute, "
    "`sudo systemctl stop ModemManager`, or exclude the device by a udev rule with "
    '`ENV{{ID_MM_DEVICE_IGNORE}}="1"`.',
    "agetty": "A login console runs on it: `sudo systemctl stop serial-getty@{name}` (on a Raspberry Pi: raspi-config, "
    "Interface Options, Serial Port).",
    "gpsd": "gpsd uses it as a GPS receiver: `sudo systemctl stop gpsd.socket gpsd`.",
}
VANISHED_PORT_ADVICE = (
    "If a CH340, CP2102 or FT232 converter vanishes right after it was plugged in, brltty, the driver of braille "
    "displays, has taken it (`sudo dmesg | grep brltty` shows it): `sudo apt remove brltty`."
)


def open_port(port: str, baud: int, timeout_s: float) -> serial.Serial:
    """Open `port` for exclusive use, 8N1. Sends nothing.

    Args:
        port: path of the device.
        baud: baud rate.
        timeout_s: how long a read waits for bytes, s.

    Raises:
        DeviceError: the port is missing, busy, forbidden or not a serial port.
    """
    try:
        # pyserial sets DTR and RTS while opening; it ignores that a pseudo terminal has neither.
        opened = serial.Serial(port, baud, timeout=timeout_s, write_timeout=1.0, exclusive=True)
    except (OSError, ValueError) as error:
        raise open_error(port, baud, error) from error
    if not os.path.realpath(port).startswith(PSEUDO_TERMINALS):
        # pyserial's lock is advisory, so TIOCEXCL is set too. A pseudo terminal would keep it after this process ends.
        with contextlib.suppress(OSError, termios.error):
            fcntl.ioctl(opened.fileno(), termios.TIOCEXCL)
    return opened


def open_error(port: str, baud: int, error: Exception) -> DeviceError:
    """A DeviceError that says what is wrong with `port` and what to do about it."""
    number = getattr(error, "errno", None)
    if isinstance(error, ValueError):
        return DeviceError(f"{port} cannot be opened at {baud} baud: {error}.")
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        here = list_serial_ports()
        known = ", ".join(info.port for info in here)
        present = f"Serial ports on this machine: {known}." if known else "This machine has no serial ports now."
        vanished = (
            f" {VANISHED_PORT_ADVICE}" if port.startswith("/dev/tty") and not any(info.usb_id for info in here) else ""
        )
        return DeviceError(f"There is no port {port}: plug the device in, or correct --port. {present}{vanished}")
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError(f"No permission to open {port}: {permission_advice(port)}")
    if number in (errno.EBUSY, errno.EAGAIN):
        holders = holders_of(port)
        who = f" ({', '.join(holders)})" if holders else f" (`sudo fuser -v {port}` shows which)"
        suspects = [holder.split(",")[0] for holder in holders] or running_programs()
        advice = next((words for name, words in PORT_GRABBING_SERVICES.items() if name in suspects), None)
        if advice is None:
            return DeviceError(f"{port} is in use by another program{who}: close that program first.")
        return DeviceError(f"{port} is in use by another program{who}. {advice.format(name=os.path.basename(port))}")
    return DeviceError(f"{port} cannot be used as a serial port ({error}): give the path of a serial device.")


def holders_of(port: str) -> list[str]:
    """The other programs that have `port` open, such as "minicom, process 4711", as far as this user may see them."""
    real = os.path.realpath(port)
    found = []
    for process in sorted(Path("/proc").glob("[0-9]*")):
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            if any(os.path.realpath(handle) == real for handle in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()}, process {process.name}")
    return found


def running_programs(root: Path = Path("/")) -> set[str]:
    """Names of all running programs, for when the owner of a port cannot be determined.

    Args:
        root: the file tree with /proc.
    """
    found = set()
    for name in root.glob("proc/[0-9]*/comm"):
        with contextlib.suppress(OSError):
            found.add(name.read_text().strip())
    return found


def permission_advice(port: str) -> str:
    """How to get access: join the group that may use the port or, if only root may, add a udev rule."""
    group = None
    with contextlib.suppress(OSError, KeyError):
        status = os.stat(port)
        if status.st_mode & 0o060 == 0o060 and status.st_gid != 0:
            group = grp.getgrgid(status.st_gid).gr_name
    if group is not None:
        return (
            f"only its group `{group}` has access. Join it with `sudo usermod -aG {group} $USER`, then log out and in "
            "again (`groups` must list it)."
        )
    usb_id = next((info.usb_id for info in list_serial_ports() if info.port == os.path.realpath(port)), None)
    vendor, product = usb_id.split(":") if usb_id else ("VVVV", "PPPP")
    where = "" if usb_id else " (`ecgmoe-edge ports` or `lsusb` shows the two numbers)"
    return (
        "no group has access. Write into /etc/udev/rules.d/60-ecg.rules the line "
        f'`SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}", GROUP="dialout", '
        f'MODE="0660"`{where}, run `sudo udevadm control --reload`, add yourself with '
        "`sudo usermod -aG dialout $USER`, and plug the device in again."
    )
