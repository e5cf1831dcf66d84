"""What a session may read besides a serial link: samples in memory, and the first seconds of any source."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.items import EndOfStream, LinkItem, Lost, Samples, StreamInfo


@runtime_checkable
class Stoppable(Protocol):
    """A source that can be stopped; what it has read still comes out."""

    def stop(self) -> None:
        """Read no more. Safe in a signal handler."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A source that counts what it reads."""

    def stats(self) -> dict[str, Any]:
        """Counts so far, JSON-ready; they go into the end event's `link`."""
        ...


def stats_of(source: Iterable[LinkItem]) -> dict[str, Any]:
    """The source's counts; empty where it has none."""
    return source.stats() if isinstance(source, Counting) else {}


def stop_source(source: Iterable[LinkItem]) -> None:
    """Stop a source that can be stopped; another one is left to end by itself."""
    if isinstance(source, Stoppable):
        source.stop()


def samples_as_items(blocks: Iterable[NDArray[np.float64]], fs: float, leads: Sequence[str]) -> Iterator[LinkItem]:
    """Link items of blocks (leads, n) in mV at `fs` Hz, so that a session can read a recording or an array."""
    rate = Fraction(fs).limit_denominator(1_000_000)
    yield StreamInfo(rate, tuple(leads), (0.0,) * len(leads))  # values are in mV already: no step to scale them by
    position = 0
    for block in blocks:
        yield Samples(block, position)
        position += block.shape[1]
    yield EndOfStream(position)


@dataclass(frozen=True)
class FirstSeconds:
    """What a source brings until there are so many seconds of signal, to the sample unless they end in a loss.

    The source is stopped then, and what it had read meanwhile is left out.
    """

    source: Iterable[LinkItem]
    seconds: float  # by the device's rate, known losses counted

    def __iter__(self) -> Iterator[LinkItem]:
        left: int | None = None  # samples a lead; None until the rate is known
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
                    left -= (item.samples or 0) if isinstance(item, Lost) else 0
                    yield item
                if left <= 0:
                    if not isinstance(self.source, Stoppable):
                        return
                    self.source.stop()

    def stop(self) -> None:
        """Stop the source."""
        stop_source(self.source)

    def stats(self) -> dict[str, Any]:
        """The source's counts, what is left out here included."""
        return stats_of(self.source)
