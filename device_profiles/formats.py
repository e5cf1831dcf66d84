"""Formats of model files and what runs them: one table for profiles, manifests, bundles and exports.

It holds facts alone and imports nothing. How a file is started is in `runtime.engines`, how it is written in
`converters.targets`; a further format is an entry here and a module there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ecgmoe_edge.errors import ProfileError


@dataclass(frozen=True)
class FileFormat:
    """What is known of a format without any of its packages."""

    name: str  # in profiles and manifests; the model file is called model.<name>
    engines: tuple[str, ...]  # what a profile names to run it on its board
    runtimes: tuple[str, ...] = ()  # what runs it on this machine, the usual one first; empty: nothing does
    keys: frozenset[str] = frozenset()  # of [runtime], needed with this format and refused with every other
    int8_engines: frozenset[str] = frozenset()  # of `engines`, those that take int8 alone
    elsewhere: str = ""  # what a file is for that no runtime on this machine takes


_FORMATS: dict[str, FileFormat] = {}

#: All formats by name.
FORMATS: Mapping[str, FileFormat] = MappingProxyType(_FORMATS)


def register_format(entry: FileFormat) -> None:
    """Add a format, or replace the one of that name.

    Raises:
        ProfileError: one of its engines belongs to another format.
    """
    for other in _FORMATS.values():
        taken = set(other.engines) & set(entry.engines)
        if taken and other.name != entry.name:
            raise ProfileError(f"{', '.join(sorted(taken))} runs {other.name} already. Name the engine otherwise.")
    _FORMATS[entry.name] = entry


def unregister_format(name: str) -> None:
    """Take a format out again; one that is not there is no mistake."""
    _FORMATS.pop(name, None)


register_format(
    FileFormat(
        "onnx",
        engines=("onnxruntime",),
        runtimes=("onnxruntime",),
        keys=frozenset({"providers", "opset", "ir_version"}),
    )
)
register_format(
    FileFormat(
        "tflite",
        engines=("litert", "tflite-micro"),
        runtimes=("litert", "litert-reference", "tflite-runtime"),
        int8_engines=frozenset({"tflite-micro"}),
    )
)
register_format(
    FileFormat(
        "c", engines=("firmware",), elsewhere="C source for a microcontroller", int8_engines=frozenset({"firmware"})
    )
)
