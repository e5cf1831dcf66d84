"""Reads an ONNX file: its summary, and its graph for the cost breakdown and the drawing."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from onnx import numpy_helper

from ecgmoe_edge.converters.file_contents import Graph, ModelSummary, Node, Weight, weights_digest
from ecgmoe_edge.converters.targets.onnx.graph import nested_graphs, subgraphs
from ecgmoe_edge.errors import BundleError, ConversionError
from ecgmoe_edge.runtime.onnx_file import check_onnx_file


def inspect_onnx(path: Path | str) -> ModelSummary:
    """Summarise an ONNX file.

    Raises:
        ConversionError: the file cannot be read as ONNX.
    """
    model = _load(path)

    def leaves(graph: Any) -> list[Any]:
        inner = [branch for node in graph.node for branch in subgraphs(node)]
        return [leaf for branch in inner for leaf in leaves(branch)] if inner else [graph]

    def weights(graph: Any) -> list[np.ndarray[Any, Any]]:
        operands = {name for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul") for name in node.input}
        operands |= {n.input[0] for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] in operands}
        return [numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name in operands]

    experts: dict[str, set[str]] = collections.defaultdict(set)
    for node in model.graph.node:
        if node.op_type == "If":
            for branch in subgraphs(node):
                for leaf in leaves(branch):
                    experts[leaf.name.rpartition("_")[0]].add(weights_digest(weights(leaf)))
    graphs = list(nested_graphs(model.graph))
    return ModelSummary(
        path=Path(path),
        bytes=Path(path).stat().st_size,
        operators=dict(collections.Counter(node.op_type for graph in graphs for node in graph.node).most_common()),
        parameters=sum(array.size for graph in graphs for array in weights(graph)),
        experts={name: len(found) for name, found in sorted(experts.items())},
        dispatch="if" if experts else "none",
        inputs={value.name: _shape(value) for value in model.graph.input},
        outputs={value.name: _shape(value) for value in model.graph.output},
    )


def _load(path: Path | str) -> onnx.ModelProto:
    try:
        content = Path(path).read_bytes()
        check_onnx_file(content)  # refuses tensors in other files: onnx would read them from the current folder
        return onnx.load_model_from_string(content)
    except (OSError, DecodeError, BundleError) as error:
        raise ConversionError(f"{path} cannot be read as ONNX ({error}).") from error


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def onnx_graph(path: Path | str) -> Graph:
    """Read the main graph of a file, including its branches.

    Raises:
        ConversionError: the file cannot be read as ONNX.
    """
    model = onnx.shape_inference.infer_shapes(_load(path))
    integer = any(node.op_type == "QuantizeLinear" for graph in nested_graphs(model.graph) for node in graph.node)
    return _graph_of(model.graph, 1 if integer else 4, {})


def _graph_of(graph: Any, bytes_per_element: int, outer_shapes: dict[str, tuple[int, ...]]) -> Graph:
    """Convert a graph; a branch reads tensors of the outer graph by name, so it needs their shapes."""
    shapes = outer_shapes | {
        value.name: tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    weights = {}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        weights[tensor.name] = Weight(array.size, array.nbytes, array.shape[0] if array.ndim else 1)
    for node in graph.node:  # a layer reads an integer weight through a DequantizeLinear
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant" or (node.op_type == "DequantizeLinear" and node.output[0] in weights):
            continue
        inner = tuple(_graph_of(branch, bytes_per_element, shapes) for branch in subgraphs(node))
        read = {name: None for branch in inner for one in branch.nodes for name in one.inputs if name in shapes}
        nodes.append(Node(node.op_type, (*node.input, *read), tuple(node.output), inner))
    outputs = tuple(value.name for value in graph.output)
    return Graph(graph.name, tuple(nodes), outputs, bytes_per_element, shapes, weights)
