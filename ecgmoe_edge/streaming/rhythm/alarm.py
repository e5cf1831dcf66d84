"""One rhythm that begins and ends."""

from __future__ import annotations

from ecgmoe_edge.streaming.events import Rhythm


class Alarm:
    """A rhythm of one label, open or not; `limit` defines it for the reader of its events."""

    def __init__(self, label: str, limit: str | None = None) -> None:
        self.label, self.limit = label, limit
        self.from_s: float | None = None  # None: it is not open

    def begin(self, from_s: float, out: list[Rhythm]) -> None:
        """Report its beginning, unless it has begun."""
        if self.from_s is None:
            self.from_s = from_s
            out.append(Rhythm(self.label, from_s, None, self.limit))

    def end(self, to_s: float, out: list[Rhythm]) -> None:
        """Report its end, if it has begun; it never ends before it began."""
        if self.from_s is not None:
            out.append(Rhythm(self.label, self.from_s, max(to_s, self.from_s), self.limit))
            self.from_s = None
