"""What every engine has in common: named float tensors in, named float tensors out, checked against the
manifest.
"""

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
    """Runs a model file. Tensor names are the package's own, whatever they are called in the file."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs."""
        ...

    def run(self, inputs: Tensors) -> dict[str, NDArray[np.float32]]:
        """Outputs (b, ...) float32 of the beats (b, ...) float32; a file for one beat at a time is run b
        times.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Runtime, version and how it was set up, JSON-ready."""
        ...


@dataclass(frozen=True)
class EngineSetup:
    """How a model file is to be run: what a manifest says, and what a user overrides."""

    inputs: Sequence[TensorSpec] | None = None  # None: those of the file
    outputs: Sequence[TensorSpec] | None = None
    runtime: str | None = None  # one of the format's, None: the usual one that is installed
    threads: int = 1
    providers: Sequence[str] = ("CPUExecutionProvider",)
    activations: ActivationFormat = "float32"


def run_rows(
    inputs: Tensors, specs: Sequence[TensorSpec], run_one: Callable[[Tensors], dict[str, NDArray[np.float32]]]
) -> dict[str, NDArray[np.float32]]:
    """Run a model of batch 1 on each row of a batch. Raises SignalError on inputs that do not fit."""
    check_inputs(inputs, specs)
    rows = len(inputs[specs[0].name])
    if rows == 1:
        return run_one(inputs)
    results = [run_one({name: x[row : row + 1] for name, x in inputs.items()}) for row in range(rows)]
    return {name: np.concatenate([result[name] for result in results]) for name in (results[0] if results else ())}


def check_inputs(inputs: Tensors, specs: Sequence[TensorSpec]) -> None:
    """Raise SignalError unless every tensor is there, with one number of rows and the shape of its `specs`
    entry.
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
    """The manifest's tensors if the file has each of them just so; the file's own where no manifest says.

    `found` is named as in the file, and its order is free. Raises BundleError naming the tensor that differs.
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
        if (spec.shape, spec.dtype, spec.zero_point) != (
            have.shape,
            have.dtype,
            have.zero_point,
        ) or not same_scale:
            raise BundleError(
                f"The manifest and the model file disagree on the {what} {spec.name}: "
                f"{_said(spec)} against {_said(have)}. Export the bundle again."
            )
    unnamed = set(by_name) - {spec.file_name for spec in wanted}
    if what == "input" and unnamed:
        raise BundleError(f"The model file wants {', '.join(sorted(unnamed))}, which the manifest does not list.")
    return tuple(wanted)


def _said(spec: TensorSpec) -> str:
    scale = "" if spec.scale is None else f" scale {spec.scale:.6g} zero point {spec.zero_point}"
    return f"{spec.dtype} {spec.shape}{scale}"


def missing_providers(description: Mapping[str, Any]) -> list[str]:
    """The execution providers that a model asks for and this machine lacks; `description`: what `describe` gives."""
    return [name for name in description.get("providers_wanted", ()) if name not in description["providers"]]
