"""What each operator of an exported student may take and give: shapes, types and scales, before LiteRT computes them.

LiteRT checks most of this when it prepares a graph, and some of it by ending the process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ecgmoe_edge.runtime.flatbuffer import FlatbufferError, Table
from ecgmoe_edge.runtime.tflite_tensors import BOOL, FLOAT32, INT8, INT32, INT64, INTEGERS, Tensor

Shape = tuple[int, ...]
Takes = Sequence[Tensor | None]  # None: an input that is left out

_PLAIN_ACTIVATIONS = 3  # NONE, RELU, RELU_N1_TO_1, RELU6 of schema.fbs
_LARGEST_STEP = 1 << 16  # a stride, a dilation, a side of a window
_LARGEST_RATIO = 256.0  # of scales before and after; XNNPACK and CMSIS-NN take no larger one
IF = 118


@dataclass(frozen=True)
class Rule:
    """An operator by its name, its options' type (0: it has none) and what it demands of its tensors."""

    name: str
    options_type: int
    fits: Callable[[Takes, Sequence[Tensor], Table | None], bool]
    inputs: tuple[int, int] = (1, 1)  # fewest and most
    may_lack: int = 99  # the first input that may be left out


def check_operator(code: int, takes: Takes, gives: Sequence[Tensor], options: Table | None, options_type: int) -> None:
    """Refuse an operator that no export writes, or whose tensors do not fit it (FlatbufferError); not for `IF`."""
    rule = RULES[code]
    lacking = [place for place, tensor in enumerate(takes) if tensor is None]
    if not rule.inputs[0] <= len(takes) <= rule.inputs[1] or any(place < rule.may_lack for place in lacking):
        raise FlatbufferError(f"{rule.name} has {len(takes) - len(lacking)} inputs")
    if options_type not in (0, rule.options_type) or (options is None) != (options_type == 0):
        raise FlatbufferError(f"{rule.name} has the options of another operator")
    if len(gives) != 1 or not rule.fits(takes, gives, options):
        raise FlatbufferError(f"the shapes, types or scales of {rule.name} do not fit")


def _one(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise FlatbufferError("an operator lacks an input")
    return tensor


def _real(*tensors: Tensor) -> bool:
    """Whether all are float32, or all of one integer type with one scale each: what a computation is made in."""
    kinds = {tensor.kind for tensor in tensors}
    if kinds == {FLOAT32}:
        return True
    return len(kinds) == 1 and kinds <= set(INTEGERS) and all(len(tensor.scales) == 1 for tensor in tensors)


def _ratio(above: float, below: float) -> bool:
    """Whether a quotient of scales is one that integer kernels can hold; true of float32, which has no scales."""
    return below == 0.0 or above / below < _LARGEST_RATIO


def _plain(options: Table | None, slot: int) -> bool:
    return options is None or 0 <= options.integer(slot, "b") <= _PLAIN_ACTIVATIONS


def _broadcast(one: Shape, other: Shape) -> Shape | None:
    most = max(len(one), len(other))
    pairs = zip((1,) * (most - len(one)) + one, (1,) * (most - len(other)) + other, strict=True)
    made = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            return None
        made.append(max(a, b))
    return tuple(made)


def _binary(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    one, other, out = _one(takes[0]), _one(takes[1]), gives[0]
    fits = _broadcast(one.shape, other.shape) == out.shape and len(out.shape) <= 4
    largest = max(one.scale, other.scale)
    return fits and _real(one, other, out) and _plain(options, 0) and _ratio(largest, out.scale)


def _product(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    one, other, out = _one(takes[0]), _one(takes[1]), gives[0]
    fits = _broadcast(one.shape, other.shape) == out.shape and len(out.shape) <= 4
    return fits and _real(one, other, out) and _plain(options, 0) and _ratio(one.scale * other.scale, out.scale)


def _extreme(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    one, other, out = _one(takes[0]), _one(takes[1]), gives[0]
    return _broadcast(one.shape, other.shape) == out.shape and len(out.shape) <= 4 and _real(one, other, out)


def _less(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    one, other, out = _one(takes[0]), _one(takes[1]), gives[0]
    kinds = {one.kind, other.kind}
    known = kinds in ({INT32}, {INT64}) or _real(one, other)
    return known and out.kind == BOOL and _broadcast(one.shape, other.shape) == out.shape and len(out.shape) <= 4


def _unary(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    one, out = _one(takes[0]), gives[0]
    return one.shape == out.shape and _real(one, out) and _ratio(one.scale, out.scale)


def _softmax(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    beta = 0.0 if options is None else options.real(0)
    one = _one(takes[0])
    sharp = one.kind == FLOAT32 or beta * one.scale > 2.0**-20  # LiteRT ends the process below 2^-26
    fits = 1 <= len(one.shape) <= 4 and one.shape == gives[0].shape and _real(one, gives[0])
    return fits and sharp and 1e-3 <= beta <= 1e3


def _to_integer(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    one, out = _one(takes[0]), gives[0]
    given = one.kind == FLOAT32 or (one.kind in INTEGERS and len(one.scales) == 1 and _ratio(one.scale, out.scale))
    return given and out.kind in INTEGERS and len(out.scales) == 1 and one.shape == out.shape


def _to_real(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    one, out = _one(takes[0]), gives[0]
    return one.kind in INTEGERS and len(one.scales) >= 1 and out.kind == FLOAT32 and one.shape == out.shape


def _weighted(given: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor, axis: int) -> bool:
    """Whether types, scales and constants of a convolution or a matrix fit; `axis` is that of its outputs."""
    if weights.content is None or (bias is not None and bias.content is None):
        return False
    count = weights.shape[axis]
    if bias is not None and (bias.size != count or bias.kind != (FLOAT32 if given.kind == FLOAT32 else INT32)):
        return False
    if given.kind == FLOAT32:
        return weights.kind == FLOAT32 and out.kind == FLOAT32
    per_channel = len(weights.scales) == 1 or (weights.axis == axis and len(weights.scales) == count)
    biased = bias is None or len(bias.scales) in (1, count)
    fits = given.kind == INT8 and weights.kind == INT8 and _real(given, out) and per_channel and biased
    return fits and _ratio(given.scale * weights.scale, out.scale)


def _matrix(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, weights, out = _one(takes[0]), _one(takes[1]), gives[0]
    bias = takes[2] if len(takes) > 2 else None
    if len(weights.shape) != 2 or not given.shape or not _plain(options, 0):
        return False
    if options is not None and (options.integer(1, "b") or options.integer(3, "B") or options.has(5)):
        return False
    keeps = options is not None and options.integer(2, "B")
    outputs, inputs = weights.shape
    if keeps:
        fits = given.shape[-1] == inputs and out.shape == (*given.shape[:-1], outputs)
    else:
        fits = given.size % inputs == 0 and out.shape == (given.size // inputs, outputs)
    return fits and _weighted(given, weights, bias, out, 0)


def _window(size: int, side: int, stride: int, dilation: int, padding: int) -> int:
    """How many places a window has along one axis; padding 0 is SAME, 1 is VALID."""
    steps = (side, stride, dilation)
    if padding not in (0, 1) or not all(1 <= step <= _LARGEST_STEP for step in steps):
        return 0
    return -(-size // stride) if padding == 0 else (size - (side - 1) * dilation - 1) // stride + 1


def _convolution(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, weights, out = _one(takes[0]), _one(takes[1]), gives[0]
    bias = takes[2] if len(takes) > 2 else None
    if options is None or not len(given.shape) == len(weights.shape) == 4 or not _plain(options, 3):
        return False
    batch, height, width, channels = given.shape
    outputs, rows, columns, taken = weights.shape
    padding = options.integer(0, "b")
    high = _window(height, rows, options.integer(2), options.integer(5, default=1), padding)
    wide = _window(width, columns, options.integer(1), options.integer(4, default=1), padding)
    grouped = channels % taken == 0 and outputs % (channels // taken) == 0
    fits = grouped and out.shape == (batch, high, wide, outputs)
    return fits and _weighted(given, weights, bias, out, 0)


def _depthwise(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, weights, out = _one(takes[0]), _one(takes[1]), gives[0]
    bias = takes[2] if len(takes) > 2 else None
    if options is None or not len(given.shape) == len(weights.shape) == 4 or not _plain(options, 4):
        return False
    batch, height, width, channels = given.shape
    one, rows, columns, outputs = weights.shape
    padding, times = options.integer(0, "b"), options.integer(3)
    high = _window(height, rows, options.integer(2), options.integer(6, default=1), padding)
    wide = _window(width, columns, options.integer(1), options.integer(5, default=1), padding)
    fits = one == 1 and times * channels == outputs and out.shape == (batch, high, wide, outputs)
    return fits and _weighted(given, weights, bias, out, 3)


def _pool(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, out = _one(takes[0]), gives[0]
    if options is None or len(given.shape) != 4 or not _plain(options, 5) or not _real(given, out):
        return False
    batch, height, width, channels = given.shape
    padding = options.integer(0, "b")
    high = _window(height, options.integer(4), options.integer(2), 1, padding)
    wide = _window(width, options.integer(3), options.integer(1), 1, padding)
    inside = options.integer(4) <= height and options.integer(3) <= width
    return inside and out.shape == (batch, high, wide, channels)


def _same_numbers(takes: Takes, out: Tensor) -> bool:
    """Whether an operator that moves numbers leaves their type and their scale."""
    return all(one is None or (one.kind == out.kind and _close(one.scale, out.scale)) for one in takes[:1])


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-5 * max(one, other)


def _reshape(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, out = _one(takes[0]), gives[0]
    wanted: Shape | None
    if len(takes) > 1:
        wanted = _one(takes[1]).whole_numbers() if len(_one(takes[1]).shape) == 1 else None
    else:
        found = None if options is None else options.numbers(0, "<i4")
        wanted = None if found is None else tuple(int(size) for size in found)
    if wanted is None or len(wanted) != len(out.shape) or wanted.count(-1) > 1:
        return False
    fits = all(want in (-1, size) for want, size in zip(wanted, out.shape, strict=True))
    return fits and given.size == out.size and _same_numbers(takes, out)


def _squeeze(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, out = _one(takes[0]), gives[0]
    named = None if options is None else options.numbers(0, "<i4")
    rank = len(given.shape)
    axes = [int(axis) % rank for axis in (() if named is None else named) if -rank <= axis < rank]
    if named is not None and (len(axes) != len(named) or any(given.shape[axis] != 1 for axis in axes)):
        return False
    left = tuple(size for axis, size in enumerate(given.shape) if (axis not in axes if axes else size != 1))
    return left == out.shape and _same_numbers(takes, out)


def _expand(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, axis, out = _one(takes[0]), _one(takes[1]).whole_numbers(), gives[0]
    rank = len(given.shape)
    if axis is None or len(axis) != 1 or not -rank - 1 <= axis[0] <= rank:
        return False
    place = axis[0] % (rank + 1)
    return out.shape == (*given.shape[:place], 1, *given.shape[place:]) and _same_numbers(takes, out)


def _transpose(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, order, out = _one(takes[0]), _one(takes[1]).whole_numbers(), gives[0]
    if order is None or sorted(order) != list(range(len(given.shape))) or len(order) > 6:
        return False
    return out.shape == tuple(given.shape[axis] for axis in order) and _same_numbers(takes, out)


def _pad(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, put, out = _one(takes[0]), _one(takes[1]), gives[0]
    sizes, rank = put.whole_numbers(), len(given.shape)
    if sizes is None or put.shape != (rank, 2) or rank > 4 or any(not 0 <= size <= _LARGEST_STEP for size in sizes):
        return False
    made = tuple(size + sizes[2 * axis] + sizes[2 * axis + 1] for axis, size in enumerate(given.shape))
    return out.shape == made and _same_numbers(takes, out)


def _join(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    parts, out = [_one(tensor) for tensor in takes], gives[0]
    rank = len(out.shape)
    axis = 0 if options is None else options.integer(0)
    if options is None or options.integer(1, "b") or not -rank <= axis < rank:
        return False
    axis %= rank
    if any(len(part.shape) != rank or part.kind != out.kind for part in parts):
        return False
    others = {(*part.shape[:axis], *part.shape[axis + 1 :]) for part in (*parts, out)}
    scaled = all(len(part.scales) == len(out.scales) and _ratio(part.scale, out.scale) for part in parts)
    return len(others) == 1 and sum(part.shape[axis] for part in parts) == out.shape[axis] and scaled


def _slice(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, out, rank = _one(takes[0]), gives[0], len(_one(takes[0]).shape)
    begin, size = _one(takes[1]).whole_numbers(), _one(takes[2]).whole_numbers()
    if begin is None or size is None or not len(begin) == len(size) == rank <= 5:
        return False
    if _one(takes[1]).kind != _one(takes[2]).kind:
        return False
    ends = zip(given.shape, begin, size, strict=True)
    made = tuple(whole - start if count == -1 else count for whole, start, count in ends)
    ends = zip(given.shape, begin, made, strict=True)
    inside = all(start >= 0 and 1 <= count <= whole - start for whole, start, count in ends)
    return inside and out.shape == made and _same_numbers(takes, out)


def _reduce(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, axes, out = _one(takes[0]), _one(takes[1]).whole_numbers(), gives[0]
    rank = len(given.shape)
    if axes is None or not axes or _one(takes[1]).kind != INT32 or any(not -rank <= axis < rank for axis in axes):
        return False
    over = {axis % rank for axis in axes}
    keeps = options is not None and options.integer(0, "B")
    left = tuple(1 if axis in over else size for axis, size in enumerate(given.shape) if keeps or axis not in over)
    count = math.prod(given.shape[axis] for axis in over)
    fits = len(over) == len(axes) and rank <= 4 and left == out.shape and _real(given, out)
    return fits and _ratio(given.scale, out.scale * count)


def _largest(takes: Takes, gives: Sequence[Tensor], options: Table | None) -> bool:
    given, axis, out = _one(takes[0]), _one(takes[1]).whole_numbers(), gives[0]
    rank = len(given.shape)
    if options is None or axis is None or len(axis) != 1 or not -rank <= axis[0] < rank or not _real(given):
        return False
    place = axis[0] % rank
    left = (*given.shape[:place], *given.shape[place + 1 :])
    return out.kind in (INT32, INT64) and options.integer(0, "b") == out.kind and left == out.shape


#: Operators of exported students by their code (BuiltinOperator of schema.fbs). `IF` is judged with its subgraphs.
RULES: Mapping[int, Rule] = {
    0: Rule("ADD", 11, _binary, (2, 2)),
    1: Rule("AVERAGE_POOL_2D", 5, _pool),
    2: Rule("CONCATENATION", 10, _join, (1, 64)),
    3: Rule("CONV_2D", 1, _convolution, (2, 3), 2),
    4: Rule("DEPTHWISE_CONV_2D", 2, _depthwise, (2, 3), 2),
    6: Rule("DEQUANTIZE", 38, _to_real),
    9: Rule("FULLY_CONNECTED", 8, _matrix, (2, 3), 2),
    14: Rule("LOGISTIC", 0, _unary),
    17: Rule("MAX_POOL_2D", 5, _pool),
    18: Rule("MUL", 21, _product, (2, 2)),
    19: Rule("RELU", 0, _unary),
    20: Rule("RELU_N1_TO_1", 0, _unary),
    21: Rule("RELU6", 0, _unary),
    22: Rule("RESHAPE", 17, _reshape, (1, 2)),
    25: Rule("SOFTMAX", 9, _softmax),
    28: Rule("TANH", 0, _unary),
    34: Rule("PAD", 22, _pad, (2, 2)),
    39: Rule("TRANSPOSE", 26, _transpose, (2, 2)),
    40: Rule("MEAN", 27, _reduce, (2, 2)),
    41: Rule("SUB", 28, _binary, (2, 2)),
    42: Rule("DIV", 29, _extreme, (2, 2)),
    43: Rule("SQUEEZE", 30, _squeeze),
    55: Rule("MAXIMUM", 39, _extreme, (2, 2)),
    56: Rule("ARG_MAX", 40, _largest, (2, 2)),
    57: Rule("MINIMUM", 39, _extreme, (2, 2)),
    58: Rule("LESS", 41, _less, (2, 2)),
    65: Rule("SLICE", 48, _slice, (3, 3)),
    70: Rule("EXPAND_DIMS", 52, _expand, (2, 2)),
    74: Rule("SUM", 27, _reduce, (2, 2)),
    114: Rule("QUANTIZE", 89, _to_integer),
}
