"""Opening a serial port for this program alone, with a sentence for each way in which that fails."""

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

# Programs that take serial ports by themselves, as /proc names them, and what to do.
SERVICES = {
    "brltty": "brltty, the driver of braille displays, takes CH340, CP2102 and FT232 converters for its own: "
    "`sudo apt remove brltty`, or `sudo systemctl stop brltty-udev`, and plug the device in again.",
    "ModemManager": "ModemManager asks each new port whether it is a modem: wait half a minute, "
    "`sudo systemctl stop ModemManager`, or tell it to leave the device alone by a udev rule with "
    '`ENV{{ID_MM_DEVICE_IGNORE}}="1"`.',
    "agetty": "A login console runs on it: `sudo systemctl stop serial-getty@{name}` (on a Raspberry Pi: raspi-config, "
    "Interface Options, Serial Port).",
    "gpsd": "gpsd takes it for a GPS receiver: `sudo systemctl stop gpsd.socket gpsd`.",
}
VANISHED = (
    "A CH340, CP2102 or FT232 converter that vanishes right after it was plugged in is taken by brltty, the driver of "
    "braille displays (`sudo dmesg | grep brltty` shows it): `sudo apt remove brltty`."
)


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
        here = list_serial_ports()
        known = ", ".join(info.port for info in here)
        present = f"Serial ports on this machine: {known}." if known else "This machine has no serial ports now."
        vanished = f" {VANISHED}" if port.startswith("/dev/tty") and not any(info.usb_id for info in here) else ""
        return DeviceError(f"There is no port {port}: plug the device in, or correct --port. {present}{vanished}")
    if number in (errno.EACCES, errno.EPERM):
        return DeviceError(f"No permission to open {port}: {_how_to_be_allowed(port)}")
    if number in (errno.EBUSY, errno.EAGAIN):
        holders = holders_of(port)
        who = f" ({', '.join(holders)})" if holders else f" (`sudo fuser -v {port}` says which it is)"
        suspects = [holder.split(",")[0] for holder in holders] or running_programs()
        advice = next((words for name, words in SERVICES.items() if name in suspects), None)
        if advice is None:
            return DeviceError(f"{port} is in use by another program{who}: close that program first.")
        return DeviceError(f"{port} is in use by another program{who}. {advice.format(name=os.path.basename(port))}")
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


def running_programs() -> set[str]:
    """The names of all programs that run, for where the owner of a port cannot be seen."""
    found = set()
    for name in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            found.add(name.read_text().strip())
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
