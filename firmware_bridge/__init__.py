"""Serial devices as a source of ECG samples: wire formats, the serial link, and a virtual Holter for tests.

The usual entry points are `SerialLink` (read a device), `recognise` (find out which protocol a device uses) and
`VirtualHolter` (replay a recording as if it were a device).
"""

from ecgmoe_edge.firmware_bridge.items import (
    Advice,
    ClockReading,
    ConsumerLag,
    DeviceRestart,
    EndOfStream,
    LeadOffChange,
    LinkItem,
    LinkReconnect,
    LinkStall,
    SampleLoss,
    Samples,
    Settings,
    StreamInfo,
    WireFormat,
)
from ecgmoe_edge.firmware_bridge.link import SerialLink
from ecgmoe_edge.firmware_bridge.ports import PortInfo, list_serial_ports
from ecgmoe_edge.firmware_bridge.protocols import get_protocol, protocol_names
from ecgmoe_edge.firmware_bridge.recognition import RecognisedDevice, recognise, recognise_any
from ecgmoe_edge.firmware_bridge.virtual_holter import Faults, ReplayTotals, VirtualHolter

__all__ = [
    "Advice",
    "ClockReading",
    "ConsumerLag",
    "DeviceRestart",
    "EndOfStream",
    "Faults",
    "LeadOffChange",
    "LinkItem",
    "LinkReconnect",
    "LinkStall",
    "PortInfo",
    "RecognisedDevice",
    "ReplayTotals",
    "SampleLoss",
    "Samples",
    "SerialLink",
    "Settings",
    "StreamInfo",
    "VirtualHolter",
    "WireFormat",
    "get_protocol",
    "list_serial_ports",
    "protocol_names",
    "recognise",
    "recognise_any",
]
