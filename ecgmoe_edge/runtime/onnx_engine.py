"""Runs an ONNX file with onnxruntime."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import BundleError, MissingExtra
from ecgmoe_edge.runtime.engine import EngineSetup, Tensors, check_inputs, match_specs, run_rows
from ecgmoe_edge.runtime.manifest import ActivationFormat, TensorSpec
from ecgmoe_edge.runtime.onnx_file import check_onnx_file

CPU = "CPUExecutionProvider"
_X86 = ("x86_64", "amd64", "i386", "i686")
_ERRORS = (
    *("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException"),
    *("EPFail", "ModelLoaded", "NoModel", "NoSuchFile", "EngineError"),
)


class OnnxEngine:
    """One onnxruntime session, float32 in and out.

    One thread and no spinning: a beat is too small to share, and a wearable's battery pays for idle loops.
    `providers` are tried in their order; those this machine lacks are left out, and the CPU is always the last.

    `activations` is how the file stores them. On x86 without VNNI onnxruntime's fused kernels for int8 activations add
    pairs of products in 16 bits and saturate, so on x86 such a file runs unfused: slower, and right.

    Raises MissingExtra without onnxruntime, BundleError where the file is not what the specs say.
    """

    def __init__(
        self,
        model: bytes | Path,
        *,
        inputs: Sequence[TensorSpec] | None = None,
        outputs: Sequence[TensorSpec] | None = None,
        providers: Sequence[str] = (CPU,),
        threads: int = 1,
        activations: ActivationFormat = "float32",
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtra("onnxruntime, which runs ONNX bundles,", "onnx") from error
        self._runtime = onnxruntime
        self._wanted = tuple(providers)
        self._threads = threads
        self._fused = not (activations == "int8" and platform.machine().lower() in _X86)
        available = set(onnxruntime.get_available_providers())
        chosen = [*dict.fromkeys([p for p in providers if p in available] + [CPU])]
        content = model if isinstance(model, bytes) else model.read_bytes()
        check_onnx_file(content)
        self._errors = _exceptions(onnxruntime)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # its notes on providers; results go to stdout
                self._session = onnxruntime.InferenceSession(
                    content, self._options(), providers=chosen, enable_fallback=int(chosen != [CPU])
                )
            session_inputs, session_outputs = self._session.get_inputs(), self._session.get_outputs()
            given, answered = [_spec(value) for value in session_inputs], [_spec(value) for value in session_outputs]
        except self._errors as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BundleError(f"onnxruntime {onnxruntime.__version__} cannot load the model: {reason}") from error
        self._inputs = match_specs("input", inputs, given)
        self._outputs = match_specs("output", outputs, answered)
        self._any_batch = all(not isinstance(value.shape[0], int) for value in session_inputs if value.shape)
        self._feed = tuple((spec.file_name, spec.name) for spec in self._inputs)
        self._fetch = [spec.file_name for spec in self._outputs]
        self._names = tuple(spec.name for spec in self._outputs)

    def _options(self) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._runtime.ExecutionMode.ORT_SEQUENTIAL
        if not self._fused:
            options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors; they reach the user as exceptions
        return options

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs."""
        return self._outputs

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Outputs (b, ...) of the beats (b, ...), all float32. Raises SignalError on shapes that do not fit."""
        if not self._any_batch:
            return run_rows(inputs, self._inputs, self._run)
        check_inputs(inputs, self._inputs)
        return self._run(inputs)

    def _run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        feed = {in_file: np.asarray(inputs[name], np.float32) for in_file, name in self._feed}
        try:
            return dict(zip(self._names, self._session.run(self._fetch, feed), strict=True))
        except self._errors as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BundleError(f"onnxruntime failed while running the model: {reason}") from error

    def describe(self) -> dict[str, Any]:
        """Runtime, version, providers wanted and in use, threads, whether integer kernels are fused."""
        return {
            "runtime": "onnxruntime",
            "version": self._runtime.__version__,
            "providers": list(self._session.get_providers()),
            "providers_wanted": list(self._wanted),
            "threads": self._threads,
            "fused_kernels": self._fused,
        }


def start(content: bytes, setup: EngineSetup) -> OnnxEngine:
    """The engine of an ONNX file of a bundle; raises what `OnnxEngine` does."""
    return OnnxEngine(
        content,
        inputs=setup.inputs,
        outputs=setup.outputs,
        providers=setup.providers,
        threads=setup.threads,
        activations=setup.activations,
    )


def _exceptions(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """The exceptions of onnxruntime, which share no base class and differ between versions."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    # ValueError (UnicodeDecodeError is one) and MemoryError: damaged names and sizes, as pybind hands them on.
    return (RuntimeError, ValueError, MemoryError, *(getattr(state, name) for name in _ERRORS if hasattr(state, name)))


def _spec(value: Any) -> TensorSpec:
    """A session's input or output; a free dimension (a batch) reads as 1."""
    dtype = {"tensor(float)": "float32"}.get(value.type)
    if dtype is None:
        raise BundleError(f"The model's {value.name} is a {value.type}; float32 tensors are wanted. Export it again.")
    shape = tuple(size if isinstance(size, int) else 1 for size in value.shape)
    return TensorSpec(name=value.name, shape=shape)
