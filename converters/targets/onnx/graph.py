"""Cutting an ONNX graph into pieces and joining them where one piece's output is another's input."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ecgmoe_edge.errors import ConversionError


@dataclass(frozen=True)
class Join:
    """An input of a piece that is fed by a tensor of another piece."""

    tensor: str  # the tensor's name in the joined graph
    source: str  # its name in the exported graph, where its scale is known


class Cutter:
    """An exported graph that holds several pieces, and what is needed to take them out one by one.

    In an integer graph the pieces meet at integer tensors: the producer's last DequantizeLinear and the consumer's
    first QuantizeLinear, which undo one another, are both left out.
    """

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self._producers = {output: node for node in graph.node for output in node.output}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._values = {value.name: value for value in (*graph.input, *graph.output, *graph.value_info)}

    def source(self, output: str) -> str:
        """The tensor that another piece should read for `output`: the integer one, where there is one."""
        producer = self._producers[output]
        return producer.input[0] if producer.op_type == "DequantizeLinear" else output

    def grid(self, tensor: str) -> tuple[float, int] | None:
        """Scale and zero point of an integer tensor; None for a float one."""
        producer = self._producers.get(tensor)
        if producer is None or producer.op_type != "QuantizeLinear":
            return None
        scale, zero_point = (numpy_helper.to_array(self._initializers[name]) for name in producer.input[1:3])
        return float(scale), int(zero_point)

    def value(self, output: str, name: str) -> ValueInfoProto:
        """The declaration of a tensor called `name` like the source of `output`."""
        shape = [dimension.dim_value for dimension in self._values[output].type.tensor_type.shape.dim]
        kind = TensorProto.FLOAT if self.grid(self.source(output)) is None else TensorProto.INT8
        return helper.make_tensor_value_info(name, kind, shape)

    def take(
        self, outputs: Sequence[str], joins: Mapping[str, Join], suffix: str = ""
    ) -> tuple[list[NodeProto], list[TensorProto]]:
        """Copies of the nodes and constants that `outputs` need, back to the inputs and the joins.

        Args:
            outputs: tensors of the exported graph.
            joins: by the name of a graph input, what stands there instead.
            suffix: appended to every name but those of joins and graph inputs, since a branch of an `If` must not
                repeat a name of the graph around it.

        Raises:
            ConversionError: a join's scale differs from the one that the piece was made for.
        """
        stand_ins = self._stand_ins(joins)
        needed, constants = self._walk(outputs, set(stand_ins))
        kept = {value.name: value.name for value in self.graph.input} | stand_ins

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

    def _stand_ins(self, joins: Mapping[str, Join]) -> dict[str, str]:
        """Tensors of the exported graph that are to be replaced: a joined input, or what it is quantized to."""
        stand_ins = {}
        for entry, join in joins.items():
            grid = self.grid(join.source)
            readers = [node for node in self.graph.node if entry in node.input]
            if grid is None:
                stand_ins[entry] = join.tensor
                continue
            for reader in readers:
                if reader.op_type != "QuantizeLinear" or self.grid(reader.output[0]) != grid:
                    raise ConversionError(
                        f"The scale of {entry!r} is not that of {join.source!r}, which feeds it. Make the pieces with "
                        "QatStudent, which shares one scale wherever two of them meet."
                    )
                stand_ins[reader.output[0]] = join.tensor
        return stand_ins

    def _walk(self, outputs: Sequence[str], stops: set[str]) -> tuple[list[NodeProto], list[str]]:
        names, waiting = set(), list(outputs)
        while waiting:
            name = waiting.pop()
            if name and name not in names and name not in stops:
                names.add(name)
                waiting += self._producers[name].input if name in self._producers else []
        nodes = [node for node in self.graph.node if names.intersection(node.output)]
        return nodes, [name for name in self._initializers if name in names]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node carries: both branches of an `If`."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g


def walk(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and all graphs inside it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from walk(inner)


def to_uint8(graph: GraphProto) -> None:
    """Move a QDQ graph from int8 to uint8, weights too, in place: numbers and zero points + 128, the same values.

    On x86 without VNNI, onnxruntime multiplies uint8 by int8 with an instruction (VPMADDUBSW) that saturates at 16
    bits, so that int8 weights give wrong sums; uint8 by uint8 takes a path that does not.
    """
    for part in walk(graph):
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


def strip(graph: GraphProto) -> None:
    """Remove what the exporter noted for debugging, in place: stack traces with the paths of the exporting machine."""
    for part in walk(graph):
        part.doc_string = ""
        part.ClearField("metadata_props")
        for item in (*part.node, *part.initializer, *part.value_info, *part.input, *part.output):
            item.doc_string = ""
            item.ClearField("metadata_props")
