"""Starts the engine of a model file by its format: one entry a format, in place of questions about its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ecgmoe_edge.device_profiles.formats import FORMATS
from ecgmoe_edge.errors import BundleError, UsageError
from ecgmoe_edge.runtime import litert_engine, onnx_engine
from ecgmoe_edge.runtime.engine import Engine, EngineSetup

Start = Callable[[bytes, EngineSetup], Engine]

_STARTS: dict[str, Start] = {"onnx": onnx_engine.start, "tflite": litert_engine.start}


def register_engine(file_format: str, start: Start) -> None:
    """Let `start` run files of a format of `device_profiles.formats`; it takes the place of an earlier one."""
    _STARTS[file_format] = start


def unregister_engine(file_format: str) -> None:
    """Take the engine of a format out again; one that is not there is no mistake."""
    _STARTS.pop(file_format, None)


def runtimes_of(file_format: str) -> Sequence[str]:
    """What runs files of a format on this machine, the usual one first; empty where nothing does."""
    return FORMATS[file_format].runtimes if file_format in _STARTS else ()


def start_engine(file_format: str, content: bytes, setup: EngineSetup, where: str) -> Engine:
    """The engine of a model file.

    Args:
        file_format: of the manifest.
        content: the model file.
        setup: how to run it; `setup.runtime` is None for the usual one.
        where: the bundle, for messages.

    Raises:
        BundleError: files of that format do not run here, or the file is not what the setup says.
        UsageError: the runtime is for other formats.
        MissingExtra: the runtime is not installed.
    """
    fitting = runtimes_of(file_format)
    if not fitting:
        what = FORMATS[file_format].elsewhere or f"a {file_format} file"
        raise BundleError(
            f"{where} holds {what} and cannot run here: build it into firmware. "
            "To try the model on this machine, export the profile generic-cpu."
        )
    if setup.runtime is not None and setup.runtime not in fitting:
        raise UsageError(f"{setup.runtime} does not run {file_format} bundles; {' or '.join(fitting)} does.")
    return _STARTS[file_format](content, setup)
