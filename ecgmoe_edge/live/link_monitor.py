"""Converts link items into the events of a live stream, by a monitor that is created once the device is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.items import (
    ClockReading,
    ConsumerLag,
    LeadOffChange,
    LinkItem,
    LinkReconnect,
    LinkStall,
    SampleLoss,
    Samples,
    StreamInfo,
)
from ecgmoe_edge.streaming.events import Clock, Event, FallingBehind, GapReason, Reconnect, Stall


class MonitorLike(Protocol):
    """The interface of `ecgmoe_edge.streaming.monitor.Monitor`. Each method returns the resulting events."""

    def push(self, samples: NDArray[np.float64]) -> Sequence[Event]:
        """Process samples, (leads, samples) in mV."""
        ...

    def gap(self, n_lost: int | None, reason: GapReason, *, at_least: bool = False) -> Sequence[Event]:
        """Process a loss: `n_lost` samples (per lead) that never arrived; None if their number is unknown."""
        ...

    def lead_off(self, mask: Sequence[bool]) -> Sequence[Event]:
        """Set which leads are off."""
        ...

    def flush(self) -> Sequence[Event]:
        """End the stream. The last event is `End`."""
        ...


MakeMonitor = Callable[[StreamInfo], MonitorLike]


class LinkMonitor:
    """The monitor of one stream, and the current position in that stream.

    Args:
        make_monitor: called with rate and leads as soon as the device has sent them.
    """

    def __init__(self, make_monitor: MakeMonitor) -> None:

        self.info: StreamInfo | None = None
        self._make_monitor = make_monitor
        self._monitor: MonitorLike | None = None
        self._position = 0  # samples so far, including known losses, as the monitor counts them
        # Events from before the device was known. Bounded, because a loose plug may disconnect all night.
        self._early_events: deque[Event] = deque(maxlen=100)

    def take(self, item: LinkItem) -> Sequence[Event]:
        """The events of one item.

        Raises:
            DeviceError: the device has changed its rate or leads.
        """
        if isinstance(item, StreamInfo):
            self._begin(item)
            early = list(self._early_events)
            self._early_events.clear()
            return early
        if isinstance(item, LinkStall):
            return self._when_known(Stall(self._position, self._time_s(), item.waited_s))
        if isinstance(item, LinkReconnect):
            return self._when_known(Reconnect(self._position, self._time_s(), item.away_s, item.port))
        if isinstance(item, ConsumerLag):
            waiting_s, room_s = self._seconds(item.waiting), self._seconds(item.room)
            return [FallingBehind(self._position, self._time_s(), waiting_s, room_s)]
        if isinstance(item, ClockReading):
            return [Clock(self._position, self._time_s(), item.host_time_s, item.drift_ppm)]
        return () if self._monitor is None else self._monitored(self._monitor, item)

    def _when_known(self, event: Event) -> Sequence[Event]:
        """The event now, or as soon as the device is known and the monitor has accepted it."""
        if self._monitor is not None:
            return [event]
        self._early_events.append(event)
        return ()

    def _monitored(self, monitor: MonitorLike, item: LinkItem) -> Sequence[Event]:
        """The monitor's events. A device restart gives none: the loss that follows it carries the reason."""
        if isinstance(item, Samples):
            self._position += item.values.shape[1]
            return monitor.push(item.values)
        if isinstance(item, SampleLoss):
            self._position += item.samples or 0
            return monitor.gap(item.samples, item.reason, at_least=item.at_least)
        if isinstance(item, LeadOffChange):
            return monitor.lead_off(item.mask)
        return ()

    def flush(self) -> Sequence[Event]:
        """The remaining events; the last is `End`. Empty if no device has sent its rate and leads."""
        return self._monitor.flush() if self._monitor is not None else ()

    def _begin(self, info: StreamInfo) -> None:
        if self.info is not None and (info.rate, info.leads) != (self.info.rate, self.info.leads):
            raise DeviceError(
                f"The device changed from {_describe(self.info)} to {_describe(info)} while it was being monitored: "
                "start the monitor again."
            )
        self.info = info
        if self._monitor is None:
            self._monitor = self._make_monitor(info)

    def _time_s(self) -> float:
        return self._seconds(self._position)

    def _seconds(self, samples: int) -> float:
        return samples / self.info.fs if self.info is not None else 0.0


def _describe(info: StreamInfo) -> str:
    return f"{info.fs:g} Hz, leads {', '.join(info.leads)}"
