"""Interface of all inference engines: named float32 tensors in and out, checked against the manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import BundleError, SignalError
from ecgmoe_edge.runtime.manifest import ActivationFormat, TensorSpec

Tensors = Mapping[str, NDArray[np.float32]]


class Engine(Protocol):
    """Runs a model file. Tensors have the names of `ecgmoe_edge.contract`; the file may use others."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs."""
        ...

    @property
    def batched(self) -> bool:
        """Whether many beats in one call of `run` are much faster than one by one."""
        ...

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Run the model on b beats; a file that takes one beat is run b times.

        Args:
            inputs: float32 tensors (b, ...) by name.

        Returns:
            Float32 tensors (b, ...) by name.

        Raises:
            SignalError: an input is missing or has the wrong shape.
            BundleError: the runtime fails.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Runtime, version and settings, ready for JSON."""
        ...


@dataclass(frozen=True)
class EngineSetup:
    """How to run a model file: settings of the manifest, possibly overridden by the user."""

    inputs: Sequence[TensorSpec] | None = None  # None: taken from the file
    outputs: Sequence[TensorSpec] | None = None
    runtime: str | None = None  # one of the runtimes of the format; None: the first that is installed
    threads: int = 1
    providers: Sequence[str] = ("CPUExecutionProvider",)
    activations: ActivationFormat = "float32"


def run_rows(
    inputs: Tensors, specs: Sequence[TensorSpec], run_one: Callable[[Tensors], dict[str, NDArray[np.float32]]]
) -> dict[str, NDArray[np.float32]]:
    """Run a model of batch size 1 on each beat of a batch.

    Args:
        inputs: tensors (b, ...) by name.
        specs: the model's inputs.
        run_one: runs the model on one beat.

    Raises:
        SignalError: an input is missing or has the wrong shape.
    """
    check_inputs(inputs, specs)
    rows = len(inputs[specs[0].name])
    if rows == 1:
        return run_one(inputs)
    results = [run_one({name: x[row : row + 1] for name, x in inputs.items()}) for row in range(rows)]
    return {name: np.concatenate([result[name] for result in results]) for name in (results[0] if results else ())}


def check_inputs(inputs: Tensors, specs: Sequence[TensorSpec]) -> None:
    """Check that every input is present, with the shape in `specs` and with the same number of beats.

    Raises:
        SignalError: an input is missing or has the wrong shape.
    """
    rows = -1
    for spec in specs:
        x = inputs.get(spec.name)
        if x is None:
            raise SignalError(f"The model takes {', '.join(s.name for s in specs)}; {spec.name} was not given.")
        if rows < 0:
            rows = x.shape[0] if x.ndim else -1
        if x.shape != (rows, *spec.shape[1:]):
            wanted = ", ".join(("beats", *map(str, spec.shape[1:])))
            raise SignalError(f"{spec.name} must have the shape ({wanted}); it has {x.shape}.")


def match_specs(what: str, wanted: Sequence[TensorSpec] | None, found: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Check that the tensors of the manifest and of the model file agree.

    Args:
        what: "input" or "output".
        wanted: tensors of the manifest; None takes those of the file.
        found: tensors of the file, with the names and in the order of the file.

    Returns:
        The tensors to use.

    Raises:
        BundleError: a tensor is missing or differs; the message names it.
    """
    if wanted is None:
        return tuple(found)
    by_name = {spec.name: spec for spec in found}
    for spec in wanted:
        have = by_name.get(spec.file_name)
        if have is None:
            raise BundleError(
                f"The model file has no {what} {spec.file_name}; it has {', '.join(by_name)}. Export the bundle again."
            )
        same_scale = (spec.scale is None) == (have.scale is None) and (
            spec.scale is None or have.scale is None or abs(spec.scale - have.scale) <= 1e-6 * have.scale
        )
        same = (spec.shape, spec.dtype, spec.zero_point) == (have.shape, have.dtype, have.zero_point)
        if not (same and same_scale):
            raise BundleError(
                f"The manifest and the model file disagree on the {what} {spec.name}: "
                f"{_text(spec)} in the manifest, {_text(have)} in the file. Export the bundle again."
            )
    unnamed = set(by_name) - {spec.file_name for spec in wanted}
    if what == "input" and unnamed:
        raise BundleError(
            f"The model file needs the input {', '.join(sorted(unnamed))}, which the manifest does not list. "
            "Export the bundle again."
        )
    return tuple(wanted)


def _text(spec: TensorSpec) -> str:
    scale = "" if spec.scale is None else f" scale {spec.scale:.6g} zero point {spec.zero_point}"
    return f"{spec.dtype} {spec.shape}{scale}"


def missing_providers(description: Mapping[str, Any]) -> list[str]:
    """Execution providers that the model requests and this machine lacks; `description` is from `Engine.describe`."""
    return [name for name in description.get("providers_wanted", ()) if name not in description["providers"]]
