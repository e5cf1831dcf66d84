"""Loads a trained model: `load_bundle(path)` verifies a bundle and starts its engine, ready for a `Monitor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.contract import BEAT_TASK
from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.compatibility import check_classes, check_preprocessing, decision_from_manifest
from ecgmoe_edge.runtime.cores import usable_cores
from ecgmoe_edge.runtime.engine import Engine, EngineSetup
from ecgmoe_edge.runtime.engines import start_engine
from ecgmoe_edge.runtime.manifest import MANIFEST_NAME, Manifest
from ecgmoe_edge.runtime.storage import BundleFiles, open_bundle, pack, write_bundle
from ecgmoe_edge.runtime.trial_run import try_model
from ecgmoe_edge.streaming.decision import DecisionRule

__all__ = ["Bundle", "BundleFiles", "load_bundle", "open_bundle", "pack", "shipped_bundle", "write_bundle"]

DEFAULT_BUNDLE = "generic-cpu"


class Bundle:
    """A verified bundle with a started engine; the model of a `Monitor`."""

    def __init__(self, path: Path, manifest: Manifest, decision: DecisionRule, engine: Engine) -> None:
        self.path = path
        self.manifest = manifest
        self.engine = engine
        self._decision = decision

    @property
    def classes(self) -> Mapping[str, tuple[str, ...]]:
        """Classes of each task, in the order of its logits."""
        return self.manifest.classes

    @property
    def decision(self) -> DecisionRule:
        """Constants of the rule that turns the logits of a beat into a label."""
        return self._decision

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks for which the model has outputs."""
        return tuple(self.manifest.classes)

    @property
    def context_samples(self) -> int:
        """Number of context samples that the model needs: 0, since a student has no context input."""
        return 0

    @property
    def batched(self) -> bool:
        """Whether the inference of many beats at once is much faster than one by one."""
        return self.engine.batched

    def infer(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Run the model on b beats.

        Args:
            inputs: float32 "beat" (b, 2, 82), "features" (b, 27) and "rr_sequence" (b, 2, 32).

        Returns:
            Float32 logits of each task, (b, classes), and of each router `route_*`, (b, experts).
        """
        return self.engine.run(inputs)

    def describe(self) -> dict[str, Any]:
        """Summary of bundle and engine, ready for JSON."""
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
    """Verify a bundle, start its engine and run its model for the first time.

    Args:
        path: the bundle, a folder or a zip.
        runtime: runtime to use instead of the default: "onnxruntime" for ONNX; "litert", "tflite-runtime", or the slow
            "litert-reference", whose results are bit for bit those of TFLite Micro, for TFLite.
        threads: number of threads instead of that in the manifest. It is limited to the processors that this process
            may use.
        providers: execution providers instead of those in the manifest.

    Raises:
        BundleError: the bundle is damaged, does not fit this version, or its model cannot run.
        UsageError: the runtime is for another format.
        MissingExtra: the runtime is not installed.
    """
    files = open_bundle(path)
    manifest = files.manifest
    check_preprocessing(manifest.preprocessing, str(path))
    decision = decision_from_manifest(manifest.decision, str(path))
    check_classes(manifest.classes, str(path))
    if BEAT_TASK not in manifest.classes:
        raise BundleError(f"{path} has no task `beat`, which a monitor needs. Export it with --tasks beat.")
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
    """Find a bundle that comes with the package.

    Raises:
        BundleError: there is none of that name; the message lists those that exist.
    """
    root = Path(str(resources.files("ecgmoe_edge"))) / "pretrained" / "bundles"
    shipped = sorted(item.parent.name for item in root.glob(f"*/{MANIFEST_NAME}"))
    if name not in shipped:
        listed = f"it contains {', '.join(shipped)}" if shipped else "it contains none"
        raise BundleError(f"This package contains no bundle {name}; {listed}. Name a folder or zip with --bundle.")
    return root / name
