"""Options that several commands share, and the checks of their values."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from ecgmoe_edge.errors import UsageError

if TYPE_CHECKING:
    from ecgmoe_edge.records.opening import LeadsWanted
    from ecgmoe_edge.records.recording import OpenOptions
    from ecgmoe_edge.streaming.signal.mains import MainsChoice

#: Units of a table of A/D converter counts.
COUNTS = ("count", "counts", "adu", "lsb")


_FASTEST = 1_000_000.0  # times real time
_SLOWEST = 0.001
_SHORTEST_S = 0.001
_LONGEST_S = 31_536_000.0  # one year


def checked_speed(value: float) -> float:
    """Check a playback speed, times real time; 0 means as fast as possible."""
    if value and not _SLOWEST <= value <= _FASTEST:
        raise typer.BadParameter(f"it must be 0, or from {_SLOWEST:g} to {_FASTEST:,.0f} times real time.")
    return value


def _checked_seconds(value: float | None) -> float | None:
    if value is not None and not _SHORTEST_S <= value <= _LONGEST_S:
        raise typer.BadParameter(f"it must be from {_SHORTEST_S:g} to {_LONGEST_S:,.0f} s.")
    return value


def _checked_positive(value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise typer.BadParameter("it must be more than 0.")
    return value


class FiniteNumbers(TyperCommand):
    """A command whose options refuse infinity and `nan`, which pass the range check of Typer."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments and check that all numbers are finite."""
        rest = super().parse_args(ctx, args)
        for option in self.params:
            value = ctx.params.get(option.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise typer.BadParameter(
                    f"it must be a finite number, not {value:g}.", ctx=ctx, param_hint=f"'{option.opts[0]}'"
                )
        return rest


def mains_choice(option: Literal["auto", "off", "50", "60"]) -> MainsChoice:
    """The argument `mains` of a monitor for a value of `--mains`."""
    if option == "auto":
        return option
    return None if option == "off" else int(option)


def wanted_leads(named: str | None) -> LeadsWanted:
    """Parse `--leads`: names or indices from 0, separated by commas, or `all`.

    Raises:
        UsageError: a name is empty.
    """
    if named is None or named.strip() == "all":
        return None if named is None else "all"
    leads = [name.strip() for name in named.split(",")]
    if not all(leads):
        raise UsageError(f"--leads {named!r} names no lead. Give names such as II,V1, indices such as 0,1, or all.")
    return leads


def stated_options(
    fs: float | None,
    unit: str | None,
    columns: str | None,
    time_column: str | None,
    uv_per_lsb: float | None,
    *,
    truncated: bool,
) -> OpenOptions:
    """What the user states about a recording: properties of a table of samples, and whether to read a truncated file.

    Raises:
        UsageError: the unit is counts and their scale is not given.
    """
    from ecgmoe_edge.records.recording import OpenOptions

    if unit is not None and unit.strip().casefold() in COUNTS and uv_per_lsb is None:
        raise UsageError(f"--unit {unit} needs a scale: also give --uv-per-lsb, the microvolts per count.")
    return OpenOptions(
        fs=fs,
        unit=unit,
        columns=None if columns is None else [name.strip() for name in columns.split(",") if name.strip()],
        truncated="read" if truncated else "error",
        uv_per_lsb=uv_per_lsb,
        time_column=time_column,
    )


def cores() -> int:
    """Default number of processes: the usable CPU cores."""
    from ecgmoe_edge.runtime.cores import usable_cores

    return usable_cores()


BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", metavar="PATH", help="Bundle: folder or zip. Default: the shipped one."),
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Folder for the examples. Default: in the run folder.")
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE|NAME",
        help="Configuration (TOML), or a shipped one: default (of the shipped model), ds1-only.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of recordings. Default: the environment variable ECGMOE_DATA."),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Device of the model. auto: a GPU if there is one."),
]
InvertOption = Annotated[bool, typer.Option("--invert", help="Reverse the polarity, if electrodes are swapped.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", min=1, metavar="N", help="Processes. Default: one per core.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse to start if a record cannot be used. Default: skip it.")
]
TrainingLeadsOption = Annotated[
    str | None,
    typer.Option("--leads", metavar="A,B,...", help="Leads of every data set, by name or index. Default: configured."),
]
MainsOption = Annotated[
    Literal["auto", "off", "50", "60"],
    typer.Option("--mains", help="Mains frequency, Hz. auto: a notch if hum is measured; 50 or 60: always."),
]
PatientOption = Annotated[
    Path | None,
    typer.Option("--patient", metavar="FILE", help="The patient's own layer: a file of `adapt`."),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        metavar="M",
        callback=_checked_positive,
        help="Stop cleanly within this time; the same command continues.",
    ),
]
ProbeOption = Annotated[bool, typer.Option("--probe", help="If the device is not recognised, send bytes to it.")]
LeadsOption = Annotated[
    str | None,
    typer.Option("--leads", metavar="A,B,...", help="Leads, by name or index from 0. Default: every voltage."),
]
TableColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="A,B,...", help="Columns of a table that are leads, by name or index from 0."),
]
TableRateOption = Annotated[
    float | None, typer.Option("--fs", min=0.001, max=1e6, metavar="HZ", help="Sampling rate of a table.")
]
TableStepOption = Annotated[
    float | None,
    typer.Option("--uv-per-lsb", min=1e-6, max=1e6, metavar="UV", help="Microvolts per count of a table."),
]
TableTimeOption = Annotated[
    str | None,
    typer.Option(
        "--time-column", metavar="NAME", help="Time column of a table, by name or index; none: rows are even."
    ),
]
TruncatedOption = Annotated[
    bool, typer.Option("--truncated", help="Read what is present of a file that is shorter than its header states.")
]
TableUnitOption = Annotated[
    str | None,
    typer.Option("--unit", metavar="UNIT", help="Unit of a table: uV, mV, V, or count with --uv-per-lsb. Default: mV."),
]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", callback=_checked_seconds, help="Stop after this much signal."),
]
TrustCodeOption = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run code that a weights file or a configuration names (a factory `module:function`). Without it, only "
        "entry points of installed packages (group ecgmoe_edge.backbones) run.",
    ),
]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, metavar="N", help="Threads of the numerical library.")]
