"""`ports`: the serial ports of this machine."""

from __future__ import annotations

from ecgmoe_edge.cli.options import JsonOption
from ecgmoe_edge.cli.output import result, result_json, say

EXAMPLES = ("ecgmoe-edge ports", "ecgmoe-edge ports --json")


def ports(as_json: JsonOption = False) -> None:
    """List the serial ports that a device may be on."""
    from dataclasses import asdict

    from ecgmoe_edge.firmware_bridge import list_serial_ports

    found = list_serial_ports()
    if as_json:
        result_json([asdict(port) for port in found])
        return
    for port in found:
        result(f"{port.port}  {port.description}")
    if not found:
        say("No serial port found. Is the device plugged in, and may this user open serial ports?")
