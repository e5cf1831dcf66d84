"""Checks the bytes of a TFLite file before LiteRT gets it, because a damaged file can end the process inside LiteRT.

The check needs no package of TensorFlow. The numbers of fields are the slots of schema.fbs of LiteRT 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.flatbuffer import Flatbuffer, FlatbufferError, Table
from ecgmoe_edge.runtime.tflite_operators import IF, RULES, check_operator
from ecgmoe_edge.runtime.tflite_tensors import BOOL, LARGEST_TENSOR, Operator, Tensor, read_operator, read_tensor

_VERSION = 3
_IF_OPTIONS = 92
_MOST_GRAPHS, _MOST_TENSORS, _MOST_OPERATORS = 200, 20_000, 20_000  # largest shipped student: 13, 200 and 100
_LARGEST_VERSION = 20  # largest version of an operator


@dataclass(frozen=True)
class _Graph:
    tensors: Sequence[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: Sequence[Operator]


def check_tflite_file(content: bytes) -> None:
    """Check that a file is a complete TFLite model with only those operators that an exported student has.

    Raises:
        BundleError: it is not; the message says what was found.
    """
    try:
        _check(Flatbuffer(content, b"TFL3").root())
    except FlatbufferError as error:
        raise BundleError(
            f"LiteRT cannot load the model, which is not a TFLite file of a student: {error}. Export the bundle again."
        ) from error


def _check(model: Table) -> None:
    if model.integer(0, "I") != _VERSION:
        raise FlatbufferError(f"it has the version {model.integer(0, 'I')}")
    if model.has(8) or model.has(9):
        raise FlatbufferError("it stores numbers in another file")
    for entry in model.tables(6):  # reading the names of metadata checks that they are text
        entry.text(0)
    codes = [_code(entry) for entry in model.tables(1)]
    buffers = [_buffer(entry) for entry in model.tables(4)]
    if not buffers or buffers[0] is not None:
        raise FlatbufferError("its first buffer is not empty")
    graphs = [_graph(entry, codes, buffers) for entry in model.tables(2)]
    if not 1 <= len(graphs) <= _MOST_GRAPHS:
        raise FlatbufferError(f"it has {len(graphs):,} subgraphs")
    computed = sum(tensor.size for graph in graphs for tensor in graph.tensors if tensor.content is None)
    if sum(len(graph.tensors) for graph in graphs) > _MOST_TENSORS or computed > LARGEST_TENSOR:
        raise FlatbufferError(f"it has too many tensors, or their {computed:,} elements are too many")
    chosen = [branch for index in range(len(graphs)) for branch in _check_graph(index, graphs)]
    if len(set(chosen)) != len(chosen):
        raise FlatbufferError("two IF operators use the same subgraph")
    called = _check_signatures(model.tables(7), graphs)
    if 0 in chosen or called & set(chosen):
        raise FlatbufferError("a subgraph is both a branch of IF and called by name")


def _code(entry: Table) -> int:
    """The code of an operator. It is stored in two fields, for old and new readers; the larger one is valid."""
    code, version = max(entry.integer(0, "b"), entry.integer(3)), entry.integer(2, default=1)
    if code != IF and code not in RULES:
        raise FlatbufferError(f"it has the operator {code}, which no export writes")
    if entry.text(1) or not 1 <= version <= _LARGEST_VERSION or entry.integer(0, "b") < 0:
        raise FlatbufferError("it has a custom operator, or one of an unknown version")
    return code


def _buffer(entry: Table) -> NDArray[np.uint8] | None:
    if entry.integer(1, "Q") or entry.integer(2, "Q"):
        raise FlatbufferError("a buffer is stored after the end of the flatbuffer")
    content = entry.numbers(0, "u1")
    return content if content is not None and len(content) else None


def _graph(entry: Table, codes: list[int], buffers: list[NDArray[np.uint8] | None]) -> _Graph:
    entry.text(4)
    tables = entry.tables(0)
    operators = entry.tables(3)
    if len(operators) > _MOST_OPERATORS:
        raise FlatbufferError(f"it has {len(operators):,} operators")
    for table in tables:
        table.text(3)
    ends = [entry.numbers(slot, "<i4") for slot in (1, 2)]
    inputs, outputs = (tuple(int(index) for index in (() if end is None else end)) for end in ends)
    tensors = [read_tensor(table, buffers) for table in tables]
    return _Graph(tensors, inputs, outputs, [read_operator(table, codes) for table in operators])


def _check_graph(number: int, graphs: Sequence[_Graph]) -> list[int]:
    """Check one subgraph: every tensor is computed once, before it is used, and every operator is possible.

    Returns:
        The subgraphs that are branches of its `IF` operators.
    """
    graph = graphs[number]
    known = {index for index, tensor in enumerate(graph.tensors) if tensor.content is not None}
    for index in graph.inputs:
        _mark_computed(index, graph, known)
    branches: list[int] = []
    for operator in graph.operators:
        if any(index != -1 and index not in known for index in operator.inputs):
            raise FlatbufferError("an operator has an input that was not computed before")
        for index in operator.outputs:
            _mark_computed(index, graph, known)
        if operator.code == IF:
            branches += _check_if(number, operator, graphs)
            continue
        inputs = [None if index == -1 else graph.tensors[index] for index in operator.inputs]
        outputs = [graph.tensors[index] for index in operator.outputs]
        check_operator(operator.code, inputs, outputs, operator.options, operator.options_type)
    if not graph.inputs or not graph.outputs or any(index not in known for index in graph.outputs):
        raise FlatbufferError("a subgraph has an output that is never computed")
    return branches


def _mark_computed(index: int, graph: _Graph, known: set[int]) -> None:
    if not 0 <= index < len(graph.tensors) or index in known:
        raise FlatbufferError("a tensor is absent, or computed twice")
    known.add(index)


def _check_if(number: int, operator: Operator, graphs: Sequence[_Graph]) -> list[int]:
    """Check an `IF`: its branches are later subgraphs, so that none calls itself, and have its inputs and outputs."""
    graph, options = graphs[number], operator.options
    if options is None or operator.options_type != _IF_OPTIONS:
        raise FlatbufferError("IF has the options of another operator")
    branches = [options.integer(slot) for slot in (0, 1)]
    if not all(number < branch < len(graphs) for branch in branches):
        raise FlatbufferError("a branch of IF is absent, or runs without end")
    if not operator.inputs or -1 in operator.inputs:
        raise FlatbufferError("IF has no condition")
    condition, *inputs = (graph.tensors[index] for index in operator.inputs)
    outputs = [graph.tensors[index] for index in operator.outputs]
    if condition.kind != BOOL or condition.size != 1:
        raise FlatbufferError("the condition of IF is not one Boolean")
    for branch in branches:
        inner = graphs[branch]
        if any(not 0 <= index < len(inner.tensors) for index in (*inner.inputs, *inner.outputs)):
            raise FlatbufferError("a subgraph has no such tensor")
        for outer, ends in ((inputs, inner.inputs), (outputs, inner.outputs)):
            if [_form(tensor) for tensor in outer] != [_form(inner.tensors[index]) for index in ends]:
                raise FlatbufferError("a branch of IF has other inputs or outputs than IF")
    return branches


def _form(tensor: Tensor) -> tuple[tuple[int, ...], int]:
    """Shape and type of a tensor."""
    return tensor.shape, tensor.kind


def _check_signatures(entries: Sequence[Table], graphs: Sequence[_Graph]) -> set[int]:
    """Check the signatures: each names inputs and outputs of its subgraph.

    Returns:
        The subgraphs that can be called by a name.
    """
    keys, called = set(), set()
    for entry in entries:
        key, index = entry.text(2), entry.integer(4, "I")
        if not key or key in keys or index >= len(graphs):
            raise FlatbufferError("a signature has no name, or no subgraph")
        keys.add(key)
        called.add(index)
        for slot, ends in ((0, graphs[index].inputs), (1, graphs[index].outputs)):
            named = [(one.text(0), one.integer(1, "I")) for one in entry.tables(slot)]
            if len({name for name, _ in named}) != len(named) or any(tensor not in ends for _, tensor in named):
                raise FlatbufferError(
                    f"the signature {key!r} names a tensor that is not an input or output of its subgraph"
                )
    return called
