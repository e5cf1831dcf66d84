"""Lists of events, for the comparison of two streams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ecgmoe_edge.streaming.events import Beat, End, Event


def untimed(events: Iterable[Event]) -> list[Event]:
    """The events without computing times, which depend on the machine."""
    out: list[Event] = []
    for event in events:
        if isinstance(event, Beat):
            out.append(replace(event, compute_ms=0.0))
        elif isinstance(event, End):
            out.append(replace(event, compute_ms={}))
        else:
            out.append(event)
    return out


def beats(events: Iterable[Event]) -> list[Beat]:
    """The beats among the events."""
    return [event for event in events if isinstance(event, Beat)]
