"""Lists the serial ports of this host and the devices on them, and finds a device again after it was unplugged."""

from __future__ import annotations

import contextlib
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.firmware_bridge.serial_package import list_ports

PSEUDO_TERMINALS = "/dev/pts/"
# Symlinks by udev that stay the same whichever USB socket a device is plugged into
STABLE_PATHS = Path("/dev/serial/by-id")


@dataclass(frozen=True)
class PortInfo:
    """A serial port. The USB fields are None if the port is not on USB."""

    port: str
    description: str
    manufacturer: str | None = None
    product: str | None = None
    serial_number: str | None = None
    vendor_id: int | None = None
    product_id: int | None = None
    location: str | None = None  # the USB socket: bus number and the hub ports on the way
    stable_path: str | None = None  # a symlink that leads to this device whichever USB socket it is plugged into

    @property
    def usb_id(self) -> str | None:
        """Vendor and product id as usually written, such as "1a86:7523"; None if not on USB.

        >>> PortInfo("/dev/ttyUSB0", "USB Serial", vendor_id=0x1A86, product_id=0x7523).usb_id
        '1a86:7523'
        """
        if self.vendor_id is None or self.product_id is None:
            return None
        return f"{self.vendor_id:04x}:{self.product_id:04x}"

    def is_same_device(self, other: PortInfo) -> bool:
        """Whether both are one USB device: by serial number or, if it has none, by USB socket."""
        if self.usb_id is None or self.usb_id != other.usb_id:
            return False
        if self.serial_number or other.serial_number:
            return self.serial_number == other.serial_number
        return self.location is not None and self.location == other.location


def is_pseudo_terminal(port: str) -> bool:
    """Whether a program, such as a virtual Holter, is behind the port. It can wait for its reader; a device cannot."""
    return os.path.realpath(port).startswith(PSEUDO_TERMINALS)


def list_serial_ports() -> list[PortInfo]:
    """All serial ports, sorted by path. Pseudo terminals, such as a virtual Holter's, are not included."""
    stable = _stable_paths()
    return [
        PortInfo(
            port=port.device,
            description=port.description,
            manufacturer=port.manufacturer,
            product=port.product,
            serial_number=port.serial_number,
            vendor_id=port.vid,
            product_id=port.pid,
            location=port.location,
            stable_path=stable.get(os.path.realpath(port.device)),
        )
        for port in sorted(list_ports.comports(), key=lambda port: str(port.device))
    ]


def _stable_paths() -> dict[str, str]:
    """Maps the real path of each port to its symlink in /dev/serial/by-id."""
    try:
        return {os.path.realpath(link): str(link) for link in sorted(STABLE_PATHS.iterdir())}
    except OSError:
        return {}


class PseudoTerminal:
    """A reference to one pseudo terminal that does not open it.

    It is needed because the kernel soon reuses the number of a closed pseudo terminal for another program.
    """

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_PATH)
        # May be called twice; `is_at` returns False afterwards
        self.release = weakref.finalize(self, os.close, self._handle)

    def is_at(self, path: str) -> bool:
        """Whether the pseudo terminal still exists and `path` leads to it."""
        try:
            held = os.fstat(self._handle) if self.release.alive else None
            return held is not None and held.st_nlink > 0 and os.path.samestat(held, os.stat(path))
        except OSError:
            return False


@dataclass(frozen=True)
class PortIdentity:
    """The device behind a path when the port was opened, and the way to find that device again.

    A USB device is identified by its serial number or its socket. It may come back under another path (ttyACM1 instead
    of ttyACM0), and another device may take over the old path; that one must not receive a single byte.

    A pseudo terminal's number goes to the next program that requests one, perhaps a login shell. So a pseudo terminal
    counts as back only if it is still the same one (after a passing error), or if its symlink has been created again.

    Attributes:
        port: the path.
        terminal: the pseudo terminal, if it is one.
        link: inode and change time (ns) of the symlink to a pseudo terminal.
        usb: the USB device, if it is one.
    """

    port: str
    terminal: PseudoTerminal | None = None
    link: tuple[int, int] | None = None
    usb: PortInfo | None = None

    @classmethod
    def of(cls, port: str) -> PortIdentity:
        """The identity of the device that `port` leads to now."""
        real = os.path.realpath(port)
        if is_pseudo_terminal(real):
            terminal = None
            with contextlib.suppress(OSError):  # already gone: opening the port reports it
                terminal = PseudoTerminal(real)
            return cls(port, terminal=terminal, link=_symlink_stamp(port), usb=_usb_device_at(real))
        return cls(port, usb=_usb_device_at(real))

    def release(self) -> None:
        """Drop the reference to the pseudo terminal: the link is closed for good."""
        if self.terminal is not None:
            self.terminal.release()

    def current_path(self) -> str | None:
        """The path at which the device can be opened now; None while it is away."""
        if self.usb is not None:
            here, elsewhere = os.path.realpath(self.port), None
            for info in list_serial_ports():
                nameless = info.usb_id == self.usb.usb_id and not (info.serial_number or self.usb.serial_number)
                if info.port == here and (nameless or info.is_same_device(self.usb)):
                    return self.port
                if info.is_same_device(self.usb):
                    elsewhere = info.port
            return elsewhere
        if self.terminal is None or self.terminal.is_at(self.port):
            return self.port
        link = _symlink_stamp(self.port)
        return self.port if link is not None and link != self.link else None


def _symlink_stamp(port: str) -> tuple[int, int] | None:
    """Inode and change time (ns) of a symlink to a pseudo terminal; None if `port` is no such symlink."""
    try:
        if os.path.islink(port) and os.path.realpath(port).startswith(PSEUDO_TERMINALS):
            status = os.lstat(port)
            return status.st_ino, status.st_ctime_ns
    except OSError:
        pass
    return None


def _usb_device_at(real_path: str) -> PortInfo | None:
    """The USB device at a path; None if there is none."""
    for info in list_serial_ports():
        if info.usb_id is not None and os.path.realpath(info.port) == real_path:
            return info
    return None
