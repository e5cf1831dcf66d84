"""A trained model ready to run: `load_bundle(path)` gives what a monitor needs, or an error that says what is
wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT_TASK
from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.cores import usable_cores
from ecgmoe_edge.runtime.engine import Engine, EngineSetup
from ecgmoe_edge.runtime.engines import start_engine
from ecgmoe_edge.runtime.manifest import MANIFEST_NAME, Manifest
from ecgmoe_edge.runtime.preprocessing import check_preprocessing, decision_from_manifest
from ecgmoe_edge.runtime.storage import BundleFiles, open_bundle, pack, write_bundle
from ecgmoe_edge.runtime.task_classes import check_classes
from ecgmoe_edge.runtime.trial_run import try_model
from ecgmoe_edge.streaming.decision import DecisionRule

__all__ = ["Bundle", "BundleFiles", "load_bundle", "open_bundle", "pack", "shipped_bundle", "write_bundle"]

DEFAULT_BUNDLE = "generic-cpu"


class Bundle:
    """A verified bundle with its engine started; what a `Monitor` takes."""

    def __init__(self, path: Path, manifest: Manifest, decision: DecisionRule, engine: Engine) -> None:
        self.path = path
        self.manifest = manifest
        self.engine = engine
        self._decision = decision

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Task -> its classes in the order of the logits."""
        return self.manifest.classes

    @property
    def decision(self) -> DecisionRule:
        """Constants of the rule that turns beat logits into a label."""
        return self._decision

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the model answers."""
        return tuple(self.manifest.classes)

    @property
    def context_samples(self) -> int:
        """0: a student is given no context."""
        return 0

    @property
    def batched(self) -> bool:
        """False: its file takes one beat at a time."""
        return False

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Logits of each task (b, classes) and of each router `route_*` (b, experts), float32.

        `inputs` are float32: "beat" (b, 2, 103), "features" (b, 27), "rr_sequence" (b, 2, 32).
        """
        return self.engine.run(inputs)

    def describe(self) -> dict[str, Any]:
        """Name, profile, model and engine in a few JSON-ready words."""
        model = self.manifest.model
        return {
            "name": self.manifest.name,
            "profile": self.manifest.profile,
            "width": self.manifest.width,
            "format": model.format,
            "precision": model.precision,
            "dispatch": model.dispatch,
            "experts": dict(model.experts),
            "tasks": {task: list(names) for task, names in self.manifest.classes.items()},
            "engine": self.engine.describe(),
        }


def load_bundle(
    path: str | Path,
    runtime: str | None = None,
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
) -> Bundle:
    """Verify the bundle at `path` (folder or zip), start its engine and run its model a first time.

    `runtime` overrides what runs the file: "onnxruntime" for ONNX; "litert", "litert-reference" (slow, TFLite
    Micro's results to the bit) or "tflite-runtime" for TFLite. `threads` and `providers` override the
    manifest's; there are never more threads than processors
    that this process may use. Raises BundleError, UsageError for a runtime that
    does not fit, MissingExtra where the runtime is not installed.
    """
    files = open_bundle(path)
    manifest = files.manifest
    check_preprocessing(manifest.preprocessing, str(path))
    decision = decision_from_manifest(manifest.decision, str(path))
    check_classes(manifest.classes, str(path))
    if BEAT_TASK not in manifest.classes:
        raise BundleError(
            f"{path} has no task `beat`, so there is nothing to monitor with. Export it with --tasks beat."
        )
    model = manifest.model
    setup = EngineSetup(
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        runtime=runtime,
        threads=min(threads or model.threads, usable_cores()),
        providers=model.providers if providers is None else providers,
        activations=model.activations,
    )
    engine = start_engine(model.format, files.read(model.file), setup, str(files.path))
    try_model(engine, manifest, str(path))
    return Bundle(files.path, manifest, decision, engine)


def shipped_bundle(name: str = DEFAULT_BUNDLE) -> Path:
    """The folder of a bundle that comes with the package. Raises BundleError naming those that there are."""
    root = Path(str(resources.files("ecgmoe_edge"))) / "pretrained" / "bundles"
    there = sorted(item.parent.name for item in root.glob(f"*/{MANIFEST_NAME}"))
    if name not in there:
        listed = f"it ships {', '.join(there)}" if there else "it ships none"
        raise BundleError(f"This package ships no bundle {name}; {listed}. Name a folder or zip with --bundle.")
    return root / name
