"""Tensors and operators of a TFLite file as its check sees them: read from the file's tables, held to limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.runtime.flatbuffer import FlatbufferError, Table

FLOAT32, INT32, UINT8, INT64, BOOL, INT16, INT8 = 0, 2, 3, 4, 6, 7, 9  # TensorType of schema.fbs
TYPES: Mapping[int, np.dtype[Any]] = {
    FLOAT32: np.dtype("<f4"),
    INT32: np.dtype("<i4"),
    UINT8: np.dtype("u1"),
    INT64: np.dtype("<i8"),
    BOOL: np.dtype("?"),
    INT16: np.dtype("<i2"),
    INT8: np.dtype("i1"),
}
INTEGERS = (INT8, UINT8, INT16)  # those that stand for real numbers, by a scale
LARGEST_TENSOR = 1 << 24  # numbers
_DEEPEST = 8  # dimensions
_SCALES = 1e-20, 1e6


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph."""

    shape: tuple[int, ...]
    kind: int
    content: NDArray[np.uint8] | None  # None: it is computed
    scales: NDArray[np.float32]  # one, one for each place along `axis`, or none
    axis: int

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def scale(self) -> float:
        """The largest of its scales; 0 where it has none."""
        return float(self.scales.max(initial=0.0))

    def whole_numbers(self) -> tuple[int, ...] | None:
        """What a constant of whole numbers holds; None where it is computed or of another type."""
        if self.content is None or self.kind not in (INT32, INT64):
            return None
        return tuple(int(number) for number in np.frombuffer(self.content.tobytes(), TYPES[self.kind]))


@dataclass(frozen=True)
class Operator:
    """One operator; indices are those of its subgraph's tensors, -1 is an input that is left out."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    options_type: int


def read_tensor(table: Table, buffers: list[NDArray[np.uint8] | None]) -> Tensor:
    """The tensor of a table. Raises FlatbufferError where a size, a type or a scale is none that a student has."""
    found = table.numbers(0, "<i4")
    shape = () if found is None else tuple(int(size) for size in found)
    kind, buffer = table.integer(1, "b"), table.integer(2, "I")
    if kind not in TYPES:
        raise FlatbufferError(f"a tensor has the type {kind}")
    if len(shape) > _DEEPEST or any(size < 1 for size in shape) or math.prod(shape) > LARGEST_TENSOR:
        raise FlatbufferError(f"a tensor is to have the shape {list(shape[: _DEEPEST + 1])}")
    signature = table.numbers(7, "<i4")
    if signature is not None and tuple(signature) not in (shape, ()):
        raise FlatbufferError("a tensor has a size that is open")
    if table.integer(5, "B") or table.has(6) or table.has(9) or table.integer(10, "I"):
        raise FlatbufferError("a tensor is variable, sparse or in another file")
    if buffer >= len(buffers):
        raise FlatbufferError("a tensor has no buffer")
    content = buffers[buffer]
    if content is not None and len(content) != math.prod(shape) * TYPES[kind].itemsize:
        raise FlatbufferError(f"a tensor of the shape {list(shape)} has {len(content):,} bytes")
    scales, axis = _quantization(table.table(4), shape, kind)
    return Tensor(shape, kind, content, scales, axis)


def _quantization(table: Table | None, shape: tuple[int, ...], kind: int) -> tuple[NDArray[np.float32], int]:
    none = np.zeros(0, np.float32)
    if table is None:
        return none, 0
    if table.integer(4, "B") or table.has(5):
        raise FlatbufferError("a tensor is quantized in a way of its own")
    scales, points, axis = table.numbers(2, "<f4"), table.numbers(3, "<i8"), table.integer(6)
    if scales is None or not len(scales):
        if points is not None and len(points):
            raise FlatbufferError("a tensor has a zero point and no scale")
        return none, 0
    if len(scales) > 1 and not (0 <= axis < len(shape) and len(scales) == shape[axis]):
        raise FlatbufferError(f"a tensor of the shape {list(shape)} has {len(scales)} scales")
    if not (np.isfinite(scales).all() and _SCALES[0] <= scales.min() and scales.max() <= _SCALES[1]):
        raise FlatbufferError("a scale is not positive, or not one that an ECG needs")
    dtype = TYPES[kind]
    if points is None or len(points) != len(scales) or not np.issubdtype(dtype, np.integer):
        raise FlatbufferError("scales and zero points of a tensor do not fit")
    limits = np.iinfo(dtype)
    if points.min() < limits.min or points.max() > limits.max or (len(points) > 1 and points.any()):
        raise FlatbufferError("a zero point is none of its type")
    return scales, axis if len(scales) > 1 else 0


def read_operator(table: Table, codes: list[int]) -> Operator:
    """The operator of a table. Raises FlatbufferError where it has options of its own kind, or no known code."""
    index = table.integer(0, "I")
    if index >= len(codes):
        raise FlatbufferError("an operator has no code")
    if any(table.has(slot) for slot in (5, 8, 12)) or table.integer(9, "Q") or table.integer(11, "B"):
        raise FlatbufferError("an operator has options of another kind")
    return Operator(codes[index], _indices(table, 1), _indices(table, 2), table.table(4), table.integer(3, "B"))


def _indices(table: Table, slot: int) -> tuple[int, ...]:
    found: NDArray[Any] | None = table.numbers(slot, "<i4")
    return () if found is None else tuple(int(index) for index in found)
