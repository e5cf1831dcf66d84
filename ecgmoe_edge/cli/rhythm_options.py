"""Options for the limits of the rhythm events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ecgmoe_edge.streaming import RhythmLimits

PauseOption = Annotated[
    float | None,
    typer.Option("--pause", metavar="S", help="Report a pause after this time without an R peak. Default: 2."),
]
AsystoleOption = Annotated[
    float | None,
    typer.Option("--asystole", metavar="S", help="Report asystole after this time without an R peak. Default: 4."),
]
BradycardiaOption = Annotated[
    float | None,
    typer.Option("--bradycardia", metavar="BPM", help="Report a lower heart rate over 8 beats. Default: 50."),
]
TachycardiaOption = Annotated[
    float | None,
    typer.Option("--tachycardia", metavar="BPM", help="Report a higher heart rate over 8 beats. Default: 100."),
]
VRunOption = Annotated[
    int | None,
    typer.Option("--v-run", metavar="BEATS", help="Report at least this many consecutive V beats. Default: 3."),
]


def rhythm_limits(**given: Any) -> RhythmLimits:
    """The limits of the rhythm events.

    Args:
        given: values by the names of the fields of `RhythmLimits`; None: the default.

    Raises:
        UsageError: a limit is out of range.
    """
    from ecgmoe_edge.streaming import RhythmLimits

    return RhythmLimits(**{name: value for name, value in given.items() if value is not None})
