"""TFLite as a target: int8, one file with nested `IF`, or one signature a piece for a host that chooses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgmoe_edge.converters.targets.target import Target
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.runtime.litert_engine import LiteRtEngine

if TYPE_CHECKING:
    from ecgmoe_edge.converters.experts import ModelSummary
    from ecgmoe_edge.converters.graph_of_file import Block
    from ecgmoe_edge.device_profiles import Profile
    from ecgmoe_edge.runtime.manifest import Gate

MICRO = "tflite-micro"


class TfliteTarget(Target):
    """See `Target`. The reference kernels of LiteRT stand in for those of a microcontroller."""

    name = "tflite"
    modules = ("litert_torch",)
    readers = ("ai_edge_litert", "flatbuffers")
    distributions = ("litert-torch", "ai-edge-litert")

    def refuse(self, profile: Profile) -> None:
        """No float32."""
        if profile.precision.precision != "int8":
            raise ConversionError("TFLite files are written in int8. Set precision = 'int8', or format = 'onnx'.")

    def operators(self, engine: str) -> frozenset[str]:
        """What the quantizer has a rule for; LiteRT has more. The integer kernels of TFLite Micro are the fewest."""
        from ecgmoe_edge.converters.operators import EVERYWHERE, MOSTLY

        return frozenset(EVERYWHERE if engine == MICRO else EVERYWHERE | MOSTLY)

    def convert(self, model: Any, profile: Profile, path: Path) -> ModelSummary:
        """With the profile's dispatch."""
        from ecgmoe_edge.converters.targets.tflite.static import export_tflite

        return export_tflite(model, path, dispatch=profile.model.dispatch)

    def engine(self, path: Path, profile: Profile) -> LiteRtEngine:
        """LiteRT, for a microcontroller with the reference kernels."""
        return LiteRtEngine(path.read_bytes(), kernels="reference" if _is_micro(profile) else "xnnpack")

    def summary(self, path: Path) -> ModelSummary:
        """As `Target` says."""
        from ecgmoe_edge.converters.targets.tflite.reader import inspect_tflite

        return inspect_tflite(path)

    def graph(self, path: Path) -> Block:
        """As `Target` says."""
        from ecgmoe_edge.converters.targets.tflite.reader import tflite_graph

        return tflite_graph(path)

    def gates(self, path: Path, profile: Profile) -> tuple[Gate, ...]:
        """On a microcontroller, the tensor arena."""
        if not _is_micro(profile):
            return ()
        from ecgmoe_edge.converters.targets.tflite.microcontroller import arena_gate

        return (arena_gate(path.read_bytes(), profile.memory.peak_kib, path.name),)

    def is_timed_here(self, profile: Profile) -> bool:
        """A microcontroller's kernels say nothing of its speed here."""
        return not _is_micro(profile)

    def unmeasured_here(self, profile: Profile) -> str:
        """Always: there is no float32 file to compare with."""
        return "a microcontroller takes int8 alone" if _is_micro(profile) else "TFLite files are written in int8 alone"


def _is_micro(profile: Profile) -> bool:
    return profile.runtime.engine == MICRO
