"""Divides an ONNX file with one beat a run into pieces that take any number of beats; `onnx` is not needed.

The file of a student selects one expert of each path with the operator `If`, which decides once a run. Outside the
file, the decision can differ from beat to beat:

    piece         inputs                             outputs
    trunk         the model's inputs                 boundary tensors, conditions of the `If`, some outputs of the model
    expert        boundary tensors                   the output of its `If`
    tail          outputs of each `If`, boundary     the other outputs of the model
                  tensors

A condition inside a branch is computed in the trunk, for all beats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ecgmoe_edge.runtime.onnx_file import message_fields

# Numbers of fields in onnx.proto3.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_CONSTANT, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_GRAPH = 1, 6
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_INTEGERS, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 7, 8, 9
_INT64 = 7
_TYPES = {"tensor(float)": 1, "tensor(uint8)": 2, "tensor(int8)": 3, "tensor(int64)": 7, "tensor(bool)": 9}


class IndivisibleFileError(Exception):
    """The file has another structure than a student's; it runs one beat at a time."""


@dataclass(frozen=True)
class Boundary:
    """A tensor that goes into a piece, as onnxruntime describes it."""

    name: str
    type: str  # such as "tensor(uint8)"
    shape: Sequence[int | str | None]  # the first dimension holds the beats


@dataclass
class _Graph:
    """What a graph contains, by name; nodes and tensors as bytes of the file."""

    nodes: list[_Node] = field(default_factory=list)
    constants: dict[str, bytes] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Node:
    content: bytes
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    branches: Mapping[str, _Graph]  # of an `If`: "then_branch" and "else_branch"

    @property
    def reads(self) -> set[str]:
        """The tensors that it reads, also inside its branches."""
        return set(self.inputs).union(*(_reads(graph.nodes) for graph in self.branches.values()))


@dataclass(frozen=True)
class Piece:
    """A part of a model with the tensors that go in and out."""

    nodes: Sequence[_Node]
    constants: Mapping[str, bytes]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    header: bytes  # the fields of the model outside its graph: versions

    def file(self, inputs: Iterable[Boundary]) -> bytes:
        """Return the piece as an ONNX file for any number of beats; `inputs` describes `self.inputs`."""
        read = _reads(self.nodes)
        shapes = {node.inputs[1] for node in self.nodes if node.operator == "Reshape"}
        graph = b"".join(_message(_GRAPH_NODE, node.content) for node in self.nodes)
        graph += _message(_GRAPH_NAME, b"piece")
        for name, content in self.constants.items():
            if name in read:
                graph += _message(_GRAPH_CONSTANT, _any_beats(content, name) if name in shapes else content)
        graph += b"".join(_message(_GRAPH_INPUT, _declared(boundary)) for boundary in inputs)
        graph += b"".join(_message(_GRAPH_OUTPUT, _message(1, name.encode())) for name in self.outputs)
        return self.header + _message(_MODEL_GRAPH, graph)


@dataclass(frozen=True)
class Expert:
    """One branch, and the conditions (tensor, value) of the beats that it is for."""

    piece: Piece
    conditions: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Pieces:
    """The pieces of a model; `experts` by the output of their `If`."""

    trunk: Piece
    experts: Mapping[str, Sequence[Expert]]
    tail: Piece


def divide(content: bytes) -> Pieces:
    """Divide a file that `check_onnx_file` has accepted.

    Raises:
        IndivisibleFileError: the file has no `If`, or branches with another structure than a student's.
    """
    view = memoryview(content)
    header, graph = b"", _Graph()
    for number, value in message_fields(view, 0, len(view)):
        if number == _MODEL_GRAPH and isinstance(value, tuple):
            graph = _graph(view, *value)
        else:
            header += _copy(view, number, value)
    constants = dict(graph.constants)
    nodes, leaves = _flat(graph, constants)
    if not leaves:
        raise IndivisibleFileError
    fixed, live = _fixed(nodes, constants)
    after = set(leaves)
    tail: list[_Node] = []
    for node in live:
        if node.reads & after:
            after.update(node.outputs)
            tail.append(node)
    trunk = [node for node in live if not after.intersection(node.outputs)]
    made = {name for node in trunk for name in node.outputs}
    bank = [leaf for each in leaves.values() for leaf in each]
    read = _reads(tail).union(*(_reads(leaf.nodes) for leaf in bank))
    conditions = {name for leaf in bank for name, _ in leaf.conditions}

    def piece(part: Sequence[_Node], inputs: set[str], outputs: Iterable[str]) -> Piece:
        return Piece(_with(fixed, part), constants, tuple(sorted(inputs)), tuple(outputs), header)

    return Pieces(
        piece(trunk, set(), sorted(made & (read | conditions | set(graph.outputs)))),
        {
            output: [
                Expert(piece(leaf.nodes, _reads(leaf.nodes) & made, (leaf.output,)), leaf.conditions) for leaf in each
            ]
            for output, each in leaves.items()
        },
        piece(tail, _reads(tail) & (made | set(leaves)), (name for name in graph.outputs if name not in made)),
    )


def _fixed(nodes: Iterable[_Node], constants: Mapping[str, bytes]) -> tuple[list[_Node], list[_Node]]:
    """Divide nodes into those that compute from constants alone, such as weights in real numbers, and the others."""
    known = {*constants, ""}
    fixed: list[_Node] = []
    live: list[_Node] = []
    for node in nodes:
        if known.issuperset(node.inputs):
            known.update(node.outputs)
            fixed.append(node)
        else:
            live.append(node)
    return fixed, live


def _with(fixed: Sequence[_Node], nodes: Sequence[_Node]) -> list[_Node]:
    """Return nodes with those of `fixed` that they need."""
    read = _reads(nodes)
    needed: list[_Node] = []
    for node in reversed(fixed):
        if read.intersection(node.outputs):
            read |= node.reads
            needed.append(node)
    return [*reversed(needed), *nodes]


@dataclass(frozen=True)
class _Leaf:
    """A branch without an `If` inside."""

    nodes: Sequence[_Node]
    output: str
    conditions: tuple[tuple[str, bool], ...]


def _flat(
    graph: _Graph, constants: dict[str, bytes], conditions: tuple[tuple[str, bool], ...] = ()
) -> tuple[list[_Node], dict[str, list[_Leaf]]]:
    """Return all nodes outside the leaves but no `If`, and the leaves of each `If` by its output.

    The constants of all graphs are added to `constants`.
    """
    nodes: list[_Node] = []
    leaves: dict[str, list[_Leaf]] = {}
    for node in graph.nodes:
        if node.operator != "If":
            nodes.append(node)
            continue
        if len(node.outputs) != 1 or len(node.branches) != 2:
            raise IndivisibleFileError
        bank = leaves.setdefault(node.outputs[0], [])
        for name, branch in node.branches.items():
            if constants.keys() & branch.constants.keys():
                raise IndivisibleFileError
            constants.update(branch.constants)
            known = (*conditions, (node.inputs[0], name == "then_branch"))
            inner, inner_leaves = _flat(branch, constants, known)
            if not inner_leaves:
                bank.append(_Leaf(inner, branch.outputs[0], known))
                continue
            if list(inner_leaves) != branch.outputs:
                raise IndivisibleFileError
            nodes += inner
            bank += inner_leaves[branch.outputs[0]]
    return nodes, leaves


def _reads(nodes: Iterable[_Node]) -> set[str]:
    """The tensors that nodes read, also inside their branches."""
    return set().union(*(node.reads for node in nodes))


def _graph(view: memoryview, at: int, end: int) -> _Graph:
    graph = _Graph()
    for number, value in message_fields(view, at, end):
        if not isinstance(value, tuple):
            continue
        if number == _GRAPH_NODE:
            graph.nodes.append(_node(view, *value))
        elif number == _GRAPH_CONSTANT:
            graph.constants[_text(view, _TENSOR_NAME, *value)] = bytes(view[slice(*value)])
        elif number == _GRAPH_OUTPUT:
            graph.outputs.append(_text(view, 1, *value))
    return graph


def _node(view: memoryview, at: int, end: int) -> _Node:
    branches: dict[str, _Graph] = {}
    for attribute in _parts(view, _NODE_ATTRIBUTE, at, end):
        for graph in _parts(view, _ATTRIBUTE_GRAPH, *attribute):
            branches[_text(view, _ATTRIBUTE_NAME, *attribute)] = _graph(view, *graph)
    return _Node(
        bytes(view[at:end]),
        _text(view, _NODE_OPERATOR, at, end),
        tuple(str(view[slice(*part)], "utf-8") for part in _parts(view, _NODE_INPUT, at, end)),
        tuple(str(view[slice(*part)], "utf-8") for part in _parts(view, _NODE_OUTPUT, at, end)),
        branches,
    )


def _parts(view: memoryview, wanted: int, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Start and end of each field of bytes with this number."""
    for number, value in message_fields(view, at, end):
        if number == wanted and isinstance(value, tuple):
            yield value


def _text(view: memoryview, wanted: int, at: int, end: int) -> str:
    return next((str(view[slice(*part)], "utf-8") for part in _parts(view, wanted, at, end)), "")


def _any_beats(content: bytes, name: str) -> bytes:
    """Return the target shape of a Reshape for any number of beats: a first dimension of 1 becomes -1."""
    view = memoryview(content)
    raw = b"".join(bytes(view[slice(*part)]) for part in _parts(view, _TENSOR_RAW, 0, len(view)))
    shape = np.frombuffer(raw, "<i8").copy()
    if not shape.size or any(number == _TENSOR_INTEGERS for number, _ in message_fields(view, 0, len(view))):
        raise IndivisibleFileError
    if shape[0] == 1:
        if (shape == -1).any():  # as in (1, -1): the rest of a beat
            shape[0] = 0
        else:
            shape[0] = -1
    header = _integer(_TENSOR_DIMS, shape.size) + _integer(_TENSOR_TYPE, _INT64)
    return header + _message(_TENSOR_NAME, name.encode()) + _message(_TENSOR_RAW, shape.tobytes())


def _declared(boundary: Boundary) -> bytes:
    """Return a tensor with its type and shape; the first dimension is any number of beats."""
    if boundary.type not in _TYPES or not boundary.shape:
        raise IndivisibleFileError
    shape = _message(1, _message(2, b"beats"))
    for size in boundary.shape[1:]:
        shape += _message(1, _integer(1, size) if isinstance(size, int) else b"")
    tensor = _integer(1, _TYPES[boundary.type]) + _message(2, shape)
    return _message(1, boundary.name.encode()) + _message(2, _message(1, tensor))


def _copy(view: memoryview, number: int, value: int | tuple[int, int]) -> bytes:
    return _message(number, bytes(view[slice(*value)])) if isinstance(value, tuple) else _integer(number, value)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
