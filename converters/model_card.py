"""MODEL_CARD.md of a bundle: the content of its manifest in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from ecgmoe_edge.runtime.manifest import BeatMacs, Gate, Manifest
from ecgmoe_edge.scoring.model_card import LIMITS

_SPLIT = (
    "By patient: the patients of the validation figures above were held out of training. The epoch was chosen on them, "
    "so these figures are slightly optimistic. The list of training data says how each data set was used and which "
    "patients were held out."
)
_ABOUT = (
    "A mixture of experts with two paths, for the morphology of a beat and for its rhythm. A period-aware gate weights "
    "the paths for each task. The design is based on the abstract and the figures of Xu et al., *ECG-MoE* "
    "(arXiv 2603.04589). It is not a reproduction of the authors' code."
)


def model_card(manifest: Manifest) -> str:
    """Return the model card of a bundle as Markdown."""
    return "\n".join(_lines(manifest)) + "\n"


def _lines(manifest: Manifest) -> Iterator[str]:
    model = manifest.model
    experts = " and ".join(f"{count} {path}" for path, count in model.experts.items())
    yield f"# {manifest.name}"
    yield f"\n**{manifest.intended_use}**\n"
    yield _ABOUT
    yield f"\nA student of width `{manifest.width}`, {model.precision}, as {model.format}, for the profile "
    yield f"`{manifest.profile}`. The file contains {experts} experts; one expert of each path runs for a beat."
    yield "\n## Tasks\n"
    yield from (f"- {task}: {', '.join(classes)}" for task, classes in manifest.classes.items())
    yield "\n## Checks\n"
    yield from (f"- {_gate(gate)}" for gate in manifest.gates)
    if model.macs is not None:
        yield "\n## Cost of a beat\n"
        yield _cost(model.macs)
    yield "\n## Figures\n"
    if not manifest.metrics:
        yield "Not measured: the export was run without annotated recordings."
    for metrics in manifest.metrics:
        yield f"On {metrics.data}, in full precision and as exported:\n"
        for name, value in metrics.full_precision.items():
            yield f"- {name}: {_number(value)} and {_number(metrics.exported.get(name))}"
    yield "\n## Training data\n"
    if not manifest.training_data:
        yield "Not stated by the person who exported this bundle."
    yield from (f"- {one.name} ({one.licence}): {one.use}. {one.citation}" for one in manifest.training_data)
    yield "\n## Split\n"
    yield _SPLIT
    yield "\n## Limits\n"
    yield from (f"- {limit}" for limit in LIMITS)
    yield f"\n## Made by\n\n`{manifest.command}`\n" if manifest.command else ""
    yield f"Licence: {manifest.licence}."


def _cost(macs: BeatMacs) -> str:
    most = f"at most {macs.max_macs:,} multiplications; the network of the same sizes without a choice of experts has "
    most += f"{macs.dense_twin_macs:,}"
    if macs.mean_macs is None or macs.p95_macs is None:
        return f"A beat takes {most}. The mean is not known: {macs.why}."
    mean = f"{macs.mean_macs:,.0f} in the mean and {macs.p95_macs:,.0f} at the 95th percentile"
    return f"A beat takes {most}. Over {macs.beats:,} beats of {macs.data}: {mean}."


def _gate(gate: Gate) -> str:
    if gate.status == "not run":
        return f"{gate.name}: not run ({gate.why})"
    unit = f" {gate.unit}" if gate.unit else ""
    return f"{gate.name}: {gate.status}, {_number(gate.value)}{unit}, {gate.sense} {gate.limit}, on {gate.data}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
