"""What `stream` and `demo` share: a bundle's monitor on a serial link, its events written as they come."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ecgmoe_edge.firmware_bridge import SerialLink, StreamInfo
    from ecgmoe_edge.live import Sink
    from ecgmoe_edge.streaming import Monitor
    from ecgmoe_edge.streaming.events import End


def run_live(
    link: SerialLink, bundle: Path | None, sink: Sink, *, invert: bool, mains: int | None
) -> tuple[End, float]:
    """Classify what `link` brings, each event to `sink`; gives the End event and the device's rate in Hz."""
    from ecgmoe_edge.firmware_bridge import stream_events
    from ecgmoe_edge.runtime import load_bundle, shipped_bundle
    from ecgmoe_edge.streaming import Monitor

    model = load_bundle(bundle or shipped_bundle())
    rate = 0.0

    def make_monitor(info: StreamInfo) -> Monitor:
        nonlocal rate
        rate = info.fs
        return Monitor(model, info.fs, leads=info.leads, invert=invert, mains=mains)

    with stop_on_signals(link):
        for event in stream_events(link, make_monitor):  # the last is End, or it raises
            sink.write(event)
    return cast("End", event), rate


@contextmanager
def stop_on_signals(link: SerialLink) -> Iterator[None]:
    """Ctrl-C and a terminate signal end the stream as if the device had: the totals still come out."""

    def stop(*_: Any) -> None:
        link.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_after(link: SerialLink, seconds: float | None) -> Iterator[None]:
    """End the stream after `seconds` of wall time; None never does."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, link.stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
