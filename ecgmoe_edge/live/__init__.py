"""Live monitoring: a session passes the items of a source to a monitor, and the monitor's events to sinks."""

from ecgmoe_edge.live.session import Session
from ecgmoe_edge.live.sink_worker import SinkReport
from ecgmoe_edge.live.sinks import JsonLinesFile, JsonLinesSink, Sink, TerminalSink
from ecgmoe_edge.live.sources import FirstSeconds, samples_as_items
from ecgmoe_edge.live.summary import render_summary

__all__ = [
    "FirstSeconds",
    "JsonLinesFile",
    "JsonLinesSink",
    "Session",
    "Sink",
    "SinkReport",
    "TerminalSink",
    "render_summary",
    "samples_as_items",
]
