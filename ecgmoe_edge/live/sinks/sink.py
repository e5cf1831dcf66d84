"""The interface of a sink: it receives events one by one, as they happen, and may be slow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

from ecgmoe_edge.streaming.events import Event


class Sink(ABC):
    """An output for the events of a stream; a context manager.

    A session enters the sink before the stream begins. It then calls `write` and finally `close` from a thread that
    belongs to this sink, so a slow or blocked sink delays neither the monitor nor another sink. An exception ends this
    sink only.

    Attributes:
        name: shown to the user, and the key under `link.sinks` in the end event.
        capacity: events that may wait; further ones are dropped and counted.
        wait_s: time after the end of the stream to write the waiting events, s; None: unlimited.
        reader_may_leave: a BrokenPipeError, as by `| head`, ends this sink without a message.
    """

    name = "sink"
    capacity = 10_000
    wait_s: float | None = 5.0

    reader_may_leave = False

    def __enter__(self) -> Sink:
        return self

    @abstractmethod
    def write(self, event: Event) -> None:
        """Write one event. It must be written when this returns."""

    def close(self) -> None:
        """Finish. Called once, after the last event or after `write` has raised."""
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
