"""Reads a TFLite file: its summary, and its graph for the cost breakdown and the drawing."""

from __future__ import annotations

import collections
import math
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ecgmoe_edge.converters.file_contents import Graph, ModelSummary, Node, Weight, weights_digest
from ecgmoe_edge.converters.targets.tflite.graph import branches, operator_name, read_model


def inspect_tflite(path: Path | str) -> ModelSummary:
    """Summarise a TFLite file.

    Raises:
        ConversionError: the file is not a TFLite model.
    """
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
        experts[part.name.decode().rpartition("_")[0]].add(weights_digest(weights(part)))
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


def tflite_graph(path: Path | str) -> Graph:
    """Read the main graph of a file, including its branches.

    Raises:
        ConversionError: the file is not a TFLite model.
    """
    model = read_model(path)
    names = {item.tensorIndex: item.name.decode() for item in model.signatureDefs[0].outputs}
    return _graph_of(model, 0, names)


def _graph_of(model: Any, index: int, names: dict[int, str]) -> Graph:
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
                tuple(_graph_of(model, branch, {}) for branch in inner),
            )
        )
    name = graph.name.decode() if graph.name else "main"
    return Graph(name, tuple(nodes), tuple(called(tensor) for tensor in graph.outputs), 1, shapes, weights)
