"""What `stream` and `demo` share: a bundle's monitor on a serial link, its events written as they come."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ecgmoe_edge.cli.output import say_missing_providers

if TYPE_CHECKING:
    from ecgmoe_edge.firmware_bridge import LinkItem, SerialLink, StreamInfo
    from ecgmoe_edge.live import Sink
    from ecgmoe_edge.streaming import Monitor
    from ecgmoe_edge.streaming.events import End


def run_live(
    link: SerialLink,
    bundle: Path | None,
    sink: Sink,
    *,
    invert: bool,
    mains: int | None,
    seconds: float | None = None,
) -> tuple[End, float]:
    """Classify what `link` brings, each event to `sink`; gives the End event and the device's rate in Hz.

    seconds: of signal, known losses counted, after which to stop; None is until the device ends.
    """
    from ecgmoe_edge.firmware_bridge import stream_events
    from ecgmoe_edge.runtime import load_bundle, shipped_bundle
    from ecgmoe_edge.streaming import Monitor

    model = load_bundle(bundle or shipped_bundle())
    say_missing_providers(model.engine.describe())
    rate = 0.0

    def make_monitor(info: StreamInfo) -> Monitor:
        nonlocal rate
        rate = info.fs
        return Monitor(model, info.fs, leads=info.leads, invert=invert, mains=mains)

    with stop_on_signals(link):
        source = link if seconds is None else _FirstSeconds(link, seconds)
        for event in stream_events(source, make_monitor):  # the last is End, or it raises
            sink.write(event)
    return cast("End", event), rate


@dataclass(frozen=True)
class _FirstSeconds:
    """What a link brings until there are so many seconds of signal, to the sample unless they end in a loss.

    The link is stopped then, and what it had read meanwhile is left out.
    """

    link: SerialLink
    seconds: float  # by the device's rate, known losses counted

    def __iter__(self) -> Iterator[LinkItem]:
        from ecgmoe_edge.firmware_bridge import Lost, Samples, StreamInfo

        left: int | None = None  # samples a lead; None until the rate is known
        for item in self.link:
            if left is None:
                if isinstance(item, StreamInfo):
                    left = max(1, round(min(self.seconds * item.fs, sys.maxsize)))
                yield item
            elif left > 0:
                if isinstance(item, Samples):
                    values = item.values[:, :left]
                    left -= values.shape[1]
                    yield replace(item, values=values)
                else:
                    left -= (item.samples or 0) if isinstance(item, Lost) else 0
                    yield item
                if left <= 0:
                    self.link.stop()

    def stats(self) -> dict[str, Any]:
        """The link's counts, what is left out here included."""
        return self.link.stats()


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
