"""A sink takes events one by one, as they happen."""

from __future__ import annotations

import json
from typing import Protocol, TextIO

from ecgmoe_edge.streaming.events import Event, to_json


class Sink(Protocol):
    """Takes the events of a stream."""

    def write(self, event: Event) -> None:
        """Take one event; it is out when this returns."""
        ...

    def close(self) -> None:
        """Take no more."""
        ...


class JsonLinesSink:
    """One JSON object a line, strictly JSON (no NaN), flushed at once so that a pipe's reader is never behind."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: Event) -> None:
        """Write one event as one line."""
        self._stream.write(json.dumps(to_json(event), allow_nan=False, separators=(",", ":")) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Flush; the stream stays open, for it belongs to the caller."""
        self._stream.flush()
