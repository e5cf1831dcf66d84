"""`ports`: lists the serial ports of this machine and the devices on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.options import JsonOption, ProbeOption
from ecgmoe_edge.cli.output import result, result_json, say
from ecgmoe_edge.shown_text import shown

if TYPE_CHECKING:
    from ecgmoe_edge.firmware_bridge import PortInfo

EXAMPLES = ("ecgmoe-edge ports", "ecgmoe-edge ports --listen", "ecgmoe-edge ports --protocols")


def ports(
    listen: Annotated[
        bool, typer.Option("--listen", help="Detect each device's protocol by listening only; takes seconds.")
    ] = False,
    probe: ProbeOption = False,
    protocols: Annotated[
        bool, typer.Option("--protocols", help="List the protocols instead, and which losses each detects.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the serial ports of this machine, with the USB identity of their devices.

    USB ids are vendor:product. The link under a port stays the same whichever USB socket the device is plugged into.
    """
    from dataclasses import asdict

    from ecgmoe_edge.firmware_bridge import list_serial_ports
    from ecgmoe_edge.firmware_bridge.open_port import VANISHED_PORT_ADVICE
    from ecgmoe_edge.firmware_bridge.recognition import identify_port

    if protocols:
        _list_protocols(as_json)
        return
    found = list_serial_ports()
    results = [identify_port(port, probe=probe) if listen or probe else (None, None, "") for port in found]
    if not any(port.usb_id for port in found):
        say(f"There is no USB serial port: is the device plugged in? {VANISHED_PORT_ADVICE}")
    if as_json:
        result_json(
            [
                {**asdict(port), "usb_id": port.usb_id, "protocol": protocol, "baud": baud, "heard": sentence or None}
                for port, (protocol, baud, sentence) in zip(found, results, strict=True)
            ]
        )
        return
    for port, (_, _, sentence) in zip(found, results, strict=True):
        result("\n".join(map(shown, _lines(port, sentence))))


def _lines(port: PortInfo, sentence: str) -> list[str]:
    usb = f"  USB {port.usb_id}" if port.usb_id else ""
    serial = f", serial number {port.serial_number}" if port.serial_number else ""
    lines = [f"{port.port}  {port.description}{usb}{serial}"]
    return lines + [f"    {more}" for more in (port.stable_path, sentence) if more]


def _list_protocols(as_json: bool) -> None:
    """Print every protocol."""
    from ecgmoe_edge.firmware_bridge.protocols import all_protocols, broken_protocols

    for sentence in broken_protocols():
        say(sentence)
    facts = [
        {
            "protocol": one.name,
            "description": one.description,
            "bauds": list(one.bauds),
            "rate": one.rate,
            "leads": one.leads,
            "uv_per_lsb": one.scale,
            "must_be_given": list(one.needs),
            "exact_below_samples": one.counter_range,
            "limits": one.limits,
        }
        for one in all_protocols()
    ]
    if as_json:
        result_json(facts)
        return
    for one in all_protocols():
        needs = f" Give {' and '.join(one.needs)}." if one.needs else ""
        result(f"{one.name}  {one.description}, {one.baud} baud.{needs}\n    {one.limits}")
