"""Which serial ports this host has, what is plugged into them, and which of them is the device that went away."""

from __future__ import annotations

import contextlib
import os
import weakref
from dataclasses import dataclass
from pathlib import Path

from ecgmoe_edge.firmware_bridge.serial_package import list_ports

PSEUDO_TERMINALS = "/dev/pts/"
STABLE_PATHS = Path("/dev/serial/by-id")  # made by udev: names that stay the same wherever a device is plugged in


@dataclass(frozen=True)
class PortInfo:
    """A serial port; the USB fields are None for one that is not on USB."""

    port: str
    description: str
    manufacturer: str | None = None
    product: str | None = None
    serial_number: str | None = None
    vendor_id: int | None = None
    product_id: int | None = None
    location: str | None = None  # the USB socket: bus and the ports of the hubs on the way
    stable_path: str | None = None  # a link that leads to this device wherever it is plugged in

    @property
    def usb_id(self) -> str | None:
        """Vendor and product as people write them, such as "1a86:7523"."""
        if self.vendor_id is None or self.product_id is None:
            return None
        return f"{self.vendor_id:04x}:{self.product_id:04x}"

    def is_same_device(self, other: PortInfo) -> bool:
        """Whether both are one USB device: by its serial number, or, if it has none, by the socket that it is in."""
        if self.usb_id is None or self.usb_id != other.usb_id:
            return False
        if self.serial_number or other.serial_number:
            return self.serial_number == other.serial_number
        return self.location is not None and self.location == other.location


def is_pseudo_terminal(port: str) -> bool:
    """Whether it is a program, such as a virtual Holter, that stands behind a port: it can wait for its reader."""
    return os.path.realpath(port).startswith(PSEUDO_TERMINALS)


def list_serial_ports() -> list[PortInfo]:
    """All serial ports, sorted by name. Pseudo terminals, such as a virtual Holter's, are not among them."""
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
    """Real path of a port to its link in /dev/serial/by-id."""
    try:
        return {os.path.realpath(link): str(link) for link in sorted(STABLE_PATHS.iterdir())}
    except OSError:
        return {}


class PseudoTerminal:
    """A hold on one pseudo terminal, without opening it: its number and its times may be another's a moment later."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_PATH)
        self.release = weakref.finalize(self, os.close, self._handle)  # may be called twice; False from `is_at` then

    def is_at(self, path: str) -> bool:
        """Whether it is still there, and `path` leads to it."""
        try:
            held = os.fstat(self._handle) if self.release.alive else None
            return held is not None and held.st_nlink > 0 and os.path.samestat(held, os.stat(path))
        except OSError:
            return False


@dataclass(frozen=True)
class PortIdentity:
    """Which thing a path stood for when it was opened, and where that thing is now.

    A USB device is known by its serial number, or by its socket: it may come back under another name (ttyACM1 for
    ttyACM0), and another device may come in its place, to which not a byte must go.

    The number of a pseudo terminal is given to the next program that asks, which may be somebody's shell. Neither its
    path nor a symlink that was left behind must make us open that one: it counts as back only if it is still the one
    that it was (an error that passed), or once its symlink has been made anew.
    """

    port: str
    terminal: PseudoTerminal | None = None
    link: tuple[int, int] | None = None  # inode and change time (ns) of a symlink to it
    usb: PortInfo | None = None

    @classmethod
    def of(cls, port: str) -> PortIdentity:
        """Of the path as it is now."""
        real = os.path.realpath(port)
        if is_pseudo_terminal(real):
            terminal = None
            with contextlib.suppress(OSError):  # gone already: opening it says so
                terminal = PseudoTerminal(real)
            return cls(port, terminal=terminal, link=_link_of(port), usb=_usb_device_at(real))
        return cls(port, usb=_usb_device_at(real))

    def release(self) -> None:
        """Hold nothing any more: the link to the device is closed for good."""
        if self.terminal is not None:
            self.terminal.release()

    def where_now(self) -> str | None:
        """The path under which the device may be opened again; None while it is away."""
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
        link = _link_of(self.port)
        return self.port if link is not None and link != self.link else None


def _link_of(port: str) -> tuple[int, int] | None:
    try:
        if os.path.islink(port) and os.path.realpath(port).startswith(PSEUDO_TERMINALS):
            status = os.lstat(port)
            return status.st_ino, status.st_ctime_ns
    except OSError:
        pass
    return None


def _usb_device_at(real_path: str) -> PortInfo | None:
    for info in list_serial_ports():
        if info.usb_id is not None and os.path.realpath(info.port) == real_path:
            return info
    return None
