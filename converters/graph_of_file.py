"""An ONNX or TFLite file as one kind of graph: nodes, branches, shapes and weights, for counting and drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgmoe_edge.errors import ConversionError


@dataclass(frozen=True)
class Weight:
    """A constant that a layer multiplies with or adds."""

    elements: int
    bytes: int
    rows: int  # outputs of the layer


@dataclass(frozen=True, eq=False)
class Node:
    """An operator; an `If` has branches."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    branches: tuple[Block, ...] = ()


@dataclass(frozen=True, eq=False)
class Block:
    """A graph or a branch of one."""

    name: str
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    bytes_each: int  # of one number of an activation: 1 in an integer file, else 4
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)


def read_graph(path: Path) -> Block:
    """The main graph of a file, with its branches inside.

    Raises:
        ConversionError: the file cannot be read.
    """
    return _read_onnx(path) if path.suffix == ".onnx" else _read_tflite(path)


def _read_onnx(path: Path) -> Block:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]

    from ecgmoe_edge.converters.onnx_graph import walk

    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    except (OSError, DecodeError) as error:
        raise ConversionError(f"{path} cannot be read as ONNX ({error}).") from error
    integer = any(node.op_type == "QuantizeLinear" for graph in walk(model.graph) for node in graph.node)
    return _onnx_block(model.graph, 1 if integer else 4, {})


def _onnx_block(graph: Any, bytes_each: int, around: dict[str, tuple[int, ...]]) -> Block:
    """`around`: shapes of the graph outside, whose tensors a branch reads by name."""
    from onnx import numpy_helper

    from ecgmoe_edge.converters.onnx_graph import subgraphs

    shapes = around | {
        value.name: tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    weights = {}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        weights[tensor.name] = Weight(array.size, array.nbytes, array.shape[0] if array.ndim else 1)
    for node in graph.node:  # what a layer reads is the integer weight behind a DequantizeLinear
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant" or (node.op_type == "DequantizeLinear" and node.output[0] in weights):
            continue
        inner = tuple(_onnx_block(branch, bytes_each, shapes) for branch in subgraphs(node))
        read = {name: None for branch in inner for one in branch.nodes for name in one.inputs if name in shapes}
        nodes.append(Node(node.op_type, (*node.input, *read), tuple(node.output), inner))
    return Block(graph.name, tuple(nodes), tuple(value.name for value in graph.output), bytes_each, shapes, weights)


def _read_tflite(path: Path) -> Block:
    from ecgmoe_edge.converters.tflite_graph import read_model

    model = read_model(path)
    names = {item.tensorIndex: item.name.decode() for item in model.signatureDefs[0].outputs}
    return _tflite_block(model, 0, names)


def _tflite_block(model: Any, index: int, names: dict[int, str]) -> Block:
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    from ecgmoe_edge.converters.tflite_graph import operator_name

    graph = model.subgraphs[index]

    def called(tensor: Any) -> str:
        return names.get(int(tensor), f"{index}.{int(tensor)}")

    shapes, weights = {}, {}
    for number, tensor in enumerate(graph.tensors):
        shape = tuple(int(size) for size in (() if tensor.shape is None else tensor.shape))
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data):
            weights[called(number)] = Weight(math.prod(shape), len(np.asarray(data)), shape[0] if shape else 1)
        else:
            shapes[called(number)] = shape
    nodes = []
    for operator in graph.operators:
        options = operator.builtinOptions
        chosen = isinstance(options, schema.IfOptionsT)
        inner = (options.thenSubgraphIndex, options.elseSubgraphIndex) if chosen else ()
        nodes.append(
            Node(
                operator_name(model, operator),
                tuple(called(tensor) for tensor in operator.inputs if tensor >= 0),
                tuple(called(tensor) for tensor in operator.outputs),
                tuple(_tflite_block(model, branch, {}) for branch in inner),
            )
        )
    name = graph.name.decode() if graph.name else "main"
    return Block(name, tuple(nodes), tuple(called(tensor) for tensor in graph.outputs), 1, shapes, weights)
