"""`demo`: plays the shipped recording through a virtual Holter and a serial port to the shipped model."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from ecgmoe_edge.cli.options import BundleOption, checked_speed
from ecgmoe_edge.cli.output import pace, result, say
from ecgmoe_edge.cli.signals import leaving_on_signals

EXAMPLES = ("ecgmoe-edge demo", "ecgmoe-edge demo --speed 1", "ecgmoe-edge demo --json | tail -n 1")


def demo(
    speed: Annotated[
        float,
        typer.Option("--speed", callback=checked_speed, metavar="X", help="Times real time; 0: as fast as possible."),
    ] = 20.0,
    bundle: BundleOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one JSON line.")] = False,
) -> None:
    """Play the shipped recording as a device and classify it live.

    The recording is sent byte by byte over a pseudo-terminal, as from a real device. The last line on stdout is the
    `end` event as JSON.
    """
    from ecgmoe_edge.calibration_data import load_calibration
    from ecgmoe_edge.cli.live_run import run_live
    from ecgmoe_edge.firmware_bridge import SerialLink, VirtualHolter
    from ecgmoe_edge.live import JsonLinesSink, TerminalSink, render_summary
    from ecgmoe_edge.streaming.events import to_json

    recording = load_calibration()
    seconds = recording.signal.shape[1] / recording.fs
    say(f"{recording.source}: {seconds:.0f} s of lead {recording.leads[0]}, {pace(speed)}.")
    say(f"Licence of the recording: {recording.licence}. Research software, not a medical device.")
    sink = JsonLinesSink(sys.stdout) if as_json else TerminalSink(sys.stdout)
    holter = VirtualHolter([recording.signal], recording.fs, recording.leads, speed=speed)
    with leaving_on_signals(), holter, SerialLink(holter.port, backpressure=True) as link:
        end, rate = run_live(link, bundle, [sink], invert=False)
    say(render_summary(end, rate))
    if not as_json:
        result(json.dumps(to_json(end), allow_nan=False))
