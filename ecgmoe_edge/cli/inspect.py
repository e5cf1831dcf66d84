"""`inspect`: describes a bundle: checks every file, counts the costs of the model, and runs it to count its experts."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgmoe_edge.cli.macs_lines import macs_lines
from ecgmoe_edge.cli.options import JsonOption
from ecgmoe_edge.cli.output import result, result_json, say
from ecgmoe_edge.durable_files import write_text
from ecgmoe_edge.errors import MissingExtra, UsageError
from ecgmoe_edge.shown_text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ecgmoe_edge.converters.cost_breakdown import CostBreakdown
    from ecgmoe_edge.runtime import BundleFiles
    from ecgmoe_edge.runtime.manifest import Gate, Manifest

EXAMPLES = (
    "ecgmoe-edge inspect",
    "ecgmoe-edge inspect ./ecgmoe-jetson --graph jetson.svg",
    "ecgmoe-edge inspect model.zip --json",
)


def inspect(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="[BUNDLE]", help="Folder or zip. Default: the shipped one."),
    ] = None,
    graph: Annotated[
        Path | None, typer.Option("--graph", metavar="FILE.svg", help="Draw the parts of the model into this file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Describe a bundle: model, costs, experts, gates, figures, training data and files.

    Every file is checked against its sha256. Parameters, bytes, multiplications and memory are counted in the model
    file. The use of the experts is measured on the shipped recording.
    """
    import msgspec

    from ecgmoe_edge.runtime import open_bundle, shipped_bundle

    if graph is not None and graph.suffix != ".svg":
        raise UsageError(f"The drawing is an SVG file: give a name that ends in .svg, not {graph.name}.")
    files = open_bundle(bundle or shipped_bundle())
    manifest = files.manifest
    costs = _anatomy(files)
    shares = _shares(files)
    if graph is not None:
        _draw(graph, manifest, costs, shares)
    if as_json:
        description = msgspec.to_builtins(manifest)
        description["anatomy"] = None if costs is None else msgspec.to_builtins(costs)
        description["expert_shares"] = shares
        mean = None if costs is None else _mean_macs(costs, manifest.model.experts, shares)
        description["mean_macs_on_shipped_recording"] = mean
        result_json(description)
    else:
        lines = (*_lines(manifest), *_cost_lines(costs, manifest.model.experts, shares))
        result("\n".join(map(shown, lines)))


def _anatomy(files: BundleFiles) -> CostBreakdown | None:
    """The costs of the model by part; None if the packages that read its file are not installed."""
    from ecgmoe_edge.converters.targets import targets

    model = files.manifest.model
    readers = {target.name: target.readers for target in targets()}
    if model.format not in readers or not all(find_spec(module) for module in readers[model.format]):
        return None
    from ecgmoe_edge.converters.cost_breakdown import cost_breakdown

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / Path(model.file).name
        path.write_bytes(files.read(model.file))
        return cost_breakdown(path)


def _shares(files: BundleFiles) -> dict[str, list[float]]:
    """Share of beats for which each expert ran on the shipped recording, by path; empty without an engine.

    Raises:
        BundleError: the engine refuses the bundle.
    """
    from ecgmoe_edge.calibration_data import load_calibration
    from ecgmoe_edge.device_profiles.formats import FORMATS
    from ecgmoe_edge.runtime import load_bundle
    from ecgmoe_edge.runtime.engines import runtimes_of
    from ecgmoe_edge.streaming import Monitor
    from ecgmoe_edge.streaming.events import Beat

    model_format = files.manifest.model.format
    if not runtimes_of(model_format):
        say(f"The experts were not counted: {FORMATS[model_format].elsewhere or model_format} does not run here.")
        return {}
    try:
        loaded = load_bundle(files.path)
    except MissingExtra as error:
        say(f"The experts were not counted: {error}")
        return {}
    recording = load_calibration()
    monitor = Monitor(loaded, recording.fs, leads=recording.leads)
    beats = [event for event in (*monitor.push(recording.signal), *monitor.flush()) if isinstance(event, Beat)]
    shares = {}
    for bank, count in loaded.manifest.model.experts.items():
        ran = [beat.experts[bank] for beat in beats if bank in beat.experts]
        shares[bank] = [ran.count(expert) / max(1, len(ran)) for expert in range(count)]
    return shares


def _draw(graph: Path, manifest: Manifest, costs: CostBreakdown | None, shares: Mapping[str, list[float]]) -> None:
    if costs is None:
        raise MissingExtra(f"A reader of {manifest.model.format} files, which the drawing needs,", "export")
    from ecgmoe_edge.converters.drawing import svg

    inputs, tasks = [spec.name for spec in manifest.inputs], list(manifest.classes)
    write_text(graph, svg(inputs, tasks, costs, shares, f"{manifest.name}, {manifest.model.precision}"))


def _cost_lines(
    costs: CostBreakdown | None, experts: Mapping[str, int], shares: Mapping[str, list[float]]
) -> Iterator[str]:
    if costs is None:
        yield "parts: not counted; install ecgmoe-edge[export] to read the file"
    else:
        yield f"parts: {'':14}{'parameters':>11}{'bytes':>9}{'MAC':>10}{'memory':>9}{'ran for':>9}  operators"
        for part in costs.parts:
            share = _ran_for(part.name, experts, shares)
            kinds = ", ".join(f"{count} {kind}" for kind, count in part.operators.items())
            counted = f"{part.parameters:>11,}{part.bytes:>9,}{part.macs:>10,}{part.peak_bytes:>9,}"
            yield f"  {part.name:<19}{counted}{share:>9}  {kinds}"
        yield f"  a beat: {costs.macs_per_beat:,} multiplications, {costs.peak_bytes:,} bytes of activations at most"
        if (mean := _mean_macs(costs, experts, shares)) is not None:
            yield f"  a beat of the shipped recording: {mean:,.0f} multiplications in the mean"
        if costs.lora_copies > 1:
            copies = f"{costs.lora_copies} copies of the fusion block, one per task"
            yield f"  LoRA is merged: {copies}; those beyond the first cost {costs.lora_bytes:,} bytes"
        else:
            yield "  LoRA is merged: one task, one fusion block, no copy"
    for bank, ran in shares.items():
        listed = ", ".join(f"{expert}: {100 * share:.1f} %" for expert, share in enumerate(ran))
        yield f"experts of {bank} on the shipped recording: {listed}"


def _mean_macs(costs: CostBreakdown, experts: Mapping[str, int], shares: Mapping[str, list[float]]) -> float | None:
    """Mean multiplications of a beat of the shipped recording; None if the experts were not counted."""
    banks = {part.name.rpartition("_")[0] for part in costs.experts}
    if not banks or not banks <= shares.keys() or any(not sum(shares[bank]) for bank in banks):
        return None
    total = 0.0
    for part in costs.parts:
        bank, _, number = part.name.rpartition("_")
        total += part.macs * (shares[bank][int(number)] if bank in experts and number.isdigit() else 1.0)
    return total


def _ran_for(part: str, experts: Mapping[str, int], shares: Mapping[str, list[float]]) -> str:
    """Share of the beats for which a part ran; "-" for an expert that was not counted."""
    bank, _, number = part.rpartition("_")
    if bank not in experts or not number.isdigit():
        return "all"
    return f"{100 * shares[bank][int(number)]:.0f} %" if bank in shares else "-"


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
    yield f"  experts: {experts}; one of each path runs per beat (dispatch: {model.dispatch})"
    if model.parameters is not None:
        yield f"  {model.parameters:,} parameters"
    for line in macs_lines(model.macs):
        yield f"  {line}"
    if model.why_precision:
        yield f"  precision: {model.why_precision}"
    pre = manifest.preprocessing
    first_ms, last_ms = (1000 * edge / pre.model_rate_hz for edge in (pre.grid_first, pre.grid_last))
    yield (
        f"  input: {pre.band_hz[0]:g}-{pre.band_hz[1]:g} Hz at {pre.model_rate_hz:g} Hz, "
        f"beat window {first_ms:.0f} to {last_ms:+.0f} ms around R"
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
