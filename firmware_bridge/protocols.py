"""The wire formats that a serial link can speak, by name.

Another device is one more module that defines a `FORMAT` (see `items.WireFormat`) and one more entry here.
"""

from __future__ import annotations

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge import decoder
from ecgmoe_edge.firmware_bridge.items import WireFormat

_FORMATS: dict[str, WireFormat] = {wire_format.name: wire_format for wire_format in (decoder.FORMAT,)}


def protocol_names() -> tuple[str, ...]:
    """The names that `get_protocol` knows."""
    return tuple(_FORMATS)


def get_protocol(name: str) -> WireFormat:
    """The wire format called `name`. Raises UsageError for an unknown one."""
    try:
        return _FORMATS[name]
    except KeyError:
        raise UsageError(f"No serial protocol is called {name!r}. Known: {', '.join(_FORMATS)}.") from None
