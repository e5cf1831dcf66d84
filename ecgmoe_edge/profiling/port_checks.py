"""Checks the serial ports of this machine: who may use them, and which programs seize them."""

from __future__ import annotations

import contextlib
import grp
import os
from pathlib import Path

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.profiling.findings import Finding

_SERVICES = ("brltty", "ModemManager", "gpsd")  # a login console runs on every machine, so it is looked for at the port


def port_findings(root: Path = Path("/")) -> list[Finding]:
    """Check each serial port of this machine, and the programs that seize ports.

    Args:
        root: the file tree with /proc. The ports are always those of this machine.
    """
    try:
        from ecgmoe_edge.firmware_bridge.ports import list_serial_ports
    except DeviceError as error:  # another module is in the place of pyserial
        return [Finding("serial ports", "problem", "none can be read: pyserial cannot be imported", str(error))]
    found = [_port_finding(port.port, port.usb_id) for port in list_serial_ports()]
    if not found:
        found = [
            Finding("serial ports", "ok", "none; a device that is plugged in and is not here may have been seized")
        ]
    return found + _service_findings(root)


def _port_finding(port: str, usb_id: str | None) -> Finding:
    from ecgmoe_edge.firmware_bridge.open_port import PORT_GRABBING_SERVICES, holders_of, permission_advice

    name = f"port {port}"
    about = f"USB {usb_id}, " if usb_id else ""
    try:
        owner = _group_of(port)
        about += f"group {owner}, " if owner else ""
    except OSError as error:
        return Finding(name, "remark", f"{about}cannot be examined: {error.strerror}", "Plug the device in again.")
    if not os.access(port, os.R_OK | os.W_OK):
        return Finding(name, "remark", f"{about}no permission to read and write", permission_advice(port))
    holders = holders_of(port)
    if holders:
        program = holders[0].split(",")[0]
        advice = PORT_GRABBING_SERVICES.get(program, "Close that program.").format(name=os.path.basename(port))
        return Finding(name, "remark", f"{about}in use by {', '.join(holders)}", advice)
    return Finding(name, "ok", f"{about}can be read and written")


def _group_of(port: str) -> str | None:
    """Name of the group that owns a port; None if the group has no name.

    Raises:
        OSError: the port has vanished.
    """
    number = os.stat(port).st_gid
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return None


def _service_findings(root: Path) -> list[Finding]:
    from ecgmoe_edge.firmware_bridge.open_port import PORT_GRABBING_SERVICES, running_programs

    running = running_programs(root)
    return [
        Finding(name, "remark", "runs, and may seize a serial port", PORT_GRABBING_SERVICES[name].format(name=""))
        if name in running
        else Finding(name, "ok", "does not run")
        for name in _SERVICES
    ]
