"""Outputs for the events of a live stream, one module each."""

from ecgmoe_edge.live.sinks.json_lines import JsonLinesFile, JsonLinesSink
from ecgmoe_edge.live.sinks.sink import Sink
from ecgmoe_edge.live.sinks.terminal import TerminalSink

__all__ = ["JsonLinesFile", "JsonLinesSink", "Sink", "TerminalSink"]
