"""Table of the engines by model format, so that no other module contains the name of a format."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ecgmoe_edge.device_profiles.formats import FORMATS
from ecgmoe_edge.errors import BundleError, UsageError
from ecgmoe_edge.runtime import litert_engine, onnx_engine
from ecgmoe_edge.runtime.engine import Engine, EngineSetup

Start = Callable[[bytes, EngineSetup], Engine]

_STARTS: dict[str, Start] = {"onnx": onnx_engine.start, "tflite": litert_engine.start}


def register_engine(file_format: str, start: Start) -> None:
    """Register `start` for files of a format of `device_profiles.formats`, replacing an earlier registration."""
    _STARTS[file_format] = start


def unregister_engine(file_format: str) -> None:
    """Remove the engine of a format, if there is one."""
    _STARTS.pop(file_format, None)


def runtimes_of(file_format: str) -> Sequence[str]:
    """Names of the runtimes for files of a format, the default first; empty if this machine cannot run them."""
    return FORMATS[file_format].runtimes if file_format in _STARTS else ()


def start_engine(file_format: str, content: bytes, setup: EngineSetup, where: str) -> Engine:
    """Start the engine of a model file.

    Args:
        file_format: format of the file, from the manifest.
        content: bytes of the model file.
        setup: how to run it.
        where: the bundle, for messages.

    Raises:
        BundleError: this machine cannot run files of the format, or the file does not match the setup.
        UsageError: the chosen runtime is for other formats.
        MissingExtra: the runtime is not installed.
    """
    fitting = runtimes_of(file_format)
    if not fitting:
        what = FORMATS[file_format].elsewhere or f"a {file_format} file"
        raise BundleError(
            f"{where} contains {what} and cannot run on this machine: build it into firmware. "
            "To try the model on this machine, export the profile generic-cpu."
        )
    if setup.runtime is not None and setup.runtime not in fitting:
        raise UsageError(f"{setup.runtime} does not run {file_format} bundles; {' or '.join(fitting)} does.")
    return _STARTS[file_format](content, setup)
