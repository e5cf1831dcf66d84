"""What is inside an exported file: operators, parameters, bytes, and the experts of each path, so that none is lost.

For the workstation: reading a graph needs the packages that wrote it. A device reads the manifest instead.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecgmoe_edge.errors import ConversionError


@dataclass(frozen=True)
class ModelSummary:
    """What an exported file holds."""

    path: Path
    bytes: int
    operators: Mapping[str, int]  # how often each occurs, in all branches together
    parameters: int  # elements of all weights and biases
    experts: Mapping[str, int]  # different experts that can run, by path
    dispatch: str  # "if": one file chooses; "host": one signature a piece, the caller chooses; "none"
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def inspect_onnx(path: Path | str) -> ModelSummary:
    """Summary of an ONNX file.

    Raises:
        ConversionError: the file cannot be read as ONNX.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
    from onnx import numpy_helper

    from ecgmoe_edge.converters.onnx_graph import subgraphs, walk

    try:
        model = onnx.load(str(path))
    except (OSError, DecodeError) as error:
        raise ConversionError(f"{path} cannot be read as ONNX ({error}).") from error

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
                    experts[leaf.name.rpartition("_")[0]].add(_digest(weights(leaf)))
    graphs = list(walk(model.graph))
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


def inspect_tflite(path: Path | str) -> ModelSummary:
    """Summary of a TFLite file.

    Raises:
        ConversionError: the file is no TFLite model.
    """
    from ecgmoe_edge.converters.tflite_graph import branches, operator_name, read_model

    model = read_model(path)

    def leaves(graph: Any) -> list[Any]:
        inner = list(branches(model, graph))
        return [leaf for branch in inner for leaf in leaves(branch)] if inner else [graph]

    def weights(graph: Any) -> list[np.ndarray[Any, Any]]:
        found = {}
        for operator in graph.operators:
            if operator_name(model, operator) in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
                for index in (int(index) for index in operator.inputs[1:] if index >= 0):
                    data = np.asarray(model.buffers[graph.tensors[index].buffer].data, np.uint8)
                    found[index] = data.reshape((*graph.tensors[index].shape, -1))
        return list(found.values())

    main = model.subgraphs[0]
    signatures = {entry.signatureKey.decode(): model.subgraphs[entry.subgraphIndex] for entry in model.signatureDefs}
    by_if = list(branches(model, main))
    parts = [leaf for branch in by_if for leaf in leaves(branch)]
    parts = parts or [graph for key, graph in signatures.items() if key.rpartition("_")[2].isdigit()]
    experts: dict[str, set[str]] = collections.defaultdict(set)
    for part in parts:
        experts[part.name.decode().rpartition("_")[0]].add(_digest(weights(part)))
    operators = [operator_name(model, operator) for graph in model.subgraphs for operator in graph.operators]
    outer = model.signatureDefs[0]
    last = model.signatureDefs[-1]
    return ModelSummary(
        path=Path(path),
        bytes=Path(path).stat().st_size,
        operators=dict(collections.Counter(operators).most_common()),
        parameters=sum(int(np.prod(a.shape[:-1])) for graph in model.subgraphs for a in weights(graph)),
        experts={name: len(found) for name, found in sorted(experts.items())},
        dispatch="if" if by_if else "host" if experts else "none",
        inputs={e.name.decode(): tuple(map(int, main.tensors[e.tensorIndex].shape)) for e in outer.inputs},
        outputs={
            e.name.decode(): tuple(map(int, model.subgraphs[last.subgraphIndex].tensors[e.tensorIndex].shape))
            for e in last.outputs
        },
    )


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)


def _digest(arrays: list[np.ndarray[Any, Any]]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
