"""Checks the inputs and outputs of each operator of a TFLite file (shapes, types, scales) before LiteRT gets the file.

LiteRT checks most of this itself when it prepares a graph, but after some faults it ends the process. The numbers
of option fields are the slots of schema.fbs of LiteRT 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ecgmoe_edge.runtime.flatbuffer import FlatbufferError, Table
from ecgmoe_edge.runtime.tflite_tensors import BOOL, FLOAT32, INT8, INT32, INT64, INTEGERS, Tensor

Shape = tuple[int, ...]
Inputs = Sequence[Tensor | None]  # None: an optional input that is absent

_LAST_ACTIVATION = 3  # fused activations 0 to 3 of schema.fbs: NONE, RELU, RELU_N1_TO_1, RELU6
_LARGEST_WINDOW = 1 << 16  # limit of a window's side, stride, dilation and padding
_LARGEST_RATIO = 256.0  # input scale / output scale; XNNPACK and CMSIS-NN accept no larger ratio
IF = 118


@dataclass(frozen=True)
class Rule:
    """What the check requires of one kind of operator."""

    name: str
    options_type: int  # 0: the operator has no options
    fits: Callable[[Inputs, Sequence[Tensor], Table | None], bool]  # (inputs, outputs, options)
    inputs: tuple[int, int] = (1, 1)  # smallest and largest number of inputs
    first_optional: int = 99  # index of the first input that may be absent


def check_operator(
    code: int, inputs: Inputs, outputs: Sequence[Tensor], options: Table | None, options_type: int
) -> None:
    """Check one operator other than `IF`, which needs its subgraphs.

    Args:
        code: code of the operator, a key of `RULES`.
        inputs: its input tensors.
        outputs: its output tensors.
        options: its table of options.
        options_type: the type of this table.

    Raises:
        FlatbufferError: no export writes such an operator, or its tensors do not fit.
    """
    rule = RULES[code]
    absent = [place for place, tensor in enumerate(inputs) if tensor is None]
    if not rule.inputs[0] <= len(inputs) <= rule.inputs[1] or any(place < rule.first_optional for place in absent):
        raise FlatbufferError(f"{rule.name} has {len(inputs) - len(absent)} inputs")
    if options_type not in (0, rule.options_type) or (options is None) != (options_type == 0):
        raise FlatbufferError(f"{rule.name} has the options of another operator")
    if len(outputs) != 1 or not rule.fits(inputs, outputs, options):
        raise FlatbufferError(f"the shapes, types or scales of {rule.name} do not fit")


def _present(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise FlatbufferError("an operator lacks an input")
    return tensor


def _same_type(*tensors: Tensor) -> bool:
    """Whether all tensors are float32, or all have the same integer type and one scale each."""
    kinds = {tensor.kind for tensor in tensors}
    if kinds == {FLOAT32}:
        return True
    return len(kinds) == 1 and kinds <= set(INTEGERS) and all(len(tensor.scales) == 1 for tensor in tensors)


def _ratio_fits(above: float, below: float) -> bool:
    """Whether integer kernels can represent the ratio of two scales; True for float32, which has no scales."""
    return below == 0.0 or above / below < _LARGEST_RATIO


def _known_activation(options: Table | None, slot: int) -> bool:
    return options is None or 0 <= options.integer(slot, "b") <= _LAST_ACTIVATION


def _broadcast(one: Shape, other: Shape) -> Shape | None:
    most = max(len(one), len(other))
    pairs = zip((1,) * (most - len(one)) + one, (1,) * (most - len(other)) + other, strict=True)
    expected = []
    for a, b in pairs:
        if a != b and 1 not in (a, b):
            return None
        expected.append(max(a, b))
    return tuple(expected)


def _add_or_subtract(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    one, other, out = _present(inputs[0]), _present(inputs[1]), outputs[0]
    fits = _broadcast(one.shape, other.shape) == out.shape and len(out.shape) <= 4
    largest = max(one.scale, other.scale)
    return fits and _same_type(one, other, out) and _known_activation(options, 0) and _ratio_fits(largest, out.scale)


def _product(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    one, other, out = _present(inputs[0]), _present(inputs[1]), outputs[0]
    fits = _broadcast(one.shape, other.shape) == out.shape and len(out.shape) <= 4
    return (
        fits
        and _same_type(one, other, out)
        and _known_activation(options, 0)
        and _ratio_fits(one.scale * other.scale, out.scale)
    )


def _elementwise(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    one, other, out = _present(inputs[0]), _present(inputs[1]), outputs[0]
    return _broadcast(one.shape, other.shape) == out.shape and len(out.shape) <= 4 and _same_type(one, other, out)


def _less(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    one, other, out = _present(inputs[0]), _present(inputs[1]), outputs[0]
    kinds = {one.kind, other.kind}
    known = kinds in ({INT32}, {INT64}) or _same_type(one, other)
    return known and out.kind == BOOL and _broadcast(one.shape, other.shape) == out.shape and len(out.shape) <= 4


def _unary(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    one, out = _present(inputs[0]), outputs[0]
    return one.shape == out.shape and _same_type(one, out) and _ratio_fits(one.scale, out.scale)


def _softmax(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    beta = 0.0 if options is None else options.real(0)
    one = _present(inputs[0])
    sharp = one.kind == FLOAT32 or beta * one.scale > 2.0**-20  # LiteRT ends the process if this is below 2^-26
    fits = 1 <= len(one.shape) <= 4 and one.shape == outputs[0].shape and _same_type(one, outputs[0])
    return fits and sharp and 1e-3 <= beta <= 1e3


def _quantize(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    one, out = _present(inputs[0]), outputs[0]
    rescaled = one.kind in INTEGERS and len(one.scales) == 1 and _ratio_fits(one.scale, out.scale)
    quantized = out.kind in INTEGERS and len(out.scales) == 1
    return (one.kind == FLOAT32 or rescaled) and quantized and one.shape == out.shape


def _dequantize(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    one, out = _present(inputs[0]), outputs[0]
    return one.kind in INTEGERS and len(one.scales) >= 1 and out.kind == FLOAT32 and one.shape == out.shape


def _weights_fit(x: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor, axis: int) -> bool:
    """Whether types, scales and constants of a convolution or a matrix fit; `axis` is the weights' output axis."""
    if weights.content is None or (bias is not None and bias.content is None):
        return False
    count = weights.shape[axis]
    if bias is not None and (bias.size != count or bias.kind != (FLOAT32 if x.kind == FLOAT32 else INT32)):
        return False
    if x.kind == FLOAT32:
        return weights.kind == FLOAT32 and out.kind == FLOAT32
    per_channel = len(weights.scales) == 1 or (weights.axis == axis and len(weights.scales) == count)
    biased = bias is None or len(bias.scales) in (1, count)
    fits = x.kind == INT8 and weights.kind == INT8 and _same_type(x, out) and per_channel and biased
    return fits and _ratio_fits(x.scale * weights.scale, out.scale)


def _fully_connected(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, weights, out = _present(inputs[0]), _present(inputs[1]), outputs[0]
    bias = inputs[2] if len(inputs) > 2 else None
    if len(weights.shape) != 2 or not x.shape or not _known_activation(options, 0):
        return False
    if options is not None and (options.integer(1, "b") or options.integer(3, "B") or options.has(5)):
        return False
    keeps_dims = options is not None and options.integer(2, "B")
    channels_out, channels_in = weights.shape
    if keeps_dims:
        fits = x.shape[-1] == channels_in and out.shape == (*x.shape[:-1], channels_out)
    else:
        fits = x.size % channels_in == 0 and out.shape == (x.size // channels_in, channels_out)
    return fits and _weights_fit(x, weights, bias, out, 0)


def _window_positions(size: int, side: int, stride: int, dilation: int, padding: int) -> int:
    """Number of positions of a window along one axis, 0 if it cannot be; padding 0 is SAME, 1 is VALID."""
    steps = (side, stride, dilation)
    if padding not in (0, 1) or not all(1 <= step <= _LARGEST_WINDOW for step in steps):
        return 0
    return -(-size // stride) if padding == 0 else (size - (side - 1) * dilation - 1) // stride + 1


def _convolution(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, weights, out = _present(inputs[0]), _present(inputs[1]), outputs[0]
    bias = inputs[2] if len(inputs) > 2 else None
    if options is None or not len(x.shape) == len(weights.shape) == 4 or not _known_activation(options, 3):
        return False
    batch, height, width, channels = x.shape
    channels_out, rows, columns, group = weights.shape
    padding = options.integer(0, "b")
    high = _window_positions(height, rows, options.integer(2), options.integer(5, default=1), padding)
    wide = _window_positions(width, columns, options.integer(1), options.integer(4, default=1), padding)
    grouped = channels % group == 0 and channels_out % (channels // group) == 0
    fits = grouped and out.shape == (batch, high, wide, channels_out)
    return fits and _weights_fit(x, weights, bias, out, 0)


def _depthwise(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, weights, out = _present(inputs[0]), _present(inputs[1]), outputs[0]
    bias = inputs[2] if len(inputs) > 2 else None
    if options is None or not len(x.shape) == len(weights.shape) == 4 or not _known_activation(options, 4):
        return False
    batch, height, width, channels = x.shape
    one, rows, columns, channels_out = weights.shape
    padding, multiplier = options.integer(0, "b"), options.integer(3)
    high = _window_positions(height, rows, options.integer(2), options.integer(6, default=1), padding)
    wide = _window_positions(width, columns, options.integer(1), options.integer(5, default=1), padding)
    fits = one == 1 and multiplier * channels == channels_out and out.shape == (batch, high, wide, channels_out)
    return fits and _weights_fit(x, weights, bias, out, 3)


def _pool(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, out = _present(inputs[0]), outputs[0]
    if options is None or len(x.shape) != 4 or not _known_activation(options, 5) or not _same_type(x, out):
        return False
    batch, height, width, channels = x.shape
    padding = options.integer(0, "b")
    high = _window_positions(height, options.integer(4), options.integer(2), 1, padding)
    wide = _window_positions(width, options.integer(3), options.integer(1), 1, padding)
    inside = options.integer(4) <= height and options.integer(3) <= width
    return inside and out.shape == (batch, high, wide, channels)


def _same_scale(inputs: Inputs, out: Tensor) -> bool:
    """Whether an operator that only moves numbers keeps their type and their scale."""
    return all(one is None or (one.kind == out.kind and _close(one.scale, out.scale)) for one in inputs[:1])


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-5 * max(one, other)


def _reshape(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, out = _present(inputs[0]), outputs[0]
    wanted: Shape | None
    if len(inputs) > 1:
        wanted = _present(inputs[1]).whole_numbers() if len(_present(inputs[1]).shape) == 1 else None
    else:
        found = None if options is None else options.numbers(0, "<i4")
        wanted = None if found is None else tuple(int(size) for size in found)
    if wanted is None or len(wanted) != len(out.shape) or wanted.count(-1) > 1:
        return False
    fits = all(want in (-1, size) for want, size in zip(wanted, out.shape, strict=True))
    return fits and x.size == out.size and _same_scale(inputs, out)


def _squeeze(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, out = _present(inputs[0]), outputs[0]
    named = None if options is None else options.numbers(0, "<i4")
    rank = len(x.shape)
    axes = [int(axis) % rank for axis in (() if named is None else named) if -rank <= axis < rank]
    if named is not None and (len(axes) != len(named) or any(x.shape[axis] != 1 for axis in axes)):
        return False
    left = tuple(size for axis, size in enumerate(x.shape) if (axis not in axes if axes else size != 1))
    return left == out.shape and _same_scale(inputs, out)


def _expand(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, axis, out = _present(inputs[0]), _present(inputs[1]).whole_numbers(), outputs[0]
    rank = len(x.shape)
    if axis is None or len(axis) != 1 or not -rank - 1 <= axis[0] <= rank:
        return False
    place = axis[0] % (rank + 1)
    return out.shape == (*x.shape[:place], 1, *x.shape[place:]) and _same_scale(inputs, out)


def _transpose(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, order, out = _present(inputs[0]), _present(inputs[1]).whole_numbers(), outputs[0]
    if order is None or sorted(order) != list(range(len(x.shape))) or len(order) > 6:
        return False
    return out.shape == tuple(x.shape[axis] for axis in order) and _same_scale(inputs, out)


def _pad(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, widths, out = _present(inputs[0]), _present(inputs[1]), outputs[0]
    sizes, rank = widths.whole_numbers(), len(x.shape)
    if sizes is None or widths.shape != (rank, 2) or rank > 4 or not all(0 <= n <= _LARGEST_WINDOW for n in sizes):
        return False
    expected = tuple(size + sizes[2 * axis] + sizes[2 * axis + 1] for axis, size in enumerate(x.shape))
    return out.shape == expected and _same_scale(inputs, out)


def _concatenate(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    parts, out = [_present(tensor) for tensor in inputs], outputs[0]
    rank = len(out.shape)
    axis = 0 if options is None else options.integer(0)
    if options is None or options.integer(1, "b") or not -rank <= axis < rank:
        return False
    axis %= rank
    if any(len(part.shape) != rank or part.kind != out.kind for part in parts):
        return False
    others = {(*part.shape[:axis], *part.shape[axis + 1 :]) for part in (*parts, out)}
    scaled = all(len(part.scales) == len(out.scales) and _ratio_fits(part.scale, out.scale) for part in parts)
    return len(others) == 1 and sum(part.shape[axis] for part in parts) == out.shape[axis] and scaled


def _slice(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, out, rank = _present(inputs[0]), outputs[0], len(_present(inputs[0]).shape)
    begin, size = _present(inputs[1]).whole_numbers(), _present(inputs[2]).whole_numbers()
    if begin is None or size is None or not len(begin) == len(size) == rank <= 5:
        return False
    if _present(inputs[1]).kind != _present(inputs[2]).kind:
        return False
    ends = zip(x.shape, begin, size, strict=True)
    expected = tuple(whole - start if count == -1 else count for whole, start, count in ends)
    ends = zip(x.shape, begin, expected, strict=True)
    inside = all(start >= 0 and 1 <= count <= whole - start for whole, start, count in ends)
    return inside and out.shape == expected and _same_scale(inputs, out)


def _reduce(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, axes, out = _present(inputs[0]), _present(inputs[1]).whole_numbers(), outputs[0]
    rank = len(x.shape)
    if axes is None or not axes or _present(inputs[1]).kind != INT32 or any(not -rank <= axis < rank for axis in axes):
        return False
    over = {axis % rank for axis in axes}
    keeps_dims = options is not None and options.integer(0, "B")
    left = tuple(1 if axis in over else size for axis, size in enumerate(x.shape) if keeps_dims or axis not in over)
    count = math.prod(x.shape[axis] for axis in over)
    fits = len(over) == len(axes) and rank <= 4 and left == out.shape and _same_type(x, out)
    return fits and _ratio_fits(x.scale, out.scale * count)


def _arg_max(inputs: Inputs, outputs: Sequence[Tensor], options: Table | None) -> bool:
    x, axis, out = _present(inputs[0]), _present(inputs[1]).whole_numbers(), outputs[0]
    rank = len(x.shape)
    if options is None or axis is None or len(axis) != 1 or not -rank <= axis[0] < rank or not _same_type(x):
        return False
    place = axis[0] % rank
    left = (*x.shape[:place], *x.shape[place + 1 :])
    return out.kind in (INT32, INT64) and options.integer(0, "b") == out.kind and left == out.shape


#: Operators of exported students by their code (BuiltinOperator of schema.fbs). `tflite_file` checks `IF`.
RULES: Mapping[int, Rule] = {
    0: Rule("ADD", 11, _add_or_subtract, (2, 2)),
    1: Rule("AVERAGE_POOL_2D", 5, _pool),
    2: Rule("CONCATENATION", 10, _concatenate, (1, 64)),
    3: Rule("CONV_2D", 1, _convolution, (2, 3), 2),
    4: Rule("DEPTHWISE_CONV_2D", 2, _depthwise, (2, 3), 2),
    6: Rule("DEQUANTIZE", 38, _dequantize),
    9: Rule("FULLY_CONNECTED", 8, _fully_connected, (2, 3), 2),
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
    41: Rule("SUB", 28, _add_or_subtract, (2, 2)),
    42: Rule("DIV", 29, _elementwise, (2, 2)),
    43: Rule("SQUEEZE", 30, _squeeze),
    55: Rule("MAXIMUM", 39, _elementwise, (2, 2)),
    56: Rule("ARG_MAX", 40, _arg_max, (2, 2)),
    57: Rule("MINIMUM", 39, _elementwise, (2, 2)),
    58: Rule("LESS", 41, _less, (2, 2)),
    65: Rule("SLICE", 48, _slice, (3, 3)),
    70: Rule("EXPAND_DIMS", 52, _expand, (2, 2)),
    74: Rule("SUM", 27, _reduce, (2, 2)),
    114: Rule("QUANTIZE", 89, _quantize),
}
