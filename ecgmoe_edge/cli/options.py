"""Options that several commands share, and the checks of their values."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from ecgmoe_edge.streaming.signal.mains import MainsChoice


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


def cores() -> int:
    """Processes that a command runs where nobody said how many."""
    return os.cpu_count() or 1


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
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", callback=_checked_positive, help="Stop after this much signal."),
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
