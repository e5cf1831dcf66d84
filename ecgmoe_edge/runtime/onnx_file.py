"""Checks the bytes of an ONNX file (protobuf) before onnxruntime gets it; the package `onnx` is not needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ecgmoe_edge.errors import BundleError

# Messages of onnx.proto3: name -> {number of a field that contains messages: name of these messages}.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "tensor": {},
}
# Numbers of fields: op_type of a node; dims, external_data and data_location of a tensor.
_OPERATOR, _DIMS, _EXTERNAL, _LOCATION = 4, 1, 13, 14
_DEEPEST = 32
_MOST_FIELDS = 500_000  # shipped model: about 5,000
_LARGEST_TENSOR = 1 << 26  # number of elements
# No beat model needs these operators. Each can run without end, or create huge tensors from a few bytes.
_REFUSED = frozenset(
    name.encode()
    for name in (
        *("Loop", "Scan", "SequenceMap", "StringSplit", "RegexFullMatch"),
        *("ConstantOfShape", "Expand", "Tile", "Range", "EyeLike", "OneHot", "Resize", "Upsample", "CenterCropPad"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"),
        *("MaxUnpool", "Col2Im", "ImageDecoder", "PyOp", "PythonOp"),
    )
)


def check_onnx_file(content: bytes) -> None:
    """Refuse a file that is not ONNX, reads other files, or may run without end or take all memory.

    A tensor with "external data" would be read from a file in the current folder, which nobody has verified.

    Raises:
        BundleError: the file is refused; the message says what was found.
    """
    view = memoryview(content)
    found, fields = False, 0
    waiting = [("model", 0, len(view), 0)]
    while waiting:
        kind, start, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise _damaged("it is nested too deeply")
        numbers = 1
        for field, value in message_fields(view, start, end):
            fields += 1
            if fields > _MOST_FIELDS:
                raise _damaged(f"it has more than {_MOST_FIELDS:,} fields")
            if isinstance(value, tuple):
                if (inner := _MESSAGES[kind].get(field)) is not None:
                    found = found or kind == "model"
                    waiting.append((inner, *value, depth + 1))
                _check_bytes(kind, field, view[value[0] : value[1]])
            elif kind == "tensor" and field == _LOCATION and value:
                raise _external()
            elif kind == "tensor" and field == _DIMS:
                numbers *= value
        if numbers > _LARGEST_TENSOR:
            raise _damaged(f"a tensor has {numbers:,} elements")
    if not found:
        raise _damaged("it contains no graph")


def _check_bytes(kind: str, field: int, value: memoryview) -> None:
    """Check a field of bytes in a message of one kind."""
    if kind == "tensor" and field == _EXTERNAL:
        raise _external()
    if kind == "tensor" and field == _DIMS:  # packed: several integers in one field
        numbers, at = 1, 0
        while at < len(value):
            size, at = _varint(value, at, len(value))
            numbers *= size
            if numbers > _LARGEST_TENSOR:
                raise _damaged(f"a tensor has {numbers:,} elements or more")
    if kind == "node" and field == _OPERATOR and bytes(value) in _REFUSED:
        raise BundleError(
            f"The model has the operator {bytes(value).decode()}, which may run without end or take all memory, and no "
            "beat model needs it. Do not use this bundle; export it again."
        )


def message_fields(view: memoryview, at: int, end: int) -> Iterator[tuple[int, int | tuple[int, int]]]:
    """The number of each field of a message, with its integer value, or with the start and end of its bytes."""
    while at < end:
        tag, at = _varint(view, at, end)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            number, at = _varint(view, at, end)
            yield field, number
            continue
        if wire == 2:
            size, at = _varint(view, at, end)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise _damaged("a field has no known type")
        if size > end - at:
            raise _damaged("a field is longer than the rest of the file")
        if wire == 2:
            yield field, (at, at + size)
        at += size


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """Read a variable-length integer; returns it and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = view[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise _damaged("a number does not end")


def _external() -> BundleError:
    return BundleError(
        "The model stores tensors in another file (ONNX external data), which is not verified. Save it as one file "
        "(onnx.save without save_as_external_data) and export the bundle again."
    )


def _damaged(why: str) -> BundleError:
    return BundleError(
        f"onnxruntime cannot load the model, which is not a complete ONNX file: {why}. Export the bundle again."
    )
