"""MODEL_CARD.md of a bundle: what its manifest says, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from ecgmoe_edge.runtime.manifest import Gate, Manifest
from ecgmoe_edge.scoring.model_card import LIMITS

_SPLIT = (
    "By patient: those of the validation figures above were held out of training, and the epoch was chosen on them, so "
    "that these figures are a little too good. What each data set was used for, and who was held out, is said with it."
)
_ABOUT = (
    "A mixture of experts over two paths, the morphology of a beat and its rhythm, with a period-aware gate that "
    "weighs the paths for each task. It follows a reading of Xu et al., *ECG-MoE* (arXiv 2603.04589), made from the "
    "abstract and the figures; it is no reproduction of the authors' code."
)


def model_card(manifest: Manifest) -> str:
    """The model card of a bundle, Markdown."""
    return "\n".join(_lines(manifest)) + "\n"


def _lines(manifest: Manifest) -> Iterator[str]:
    model = manifest.model
    experts = " and ".join(f"{count} {path}" for path, count in model.experts.items())
    yield f"# {manifest.name}"
    yield f"\n**{manifest.intended_use}**\n"
    yield _ABOUT
    yield f"\nA student of width `{manifest.width}`, {model.precision}, as {model.format}, for the profile "
    yield f"`{manifest.profile}`. {experts} experts are in the file; one of each path runs for a beat."
    yield "\n## Tasks\n"
    yield from (f"- {task}: {', '.join(classes)}" for task, classes in manifest.classes.items())
    yield "\n## Checks\n"
    yield from (f"- {_gate(gate)}" for gate in manifest.gates)
    yield "\n## Figures\n"
    if not manifest.metrics:
        yield "Unmeasured: no annotated recordings were given to the export."
    for metrics in manifest.metrics:
        yield f"On {metrics.data}, full precision and exported:\n"
        for name, value in metrics.full_precision.items():
            yield f"- {name}: {_number(value)} and {_number(metrics.exported.get(name))}"
    yield "\n## Training data\n"
    if not manifest.training_data:
        yield "Not stated by whoever exported this bundle."
    yield from (f"- {one.name} ({one.licence}): {one.use}. {one.citation}" for one in manifest.training_data)
    yield "\n## Split\n"
    yield _SPLIT
    yield "\n## Limits\n"
    yield from (f"- {limit}" for limit in LIMITS)
    yield f"\n## Made by\n\n`{manifest.command}`\n" if manifest.command else ""
    yield f"Licence: {manifest.licence}."


def _gate(gate: Gate) -> str:
    if gate.status == "not run":
        return f"{gate.name}: not run ({gate.why})"
    unit = f" {gate.unit}" if gate.unit else ""
    return f"{gate.name}: {gate.status}, {_number(gate.value)}{unit}, {gate.sense} {gate.limit}, on {gate.data}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
