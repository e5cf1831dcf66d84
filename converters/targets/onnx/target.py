"""ONNX as a target: nested `If`, float32 or int8, one file that chooses its experts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgmoe_edge.converters.targets.target import Target
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.onnx_engine import CPU, OnnxEngine

if TYPE_CHECKING:
    from ecgmoe_edge.converters.experts import ModelSummary
    from ecgmoe_edge.converters.graph_of_file import Block
    from ecgmoe_edge.device_profiles import Profile

_MORE = {"layer_norm", "matmul", "gelu", "exp", "log", "sqrt", "pow", "embedding", "lstm", "conv1d", "select"}


class OnnxTarget(Target):
    """See `Target`."""

    name = "onnx"
    modules = ("onnx", "onnxscript")
    readers = ("onnx",)
    distributions = ("onnx", "onnxscript", "onnxruntime")

    def refuse(self, profile: Profile) -> None:
        """No host dispatch, and no opset that needs a newer IR version than the profile's runtime reads."""
        from ecgmoe_edge.converters.targets.onnx.static import check_versions

        if profile.model.dispatch != "if":
            raise ConversionError("ONNX files choose their experts themselves. Set dispatch = 'if' in the profile.")
        check_versions(*_versions(profile))

    def operators(self, engine: str) -> frozenset[str]:
        """What the quantizer has a rule for, and what onnxruntime has in float32 besides."""
        del engine
        from ecgmoe_edge.converters.operators import EVERYWHERE, MOSTLY

        return frozenset(EVERYWHERE | MOSTLY | _MORE)

    def convert(self, model: Any, profile: Profile, path: Path) -> ModelSummary:
        """With the profile's opset, IR version and activations."""
        from ecgmoe_edge.converters.targets.onnx.static import export_onnx

        pieces = model.folded if profile.precision.precision == "int8" else model
        opset, ir_version = _versions(profile)
        activations = profile.precision.activations
        return export_onnx(pieces, path, activations=activations, opset=opset, ir_version=ir_version)

    def engine(self, path: Path, profile: Profile) -> OnnxEngine:
        """Onnxruntime on the CPU, its outputs under the package's own names."""
        content = path.read_bytes()
        outputs = [_own(spec) for spec in OnnxEngine(content).outputs]
        return OnnxEngine(content, outputs=outputs, activations=profile.precision.activations)

    def summary(self, path: Path) -> ModelSummary:
        """As `Target` says."""
        from ecgmoe_edge.converters.targets.onnx.reader import inspect_onnx

        return inspect_onnx(path)

    def graph(self, path: Path) -> Block:
        """As `Target` says."""
        from ecgmoe_edge.converters.targets.onnx.reader import onnx_graph

        return onnx_graph(path)

    def unmeasured_here(self, profile: Profile) -> str:
        """Another architecture, or another provider than the CPU."""
        first = profile.runtime.providers[0]
        return super().unmeasured_here(profile) or ("" if first == CPU else f"{first} is not here")


def _versions(profile: Profile) -> tuple[int, int]:
    """Opset and newest IR version; a profile of this format has both."""
    runtime = profile.runtime
    if runtime.opset is None or runtime.ir_version is None:
        raise ConversionError("An ONNX file needs opset and ir_version in the profile.")
    return runtime.opset, runtime.ir_version


def _own(spec: TensorSpec) -> TensorSpec:
    """A tensor under the package's own name; in the file the output of task "beat" is "beat_logits"."""
    own = spec.name.removesuffix("_logits")
    return spec if own == spec.name else TensorSpec(name=own, shape=spec.shape, in_file=spec.name)
