"""`inspect`: what a bundle is, in words: every file checked, nothing run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.options import JsonOption
from ecgmoe_edge.cli.output import result, result_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecgmoe_edge.runtime.manifest import Gate, Manifest

EXAMPLES = (
    "ecgmoe-edge inspect",
    "ecgmoe-edge inspect ./ecgmoe-jetson",
    "ecgmoe-edge inspect model.zip --json",
)


def inspect(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="[BUNDLE]", help="Folder or zip. Default: the shipped one."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Explain a bundle: model, gates, figures, data, files.

    Every file is checked against its sha256; the model itself is not run.
    """
    import msgspec

    from ecgmoe_edge.runtime import open_bundle, shipped_bundle

    manifest = open_bundle(bundle or shipped_bundle()).manifest
    if as_json:
        result_json(msgspec.to_builtins(manifest))
    else:
        result("\n".join(_lines(manifest)))


def _lines(manifest: Manifest) -> Iterator[str]:
    model = manifest.model
    yield f"{manifest.name}, made {manifest.created:%Y-%m-%d} for profile {manifest.profile}"
    yield f"  {manifest.intended_use}"
    if manifest.command:
        yield f"  made by: {manifest.command}"
    yield "tasks"
    for task, classes in manifest.classes.items():
        yield f"  {task}: {', '.join(classes)}"
    yield "model"
    experts = ", ".join(f"{count} {path}" for path, count in model.experts.items())
    yield f"  {model.file}: {model.precision}, activations {model.activations}, width {manifest.width}"
    yield f"  experts: {experts}; one of each runs a beat (dispatch: {model.dispatch})"
    if model.parameters is not None:
        yield f"  {model.parameters:,} parameters"
    pre = manifest.preprocessing
    first_ms, last_ms = (1000 * edge / pre.model_rate_hz for edge in (pre.grid_first, pre.grid_last))
    yield (
        f"  input: {pre.band_hz[0]:g}-{pre.band_hz[1]:g} Hz at {pre.model_rate_hz:g} Hz, "
        f"beat window {first_ms:.0f} to {last_ms:+.0f} ms round R"
    )
    yield "gates"
    for gate in manifest.gates:
        yield f"  {_gate_line(gate)}"
    for metrics in manifest.metrics:
        yield f"figures on {metrics.data} (full precision -> exported)"
        for name, value in metrics.full_precision.items():
            yield f"  {name}: {_number(value)} -> {_number(metrics.exported.get(name))}"
    yield "training data" if manifest.training_data else "training data: not stated"
    for source in manifest.training_data:
        yield f"  {source.name} ({source.licence}): {source.use}"
    yield f"files (licence {manifest.licence})"
    for name, entry in manifest.files.items():
        yield f"  {name}: {entry.bytes:,} bytes, sha256 {entry.sha256[:12]}..., as listed"


def _gate_line(gate: Gate) -> str:
    if gate.status == "not run":
        return f"{gate.name}: NOT RUN, {gate.why}"
    unit = f" {gate.unit}" if gate.unit else ""
    limit = f"{gate.sense} {_number(gate.limit)}"
    return f"{gate.name}: {gate.status}, {_number(gate.value)}{unit} ({limit}) on {gate.data}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
