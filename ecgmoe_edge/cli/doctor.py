"""`doctor`: what this machine can do, and how to mend what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgmoe_edge.cli.options import BundleOption, JsonOption
from ecgmoe_edge.cli.output import result, result_json, say

EXAMPLES = (
    "ecgmoe-edge doctor",
    "ecgmoe-edge doctor --bundle ./ecgmoe-raspberry-pi",
    "ecgmoe-edge doctor --json",
)


def doctor(
    bundle: BundleOption = None,
    sysfs_root: Annotated[
        Path,
        typer.Option(
            "--sysfs-root", metavar="DIR", exists=True, file_okay=False, help="Read /sys and /proc from this folder."
        ),
    ] = Path("/"),
    as_json: JsonOption = False,
) -> None:
    """Check this machine, and say how to mend what is wrong.

    Checks the engine, the runtimes, processor, clock, sensors, memory, folders and serial ports, and labels a beat with
    the bundle. Each finding is ok, a remark (it works, but less well than it could) or a problem (nothing can run).
    Exits with 1 if there is a problem.
    """
    from ecgmoe_edge.profiling.doctor import diagnose

    diagnosis = diagnose(bundle, sysfs_root)
    if as_json:
        result_json(diagnosis.to_json())
    else:
        result(diagnosis.render_text())
        say(f"Problems: {diagnosis.count('problem')}; remarks: {diagnosis.count('remark')}.")
    if not diagnosis.ok:
        raise typer.Exit(1)
