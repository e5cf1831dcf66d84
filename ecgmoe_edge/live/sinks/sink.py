"""What a sink is: it takes events one by one, as they happen, and may be as slow as it likes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

from ecgmoe_edge.streaming.events import Event


class Sink(ABC):
    """Takes the events of a stream; a context manager.

    A session enters it before the stream begins, then calls `write` and, at last, `close` from one thread that belongs
    to this sink: a sink that is slow or blocked delays neither the monitor nor another sink. Whatever it raises ends
    this sink alone.
    """

    name = "sink"  # for people, and under `link.sinks` in the end event
    capacity = 10_000  # events that may wait for it; one that finds no room is dropped and counted
    wait_s: float | None = 5.0  # from the end of the stream until it must have written what waits; None: for ever

    reader_may_leave = False  # True: a BrokenPipeError, as of `| head`, ends this sink without a word

    def __enter__(self) -> Sink:
        return self

    @abstractmethod
    def write(self, event: Event) -> None:
        """Take one event; it is out when this returns."""

    def close(self) -> None:
        """Take no more. Called once, after the last event or after `write` has raised."""
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
