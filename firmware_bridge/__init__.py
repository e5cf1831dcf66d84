"""From bytes on a serial port to monitored samples: wire formats, the serial link, and a virtual Holter to try them."""

from ecgmoe_edge.firmware_bridge.items import (
    Advice,
    ClockReading,
    DeviceRestart,
    EndOfStream,
    FellBehind,
    LeadOffChange,
    LinkItem,
    Lost,
    Reconnected,
    Samples,
    Settings,
    Stalled,
    StreamInfo,
    WireFormat,
)
from ecgmoe_edge.firmware_bridge.link import SerialLink
from ecgmoe_edge.firmware_bridge.ports import PortInfo, list_serial_ports
from ecgmoe_edge.firmware_bridge.protocols import get_protocol, protocol_names
from ecgmoe_edge.firmware_bridge.recognition import Recognised, recognise, recognise_any
from ecgmoe_edge.firmware_bridge.virtual_holter import Faults, ReplayTotals, VirtualHolter

__all__ = [
    "Advice",
    "ClockReading",
    "DeviceRestart",
    "EndOfStream",
    "Faults",
    "FellBehind",
    "LeadOffChange",
    "LinkItem",
    "Lost",
    "PortInfo",
    "Recognised",
    "Reconnected",
    "ReplayTotals",
    "Samples",
    "SerialLink",
    "Settings",
    "Stalled",
    "StreamInfo",
    "VirtualHolter",
    "WireFormat",
    "get_protocol",
    "list_serial_ports",
    "protocol_names",
    "recognise",
    "recognise_any",
]
