"""Where source, monitor and sinks meet: what a source brings goes through a monitor, and its events to every sink."""

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


def _nobody(_: str) -> None:
    """Takes the sentences of a session that nobody wants."""


class Session:
    """One stream from its first item to its end event.

    source: link items, such as a `SerialLink`; samples become some by `samples_as_items`, and `FirstSeconds` ends any
    source early. Where it has `stop` and `stats`, they are used.
    make_monitor: gets rate and leads as soon as the device has sent them.
    sinks: each gets every event, in order, from a thread and a queue of its own. One that is slow or blocked delays
    neither a beat nor another sink: events that find its queue full are dropped for it and counted. One that raises is
    closed, and the others go on.
    notify: gets a sentence, once each, when a sink fails, when one begins to lose events, and how many it has lost; and
    what a source says of its device that looks wrong.

    What becomes of the sinks is in `reports` and, up to then, in the end event under `link.sinks`.
    """

    def __init__(
        self,
        source: Iterable[LinkItem],
        make_monitor: MakeMonitor,
        sinks: Sequence[Sink] = (),
        *,
        notify: Callable[[str], None] = _nobody,
    ) -> None:
        self._source = source
        self._stream = LinkMonitor(make_monitor)
        self._sinks = tuple(sinks)
        if len({sink.name for sink in self._sinks}) < len(self._sinks):
            raise ValueError("each sink of a session needs a name of its own")
        self._notify = notify
        self._workers: list[SinkWorker] = []
        self._said: set[tuple[str, str]] = set()  # what was said of which sink
        self._unread = False  # every sink has failed

    @property
    def fs(self) -> float:
        """The device's rate in Hz; 0 as long as it has not said it."""
        return 0.0 if self._stream.info is None else self._stream.info.fs

    @property
    def reports(self) -> tuple[SinkReport, ...]:
        """Of each sink, in the order in which they were given."""
        return tuple(worker.report for worker in self._workers)

    def stop(self) -> None:
        """End the stream as if the device had: what was read still comes out. Safe in a signal handler."""
        stop_source(self._source)

    def run(self) -> End:
        """Read the source to its end, give every event to every sink, and wait for the sinks.

        Returns the end event. Stops early when every sink has failed. Raises what entering a sink raises, before
        anything is read, and DeviceError as `events` does, after the sinks have got all that there was.
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
                self._watch()
        assert end is not None, "a stream without an end event raises"  # noqa: S101
        return end

    def events(self) -> Iterator[Event]:
        """Events as they happen, and at last `End` with the source's counts; the sinks get nothing.

        A link that fails, or a device that changes its rate or leads, ends the stream too: what is left comes out,
        `End` included, and then DeviceError is raised. It is raised alone if the device never said what it sends.
        """
        failure: DeviceError | None = None
        try:
            for item in self._source:
                if isinstance(item, Advice):
                    self._notify(item.text)
                    continue
                yield from self._stream.take(item)
                if self._unread:
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
                "The device said nothing about its rate and leads before the stream ended, so there is nothing to "
                "monitor: check that it is recording."
            )

    def _with_sinks(self, end: End) -> End:
        sinks = {report.name: report.to_json() for report in self.reports}
        return replace(end, link={**end.link, "sinks": sinks}) if sinks else end

    def _finish(self, error: BaseException | None) -> None:
        for worker in self._workers:
            worker.finish(error)
        self._watch()
        for report in self.reports:
            if report.dropped and not report.reader_left:
                self._notify(f"{report.name}: {report.dropped:,} events were not written.")

    def _watch(self) -> None:
        """Say what has become of the sinks, each thing once."""
        for worker in self._workers:
            if worker.failure is None and not worker.has_dropped:
                continue
            report = worker.report
            if report.failure is None:
                self._say(
                    report.name,
                    "full",
                    f"{report.name} takes events more slowly than they come, and no more can wait for it: from here on "
                    "events are dropped for it, and counted.",
                )
            elif not report.reader_left:
                self._say(report.name, "failed", f"No more events for {report.name}: {reason_of(report.failure)}.")
        self._unread = bool(self._workers) and all(worker.failure is not None for worker in self._workers)

    def _say(self, name: str, what: str, sentence: str) -> None:
        if (name, what) not in self._said:
            self._said.add((name, what))
            self._notify(sentence)
