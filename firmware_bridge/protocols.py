"""The wire formats that a serial link supports, by name.

The built-in formats are listed here. Other packages add formats by an entry point in the group
"ecgmoe_edge.protocols" whose value is a `WireFormat` (docs/protocols.md has an example); it is loaded on first use.
The names of built-in formats cannot be replaced.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge.formats import ad8232, bitalino, chords, cyton, ecgmoe, hp6, olimex, openview, shimmer3
from ecgmoe_edge.firmware_bridge.items import WireFormat

GROUP = "ecgmoe_edge.protocols"

_BUILT_IN: dict[str, WireFormat] = {
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
    """All protocol names, the built-in ones first.

    >>> "cyton" in protocol_names()
    True
    """
    return (*_BUILT_IN, *sorted(_entry_points()))


def get_protocol(name: str) -> WireFormat:
    """The wire format called `name`.

    Raises:
        UsageError: the name is unknown, or the package that provides the format cannot be loaded.

    >>> get_protocol("cyton").rate
    '250 Hz'
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    point = _entry_points().get(name)
    if point is None:
        raise UsageError(f"No serial protocol is called {name!r}. Known: {', '.join(protocol_names())}.")
    loaded = _load(point)
    if isinstance(loaded, str):
        raise UsageError(loaded)
    return loaded


def all_protocols() -> tuple[WireFormat, ...]:
    """All wire formats that can be loaded; `broken_protocols` reports the others."""
    others = (_load(point) for point in _entry_points().values())
    return (*_BUILT_IN.values(), *(found for found in others if not isinstance(found, str)))


def broken_protocols() -> tuple[str, ...]:
    """One sentence for each protocol of another package that cannot be loaded."""
    others = (_load(point) for point in _entry_points().values())
    return tuple(wrong for wrong in others if isinstance(wrong, str))


def _entry_points() -> dict[str, metadata.EntryPoint]:
    """Entry points by name, without those that reuse a built-in name."""
    return {point.name: point for point in metadata.entry_points(group=GROUP) if point.name not in _BUILT_IN}


@cache
def _load(point: metadata.EntryPoint) -> WireFormat | str:
    """The wire format of an entry point, or a sentence about what is wrong with it."""
    try:
        loaded = point.load()
    except Exception as error:  # noqa: BLE001 - third-party code may fail in any way
        return f"The protocol {point.name} ({point.value}) cannot be loaded: {error}. Update or remove its package."
    if not isinstance(loaded, WireFormat) or loaded.name != point.name:
        return (
            f"The protocol {point.name} ({point.value}) is not a WireFormat of that name: update or remove its package."
        )
    return loaded
