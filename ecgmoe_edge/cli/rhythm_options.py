"""Options for the limits of the rhythm events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ecgmoe_edge.streaming import RhythmLimits

PauseOption = Annotated[
    float | None,
    typer.Option("--pause", metavar="S", help="Report a pause after so long without an R peak. Default: 2."),
]
AsystoleOption = Annotated[
    float | None,
    typer.Option("--asystole", metavar="S", help="Report asystole after so long without an R peak. Default: 4."),
]
BradycardiaOption = Annotated[
    float | None,
    typer.Option("--bradycardia", metavar="BPM", help="Report a lower rate, over 8 beats. Default: 50."),
]
TachycardiaOption = Annotated[
    float | None,
    typer.Option("--tachycardia", metavar="BPM", help="Report a higher rate, over 8 beats. Default: 100."),
]
VRunOption = Annotated[
    int | None,
    typer.Option("--v-run", metavar="BEATS", help="Report so many V beats in a row or more. Default: 3."),
]


def rhythm_limits(**given: Any) -> RhythmLimits:
    """The limits that the user gave, by the names of `RhythmLimits`; None is the default. Raises UsageError."""
    from ecgmoe_edge.streaming import RhythmLimits

    return RhythmLimits(**{name: value for name, value in given.items() if value is not None})
