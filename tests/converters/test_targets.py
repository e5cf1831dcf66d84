"""A file format is one object: a new format is exported, gated and run without changes to other code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.contract import INPUTS, SHAPES
from ecgmoe_edge.converters.calibration import CalibrationBeats
from ecgmoe_edge.converters.export import ExportRequest, export_model
from ecgmoe_edge.converters.file_contents import Graph, ModelSummary
from ecgmoe_edge.converters.parity import torch_model
from ecgmoe_edge.converters.targets import (
    Target,
    register,
    target_named,
    target_of_engine,
    target_of_file,
    targets,
    unregister,
)
from ecgmoe_edge.device_profiles import Profile, load_profile
from ecgmoe_edge.device_profiles.formats import FORMATS, FileFormat, register_format, unregister_format
from ecgmoe_edge.errors import BundleError, ConversionError, GateFailed, ProfileError
from ecgmoe_edge.model.student import Student, save_student
from ecgmoe_edge.runtime.bundle import load_bundle
from ecgmoe_edge.runtime.engine import EngineSetup
from ecgmoe_edge.runtime.engines import register_engine, unregister_engine
from ecgmoe_edge.runtime.manifest import Gate, TensorSpec


class ToyEngine:
    """Runs the PyTorch model that the toy file was converted from."""

    batched = False

    def __init__(self, model: Any) -> None:
        self._infer = torch_model(model)
        self.inputs = tuple(TensorSpec(name, (1, *SHAPES[name])) for name in INPUTS)
        zeros = {name: np.zeros((1, *SHAPES[name]), np.float32) for name in INPUTS}
        self.outputs = tuple(TensorSpec(name, x.shape) for name, x in self._infer(zeros).items())

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        return dict(self._infer(inputs))

    def describe(self) -> dict[str, Any]:
        return {"runtime": "toy"}


class ToyTarget(Target):
    """A format whose file contains only a word; its engine keeps the PyTorch model in memory."""

    name = "toy"

    def __init__(self) -> None:
        self.made: ToyEngine | None = None

    def operators(self, engine: str) -> frozenset[str]:
        return target_named("onnx").operators(engine)

    def convert(self, model: Any, profile: Profile, path: Path) -> ModelSummary:
        path.write_bytes(b"toy" * 400)
        path.with_suffix(".notes").write_text(profile.name)
        self.made = ToyEngine(model)
        return self.summary(path)

    def files(self, path: Path) -> Mapping[str, Path]:
        return {path.name: path, "model.notes": path.with_suffix(".notes")}

    def engine(self, path: Path, profile: Profile) -> ToyEngine:
        assert path.read_bytes().startswith(b"toy")
        assert self.made is not None
        return self.made

    def start(self, content: bytes, setup: EngineSetup) -> ToyEngine:
        assert content.startswith(b"toy")
        assert setup.threads == 1
        assert self.made is not None
        return self.made

    def summary(self, path: Path) -> ModelSummary:
        experts = {"morphology": 3, "rhythm": 4}
        return ModelSummary(path, path.stat().st_size, {}, 0, experts, "if")

    def graph(self, path: Path) -> Graph:
        raise ConversionError(f"{path} has no graph.")

    def gates(self, path: Path, profile: Profile) -> tuple[Gate, ...]:
        return (Gate.judge("words", path.stat().st_size / 3, profile.memory.peak_kib, "at most", data=path.name),)


@pytest.fixture
def toy() -> Iterator[ToyTarget]:
    target = ToyTarget()
    register_format(FileFormat("toy", engines=("toy-engine",), runtimes=("toy-run",)))
    register_engine("toy", target.start)
    register(target)
    yield target
    unregister("toy")
    unregister_engine("toy")
    unregister_format("toy")


def _profile(folder: Path, **memory: int) -> Profile:
    """A profile file as a user would write it."""
    text = _text("generic-cpu")
    for before, after in {
        'format = "onnx"': 'format = "toy"', 'engine = "onnxruntime"': 'engine = "toy-engine"',
        'providers = ["CPUExecutionProvider"]': "", "opset = 18": "#", "ir_version = 10": "#",
        'precision = "int8"': 'precision = "float32"', 'activations = "uint8"': 'activations = "float32"',
    }.items():  # fmt: skip
        assert before in text
        text = text.replace(before, after)
    path = folder / "toy.toml"
    path.write_text(text)
    profile = load_profile(path)
    return msgspec.structs.replace(profile, memory=msgspec.structs.replace(profile.memory, **memory))


def _text(name: str) -> str:
    from importlib import resources

    return (resources.files("ecgmoe_edge.device_profiles") / f"{name}.toml").read_text(encoding="utf-8")


def test_a_new_format_is_exported_gated_and_run_without_other_changes(
    toy: ToyTarget, student: Student, beats: CalibrationBeats, tmp_path: Path
) -> None:
    weights = tmp_path / "student.safetensors"
    save_student(weights, student)
    request = ExportRequest(weights, _profile(tmp_path), calibration=beats)
    exported = export_model(request, tmp_path / "bundle")
    assert {path.name for path in exported.folder.iterdir()} >= {"model.toy", "model.notes", "manifest.json"}
    assert {gate.name: gate.status for gate in exported.manifest.gates}["words"] == "passed"
    bundle = load_bundle(exported.folder)
    assert bundle.manifest.model.format == "toy"
    assert bundle.describe()["engine"] == {"runtime": "toy"}
    wanted = torch_model(student)(beats.inputs)["beat"]
    np.testing.assert_allclose(bundle.infer(beats.inputs)["beat"], wanted, atol=1e-5)
    assert target_of_file("model.toy") is target_of_engine("toy-engine") is target_named("toy") is toy

    with pytest.raises(GateFailed, match="words is 400"):
        export_model(ExportRequest(weights, _profile(tmp_path, peak_kib=399), calibration=beats), tmp_path / "second")
    assert not (tmp_path / "second").exists()

    unregister_engine("toy")
    with pytest.raises(BundleError, match="contains a toy file and cannot run on this machine"):
        load_bundle(exported.folder)


def test_every_target_has_a_registered_format_and_lists_its_modules() -> None:
    assert [target.name for target in targets()] == ["onnx", "tflite"]
    for target in targets():
        assert target.engines == FORMATS[target.name].engines
        assert target.file_name == f"model.{target.name}"
        assert target.modules
        assert target.readers
        assert all("conv2d" in target.operators(engine) for engine in target.engines)


def test_an_unknown_format_or_file_is_refused() -> None:
    with pytest.raises(ConversionError, match="no c files; it writes onnx, tflite"):
        target_named("c")
    with pytest.raises(ConversionError, match=r"model\.pt is not a model file"):
        target_of_file("model.pt")
    with pytest.raises(ProfileError, match="onnxruntime already runs onnx"):
        register_format(FileFormat("other", engines=("onnxruntime",)))


def test_listing_targets_imports_no_package_of_a_format() -> None:
    code = (
        "import sys; from ecgmoe_edge.converters.targets import targets; print([t.modules for t in targets()]);"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'litert_torch', 'ai_edge_litert'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
