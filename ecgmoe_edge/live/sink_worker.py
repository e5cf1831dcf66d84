"""Runs one sink with its own bounded queue and thread, so that no other part of a session waits for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from ecgmoe_edge.live.sinks.sink import Sink
from ecgmoe_edge.streaming.events import End, Event


@dataclass(frozen=True)
class SinkReport:
    """What happened to the events for one sink."""

    name: str
    written: int
    dropped: int  # events that were not written: no room in the queue, or the sink had failed
    failure: Exception | None
    reader_left: bool  # the failure is a closed pipe, as by `| head`: the reader has ended on purpose

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, for the end event. At that time the last events are not written yet."""
        return {"dropped": self.dropped, "failure": None if self.failure is None else reason_of(self.failure)}


@dataclass(frozen=True)
class _Last:
    """Takes the place of an event in the queue: no event follows."""

    error: BaseException | None  # why the stream has no end event; None if it has one


class SinkWorker:
    """Passes events to a sink, in order, from its own thread.

    The constructor enters the sink and raises what that raises. `offer` and `finish` must be called from one thread.
    """

    def __init__(self, sink: Sink) -> None:
        self.failure: Exception | None = None  # set once the sink has failed; it receives no more events
        self._sink = sink
        self._queue: SimpleQueue[Event | _Last] = SimpleQueue()
        self._offered = self._written = self._no_room = 0
        sink.__enter__()
        self._thread = threading.Thread(target=self._run, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    def offer(self, event: Event) -> None:
        """Queue an event, or drop it if there is no room. Returns at once. The end event is never dropped."""
        self._offered += 1
        if self.failure is not None:
            return
        if self._queue.qsize() >= self._sink.capacity and not isinstance(event, End):
            self._no_room += 1
        else:
            self._queue.put(event)

    def finish(self, error: BaseException | None) -> None:
        """Wait until the queued events are written and the sink is closed, at most for the sink's `wait_s`.

        Args:
            error: why there was no end event; None if there was one.
        """
        self._queue.put(_Last(error))
        self._thread.join(self._sink.wait_s)
        if self._thread.is_alive() and self.failure is None:
            self.failure = TimeoutError(f"it did not write the remaining events within {self._sink.wait_s:g} s")

    @property
    def has_dropped(self) -> bool:
        """Whether an event was dropped because the queue was full."""
        return self._no_room > 0

    @property
    def report(self) -> SinkReport:
        """The current report."""
        dropped = self._no_room if self.failure is None else self._offered - self._written
        left = isinstance(self.failure, BrokenPipeError) and self._sink.reader_may_leave
        return SinkReport(self._sink.name, self._written, dropped, self.failure, left)

    # All methods below run in the sink's thread.

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while self.failure is None:
                event = self._queue.get()
                if isinstance(event, _Last):
                    error = event.error
                    break
                self._sink.write(event)
                self._written += 1
        except Exception as failure:  # noqa: BLE001 - any failure ends this sink only
            self.failure = failure
        try:
            error = self.failure or error
            self._sink.__exit__(None if error is None else type(error), error, None)
        except Exception as failure:  # noqa: BLE001 - the same
            self.failure = self.failure or failure
        self._forget()

    def _forget(self) -> None:
        """Free the memory of events that will not be written."""
        try:
            while True:
                self._queue.get_nowait()
        except Empty:
            return


def reason_of(error: Exception) -> str:
    """A short description of a failure.

    >>> reason_of(OSError(28, "No space left on device"))
    'No space left on device'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{error}" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
