"""The wire formats that a serial link can speak, by name.

Ours are listed here. Another distribution adds its own with an entry point in the group "ecgmoe_edge.protocols" whose
value is a `WireFormat` (docs/protocols.md shows one); it is loaded when it is first asked for. A name of ours cannot be
taken by another.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge.formats import ad8232, bitalino, chords, cyton, ecgmoe, hp6, olimex, openview, shimmer3
from ecgmoe_edge.firmware_bridge.items import WireFormat

GROUP = "ecgmoe_edge.protocols"

_OURS: dict[str, WireFormat] = {
    wire_format.name: wire_format
    for wire_format in (
        *ecgmoe.FORMATS,
        *openview.FORMATS,
        *hp6.FORMATS,
        *cyton.FORMATS,
        *bitalino.FORMATS,
        *chords.FORMATS,
        *olimex.FORMATS,
        *shimmer3.FORMATS,
        *ad8232.FORMATS,
    )
}


def protocol_names() -> tuple[str, ...]:
    """The names that `get_protocol` knows, ours first."""
    return (*_OURS, *sorted(_entry_points()))


def get_protocol(name: str) -> WireFormat:
    """The wire format called `name`. Raises UsageError for an unknown one, or one of others that cannot be loaded."""
    if name in _OURS:
        return _OURS[name]
    point = _entry_points().get(name)
    if point is None:
        raise UsageError(f"No serial protocol is called {name!r}. Known: {', '.join(protocol_names())}.")
    loaded = _load(point)
    if isinstance(loaded, str):
        raise UsageError(loaded)
    return loaded


def all_protocols() -> tuple[WireFormat, ...]:
    """Every wire format that can be loaded; see `broken_protocols` for the others."""
    others = (_load(point) for point in _entry_points().values())
    return (*_OURS.values(), *(found for found in others if not isinstance(found, str)))


def broken_protocols() -> tuple[str, ...]:
    """A sentence for each protocol of another distribution that cannot be loaded."""
    others = (_load(point) for point in _entry_points().values())
    return tuple(wrong for wrong in others if isinstance(wrong, str))


def _entry_points() -> dict[str, metadata.EntryPoint]:
    """By name; ours cannot be replaced."""
    return {point.name: point for point in metadata.entry_points(group=GROUP) if point.name not in _OURS}


@cache
def _load(point: metadata.EntryPoint) -> WireFormat | str:
    """What the entry point names, or what is wrong with it."""
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 - somebody else's code, which may fail in any way
        return f"The protocol {point.name} ({point.value}) cannot be loaded: {error}. Update or remove what brought it."
    if not isinstance(loaded, WireFormat) or loaded.name != point.name:
        return f"The protocol {point.name} ({point.value}) is no WireFormat of that name: update or remove it."
    return loaded
