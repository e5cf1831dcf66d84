"""Where a live stream's events go: JSON lines, a terminal, and the summary at the end."""

from ecgmoe_edge.live.sinks import JsonLinesSink, Sink
from ecgmoe_edge.live.summary import render_summary
from ecgmoe_edge.live.terminal import TerminalSink

__all__ = ["JsonLinesSink", "Sink", "TerminalSink", "render_summary"]
