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

#: Units of a table that holds what an A/D converter counts.
COUNTS = ("count", "counts", "adu", "lsb")


_FASTEST = 1_000_000.0  # times real time
_SLOWEST = 0.001
_SHORTEST_S = 0.001
_LONGEST_S = 31_536_000.0  # a year


def checked_speed(value: float) -> float:
    """How fast a recording is played, times real time; 0 is as fast as it is read."""
    if value and not _SLOWEST <= value <= _FASTEST:
        raise typer.BadParameter(f"it is 0, or from {_SLOWEST:g} to {_FASTEST:,.0f} times real time.")
    return value


def _checked_seconds(value: float | None) -> float | None:
    if value is not None and not _SHORTEST_S <= value <= _LONGEST_S:
        raise typer.BadParameter(f"it is from {_SHORTEST_S:g} to {_LONGEST_S:,.0f} s.")
    return value


def _checked_positive(value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise typer.BadParameter("it must be more than 0.")
    return value


class FiniteNumbers(TyperCommand):
    """A command that takes no infinite number and no `nan` for any of its options: no range keeps `nan` out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any command's, then the check."""
        rest = super().parse_args(ctx, args)
        for option in self.params:
            value = ctx.params.get(option.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise typer.BadParameter(
                    f"it must be a finite number, not {value:g}.", ctx=ctx, param_hint=f"'{option.opts[0]}'"
                )
        return rest


def mains_choice(option: Literal["auto", "off", "50", "60"]) -> MainsChoice:
    """What a monitor is given for `--mains`."""
    if option == "auto":
        return option
    return None if option == "off" else int(option)


def wanted_leads(named: str | None) -> LeadsWanted:
    """Leads as `--leads` names them: names or positions counted from 0, parted by commas, or all.

    Raises:
        UsageError: it names none.
    """
    if named is None or named.strip() == "all":
        return None if named is None else "all"
    leads = [name.strip() for name in named.split(",")]
    if not all(leads):
        raise UsageError(f"--leads {named!r} names no lead. Give names such as II,V1, positions such as 0,1, or all.")
    return leads


def stated_options(
    fs: float | None,
    unit: str | None,
    columns: str | None,
    time_column: str | None,
    uv_per_lsb: float | None,
) -> OpenOptions:
    """What a user states about a table of samples."""
    from ecgmoe_edge.records.recording import OpenOptions

    if unit is not None and unit.strip().casefold() in COUNTS and uv_per_lsb is None:
        raise UsageError(f"--unit {unit} says nothing of volts: give --uv-per-lsb, the microvolts of one count, too.")
    return OpenOptions(
        fs=fs,
        unit=unit,
        columns=None if columns is None else [name.strip() for name in columns.split(",") if name.strip()],
        uv_per_lsb=uv_per_lsb,
        time_column=time_column,
    )


def cores() -> int:
    """Processes that a command runs where nobody said how many."""
    from ecgmoe_edge.runtime.cores import usable_cores

    return usable_cores()


BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", metavar="PATH", help="Bundle, folder or zip. Default: the shipped one."),
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Folder for the examples. Default: inside the run's.")
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE|NAME",
        help="Data sets and settings (TOML), or a shipped one: default (the shipped model's), ds1-only.",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of recordings. Default: the variable ECGMOE_DATA."),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where the model runs. auto: a GPU where there is one."),
]
InvertOption = Annotated[bool, typer.Option("--invert", help="The electrodes are swapped: turn the signal over.")]
JobsOption = Annotated[int | None, typer.Option("--jobs", min=1, metavar="N", help="Processes. Default: one a core.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse to begin where a record cannot be used. Default: leave it out.")
]
TrainingLeadsOption = Annotated[
    str | None,
    typer.Option(
        "--leads", metavar="A,B,...", help="Leads of every data set, by name or position. Default: configured."
    ),
]
MainsOption = Annotated[
    Literal["auto", "off", "50", "60"],
    typer.Option("--mains", help="Mains hum, Hz. auto: a notch where hum is measured; 50 or 60: that notch always."),
]
MinutesOption = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        metavar="M",
        callback=_checked_positive,
        help="Stop cleanly within this time; the same command goes on.",
    ),
]
ProbeOption = Annotated[
    bool, typer.Option("--probe", help="If listening does not tell what a device is, ask it: bytes are sent to it.")
]
LeadsOption = Annotated[
    str | None,
    typer.Option("--leads", metavar="A,B,...", help="Leads, by name or position from 0. Default: every voltage."),
]
TableColumnsOption = Annotated[
    str | None,
    typer.Option("--columns", metavar="A,B,...", help="Columns of a table that are leads, by name or position from 0."),
]
TableRateOption = Annotated[
    float | None, typer.Option("--fs", min=0.001, max=1e6, metavar="HZ", help="Sampling rate of a table.")
]
TableStepOption = Annotated[
    float | None,
    typer.Option("--uv-per-lsb", min=1e-6, max=1e6, metavar="UV", help="Microvolts of one count of a table."),
]
TableTimeOption = Annotated[
    str | None,
    typer.Option("--time-column", metavar="NAME", help="Column of a table that holds the time, by name or position."),
]
TableUnitOption = Annotated[
    str | None,
    typer.Option("--unit", metavar="UNIT", help="Unit of a table: uV, mV, V; count takes --uv-per-lsb. Default: mV."),
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
