"""Sources of a session besides a serial link: samples in memory, and the first seconds of any source."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.items import EndOfStream, LinkItem, SampleLoss, Samples, StreamInfo


@runtime_checkable
class Stoppable(Protocol):
    """A source that can be stopped. Items read so far are still returned."""

    def stop(self) -> None:
        """Stop reading. Safe in a signal handler."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A source with statistics."""

    def stats(self) -> dict[str, Any]:
        """Statistics so far, JSON-ready. They go into the end event's `link`."""
        ...


def stats_of(source: Iterable[LinkItem]) -> dict[str, Any]:
    """The source's statistics; empty if it has none."""
    return source.stats() if isinstance(source, Counting) else {}


def stop_source(source: Iterable[LinkItem]) -> None:
    """Stop a source that can be stopped. Any other source ends by itself."""
    if isinstance(source, Stoppable):
        source.stop()


def samples_as_items(blocks: Iterable[NDArray[np.float64]], fs: float, leads: Sequence[str]) -> Iterator[LinkItem]:
    """Link items of samples in memory, so that a session can read a recording or an array.

    Args:
        blocks: (leads, samples), mV.
        fs: sampling rate, Hz.
        leads: lead names.

    >>> [type(item).__name__ for item in samples_as_items([np.zeros((1, 250))], 250.0, ("II",))]
    ['StreamInfo', 'Samples', 'EndOfStream']
    """
    rate = Fraction(fs).limit_denominator(1_000_000)
    yield StreamInfo(rate, tuple(leads), (0.0,) * len(leads))  # no scale: values are in mV already
    position = 0
    for block in blocks:
        yield Samples(block, position)
        position += block.shape[1]
    yield EndOfStream(position)


@dataclass(frozen=True)
class FirstSeconds:
    """The first seconds of a source: exact to the sample, unless they end within a loss.

    Then the source is stopped, and items that it has read meanwhile are omitted.

    Args:
        source: link items.
        seconds: duration by the device's sampling rate; known losses count.
    """

    source: Iterable[LinkItem]
    seconds: float

    def __iter__(self) -> Iterator[LinkItem]:
        left: int | None = None  # samples per lead; None until the rate is known
        for item in self.source:
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
                    left -= (item.samples or 0) if isinstance(item, SampleLoss) else 0
                    yield item
                if left <= 0:
                    if not isinstance(self.source, Stoppable):
                        return
                    self.source.stop()

    def stop(self) -> None:
        """Stop the source."""
        stop_source(self.source)

    def stats(self) -> dict[str, Any]:
        """The source's statistics, including items that are omitted here."""
        return stats_of(self.source)
