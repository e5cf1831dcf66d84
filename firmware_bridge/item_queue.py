"""The queue between a link's reader thread and its consumer: bounded, and honest about what did not fit.

The reader never waits. Samples that find the queue full are dropped and become one `Lost` with their exact number, at
the place in the order where they are missing. Everything else is rare and kept; several of a kind with no samples
between them are merged, so that the queue stays bounded whatever arrives. Before anything is dropped the consumer is
told that it falls behind: that item overtakes all others.
"""

from __future__ import annotations

import threading
from collections import deque

from ecgmoe_edge.firmware_bridge.items import LOST_IN_HOST, Advice, EndOfStream, FellBehind, LinkItem, Lost, Samples

BEHIND_SHARE = 0.5  # of the capacity: so many samples that wait are too many
CAUGHT_UP_SHARE = 0.25


class ItemQueue:
    """First in, first out; holds at most `capacity` samples (per lead). warn: say so when the consumer falls behind."""

    def __init__(self, capacity: int, *, warn: bool = True) -> None:
        self.lost_samples = 0  # that found no place
        self.high_water = 0  # most samples that ever waited
        self._capacity = capacity
        self._warn = warn
        self._behind = False
        self._held = 0
        self._items: deque[LinkItem] = deque()
        self._changed = threading.Condition()

    def put(self, item: LinkItem) -> None:
        """Append without ever waiting for the consumer."""
        with self._changed:
            if isinstance(item, Samples):
                n = item.values.shape[1]
                self._watch(n)
                if not self._fits(n):
                    self.lost_samples += n
                    self._merge(Lost(n, LOST_IN_HOST))
                else:
                    self._held += n
                    self.high_water = max(self.high_water, self._held)
                    self._items.append(item)
            else:
                self._merge(item)
            self._changed.notify()

    def has_room(self, n: int) -> bool:
        """Whether `n` more samples (per lead) fit."""
        with self._changed:
            return self._fits(n)

    def get(self, timeout_s: float) -> LinkItem | None:
        """The oldest item; None if none came within `timeout_s`."""
        with self._changed:
            if not self._items and not self._changed.wait_for(lambda: bool(self._items), timeout_s):
                return None
            item = self._items.popleft()
            if isinstance(item, Samples):
                self._held -= item.values.shape[1]
                self._behind &= self._held > CAUGHT_UP_SHARE * self._capacity
            return item

    def _fits(self, n: int) -> bool:
        return self._held == 0 or self._held + n <= self._capacity

    def _watch(self, n: int) -> None:
        """Say once that the consumer is behind, if it will be with `n` more samples."""
        if self._warn and not self._behind and self._held and self._held + n >= BEHIND_SHARE * self._capacity:
            self._behind = True
            self._items.appendleft(FellBehind(self._held + n, self._capacity))

    def _merge(self, item: LinkItem) -> None:
        """Append, or merge with one of its kind that came since the last samples."""
        for place in range(len(self._items) - 1, -1, -1):
            other = self._items[place]
            if isinstance(other, Samples | EndOfStream):
                break
            if isinstance(item, Lost) and isinstance(other, Lost) and item.reason == other.reason:
                if item.samples is not None and other.samples is not None:
                    at_least = item.at_least or other.at_least
                    self._items[place] = Lost(item.samples + other.samples, item.reason, at_least)
                    return
                if item.samples is None and other.samples is None:
                    return
            elif type(item) is type(other) and not isinstance(item, Lost | EndOfStream | Advice):
                del self._items[place]  # the newer one holds
                break
        self._items.append(item)
