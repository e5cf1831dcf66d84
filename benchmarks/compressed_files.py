"""The files of `python benchmarks/compression.py`: one per profile, a float version, and all experts in float."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.chain import Step, on_batches
from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.compress.qat import load_qat
from ecgmoe_edge.converters.parity import Tensors
from ecgmoe_edge.converters.targets import target_named
from ecgmoe_edge.converters.targets.onnx.dense import export_dense
from ecgmoe_edge.converters.targets.onnx.static import export_onnx
from ecgmoe_edge.converters.targets.tflite.microcontroller import available, smallest_arena
from ecgmoe_edge.device_profiles import Profile, list_profiles, load_profile
from ecgmoe_edge.model.student import load_student
from ecgmoe_edge.runtime.engine import Engine
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.onnx_engine import OnnxEngine

#: Reference kernels do not show the speed of a microcontroller.
_NAMES = {"onnx": "static", "tflite": "tflite"}  # in the names of the files
_HOST = {"onnxruntime": "onnxruntime", "litert": "LiteRT", "tflite-micro": "LiteRT, reference kernels"}


@dataclass(frozen=True)
class Exported:
    """A written file, and the engine that runs it here."""

    name: str
    profile: str
    width: str
    precision: str
    runtime: str
    path: Path
    engine: Engine

    def infer(self, inputs: Tensors) -> Tensors:
        """The outputs of the file, by the names of the package."""
        return self.engine.run(inputs)

    def step(self) -> Step:
        """The file as a step of the chain."""
        return Step(f"{self.precision} {self.runtime}", self.path.read_bytes(), lambda: on_batches(self.infer))

    def timed(self, feeds: Sequence[Mapping[str, NDArray[np.float32]]]) -> Callable[[int], object]:
        """Run one beat by its number: ONNX in a plain session, which anyone can time again; else the engine."""
        if self.path.suffix != ".onnx":
            return lambda beat: self.engine.run(feeds[beat])
        run = session(self.path).run
        return lambda beat: run(None, feeds[beat])


def write_files(weights: Path, qat_path: Callable[[str, bool], Path], out: Path) -> list[Exported]:
    """Write the file of every profile, a float version of the small student, and all its experts in float, into `out`.

    Args:
        weights: folder of students.
        qat_path: the quantization-aware student of a width, asymmetric or symmetric.
        out: created if it does not exist; files of an earlier run are replaced.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [_of_profile(load_profile(name), qat_path, out) for name in list_profiles()]
    small = merge_student(load_student(weights / "student-small.safetensors"))
    path = out / "small_float.onnx"
    export_onnx(small, path)
    files.append(_onnx("small_float", "", "small", "float32 static", path, "float32"))
    path = out / "small_dense.onnx"
    export_dense(small, path)
    files.append(_onnx("small_dense", "", "small", "float32, all experts", path, "float32"))
    return sorted(files, key=lambda file: (file.width != "small", file.width))


def _of_profile(profile: Profile, qat_path: Callable[[str, bool], Path], out: Path) -> Exported:
    """The int8 file of a profile, from weights that were trained for its quantization."""
    precision, width = profile.precision, profile.model.width
    target = target_named(profile.runtime.format)
    name = f"{width}_{_NAMES[target.name]}"
    path = out / f"{name}.{target.name}"
    target.convert(load_qat(qat_path(width, precision.symmetric_activations)).convert(), profile, path)
    stated = f"{precision.activations}{', symmetric' if precision.symmetric_activations else ''}"
    engine = target.engine(path, profile)
    return Exported(name, profile.name, width, stated, _HOST[profile.runtime.engine], path, engine)


def _onnx(name: str, profile: str, width: str, precision: str, path: Path, activations: Any) -> Exported:
    specs = OnnxEngine(path).outputs
    own = [TensorSpec(spec.name.removesuffix("_logits"), spec.shape, in_file=spec.name) for spec in specs]
    engine = OnnxEngine(path, outputs=own, activations=activations)
    return Exported(name, profile, width, precision, "onnxruntime", path, engine)


def session(path: Path) -> Any:
    """An onnxruntime session with one thread and default options otherwise."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def arena_bytes(model: bytes) -> int | None:
    """The smallest tensor arena in which TFLite Micro runs a file; None if it is not installed."""
    return smallest_arena(model) if available() else None
