"""`profile`: latency, throughput and memory of a bundle on this machine, compared with its device profile's limits."""

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
        float, typer.Option("--chunk-ms", min=1.0, max=60_000.0, metavar="MS", help="Length of signal per push.")
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
        Path, typer.Option("--sysfs-root", metavar="DIR", help="Read /sys and /proc from this folder.")
    ] = Path("/"),
    limits: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="NAME|FILE", help="Compare with the limits of this profile. Default: the bundle's."
        ),
    ] = None,
    budget: Annotated[
        bool, typer.Option("--budget", help="Exit with code 1 if a limit of the profile is exceeded.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on this machine.

    Measures latency per stage, throughput and peak memory over the shipped recording. A sensor that this machine lacks
    is reported as unavailable, never as 0. Then compares the figures with each limit of the bundle's profile. The
    verdicts apply to this machine, not to the board.
    """
    from ecgmoe_edge.device_profiles import load_profile
    from ecgmoe_edge.profiling import budget_of, profile_bundle, render_text

    compared = None if limits is None else load_profile(limits)  # before the measurement, which takes seconds
    report = profile_bundle(bundle, chunk_ms=chunk_ms, seconds=seconds, runtime=runtime, sysfs_root=sysfs_root)
    verdicts = budget_of(report, compared)
    say_missing_providers(report.bundle["engine"])
    if as_json:
        result_json(report.to_json(verdicts))
    else:
        result(render_text(report, verdicts))
    if budget:
        verdicts.enforce()
