"""A bundle of the small ONNX model."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from tiny_onnx import onnx_model

from ecgmoe_edge.contract import SHAPES
from ecgmoe_edge.runtime.bundle import write_bundle
from ecgmoe_edge.runtime.compatibility import decision_to_manifest, installed_preprocessing
from ecgmoe_edge.runtime.manifest import Gate, Manifest, ModelEntry, TensorSpec
from ecgmoe_edge.streaming.decision import DecisionRule


def tiny_manifest() -> Manifest:
    """The manifest of the small ONNX model."""
    return Manifest(
        name="tiny",
        created=datetime(2026, 1, 2, tzinfo=timezone.utc),
        profile="generic-cpu",
        classes={"beat": ("N", "S", "V", "F"), "rhythm": ("N", "AF", "other", "noisy")},
        preprocessing=installed_preprocessing(),
        decision=decision_to_manifest(DecisionRule(irregular_penalty=1.5)),
        inputs=tuple(TensorSpec(name, (1, *shape)) for name, shape in SHAPES.items()),
        outputs=(
            TensorSpec("beat", (1, 4), in_file="beat_logits"),
            TensorSpec("rhythm", (1, 4), in_file="rhythm_logits"),
            TensorSpec("route_morphology", (1, 2)),
            TensorSpec("route_rhythm", (1, 2)),
        ),
        model=ModelEntry("onnx", "model.onnx", "float32", "if", {"morphology": 2, "rhythm": 2}),
        gates=(
            Gate.judge("float logit difference", 1e-6, 1e-3, "at most", data="random beats"),
            Gate.not_run("accuracy drop", "no recordings were given"),
        ),
        command="pytest",
    )


def tiny_files() -> dict[str, bytes | Path]:
    return {"model.onnx": onnx_model(), "MODEL_CARD.md": b"# tiny\n"}


def write_tiny_bundle(folder: Path) -> Path:
    return write_bundle(folder, tiny_manifest(), tiny_files())
