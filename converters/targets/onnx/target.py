"""The ONNX target: one file in float32 or int8 that selects its experts with nested `If`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgmoe_edge.converters.targets.target import Target
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.onnx_engine import CPU, OnnxEngine

if TYPE_CHECKING:
    from ecgmoe_edge.converters.file_contents import Graph, ModelSummary
    from ecgmoe_edge.device_profiles import Profile

_MORE = {"layer_norm", "matmul", "gelu", "exp", "log", "sqrt", "pow", "embedding", "lstm", "conv1d", "select"}


class OnnxTarget(Target):
    """Writes and reads ONNX files; see `Target`."""

    name = "onnx"
    modules = ("onnx", "onnxscript")
    readers = ("onnx",)
    distributions = ("onnx", "onnxscript", "onnxruntime")

    def refuse(self, profile: Profile) -> None:
        """Refuse host dispatch, and an opset that needs a newer IR version than the profile allows."""
        from ecgmoe_edge.converters.targets.onnx.static import check_versions

        if profile.model.dispatch != "if":
            raise ConversionError("An ONNX file selects its experts itself. Set dispatch = 'if' in the profile.")
        check_versions(*_versions(profile))

    def operators(self, engine: str) -> frozenset[str]:
        """Return the operators of the quantizer's table, and further ones that onnxruntime has in float32."""
        del engine
        from ecgmoe_edge.converters.operators import EVERYWHERE, MOSTLY

        return frozenset(EVERYWHERE | MOSTLY | _MORE)

    def convert(self, model: Any, profile: Profile, path: Path) -> ModelSummary:
        """Write a student with the opset, the IR version and the activations of the profile."""
        from ecgmoe_edge.converters.targets.onnx.static import export_onnx

        pieces = model.folded if profile.precision.precision == "int8" else model
        opset, ir_version = _versions(profile)
        activations = profile.precision.activations
        return export_onnx(pieces, path, activations=activations, opset=opset, ir_version=ir_version)

    def engine(self, path: Path, profile: Profile) -> OnnxEngine:
        """Return onnxruntime on the CPU; its outputs have the package's names, without "_logits"."""
        content = path.read_bytes()
        outputs = [_own(spec) for spec in OnnxEngine(content).outputs]
        return OnnxEngine(content, outputs=outputs, activations=profile.precision.activations)

    def summary(self, path: Path) -> ModelSummary:
        """Summarise a file."""
        from ecgmoe_edge.converters.targets.onnx.reader import inspect_onnx

        return inspect_onnx(path)

    def graph(self, path: Path) -> Graph:
        """Read the main graph of a file, including its branches."""
        from ecgmoe_edge.converters.targets.onnx.reader import onnx_graph

        return onnx_graph(path)

    def unmeasured_here(self, profile: Profile) -> str:
        """Return why precision cannot be measured here: the board's architecture or provider is another one."""
        first = profile.runtime.providers[0]
        return super().unmeasured_here(profile) or ("" if first == CPU else f"this machine has no {first}")


def _versions(profile: Profile) -> tuple[int, int]:
    """Return opset and newest IR version of a profile."""
    runtime = profile.runtime
    if runtime.opset is None or runtime.ir_version is None:
        raise ConversionError("An ONNX file needs opset and ir_version in the profile.")
    return runtime.opset, runtime.ir_version


def _own(spec: TensorSpec) -> TensorSpec:
    """Return the tensor under the package's name; in the file, the output of the task "beat" is "beat_logits"."""
    own = spec.name.removesuffix("_logits")
    return spec if own == spec.name else TensorSpec(name=own, shape=spec.shape, in_file=spec.name)
