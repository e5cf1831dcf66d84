"""`stream`: a serial device in, events out, as they happen."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ecgmoe_edge.cli.options import BundleOption, InvertOption, MainsOption, SecondsOption
from ecgmoe_edge.cli.output import say

EXAMPLES = (
    "ecgmoe-edge stream --port /dev/ttyACM0",
    "ecgmoe-edge stream --port /dev/ttyACM0 --json > night.jsonl",
    "ecgmoe-edge stream --port ./holter --bundle ./ecgmoe-jetson --mains 50",
)


def stream(
    port: Annotated[str, typer.Option("--port", metavar="PORT", help="Serial port: see `ecgmoe-edge ports`.")],
    bundle: BundleOption = None,
    protocol: Annotated[str, typer.Option("--protocol", metavar="NAME", help="What the device speaks.")] = "ecgmoe",
    baud: Annotated[
        int | None,
        typer.Option("--baud", min=1, metavar="N", help="Port speed. Default: the protocol's."),
    ] = None,
    invert: InvertOption = False,
    mains: MainsOption = None,
    seconds: SecondsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one JSON line.")] = False,
) -> None:
    """Classify a serial device's beats as they happen.

    Until the device ends or Ctrl-C. A loss is never silent: gaps, stalls, reconnects and fallen electrodes are
    events of their own, and the last event, `end`, has the totals.
    """
    from ecgmoe_edge.cli.live_run import run_live, stop_after
    from ecgmoe_edge.firmware_bridge import SerialLink
    from ecgmoe_edge.live import JsonLinesSink, TerminalSink, render_summary

    sink = JsonLinesSink(sys.stdout) if as_json else TerminalSink(sys.stdout)
    with SerialLink(port, protocol=protocol, baud=baud) as link, stop_after(link, seconds):
        end, rate = run_live(link, bundle, sink, invert=invert, mains=mains)
    if not as_json:
        say(render_summary(end, rate))
