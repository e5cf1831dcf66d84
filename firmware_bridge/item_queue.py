"""The bounded queue between a link's reader thread and its consumer; every sample that does not fit is counted.

The reader never waits. Samples that find the queue full are dropped; one `SampleLoss` with their exact number takes
their place. All other items are rare and kept. Several of one kind without samples between them are merged, so the
queue stays bounded. Before the first drop the consumer receives a `ConsumerLag`, which overtakes all other items.
"""

from __future__ import annotations

import threading
from collections import deque

from ecgmoe_edge.firmware_bridge.items import (
    LOST_IN_HOST,
    Advice,
    ConsumerLag,
    EndOfStream,
    LinkItem,
    SampleLoss,
    Samples,
)

LAG_FRACTION = 0.5  # fraction of the capacity: with more samples waiting, the consumer receives a ConsumerLag
CAUGHT_UP_FRACTION = 0.25  # fraction of the capacity: with fewer samples waiting, the consumer has caught up


class ItemQueue:
    """A first-in, first-out queue.

    Args:
        capacity: how many samples (per lead) may wait.
        warn: put a `ConsumerLag` when the consumer falls behind.

    Attributes:
        lost_samples: samples (per lead) that were dropped because the queue was full.
        high_water: the most samples (per lead) that ever waited.
    """

    def __init__(self, capacity: int, *, warn: bool = True) -> None:
        self.lost_samples = 0
        self.high_water = 0
        self._capacity = capacity
        self._warn = warn
        self._lagging = False
        self._waiting = 0
        self._items: deque[LinkItem] = deque()
        self._changed = threading.Condition()

    def put(self, item: LinkItem) -> None:
        """Append an item. Never waits for the consumer."""
        with self._changed:
            if isinstance(item, Samples):
                n = item.values.shape[1]
                self._warn_if_lagging(n)
                if not self._fits(n):
                    self.lost_samples += n
                    self._merge(SampleLoss(n, LOST_IN_HOST))
                else:
                    self._waiting += n
                    self.high_water = max(self.high_water, self._waiting)
                    self._items.append(item)
            else:
                self._merge(item)
            self._changed.notify()

    def has_room(self, n: int) -> bool:
        """Whether `n` more samples (per lead) fit."""
        with self._changed:
            return self._fits(n)

    def get(self, timeout_s: float) -> LinkItem | None:
        """Remove and return the oldest item; None if none came within `timeout_s`."""
        with self._changed:
            if not self._items and not self._changed.wait_for(lambda: bool(self._items), timeout_s):
                return None
            item = self._items.popleft()
            if isinstance(item, Samples):
                self._waiting -= item.values.shape[1]
                self._lagging &= self._waiting > CAUGHT_UP_FRACTION * self._capacity
            return item

    def _fits(self, n: int) -> bool:
        return self._waiting == 0 or self._waiting + n <= self._capacity

    def _warn_if_lagging(self, n: int) -> None:
        """Put one `ConsumerLag` if the consumer will be behind with `n` more samples."""
        if self._warn and not self._lagging and self._waiting and self._waiting + n >= LAG_FRACTION * self._capacity:
            self._lagging = True
            self._items.appendleft(ConsumerLag(self._waiting + n, self._capacity))

    def _merge(self, item: LinkItem) -> None:
        """Append an item, or merge it with one of its kind that came after the last samples."""
        for index in range(len(self._items) - 1, -1, -1):
            other = self._items[index]
            if isinstance(other, Samples | EndOfStream):
                break
            if isinstance(item, SampleLoss) and isinstance(other, SampleLoss) and item.reason == other.reason:
                if item.samples is not None and other.samples is not None:
                    at_least = item.at_least or other.at_least
                    self._items[index] = SampleLoss(item.samples + other.samples, item.reason, at_least)
                    return
                if item.samples is None and other.samples is None:
                    return
            elif type(item) is type(other) and not isinstance(item, SampleLoss | EndOfStream | Advice):
                del self._items[index]  # the newer item replaces it
                break
        self._items.append(item)
