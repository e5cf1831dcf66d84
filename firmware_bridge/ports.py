"""Which serial ports this host has, and what is plugged into them."""

from __future__ import annotations

from dataclasses import dataclass

from serial.tools import list_ports


@dataclass(frozen=True)
class PortInfo:
    """A serial port; the USB fields are None for one that is not on USB."""

    port: str
    description: str
    manufacturer: str | None
    product: str | None
    serial_number: str | None
    vendor_id: int | None
    product_id: int | None


def list_serial_ports() -> list[PortInfo]:
    """All serial ports, sorted by name. Pseudo terminals, such as a virtual Holter's, are not among them."""
    return [
        PortInfo(
            port=port.device,
            description=port.description,
            manufacturer=port.manufacturer,
            product=port.product,
            serial_number=port.serial_number,
            vendor_id=port.vid,
            product_id=port.pid,
        )
        for port in sorted(list_ports.comports(), key=lambda port: str(port.device))
    ]
