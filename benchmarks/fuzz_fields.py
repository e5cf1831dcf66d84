"""Damage that leaves a model file well formed: single numbers and names of it are changed, and it is packed again.

Damage of bytes mostly breaks the structure of a file, which is found at once; this reaches what the structure holds.

    python benchmarks/fuzz_files.py --kind "tflite fields"    # uses it
"""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

_INTEGERS = (-1, 0, 1, 2, 3, 4, 5, 7, 9, 16, 127, 128, 255, 1 << 15, 1 << 20, (1 << 31) - 1, -(1 << 31))
_REALS = (0.0, -1.0, 1.0, 1e-38, 1e-9, 1e9, 3e38, float("nan"), float("inf"))


def other_integer(value: int, rng: random.Random) -> int:
    """One near it, or one that is an end of something."""
    return rng.choice((value + 1, value - 1, 2 * value, rng.choice(_INTEGERS), rng.choice(_INTEGERS)))


def tflite_fields(content: bytes, rng: random.Random) -> bytes:
    """A TFLite file with one to five fields changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    while True:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
        fields = list(_fields(model))
        for _ in range(rng.choice((1, 1, 2, 5))):
            _change(*rng.choice(fields), rng)
        with contextlib.suppress(TypeError, ValueError, OverflowError, AttributeError, struct.error, AssertionError):
            builder = flatbuffers.Builder(1 << 16)
            builder.Finish(model.Pack(builder), b"TFL3")
            return bytes(builder.Output())


def _fields(owner: Any) -> Iterator[tuple[Any, str]]:
    """Every field of an object tree, with the object that has it; large constants count as one field."""
    for name, value in vars(owner).items():
        yield owner, name
        for each in value if isinstance(value, list) else [value]:
            if hasattr(each, "__dict__") and not isinstance(each, np.ndarray):
                yield from _fields(each)


def _change(owner: Any, name: str, rng: random.Random) -> None:
    value = getattr(owner, name)
    if isinstance(value, (bool, np.bool_)):
        value = not value
    elif isinstance(value, (int, np.integer)):
        value = other_integer(int(value), rng)
    elif isinstance(value, float):
        value = rng.choice((*_REALS, value * 10.0 ** rng.randrange(-9, 9)))
    elif isinstance(value, bytes):
        value = rng.choice((b"", value[:-1], value + b"x", b"\xff"))
    elif isinstance(value, (list, np.ndarray)) and len(value):
        value = _changed_list(value, rng)
    elif value is None:
        value = rng.choice((None, [rng.choice(_INTEGERS)]))
    setattr(owner, name, value)


def _changed_list(values: Any, rng: random.Random) -> Any:
    at, kind = rng.randrange(len(values)), rng.randrange(4)
    made = list(values)
    if kind == 0:
        del made[at]
    elif kind == 1:
        made.insert(at, made[rng.randrange(len(made))])
    elif kind == 2:
        other = rng.randrange(len(made))
        made[at], made[other] = made[other], made[at]
    elif isinstance(made[at], (int, np.integer)):
        made[at] = other_integer(int(made[at]), rng)
    elif isinstance(made[at], (float, np.floating)):
        made[at] = rng.choice((*_REALS, float(made[at]) * 10.0 ** rng.randrange(-9, 9)))
    return made if isinstance(values, list) else np.array(made).astype(values.dtype)


def onnx_fields(content: bytes, rng: random.Random) -> bytes:
    """An ONNX file with one to five fields changed."""
    import onnx

    while True:
        model = onnx.ModelProto.FromString(content)
        messages = list(_messages(model))
        for _ in range(rng.choice((1, 1, 2, 5))):
            message = rng.choice(messages)
            if present := message.ListFields():
                field, value = rng.choice(present)
                _change_proto(message, field, value, rng)
        with contextlib.suppress(ValueError, TypeError):
            return bytes(model.SerializeToString())


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if _is_list(value) else [value]:
                yield from _messages(each)


def _is_list(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, (str, bytes))


def _change_proto(message: Any, field: Any, value: Any, rng: random.Random) -> None:
    if _is_list(value) and len(value):
        at = rng.randrange(len(value))
        kind = rng.randrange(3)
        if kind == 0:
            del value[at]
        elif field.message_type is None:
            value[at] = _other_value(value[at], value, rng)
        elif kind == 1:
            value.append(value[at])
        else:
            value[at].CopyFrom(value[rng.randrange(len(value))])
    elif field.message_type is None:
        with contextlib.suppress(ValueError, TypeError):
            setattr(message, field.name, _other_value(value, [value], rng))
    elif rng.random() < 0.3:
        message.ClearField(field.name)


_OPERATORS = ("Add", "MatMul", "Conv", "Reshape", "Gather", "Slice", "Concat", "Split", "Pad", "TopK", "If", "Where")


def _other_value(value: Any, beside: Any, rng: random.Random) -> Any:
    if isinstance(value, int):
        return other_integer(value, rng)
    if isinstance(value, float):
        return rng.choice(_REALS)
    if isinstance(value, str):
        return rng.choice(("", value + "x", rng.choice(_OPERATORS), rng.choice(list(beside))))
    made = bytearray(value)
    if made:
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made[: rng.choice((len(made), len(made), len(made) // 2))])
