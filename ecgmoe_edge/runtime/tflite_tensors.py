"""Reads tensors and operators from the tables of a TFLite file and checks them against limits.

The numbers of fields are the slots of schema.fbs of LiteRT 2.
"""

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
INTEGERS = (INT8, UINT8, INT16)  # types of quantized tensors
LARGEST_TENSOR = 1 << 24  # number of elements
_MOST_DIMENSIONS = 8
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-20, 1e6


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph."""

    shape: tuple[int, ...]
    kind: int
    content: NDArray[np.uint8] | None  # bytes of a constant; None: the tensor is computed
    scales: NDArray[np.float32]  # empty, one, or one for each index along `axis`
    axis: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def scale(self) -> float:
        """The largest of its scales; 0 if it has none."""
        return float(self.scales.max(initial=0.0))

    def whole_numbers(self) -> tuple[int, ...] | None:
        """The elements of a constant int32 or int64 tensor; None for any other tensor."""
        if self.content is None or self.kind not in (INT32, INT64):
            return None
        return tuple(int(number) for number in np.frombuffer(self.content.tobytes(), TYPES[self.kind]))


@dataclass(frozen=True)
class Operator:
    """One operator. `inputs` and `outputs` are indices of tensors of its subgraph; -1 is an absent optional input."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    options_type: int


def read_tensor(table: Table, buffers: list[NDArray[np.uint8] | None]) -> Tensor:
    """Read a tensor.

    Args:
        table: the tensor's table.
        buffers: contents of all buffers of the file; None for an empty one.

    Raises:
        FlatbufferError: a size, a type or a scale is not possible in an exported student.
    """
    found = table.numbers(0, "<i4")
    shape = () if found is None else tuple(int(size) for size in found)
    kind, buffer = table.integer(1, "b"), table.integer(2, "I")
    if kind not in TYPES:
        raise FlatbufferError(f"a tensor has the type {kind}")
    if len(shape) > _MOST_DIMENSIONS or any(size < 1 for size in shape) or math.prod(shape) > LARGEST_TENSOR:
        raise FlatbufferError(f"a tensor has the impossible shape {list(shape[: _MOST_DIMENSIONS + 1])}")
    signature = table.numbers(7, "<i4")
    if signature is not None and tuple(signature) not in (shape, ()):
        raise FlatbufferError("a tensor has a dimension without a fixed size")
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
        raise FlatbufferError("a tensor is quantized in an unknown way")
    scales, points, axis = table.numbers(2, "<f4"), table.numbers(3, "<i8"), table.integer(6)
    if scales is None or not len(scales):
        if points is not None and len(points):
            raise FlatbufferError("a tensor has a zero point but no scale")
        return none, 0
    if len(scales) > 1 and not (0 <= axis < len(shape) and len(scales) == shape[axis]):
        raise FlatbufferError(f"a tensor of the shape {list(shape)} has {len(scales)} scales")
    if not (np.isfinite(scales).all() and scales.min() >= _SMALLEST_SCALE and scales.max() <= _LARGEST_SCALE):
        raise FlatbufferError(f"a scale is not between {_SMALLEST_SCALE:g} and {_LARGEST_SCALE:g}")
    dtype = TYPES[kind]
    if points is None or len(points) != len(scales) or not np.issubdtype(dtype, np.integer):
        raise FlatbufferError("the scales and zero points of a tensor do not fit each other or its type")
    limits = np.iinfo(dtype)
    if points.min() < limits.min or points.max() > limits.max or (len(points) > 1 and points.any()):
        raise FlatbufferError("a zero point is outside the range of its type")
    return scales, axis if len(scales) > 1 else 0


def read_operator(table: Table, codes: list[int]) -> Operator:
    """Read an operator.

    Args:
        table: the operator's table.
        codes: operator codes of the file.

    Raises:
        FlatbufferError: it has no code, or options that no export writes.
    """
    index = table.integer(0, "I")
    if index >= len(codes):
        raise FlatbufferError("an operator has no code")
    if any(table.has(slot) for slot in (5, 8, 12)) or table.integer(9, "Q") or table.integer(11, "B"):
        raise FlatbufferError("an operator has options of another kind")
    return Operator(codes[index], _indices(table, 1), _indices(table, 2), table.table(4), table.integer(3, "B"))


def _indices(table: Table, slot: int) -> tuple[int, ...]:
    found: NDArray[Any] | None = table.numbers(slot, "<i4")
    return () if found is None else tuple(int(index) for index in found)
