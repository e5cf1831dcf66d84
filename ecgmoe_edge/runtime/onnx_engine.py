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

from ecgmoe_edge.contract import is_route
from ecgmoe_edge.errors import BundleError, MissingExtra
from ecgmoe_edge.runtime.engine import EngineSetup, Tensors, check_inputs, match_specs, run_rows
from ecgmoe_edge.runtime.manifest import ActivationFormat, TensorSpec
from ecgmoe_edge.runtime.onnx_batches import IndivisibleFileError, OnnxBatches
from ecgmoe_edge.runtime.onnx_file import check_onnx_file

CPU = "CPUExecutionProvider"
_FEWEST = 8  # number of beats from which a batch is faster than one beat after the other
_X86 = ("x86_64", "amd64", "i386", "i686")
_ERRORS = (
    *("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException"),
    *("EPFail", "ModelLoaded", "NoModel", "NoSuchFile", "EngineError"),
)


class OnnxEngine:
    """One onnxruntime session with float32 inputs and outputs.

    Threads do not spin while they wait, to save the battery of a wearable. On x86 without VNNI, the fused kernels of
    onnxruntime for int8 activations add pairs of products in 16 bits and saturate. Therefore such a file runs without
    fused kernels on x86, which is slower but correct.

    A quantized file that takes one beat runs many beats in batches, if fused kernels compute it: in whole numbers, a
    batch has exactly the results of its beats. The first batch is also run beat by beat; if the results differ, or if
    the file cannot be divided (`onnx_pieces`), there are no batches.
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
        """Load a model file.

        Args:
            model: the file or its bytes.
            inputs: inputs of the manifest; None takes those of the file.
            outputs: outputs of the manifest; None takes those of the file.
            providers: execution providers in order of preference. Those that this machine lacks are ignored, and the
                CPU is always the last.
            threads: number of threads; one beat is too small to gain from more than one.
            activations: type of the activations in the file.

        Raises:
            MissingExtra: onnxruntime is not installed.
            BundleError: the file is damaged, or differs from the manifest.
        """
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
            with contextlib.redirect_stdout(sys.stderr):  # it prints notes on providers, and stdout is for results
                self._session = self._started(content, chosen)
            session_inputs, session_outputs = self._session.get_inputs(), self._session.get_outputs()
            file_inputs, file_outputs = [_spec(x) for x in session_inputs], [_spec(x) for x in session_outputs]
        except self._errors as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BundleError(f"onnxruntime {onnxruntime.__version__} cannot load the model: {reason}") from error
        self._inputs = match_specs("input", inputs, file_inputs)
        self._outputs = match_specs("output", outputs, file_outputs)
        self._any_batch = all(not isinstance(value.shape[0], int) for value in session_inputs if value.shape)
        self._feed = tuple((spec.file_name, spec.name) for spec in self._inputs)
        self._fetch = [spec.file_name for spec in self._outputs]
        self._names = tuple(spec.name for spec in self._outputs)
        exact = self._fused and activations != "float32" and chosen == [CPU]
        # The file, until batches are tried.
        self._undivided = content if exact and not self._any_batch else None
        self._batches: OnnxBatches | None = None

    def _started(self, content: bytes, providers: Sequence[str]) -> Any:
        fallback = int(list(providers) != [CPU])
        return self._runtime.InferenceSession(content, self._options(), providers=providers, enable_fallback=fallback)

    def _options(self) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._runtime.ExecutionMode.ORT_SEQUENTIAL
        if not self._fused:
            options.graph_optimization_level = self._runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # only errors, which also reach the user as exceptions
        return options

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs."""
        return self._outputs

    @property
    def batched(self) -> bool:
        """See `Engine.batched`."""
        return self._any_batch or self._batches is not None or self._undivided is not None

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        if self._any_batch:
            check_inputs(inputs, self._inputs)
            return self._run(inputs)
        if not self.batched or len(inputs.get(self._inputs[0].name, ())) < _FEWEST:
            return run_rows(inputs, self._inputs, self._run)
        check_inputs(inputs, self._inputs)
        if self._undivided is not None:
            self._batches, self._undivided = self._tried_batches(self._undivided, inputs), None
        if self._batches is None:
            return run_rows(inputs, self._inputs, self._run)
        return self._run_batches(self._batches, inputs)

    def _tried_batches(self, content: bytes, inputs: Tensors) -> OnnxBatches | None:
        """Return the file in pieces; None if it cannot be divided, or the pieces have other results for `inputs`."""
        few = {name: x[: 4 * _FEWEST] for name, x in inputs.items()}
        try:
            batches = OnnxBatches(content, self._session.get_inputs(), lambda piece: self._started(piece, [CPU]))
            ours = self._run_batches(batches, few)
        except IndivisibleFileError:
            return None
        except self._errors:
            return None
        expected = run_rows(few, self._inputs, self._run)
        # Routers compute in float; the monitor uses only which value is the largest.
        same = all(
            np.array_equal(ours[name].argmax(1), x.argmax(1)) if is_route(name) else np.array_equal(ours[name], x)
            for name, x in expected.items()
        )
        return batches if same else None

    def _run_batches(self, batches: OnnxBatches, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        feed = {in_file: np.asarray(inputs[name], np.float32) for in_file, name in self._feed}
        try:
            return dict(zip(self._names, batches.run(feed, self._fetch), strict=True))
        except self._errors as error:
            raise self._failed(error) from error

    def _run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        feed = {in_file: np.asarray(inputs[name], np.float32) for in_file, name in self._feed}
        try:
            return dict(zip(self._names, self._session.run(self._fetch, feed), strict=True))
        except self._errors as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> BundleError:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return BundleError(f"onnxruntime failed while running the model: {reason}")

    def describe(self) -> dict[str, Any]:
        """Runtime, version, requested and used providers, threads, whether fused integer kernels are used."""
        return {
            "runtime": "onnxruntime",
            "version": self._runtime.__version__,
            "providers": list(self._session.get_providers()),
            "providers_wanted": list(self._wanted),
            "threads": self._threads,
            "fused_kernels": self._fused,
        }


def start(content: bytes, setup: EngineSetup) -> OnnxEngine:
    """Start the engine for the ONNX file of a bundle. Raises the errors of `OnnxEngine`."""
    return OnnxEngine(
        content,
        inputs=setup.inputs,
        outputs=setup.outputs,
        providers=setup.providers,
        threads=setup.threads,
        activations=setup.activations,
    )


def _exceptions(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """The exceptions of onnxruntime, which have no common base class and differ between versions."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    # Damaged names and sizes also cause ValueError (UnicodeDecodeError) and MemoryError.
    return (RuntimeError, ValueError, MemoryError, *(getattr(state, name) for name in _ERRORS if hasattr(state, name)))


def _spec(value: Any) -> TensorSpec:
    """Convert an input or output of a session; a dimension without a fixed size (the batch) becomes 1."""
    dtype = {"tensor(float)": "float32"}.get(value.type)
    if dtype is None:
        raise BundleError(f"The model's {value.name} is a {value.type}; float32 is needed. Export it again.")
    shape = tuple(size if isinstance(size, int) else 1 for size in value.shape)
    return TensorSpec(name=value.name, shape=shape)
