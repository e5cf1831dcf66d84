"""Conversion between real numbers and the integers of an int8 model: real = (stored - zero point) * scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.manifest import TensorSpec

_DTYPES = ("float32", "int8", "uint8", "int16")


class Writer:
    """Converts one input to its stored form, into an array that is used again for each beat."""

    def __init__(self, spec: TensorSpec) -> None:
        self._integer = spec.scale is not None
        self._stored = np.zeros(spec.shape, spec.dtype)
        if spec.scale is not None and spec.zero_point is not None:
            limits = np.iinfo(spec.dtype)
            self._low, self._high = float(limits.min), float(limits.max)
            self._per_unit, self._zero_point = np.float32(1.0 / spec.scale), np.float32(spec.zero_point)
            self._real = np.zeros(spec.shape, np.float32)

    def store(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """The stored form of `x`, rounded half to even and clipped to the type; valid until the next call."""
        if not self._integer:
            self._stored[...] = x
            return self._stored
        real = self._real
        np.multiply(x, self._per_unit, out=real)
        np.rint(real, out=real)
        real += self._zero_point
        np.clip(real, self._low, self._high, out=real)
        self._stored[...] = real
        return self._stored


class Reader:
    """Converts one output from its stored form to real numbers."""

    def __init__(self, spec: TensorSpec) -> None:
        self._integer = spec.scale is not None
        self._scale, self._zero_point = np.float32(spec.scale or 1.0), np.float32(spec.zero_point or 0)

    def real(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """The real numbers of a stored tensor, in a new array."""
        y = stored.astype(np.float32)
        if self._integer:
            y -= self._zero_point
            y *= self._scale
        return y


def spec_of(name: str, detail: dict[str, Any]) -> TensorSpec:
    """Convert the description of a tensor.

    Args:
        name: name of the tensor.
        detail: its description by a TFLite interpreter.

    Raises:
        BundleError: its type is not supported, or it is an integer tensor without a scale.
    """
    dtype = np.dtype(detail["dtype"]).name
    shape = tuple(int(size) for size in detail["shape"])
    if dtype not in _DTYPES:
        raise BundleError(f"The model's tensor {name} is {dtype}; {', '.join(_DTYPES)} are supported. Export it again.")
    if dtype == "float32":
        return TensorSpec(name=name, shape=shape)
    scale, zero_point = detail["quantization"]
    if not scale:
        raise BundleError(f"The model's tensor {name} is {dtype} without a scale. Export it again.")
    return TensorSpec(name, shape, dtype, float(scale), int(zero_point))
