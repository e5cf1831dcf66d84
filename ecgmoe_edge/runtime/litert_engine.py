"""Runs a TFLite file with LiteRT (ai-edge-litert), or with its predecessor tflite-runtime if only that is installed."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import BundleError, MissingExtra
from ecgmoe_edge.runtime.engine import EngineSetup, Tensors, match_specs, run_rows
from ecgmoe_edge.runtime.host_dispatch import HostDispatch
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.quantized_tensors import Reader, Writer, spec_of
from ecgmoe_edge.runtime.tflite_file import check_tflite_file

RuntimeName = Literal["litert", "tflite-runtime"]
Kernels = Literal["xnnpack", "builtin", "reference"]

# (name in this package, module, distribution); the first that is installed is used.
_RUNTIMES = (
    ("litert", "ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite-runtime", "tflite_runtime.interpreter", "tflite-runtime"),
)
_RESOLVERS = {"xnnpack": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}


class LiteRtEngine:
    """One TFLite interpreter. Inputs and outputs are float32, whatever types the file stores.

    A file with one signature runs as a whole (dense, or with the operator `IF`). A file with several signatures is
    dispatched by `host_dispatch`.
    """

    def __init__(
        self,
        model: bytes | Path,
        *,
        inputs: Sequence[TensorSpec] | None = None,
        outputs: Sequence[TensorSpec] | None = None,
        threads: int = 1,
        kernels: Kernels = "xnnpack",
        runtime: RuntimeName | None = None,
    ) -> None:
        """Load a model file.

        Args:
            model: the file or its bytes.
            inputs: inputs of the manifest; None takes those of the file.
            outputs: outputs of the manifest; None takes those of the file.
            threads: number of threads.
            kernels: "xnnpack" is fast; "builtin" runs without XNNPACK; "reference" is slow, and its results are bit for
                bit those of TFLite Micro.
            runtime: runtime to use; None for the first that is installed.

        Raises:
            MissingExtra: no runtime is installed, or only one that does not work with the installed numpy.
            BundleError: the file is damaged, or differs from the manifest.
        """
        self._installed = _find_runtime(runtime)
        self._threads, self._kernels = threads, kernels
        content = model if isinstance(model, bytes) else model.read_bytes()
        check_tflite_file(content)
        module = self._installed.module
        try:
            interpreter = module.Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=module.OpResolverType[_RESOLVERS[kernels]],
            )
            signatures = list(interpreter.get_signature_list())
            several = len(signatures) > 1
            graph: HostDispatch | _OneGraph
            graph = HostDispatch(interpreter, signatures) if several else _OneGraph(interpreter, signatures)
        except (ValueError, RuntimeError, TypeError, KeyError, MemoryError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BundleError(f"{self._runtime_text()} cannot load the model: {reason}") from error
        self._inputs = match_specs("input", inputs, graph.inputs)
        self._outputs = match_specs("output", outputs, graph.outputs)
        self._dispatch = "host" if several else "in the file"
        graph.prepare(self._inputs, self._outputs)
        self._graph = graph

    def _runtime_text(self) -> str:
        return f"{self._installed.name} {self._installed.version}"

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, with scale and zero point of integer tensors."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, with scale and zero point of integer tensors."""
        return self._outputs

    @property
    def batched(self) -> bool:
        """See `Engine.batched`: False, an interpreter takes one beat."""
        return False

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        try:
            return run_rows(inputs, self._inputs, self._graph.run_one)
        except (ValueError, RuntimeError, TypeError, MemoryError) as error:
            raise BundleError(f"{self._runtime_text()} failed while running the model: {error}") from error

    def describe(self) -> dict[str, Any]:
        """Runtime, version, kernels, threads, and whether dispatch is in the file or on the host."""
        return {
            "runtime": self._installed.name,
            "version": self._installed.version,
            "kernels": self._kernels,
            "dispatch": self._dispatch,
            "threads": self._threads,
        }


def start(content: bytes, setup: EngineSetup) -> LiteRtEngine:
    """Start the engine for the TFLite file of a bundle. Raises the errors of `LiteRtEngine`."""
    return LiteRtEngine(
        content,
        inputs=setup.inputs,
        outputs=setup.outputs,
        threads=setup.threads,
        kernels="reference" if setup.runtime == "litert-reference" else "xnnpack",
        runtime="tflite-runtime" if setup.runtime == "tflite-runtime" else ("litert" if setup.runtime else None),
    )


class _OneGraph:
    """A file that contains the whole model as one graph."""

    def __init__(self, interpreter: Any, signatures: Sequence[str]) -> None:
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        if signatures:
            runner = interpreter.get_signature_runner(signatures[0])
            self._input_details, self._output_details = runner.get_input_details(), runner.get_output_details()
        else:  # files of older converters have no signature; take the names of the tensors
            self._input_details = {d["name"]: d for d in interpreter.get_input_details()}
            self._output_details = {d["name"]: d for d in interpreter.get_output_details()}
        self.inputs = [spec_of(name, detail) for name, detail in self._input_details.items()]
        self.outputs = [spec_of(name, detail) for name, detail in self._output_details.items()]
        self._writers: tuple[tuple[str, int, Writer], ...] = ()
        self._readers: tuple[tuple[str, int, Reader], ...] = ()

    def prepare(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """Set the input and output tensors of `run_one`, and their names."""
        self._writers = tuple((s.name, int(self._input_details[s.file_name]["index"]), Writer(s)) for s in inputs)
        self._readers = tuple((s.name, int(self._output_details[s.file_name]["index"]), Reader(s)) for s in outputs)

    def run_one(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run one beat. All inputs are set for each beat, because an interpreter may reuse their memory."""
        interpreter = self._interpreter
        for name, index, writer in self._writers:
            interpreter.set_tensor(index, writer.store(inputs[name]))
        interpreter.invoke()
        return {name: reader.real(interpreter.get_tensor(index)) for name, index, reader in self._readers}


class _Installed(NamedTuple):
    name: str
    version: str
    module: Any


def _find_runtime(wanted: RuntimeName | None) -> _Installed:
    for name, module_name, distribution in _RUNTIMES:
        if wanted not in (None, name):
            continue
        if name == "tflite-runtime" and _installed(distribution) and int(np.__version__.split(".")[0]) >= 2:
            # The import succeeds, but its extension needs numpy 1 and fails on first use.
            raise MissingExtra(
                f"LiteRT (tflite-runtime is, but it needs numpy below 2 and finds {np.__version__})", "tflite"
            )
        try:
            module = importlib.import_module(module_name)
        except ImportError:
            continue
        return _Installed(name, importlib.metadata.version(distribution), module)
    raise MissingExtra("LiteRT (or tflite-runtime), which runs TFLite bundles,", "tflite")


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
