"""`profile`: latency a stage, throughput and memory of a bundle on this machine, beside the limits of its profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecgmoe_edge.cli.options import BundleOption, JsonOption
from ecgmoe_edge.cli.output import result, result_json, say_missing_providers

EXAMPLES = (
    "ecgmoe-edge profile",
    "ecgmoe-edge profile --bundle ./ecgmoe-jetson --chunk-ms 20 --json",
    "ecgmoe-edge profile --bundle ./ecgmoe-my-board --profile ./my-board.toml --budget",
)


def profile(
    bundle: BundleOption = None,
    chunk_ms: Annotated[
        float, typer.Option("--chunk-ms", min=1.0, max=60_000.0, metavar="MS", help="Signal pushed at a time.")
    ] = 100.0,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=0.001, max=86_400.0, metavar="S", help="Stop after this much signal."),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option("--runtime", metavar="NAME", help="onnxruntime, litert, litert-reference, tflite-runtime."),
    ] = None,
    sysfs_root: Annotated[
        Path, typer.Option("--sysfs-root", metavar="DIR", help="Where /sys and /proc are read from.")
    ] = Path("/"),
    limits: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="NAME|FILE", help="Whose limits to compare with. Default: the bundle's own profile."
        ),
    ] = None,
    budget: Annotated[
        bool, typer.Option("--budget", help="Exit with 1 where a limit of the profile is exceeded.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on this machine.

    Latency a stage, throughput and peak memory over the shipped recording. A sensor that this machine lacks is
    reported as unavailable, never as 0. Then each limit of the bundle's profile with its verdict, which is this
    machine's and not the board's.
    """
    from ecgmoe_edge.device_profiles import load_profile
    from ecgmoe_edge.profiling import budget_of, profile_bundle, render_text

    compared = None if limits is None else load_profile(limits)  # before seconds are spent on measuring
    report = profile_bundle(bundle, chunk_ms=chunk_ms, seconds=seconds, runtime=runtime, sysfs_root=sysfs_root)
    verdicts = budget_of(report, compared)
    say_missing_providers(report.bundle["engine"])
    if as_json:
        result_json(report.to_json(verdicts))
    else:
        result(render_text(report, verdicts))
    if budget:
        verdicts.enforce()
