"""`replay`: plays a recording as a serial device, a virtual Holter on a pseudo-terminal."""

from __future__ import annotations

import math
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.options import (
    COUNTS,
    JsonOption,
    LeadsOption,
    PatientOption,
    TableColumnsOption,
    TableRateOption,
    TableTimeOption,
    TableUnitOption,
    TruncatedOption,
    checked_speed,
    stated_options,
    wanted_leads,
)
from ecgmoe_edge.cli.output import pace, result_json, say, say_remarks
from ecgmoe_edge.cli.signals import leaving_on_signals
from ecgmoe_edge.errors import UsageError

if TYPE_CHECKING:
    from ecgmoe_edge.records.opening import LeadsWanted
    from ecgmoe_edge.records.recording import OpenOptions, Recording, Remark

EXAMPLES = (
    "ecgmoe-edge replay calibration --pty ./holter --speed 20",
    "ecgmoe-edge replay ~/physionet/mitdb/208 --pty ./holter",
    "ecgmoe-edge replay my.csv --fs 250 --unit uV --pty ./holter --drop 0.01 --unplug 30,60",
    "ecgmoe-edge replay counts.csv --fs 250 --columns 1 --unit count --uv-per-lsb 0.02235 --pty ./holter",
    "ecgmoe-edge replay ~/physionet/mimic/3000003 --leads II,V --pty ./holter",
    "ecgmoe-edge replay calibration --protocol cyton --pty ./holter",
)
_SECONDS_HELP = "At these seconds of the recording."
_LONGEST_S = 86_400.0  # longest fault
_LAST_S = 1e9  # latest time of a fault in the recording
_LATEST_MS = 60_000.0  # largest delay of a frame
_LEAVE_AFTER_S = 5.0  # the replay ends after this time without a reader, if the last reader closed the port at once


def _checked_share(value: float) -> float:
    if not 0 <= value <= 1:
        raise typer.BadParameter("it must be a share from 0 to 1.")
    return value


def _seconds(text: str | None, option: str) -> tuple[float, ...]:
    try:
        seconds = tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        seconds = (math.nan,)
    if not all(0 <= second <= _LAST_S for second in seconds):
        raise UsageError(
            f"{option} needs seconds of the recording, up to {_LAST_S:,.0f}, such as 10,20.5; it is {text!r}."
        )
    return seconds


def replay(
    record: Annotated[
        str,
        typer.Argument(metavar="RECORD", help="A recording of any format, or `calibration` (the shipped one)."),
    ],
    pty: Annotated[
        Path | None,
        typer.Option("--pty", metavar="LINK", help="Create this link to the port. Default: none."),
    ] = None,
    protocol: Annotated[str, typer.Option("--protocol", metavar="NAME", help="Protocol of the device.")] = "ecgmoe",
    device_fs: Annotated[
        float | None,
        typer.Option(
            "--device-fs",
            min=1.0,
            max=100_000.0,
            metavar="HZ",
            help="Rate of the device, if its protocol has no fixed rate.",
        ),
    ] = None,
    uv_per_lsb: Annotated[
        float | None,
        typer.Option(
            "--uv-per-lsb",
            min=1e-6,
            max=1e6,
            metavar="UV",
            help="Microvolts per count of the device; with --unit count, also of the table.",
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option("--speed", metavar="X", callback=checked_speed, help="Times real time; 0: as fast as it is read."),
    ] = 1.0,
    leads: LeadsOption = None,
    fs: TableRateOption = None,
    unit: TableUnitOption = None,
    columns: TableColumnsOption = None,
    time_column: TableTimeOption = None,
    truncated: TruncatedOption = False,
    drop: Annotated[
        float,
        typer.Option("--drop", metavar="SHARE", callback=_checked_share, help="Share of frames to lose."),
    ] = 0.0,
    corrupt: Annotated[
        float,
        typer.Option("--corrupt", metavar="SHARE", callback=_checked_share, help="Share of frames to damage."),
    ] = 0.0,
    stall: Annotated[
        str | None, typer.Option("--stall", metavar="S,...", help=f"Stop sending. {_SECONDS_HELP}")
    ] = None,
    stall_for: Annotated[
        float, typer.Option("--stall-for", min=0.0, max=_LONGEST_S, metavar="S", help="Duration, s.")
    ] = 3.0,
    unplug: Annotated[
        str | None, typer.Option("--unplug", metavar="S,...", help=f"Unplug the device. {_SECONDS_HELP}")
    ] = None,
    unplug_for: Annotated[
        float, typer.Option("--unplug-for", min=0.0, max=_LONGEST_S, metavar="S", help="Duration, s.")
    ] = 2.0,
    jitter: Annotated[
        float,
        typer.Option("--jitter", min=0.0, max=_LATEST_MS, metavar="MS", help="Delay each frame by at most this time."),
    ] = 0.0,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=2**63 - 1, metavar="N", help="Seed that selects lost and damaged frames."),
    ] = 0,
    patient: PatientOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play a recording as a serial device.

    The replay runs in real time or faster, and can simulate faults. It waits for a reader, such as
    `ecgmoe-edge stream --port LINK` in another terminal. The patient's own layer is applied there; with --patient, its
    leads are checked before the replay, and the command of the reader is shown.
    """
    from ecgmoe_edge.firmware_bridge import Faults, Settings, VirtualHolter

    faults = Faults(
        drop=drop,
        corrupt=corrupt,
        stall_at_s=_seconds(stall, "--stall"),
        stall_s=stall_for,
        unplug_at_s=_seconds(unplug, "--unplug"),
        unplug_s=unplug_for,
        jitter_s=jitter / 1000,
        seed=seed,
    )
    is_counts = unit is not None and unit.strip().casefold() in COUNTS
    stated = stated_options(fs, unit, columns, time_column, uv_per_lsb if is_counts else None, truncated=truncated)
    found, positions, remarks = open_checked(record, stated, wanted_leads(leads))
    say_remarks(record, remarks)
    names = [found.leads[position] for position in positions]
    if patient is not None:
        _check_patient(patient, names)
    settings = Settings(Fraction(device_fs).limit_denominator(1_000_000) if device_fs else None, None, uv_per_lsb)
    with leaving_on_signals():
        holter = VirtualHolter(
            found.blocks(leads=positions),
            found.fs,
            names,
            link=pty,
            protocol=protocol,
            settings=settings,
            speed=speed,
            faults=faults,
            end_without_reader_s=_LEAVE_AFTER_S,
        )
        listed = f"{len(names)} lead{'s' if len(names) > 1 else ''}: {', '.join(names)}"
        say(f"{record}: {listed}, at {found.fs:g} Hz on {holter.port}, {pace(speed)}. Ctrl-C stops.")
        if protocol != "ecgmoe" or patient is not None:
            own = "" if patient is None else f" --patient {patient}"
            say(f"Read it with: ecgmoe-edge stream --port {holter.port} {holter.reader_options}{own}")
        totals = asdict(holter.play())
    if holter.abandoned:
        say(
            f"The reader closed the port at once, and no other opened it for {_LEAVE_AFTER_S:g} s: the replay ends. "
            "See the message of the reader."
        )
    if as_json:
        from ecgmoe_edge.records.plausibility import remarks_json

        result_json({**totals, "remarks": remarks_json(remarks)})
    else:
        say(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in totals.items()))


def _check_patient(file: Path, leads: list[str]) -> None:
    """Check that the layer of a patient is for these leads."""
    from ecgmoe_edge.runtime.patient_file import read_patient_file
    from ecgmoe_edge.streaming.input_checks import distinct_names

    contents = read_patient_file(file)
    contents.layer().check_stream(distinct_names(leads), invert=contents.invert)


def open_checked(record: str, stated: OpenOptions, leads: LeadsWanted) -> tuple[Recording, list[int], list[Remark]]:
    """Open a recording and check its plausibility.

    Args:
        record: path of the recording, or `calibration`.
        stated: properties that the user states.
        leads: leads to play; None or "all": all voltages.

    Returns:
        The recording, the indices of the leads to play, and the remarks.
    """
    from ecgmoe_edge.records.plausibility import plausibility_remarks
    from ecgmoe_edge.records.recording import choose_leads, voltage_leads
    from ecgmoe_edge.records.registry import open_recording

    found = open_recording(record, **asdict(stated))
    if leads is None or leads == "all":
        positions = choose_leads(found.leads, voltage_leads(found), found.name)
        remarks = plausibility_remarks(found)
    else:
        positions = choose_leads(found.leads, leads, found.name)
        remarks = plausibility_remarks(found, positions)
    return found, positions, list(dict.fromkeys((*found.remarks, *remarks)))
