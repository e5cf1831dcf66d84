"""The TFLite target: an int8 file with nested `IF`, or with one signature per piece for dispatch by the host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecgmoe_edge.converters.targets.target import Target
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.runtime.litert_engine import LiteRtEngine

if TYPE_CHECKING:
    from ecgmoe_edge.converters.file_contents import Graph, ModelSummary
    from ecgmoe_edge.device_profiles import Profile
    from ecgmoe_edge.runtime.manifest import Gate

MICRO = "tflite-micro"


class TfliteTarget(Target):
    """Writes and reads TFLite files; see `Target`. LiteRT's reference kernels simulate those of a microcontroller."""

    name = "tflite"
    modules = ("litert_torch",)
    readers = ("ai_edge_litert", "flatbuffers")
    distributions = ("litert-torch", "ai-edge-litert")

    def refuse(self, profile: Profile) -> None:
        """Refuse float32."""
        if profile.precision.precision != "int8":
            raise ConversionError("TFLite files are written only in int8. Set precision = 'int8', or format = 'onnx'.")

    def operators(self, engine: str) -> frozenset[str]:
        """Return the operators of the quantizer's table; LiteRT supports more of them than TFLite Micro."""
        from ecgmoe_edge.converters.operators import EVERYWHERE, MOSTLY

        return frozenset(EVERYWHERE if engine == MICRO else EVERYWHERE | MOSTLY)

    def convert(self, model: Any, profile: Profile, path: Path) -> ModelSummary:
        """Write a student with the dispatch of the profile."""
        from ecgmoe_edge.converters.targets.tflite.static import export_tflite

        return export_tflite(model, path, dispatch=profile.model.dispatch)

    def engine(self, path: Path, profile: Profile) -> LiteRtEngine:
        """Return LiteRT, with the reference kernels if the profile is for a microcontroller."""
        return LiteRtEngine(path.read_bytes(), kernels="reference" if _is_micro(profile) else "xnnpack")

    def summary(self, path: Path) -> ModelSummary:
        """Summarise a file."""
        from ecgmoe_edge.converters.targets.tflite.reader import inspect_tflite

        return inspect_tflite(path)

    def graph(self, path: Path) -> Graph:
        """Read the main graph of a file, including its branches."""
        from ecgmoe_edge.converters.targets.tflite.reader import tflite_graph

        return tflite_graph(path)

    def gates(self, path: Path, profile: Profile) -> tuple[Gate, ...]:
        """Run the gate on the tensor arena if the profile is for a microcontroller."""
        if not _is_micro(profile):
            return ()
        from ecgmoe_edge.converters.targets.tflite.microcontroller import arena_gate

        return (arena_gate(path.read_bytes(), profile.memory.peak_kib, path.name),)

    def is_timed_here(self, profile: Profile) -> bool:
        """Whether the time is representative: LiteRT on this machine is not, for a microcontroller."""
        return not _is_micro(profile)

    def unmeasured_here(self, profile: Profile) -> str:
        """Return why precision cannot be measured: there is never a float32 TFLite file to compare with."""
        return "a microcontroller runs only int8" if _is_micro(profile) else "TFLite files are written only in int8"


def _is_micro(profile: Profile) -> bool:
    return profile.runtime.engine == MICRO
