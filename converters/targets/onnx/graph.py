"""Extraction of the pieces from an ONNX graph, and their connection at boundary tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ecgmoe_edge.errors import ConversionError


@dataclass(frozen=True)
class BoundaryInput:
    """A boundary tensor that replaces an input of a piece: an output of another piece."""

    tensor: str  # name of the tensor in the connected graph
    source: str  # name of the tensor in the exported graph, which holds its scale


class PieceExtractor:
    """Extracts single pieces from an exported graph that contains several unconnected pieces.

    In an integer graph, the pieces are connected at integer tensors. The last DequantizeLinear of the first piece and
    the first QuantizeLinear of the next piece cancel each other, so both are left out.
    """

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self._producers = {output: node for node in graph.node for output in node.output}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._values = {value.name: value for value in (*graph.input, *graph.output, *graph.value_info)}

    def source(self, output: str) -> str:
        """Return the tensor that another piece reads instead of `output`: the integer tensor if there is one."""
        producer = self._producers[output]
        return producer.input[0] if producer.op_type == "DequantizeLinear" else output

    def scale_and_zero_point(self, tensor: str) -> tuple[float, int] | None:
        """Return scale and zero point of an integer tensor; None for a float tensor."""
        producer = self._producers.get(tensor)
        if producer is None or producer.op_type != "QuantizeLinear":
            return None
        scale, zero_point = (numpy_helper.to_array(self._initializers[name]) for name in producer.input[1:3])
        return float(scale), int(zero_point)

    def value(self, output: str, name: str) -> ValueInfoProto:
        """Declare a tensor `name` with the type and the shape of the source of `output`."""
        shape = [dimension.dim_value for dimension in self._values[output].type.tensor_type.shape.dim]
        kind = TensorProto.FLOAT if self.scale_and_zero_point(self.source(output)) is None else TensorProto.INT8
        return helper.make_tensor_value_info(name, kind, shape)

    def extract(
        self, outputs: Sequence[str], boundary_inputs: Mapping[str, BoundaryInput], suffix: str = ""
    ) -> tuple[list[NodeProto], list[TensorProto]]:
        """Copy the nodes and constants that compute `outputs` from graph inputs and boundary tensors.

        Args:
            outputs: tensors of the exported graph.
            boundary_inputs: boundary tensors, by the name of the graph input that they replace.
            suffix: appended to all names except those of boundary tensors and graph inputs, because a branch of an `If`
                must not reuse a name of the graph around it.

        Returns:
            The nodes, and the constants.

        Raises:
            ConversionError: a boundary tensor has another scale than the input that it replaces.
        """
        replacements = self._replacements(boundary_inputs)
        needed, constants = self._needed_nodes(outputs, set(replacements))
        kept = {value.name: value.name for value in self.graph.input} | replacements

        def rename(name: str) -> str:
            return kept.get(name, name + suffix) if name else name

        nodes = []
        for node in needed:
            taken = copy.deepcopy(node)
            taken.name += suffix
            taken.input[:] = [rename(name) for name in node.input]
            taken.output[:] = [rename(name) for name in node.output]
            nodes.append(taken)
        tensors = [copy.deepcopy(self._initializers[name]) for name in constants]
        for tensor in tensors:
            tensor.name += suffix
        return nodes, tensors

    def _replacements(self, boundary_inputs: Mapping[str, BoundaryInput]) -> dict[str, str]:
        """Return the boundary tensor by the tensor that it replaces: a graph input, or that input quantized."""
        replacements = {}
        for entry, boundary in boundary_inputs.items():
            quantization = self.scale_and_zero_point(boundary.source)
            readers = [node for node in self.graph.node if entry in node.input]
            if quantization is None:
                replacements[entry] = boundary.tensor
                continue
            for reader in readers:
                if reader.op_type != "QuantizeLinear" or self.scale_and_zero_point(reader.output[0]) != quantization:
                    raise ConversionError(
                        f"The scale of {entry!r} differs from that of {boundary.source!r}, which is connected to it. "
                        "Make the pieces with QatStudent, which uses one scale for each boundary tensor."
                    )
                replacements[reader.output[0]] = boundary.tensor
        return replacements

    def _needed_nodes(self, outputs: Sequence[str], stops: set[str]) -> tuple[list[NodeProto], list[str]]:
        names, waiting = set(), list(outputs)
        while waiting:
            name = waiting.pop()
            if name and name not in names and name not in stops:
                names.add(name)
                waiting += self._producers[name].input if name in self._producers else []
        nodes = [node for node in self.graph.node if names.intersection(node.output)]
        return nodes, [name for name in self._initializers if name in names]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs inside a node: both branches of an `If`."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g


def nested_graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and all graphs inside it, at any depth."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from nested_graphs(inner)


def to_uint8(graph: GraphProto) -> None:
    """Convert activations and weights of a quantized graph from int8 to uint8, in place.

    Adding 128 to the integers and to the zero points leaves the represented values unchanged. The weights are converted
    too: on x86 without VNNI, onnxruntime multiplies uint8 by int8 with an instruction (VPMADDUBSW) that saturates at 16
    bits and gives wrong sums. Its kernels for uint8 by uint8 do not saturate.
    """
    for part in nested_graphs(graph):
        constants = {tensor.name: tensor for tensor in part.initializer}
        readers = [node for node in part.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
        shifted = {node.input[2] for node in readers}
        shifted |= {node.input[0] for node in readers if node.input[0] in constants}
        for name in shifted:
            if constants[name].data_type == TensorProto.INT8:
                signed = numpy_helper.to_array(constants[name]).astype(np.int16)
                constants[name].CopyFrom(numpy_helper.from_array((signed + 128).astype(np.uint8), name))
        for value in (*part.value_info, *part.output):
            if value.type.tensor_type.elem_type == TensorProto.INT8:
                value.type.tensor_type.elem_type = TensorProto.UINT8


def remove_debug_info(graph: GraphProto) -> None:
    """Remove the exporter's debugging notes, in place: stack traces with file paths of the exporting machine."""
    for part in nested_graphs(graph):
        part.doc_string = ""
        part.ClearField("metadata_props")
        for item in (*part.node, *part.initializer, *part.value_info, *part.input, *part.output):
            item.doc_string = ""
            item.ClearField("metadata_props")
