"""A session: it passes the items of a source to a monitor, and the monitor's events to every sink."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from ecgmoe_edge.errors import DeviceError
from ecgmoe_edge.firmware_bridge.items import Advice, LinkItem
from ecgmoe_edge.live.link_monitor import LinkMonitor, MakeMonitor
from ecgmoe_edge.live.sink_worker import SinkReport, SinkWorker, reason_of
from ecgmoe_edge.live.sinks.sink import Sink
from ecgmoe_edge.live.sources import stats_of, stop_source
from ecgmoe_edge.streaming.events import End, Event


def _ignore(_: str) -> None:
    """Ignores a session's messages."""


class Session:
    """One stream, from its first item to its end event.

    Args:
        source: link items, such as a `SerialLink`. `samples_as_items` makes items from arrays; `FirstSeconds` limits
            any source. Its methods `stop` and `stats` are used if it has them.
        make_monitor: called with rate and leads as soon as the device has sent them.
        sinks: each receives every event, in order, from its own thread and queue. A slow or blocked sink delays no
            other sink: events that find its queue full are dropped for this sink and counted. A sink that raises is
            closed, and the others continue.
        notify: called with messages for the user: a sink has failed, a sink begins to lose events, how many events
            were not written, and the source's advice about its device.

    The state of the sinks is in `reports`, and in the end event under `link.sinks`.

    Raises:
        ValueError: two sinks have the same name.
    """

    def __init__(
        self,
        source: Iterable[LinkItem],
        make_monitor: MakeMonitor,
        sinks: Sequence[Sink] = (),
        *,
        notify: Callable[[str], None] = _ignore,
    ) -> None:
        self._source = source
        self._stream = LinkMonitor(make_monitor)
        self._sinks = tuple(sinks)
        if len({sink.name for sink in self._sinks}) < len(self._sinks):
            raise ValueError("each sink of a session needs a unique name")
        self._notify = notify
        self._workers: list[SinkWorker] = []
        self._notified: set[tuple[str, str]] = set()  # messages so far: (sink, kind of message)
        self._all_sinks_failed = False  # True once every sink has failed

    @property
    def fs(self) -> float:
        """The device's sampling rate in Hz; 0 until it is known."""
        return 0.0 if self._stream.info is None else self._stream.info.fs

    @property
    def reports(self) -> tuple[SinkReport, ...]:
        """One report per sink, in the given order."""
        return tuple(worker.report for worker in self._workers)

    def stop(self) -> None:
        """End the stream as if the device had ended it. Items read so far still give events.

        Safe in a signal handler.
        """
        stop_source(self._source)

    def run(self) -> End:
        """Process the source to its end, pass every event to every sink, and wait for the sinks.

        Stops early if every sink has failed.

        Returns:
            The end event.

        Raises:
            DeviceError: as in `events`, after the sinks have received all events.
            Exception: what entering a sink raises, before anything is read.
        """
        end: End | None = None
        with ExitStack() as finishing:
            finishing.push(lambda kind, error, trace: self._finish(None if end is not None else error))
            for sink in self._sinks:
                self._workers.append(SinkWorker(sink))
            for event in self.events():
                if isinstance(event, End):
                    event = end = self._with_sinks(event)
                for worker in self._workers:
                    worker.offer(event)
                self._check_sinks()
        assert end is not None, "a stream without an end event raises"  # noqa: S101
        return end

    def events(self) -> Iterator[Event]:
        """The events as they happen, without sinks. The last is `End`, with the source's statistics.

        If the link fails, or the device changes its rate or leads, the remaining events and `End` still come first.

        Raises:
            DeviceError: the link failed, the device changed, or it never sent its rate and leads.
        """
        failure: DeviceError | None = None
        try:
            for item in self._source:
                if isinstance(item, Advice):
                    self._notify(item.text)
                    continue
                yield from self._stream.take(item)
                if self._all_sinks_failed:
                    self.stop()
                    break
        except DeviceError as error:
            failure = error
        for event in self._stream.flush():
            yield replace(event, link=stats_of(self._source)) if isinstance(event, End) else event
        if failure is not None:
            raise failure
        if self._stream.info is None:
            raise DeviceError(
                "The stream ended before the device sent its sampling rate and leads, so there is nothing to monitor: "
                "check that it is recording."
            )

    def _with_sinks(self, end: End) -> End:
        sinks = {report.name: report.to_json() for report in self.reports}
        return replace(end, link={**end.link, "sinks": sinks}) if sinks else end

    def _finish(self, error: BaseException | None) -> None:
        for worker in self._workers:
            worker.finish(error)
        self._check_sinks()
        for report in self.reports:
            if report.dropped and not report.reader_left:
                self._notify(f"{report.name}: {report.dropped:,} events were not written.")

    def _check_sinks(self) -> None:
        """Notify the user, once each, of sinks that fail or lose events."""
        for worker in self._workers:
            if worker.failure is None and not worker.has_dropped:
                continue
            report = worker.report
            if report.failure is None:
                self._notify_once(
                    report.name,
                    "full",
                    f"{report.name} is too slow and its queue is full: from now on, events are dropped for it and "
                    "counted.",
                )
            elif not report.reader_left:
                self._notify_once(
                    report.name, "failed", f"No more events for {report.name}: {reason_of(report.failure)}."
                )
        self._all_sinks_failed = bool(self._workers) and all(worker.failure is not None for worker in self._workers)

    def _notify_once(self, name: str, what: str, sentence: str) -> None:
        if (name, what) not in self._notified:
            self._notified.add((name, what))
            self._notify(sentence)
