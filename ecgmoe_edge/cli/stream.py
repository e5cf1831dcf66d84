"""`stream`: classifies the beats of a serial device as they happen."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.options import (
    BundleOption,
    InvertOption,
    MainsOption,
    PatientOption,
    ProbeOption,
    SecondsOption,
    mains_choice,
)
from ecgmoe_edge.cli.output import say
from ecgmoe_edge.cli.rhythm_options import (
    AsystoleOption,
    BradycardiaOption,
    PauseOption,
    TachycardiaOption,
    VRunOption,
    rhythm_limits,
)
from ecgmoe_edge.cli.signals import leaving_on_signals
from ecgmoe_edge.errors import UsageError

if TYPE_CHECKING:
    from ecgmoe_edge.firmware_bridge import RecognisedDevice, Settings

EXAMPLES = (
    "ecgmoe-edge stream --port auto",
    "ecgmoe-edge stream --port /dev/ttyACM0 --json > night.jsonl",
    "ecgmoe-edge stream --port /dev/ttyACM0 --events night.jsonl",
    "ecgmoe-edge stream --port /dev/ttyUSB0 --protocol openview-ads1292r --uv-per-lsb 6.15",
    "ecgmoe-edge stream --port /dev/ttyACM0 --asystole 3 --tachycardia 120",
    "ecgmoe-edge stream --port /dev/ttyACM0 --patient anna.json",
    "ecgmoe-edge stream --port ./holter --bundle ./ecgmoe-jetson --mains 50",
)
_PROTOCOL_HELP = "The device's protocol; auto: detect it by listening. Default: ecgmoe, or auto if --port is auto."


def stream(
    port: Annotated[
        str,
        typer.Option("--port", metavar="PORT", help="Serial port: see `ecgmoe-edge ports`. auto: the only device."),
    ],
    bundle: BundleOption = None,
    patient: PatientOption = None,
    protocol: Annotated[str | None, typer.Option("--protocol", metavar="NAME", help=_PROTOCOL_HELP)] = None,
    probe: ProbeOption = False,
    baud: Annotated[
        int | None,
        typer.Option("--baud", min=50, max=20_000_000, metavar="N", help="Baud rate. Default: the protocol's."),
    ] = None,
    fs: Annotated[
        float | None, typer.Option("--fs", metavar="HZ", help="Sampling rate, if the device does not send it.")
    ] = None,
    leads: Annotated[
        str | None,
        typer.Option("--leads", metavar="I,II,...", help="Names of the first channels; - omits one."),
    ] = None,
    uv_per_lsb: Annotated[
        float | None,
        typer.Option("--uv-per-lsb", metavar="UV", help="Microvolts per step, if the device does not send it."),
    ] = None,
    invert: InvertOption = False,
    mains: MainsOption = "auto",
    seconds: SecondsOption = None,
    give_up: Annotated[
        float | None,
        typer.Option(
            "--give-up", min=0.0, max=31_536_000.0, metavar="S", help="End if the device is gone for S seconds."
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option("--events", metavar="FILE", help="Also write each event to this new file, as one JSON line."),
    ] = None,
    pause: PauseOption = None,
    asystole: AsystoleOption = None,
    bradycardia: BradycardiaOption = None,
    tachycardia: TachycardiaOption = None,
    v_run: VRunOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one JSON line.")] = False,
) -> None:
    """Classify the beats of a serial device as they happen.

    Runs until the device ends or Ctrl-C. No loss is silent: gaps, stalls, reconnects and lead-off are events, and the
    last event, `end`, has the totals. A slow reader of the events, such as a pager, delays none of them: 200,000 events
    may wait for it; further ones are dropped and counted.

    With --patient, the signal SIGUSR1 (`kill -USR1`) switches the patient's own layer off, and on again.
    """
    from ecgmoe_edge.cli.live_run import run_live
    from ecgmoe_edge.firmware_bridge import SerialLink
    from ecgmoe_edge.firmware_bridge.ports import is_pseudo_terminal
    from ecgmoe_edge.live import JsonLinesFile, JsonLinesSink, Sink, TerminalSink, render_summary

    settings = _settings(fs, leads, uv_per_lsb)
    limits = rhythm_limits(
        pause_s=pause,
        asystole_s=asystole,
        bradycardia_bpm=bradycardia,
        tachycardia_bpm=tachycardia,
        v_run_beats=v_run,
    )
    _refuse_file(port)
    sinks: list[Sink] = [JsonLinesSink(sys.stdout) if as_json else TerminalSink(sys.stdout)]
    if events is not None:
        sinks.append(JsonLinesFile(events))
    with leaving_on_signals():
        opened = _recognised(port, protocol, baud, probe)
        link = SerialLink(
            port,
            protocol=protocol or "ecgmoe",
            baud=baud,
            settings=settings,
            opened=opened,
            give_up_after_s=give_up,
            backpressure=is_pseudo_terminal(opened.port if opened else port),
        )
        with link:
            end, rate = run_live(
                link,
                bundle,
                sinks,
                invert=invert,
                mains=mains_choice(mains),
                seconds=seconds,
                limits=limits,
                patient=patient,
            )
    if not as_json:
        say(render_summary(end, rate))


def _refuse_file(port: str) -> None:
    """Raise DeviceError if the user has named a file instead of a port."""
    if not os.path.isfile(port):
        return
    from ecgmoe_edge.errors import DeviceError
    from ecgmoe_edge.records.registry import is_recording
    from ecgmoe_edge.records.unsupported_files import describe_unsupported_file

    if is_recording(Path(port)):
        raise DeviceError(
            f"{port} is a recording, not a serial port. Play it with `ecgmoe-edge replay {port}`, and give --port the "
            "port that replay prints."
        )
    foreign = describe_unsupported_file(Path(port)) or f"{port} is a file."
    raise DeviceError(f"{foreign} --port takes a serial device: see `ecgmoe-edge ports`.")


def _settings(fs: float | None, leads: str | None, uv_per_lsb: float | None) -> Settings:
    """What the user states about the device. Raises UsageError for values that no device has."""
    from ecgmoe_edge.firmware_bridge import Settings

    if fs is not None and not 1 <= fs <= 100_000:
        raise UsageError(f"--fs takes a sampling rate in Hz from 1 to 100,000; it got {fs:g}.")
    if uv_per_lsb is not None and not 1e-6 <= uv_per_lsb <= 1e6:
        raise UsageError(f"--uv-per-lsb takes the microvolts per step, 1e-6 to 1e6; it got {uv_per_lsb:g}.")
    names = tuple(name.strip() for name in leads.split(",")) if leads is not None else None
    if names is not None and (not all(names) or all(name == "-" for name in names)):
        raise UsageError(f"--leads takes names such as I,II,V1, at least one of them not -; it got {leads!r}.")
    return Settings(None if fs is None else Fraction(fs).limit_denominator(1_000_000), names, uv_per_lsb)


def _recognised(port: str, protocol: str | None, baud: int | None, probe: bool) -> RecognisedDevice | None:
    """The device found by listening, with its port open; None if the user has given the protocol."""
    from ecgmoe_edge.firmware_bridge import recognise, recognise_any

    if port == "auto" and protocol not in (None, "auto"):
        raise UsageError("--port auto searches for any device: to choose a --protocol, give --port a path.")
    if port != "auto" and protocol != "auto":
        return None
    say("Listening ..." if not probe else "Listening, then querying ...")
    found = recognise_any(probe=probe) if port == "auto" else recognise(port, baud=baud, probe=probe)
    say(f"{found.port}: {found.protocol} at {found.baud} baud.")
    return found
