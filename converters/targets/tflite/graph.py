"""Extraction of the pieces from a TFLite flatbuffer, and building of a new one: subgraphs, nested `IF`, signatures."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ecgmoe_edge.errors import ConversionError

_IDENTIFIER = b"TFL3"
OPERATORS: dict[int, str] = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def read_model(path: Path | str) -> Any:
    """Read a TFLite file as an object tree (`ModelT`).

    Raises:
        ConversionError: the file cannot be read, or is not a TFLite model.
    """
    try:
        data = bytearray(Path(path).read_bytes())
    except OSError as error:
        raise ConversionError(f"{path} cannot be read ({error}).") from error
    if data[4:8] != _IDENTIFIER:
        raise ConversionError(f"{path} is not a TFLite model. Give a file that `ecgmoe-edge export` wrote.")
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def operator_name(model: Any, operator: Any) -> str:
    """Return the name of an operator, such as CONV_2D."""
    code = model.operatorCodes[operator.opcodeIndex]
    return OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]


def scale_and_zero_point(tensor: Any) -> tuple[float, int] | None:
    """Return scale and zero point of a tensor that has exactly one scale; None for any other tensor."""
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        return None
    return float(quantization.scale[0]), int(quantization.zeroPoint[0])


class UnconnectedModel:
    """A converted model whose only subgraph contains several unconnected pieces."""

    def __init__(self, model: Any, signature: str) -> None:
        self.model = model
        (entry,) = [item for item in model.signatureDefs if item.signatureKey.decode() == signature]
        self.graph = model.subgraphs[entry.subgraphIndex]
        self.inputs = _in_order(entry.inputs)
        self.outputs = _in_order(entry.outputs)
        self._producers = {int(t): operator for operator in self.graph.operators for t in operator.outputs}

    def integer(self, tensor: int) -> int:
        """Return the integer tensor behind an output that the converter dequantized; else the tensor itself."""
        producer = self._producers.get(tensor)
        dequantized = producer is not None and operator_name(self.model, producer) == "DEQUANTIZE"
        return int(producer.inputs[0]) if producer is not None and dequantized else tensor

    def operators_between(self, outputs: Sequence[int], stops: Sequence[int]) -> list[Any]:
        """Return the operators that compute `outputs` from the tensors `stops`, in order."""
        needed: set[int] = set()
        seen, waiting = set(stops), list(outputs)
        while waiting:
            tensor = waiting.pop()
            if tensor in seen or tensor not in self._producers:
                continue
            seen.add(tensor)
            operator = self._producers[tensor]
            needed.add(id(operator))
            waiting += [int(t) for t in operator.inputs]
        return [operator for operator in self.graph.operators if id(operator) in needed]


def _in_order(entries: Sequence[Any]) -> list[int]:
    """Return the tensor indices of args_0, args_1, ... or output_0, output_1, ..., in the order of these numbers."""
    numbered = {int(entry.name.decode().rpartition("_")[2]): int(entry.tensorIndex) for entry in entries}
    return [numbered[number] for number in sorted(numbered)]


class ModelBuilder:
    """Builds a new model. Its subgraphs copy operators and constants from an `UnconnectedModel`."""

    def __init__(self, source: UnconnectedModel) -> None:
        self.source = source
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"ecgmoe-edge"
        self.model.operatorCodes = copy.deepcopy(source.model.operatorCodes)
        self.model.buffers, self.model.subgraphs, self.model.signatureDefs = [schema.BufferT()], [], []
        self._buffers: dict[bytes, int] = {}

    def buffer(self, array: np.ndarray[Any, Any]) -> int:
        """Return the index of the buffer of a constant; equal constants share one buffer."""
        data = np.ascontiguousarray(array).tobytes()
        if data not in self._buffers:
            item = schema.BufferT()
            item.data = np.frombuffer(data, np.uint8)
            self.model.buffers.append(item)
            self._buffers[data] = len(self.model.buffers) - 1
        return self._buffers[data]

    def copied_buffer(self, index: int) -> int:
        """Copy a constant of the source and return its buffer index; tensors without data share buffer 0."""
        data = self.source.model.buffers[index].data
        return 0 if data is None or len(data) == 0 else self.buffer(np.asarray(data, np.uint8))

    def opcode(self, name: str, version: int = 1) -> int:
        """Return the index of an operator code, which is added if it does not exist."""
        builtin = getattr(schema.BuiltinOperator, name)
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin and code.version >= version:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def new_subgraph(self, name: str) -> SubgraphBuilder:
        """Add an empty subgraph."""
        return SubgraphBuilder(self, name)

    def signature(self, key: str, part: SubgraphBuilder, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Declare a signature `key` for a subgraph.

        Args:
            key: name of the signature.
            part: the subgraph that it runs.
            inputs: tensor indices by input name.
            outputs: tensor indices by output name.
        """
        entry = schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = key.encode(), part.index
        entry.inputs = [_tensor_map(name, index) for name, index in inputs.items()]
        entry.outputs = [_tensor_map(name, index) for name, index in outputs.items()]
        self.model.signatureDefs.append(entry)

    def write(self, path: Path | str) -> None:
        """Write the model without unused operator codes."""
        used = sorted({operator.opcodeIndex for graph in self.model.subgraphs for operator in graph.operators})
        self.model.operatorCodes = [self.model.operatorCodes[index] for index in used]
        for graph in self.model.subgraphs:
            for operator in graph.operators:
                operator.opcodeIndex = used.index(operator.opcodeIndex)
        builder = _SharingBuilder(1 << 20)
        builder.Finish(self.model.Pack(builder), _IDENTIFIER)
        Path(path).write_bytes(bytes(builder.Output()))


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal vectors and strings only once.

    Shapes, scales and zero points make up most of the file of a small model.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray[Any, Any]) -> int:  # noqa: N802, the name comes from flatbuffers
        """Return the offset of a vector. Constants have another alignment, so they are not shared with it."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = int(super().CreateNumpyVector(x))
        return self._written[key]

    def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> int:  # noqa: N802
        """Return the offset of a string."""
        key = ("string", s if isinstance(s, bytes) else s.encode(encoding, errors))
        if key not in self._written:
            self._written[key] = int(super().CreateString(s, encoding, errors))
        return self._written[key]


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), index
    return entry


class SubgraphBuilder:
    """Builds one subgraph of a `ModelBuilder`."""

    def __init__(self, builder: ModelBuilder, name: str) -> None:
        self.builder = builder
        self.graph = schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = name.encode(), [], []
        builder.model.subgraphs.append(self.graph)
        self.index = len(builder.model.subgraphs) - 1
        self._copies: dict[int, int] = {}

    def tensor_like(self, tensor: int, name: str = "") -> int:
        """Add a tensor with the shape, type and scale of the source's `tensor`, and return its index."""
        new = copy.deepcopy(self.builder.source.graph.tensors[tensor])
        new.name, new.buffer = name.encode(), self.builder.copied_buffer(new.buffer)
        new.shapeSignature = None
        if new.quantization is not None:
            new.quantization.min = new.quantization.max = None
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def tensor(self, shape: Sequence[int], kind: int, constant: np.ndarray[Any, Any] | None = None) -> int:
        """Add a tensor without a scale, and return its index.

        Args:
            shape: shape of the tensor.
            kind: a `schema.TensorType`.
            constant: value of a constant tensor; None for a variable one.
        """
        new = schema.TensorT()
        new.name, new.shape, new.type = b"", np.array(shape, np.int32), kind
        new.buffer = 0 if constant is None else self.builder.buffer(constant)
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def substitute(self, tensor: int, own: int, what: str) -> None:
        """Use the subgraph's tensor `own` in place of the source's `tensor` in all operators that are copied later.

        Args:
            tensor: index of a tensor of the source.
            own: index of a tensor of this subgraph.
            what: name of the boundary tensor, for the error message.

        Raises:
            ConversionError: the two tensors have different scales.
        """
        replaced = scale_and_zero_point(self.builder.source.graph.tensors[tensor])
        if scale_and_zero_point(self.graph.tensors[own]) != replaced:
            raise ConversionError(
                f"The boundary tensor {what} has different scales in the two pieces that share it. Make the pieces "
                "with QatStudent, which uses one scale for each boundary tensor."
            )
        self._copies[tensor] = own

    def copy_operators(self, operators: Sequence[Any], names: Mapping[int, str] | None = None) -> None:
        """Copy operators of the source and the tensors that they read and write.

        Args:
            operators: operators of the source.
            names: names of copied tensors by their index in the source; the others have no name.
        """
        names = names or {}
        for operator in operators:
            new = copy.deepcopy(operator)
            for ends in ("inputs", "outputs"):
                indices = [self._copied(int(t), names) for t in getattr(operator, ends)]
                setattr(new, ends, np.array(indices, np.int32))
            self.graph.operators.append(new)

    def _copied(self, tensor: int, names: Mapping[int, str]) -> int:
        if tensor < 0:  # an absent optional input
            return tensor
        if tensor not in self._copies:
            self._copies[tensor] = self.tensor_like(tensor, names.get(tensor, ""))
        return self._copies[tensor]

    def index_of(self, tensor: int) -> int:
        """Return the index in this subgraph of the copy of a source tensor."""
        return self._copies[tensor]

    def operator(self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Any) -> None:
        """Append an operator that is not a copy.

        Args:
            name: name of the operator, such as "IF".
            inputs: tensor indices.
            outputs: tensor indices.
            options: options object of the schema, such as `IfOptionsT`.
        """
        new = schema.OperatorT()
        new.opcodeIndex = self.builder.opcode(name)
        new.inputs, new.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        new.builtinOptions = options
        new.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(new)

    def set_inputs_and_outputs(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Declare the inputs and outputs of the subgraph, as tensor indices."""
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)


def branches(model: Any, graph: Any) -> Iterator[Any]:
    """Yield both branches of each `IF` operator of a subgraph."""
    for operator in graph.operators:
        if isinstance(operator.builtinOptions, schema.IfOptionsT):
            yield model.subgraphs[operator.builtinOptions.thenSubgraphIndex]
            yield model.subgraphs[operator.builtinOptions.elseSubgraphIndex]
