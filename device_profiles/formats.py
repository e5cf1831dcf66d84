"""Formats of model files and their engines: one table for profiles, manifests, bundles and exports.

The table contains only names and needs no package of any format. `runtime.engines` loads the files and
`converters.targets` writes them. To add a format, add an entry here and a module in `converters.targets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ecgmoe_edge.errors import ProfileError


@dataclass(frozen=True)
class FileFormat:
    """A format and the names of its engines."""

    name: str  # in profiles and manifests; the model file is named model.<name>
    engines: tuple[str, ...]  # names in a profile of the engines that run the format on a board
    runtimes: tuple[str, ...] = ()  # names of the runtimes on this machine, the usual one first; empty if none exists
    keys: frozenset[str] = frozenset()  # keys of [runtime] that this format requires and other formats refuse
    int8_engines: frozenset[str] = frozenset()  # the engines that run only int8
    elsewhere: str = ""  # purpose of a file that cannot run on this machine


_FORMATS: dict[str, FileFormat] = {}

#: All formats by name.
FORMATS: Mapping[str, FileFormat] = MappingProxyType(_FORMATS)


def register_format(entry: FileFormat) -> None:
    """Add a format, or replace the format with the same name.

    Raises:
        ProfileError: one of its engines already belongs to another format.
    """
    for other in _FORMATS.values():
        taken = set(other.engines) & set(entry.engines)
        if taken and other.name != entry.name:
            raise ProfileError(f"{', '.join(sorted(taken))} already runs {other.name}. Give the engine another name.")
    _FORMATS[entry.name] = entry


def unregister_format(name: str) -> None:
    """Remove a format; do nothing if there is none with that name."""
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
