"""Cutting a TFLite flatbuffer into pieces, and building a new one from them: subgraphs, nested `IF`, signatures."""

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
    """The object tree (`ModelT`) of a TFLite file.

    Raises:
        ConversionError: the file is no TFLite model.
    """
    try:
        data = bytearray(Path(path).read_bytes())
    except OSError as error:
        raise ConversionError(f"{path} cannot be read ({error}).") from error
    if data[4:8] != _IDENTIFIER:
        raise ConversionError(f"{path} is no TFLite model; give a file that `ecgmoe-edge export` wrote.")
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def operator_name(model: Any, operator: Any) -> str:
    """The name of an operator, such as CONV_2D."""
    code = model.operatorCodes[operator.opcodeIndex]
    return OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]


def grid(tensor: Any) -> tuple[float, int] | None:
    """Scale and zero point of a tensor with one scale; None for a tensor without."""
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
        return None
    return float(quantization.scale[0]), int(quantization.zeroPoint[0])


class Source:
    """A model of one subgraph that holds several unconnected pieces."""

    def __init__(self, model: Any, signature: str) -> None:
        self.model = model
        (entry,) = [item for item in model.signatureDefs if item.signatureKey.decode() == signature]
        self.graph = model.subgraphs[entry.subgraphIndex]
        self.inputs = _in_order(entry.inputs)
        self.outputs = _in_order(entry.outputs)
        self._producers = {int(t): operator for operator in self.graph.operators for t in operator.outputs}

    def integer(self, tensor: int) -> int:
        """The integers behind a tensor: what another piece should read where the converter put a DEQUANTIZE."""
        producer = self._producers.get(tensor)
        dequantized = producer is not None and operator_name(self.model, producer) == "DEQUANTIZE"
        return int(producer.inputs[0]) if producer is not None and dequantized else tensor

    def between(self, outputs: Sequence[int], stops: Sequence[int]) -> list[Any]:
        """Operators that `outputs` need, in order, back to the tensors `stops`."""
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
    """Tensor indices of args_0, args_1, ... or output_0, output_1, ..."""
    numbered = {int(entry.name.decode().rpartition("_")[2]): int(entry.tensorIndex) for entry in entries}
    return [numbered[number] for number in sorted(numbered)]


class Builder:
    """A new model in the making; its subgraphs take operators and constants from a `Source`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"ecgmoe-edge"
        self.model.operatorCodes = copy.deepcopy(source.model.operatorCodes)
        self.model.buffers, self.model.subgraphs, self.model.signatureDefs = [schema.BufferT()], [], []
        self._buffers: dict[bytes, int] = {}

    def buffer(self, array: np.ndarray[Any, Any]) -> int:
        """A constant; kept once, however many tensors hold it."""
        data = np.ascontiguousarray(array).tobytes()
        if data not in self._buffers:
            item = schema.BufferT()
            item.data = np.frombuffer(data, np.uint8)
            self.model.buffers.append(item)
            self._buffers[data] = len(self.model.buffers) - 1
        return self._buffers[data]

    def copied_buffer(self, index: int) -> int:
        """A constant of the source. Tensors without data share buffer 0."""
        data = self.source.model.buffers[index].data
        return 0 if data is None or len(data) == 0 else self.buffer(np.asarray(data, np.uint8))

    def opcode(self, name: str, version: int = 1) -> int:
        """Index of an operator code; made if need be."""
        builtin = getattr(schema.BuiltinOperator, name)
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin and code.version >= version:
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def part(self, name: str) -> Part:
        """A new, empty subgraph; `finish` numbers it."""
        return Part(self, name)

    def signature(self, key: str, part: Part, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Declare a subgraph callable by `key`, with named tensors."""
        entry = schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = key.encode(), part.index
        entry.inputs = [_tensor_map(name, index) for name, index in inputs.items()]
        entry.outputs = [_tensor_map(name, index) for name, index in outputs.items()]
        self.model.signatureDefs.append(entry)

    def write(self, path: Path | str) -> None:
        """Write the model; operator codes that nothing uses are left out."""
        used = sorted({operator.opcodeIndex for graph in self.model.subgraphs for operator in graph.operators})
        self.model.operatorCodes = [self.model.operatorCodes[index] for index in used]
        for graph in self.model.subgraphs:
            for operator in graph.operators:
                operator.opcodeIndex = used.index(operator.opcodeIndex)
        builder = _SharingBuilder(1 << 20)
        builder.Finish(self.model.Pack(builder), _IDENTIFIER)
        Path(path).write_bytes(bytes(builder.Output()))


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal vectors and names once: shapes, scales and zero points are most of a small model's file."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray[Any, Any]) -> int:  # noqa: N802, the name is flatbuffers'
        """The offset of a vector; the schema aligns a constant's bytes, so those are not shared with other vectors."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = int(super().CreateNumpyVector(x))
        return self._written[key]

    def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> int:  # noqa: N802
        """The offset of a string."""
        key = ("string", s if isinstance(s, bytes) else s.encode(encoding, errors))
        if key not in self._written:
            self._written[key] = int(super().CreateString(s, encoding, errors))
        return self._written[key]


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), index
    return entry


class Part:
    """One subgraph of a model in the making."""

    def __init__(self, builder: Builder, name: str) -> None:
        self.builder = builder
        self.graph = schema.SubGraphT()
        self.graph.name, self.graph.tensors, self.graph.operators = name.encode(), [], []
        builder.model.subgraphs.append(self.graph)
        self.index = len(builder.model.subgraphs) - 1
        self._taken: dict[int, int] = {}

    def like(self, tensor: int, name: str = "") -> int:
        """A new tensor with the shape, type and scale of the source's `tensor`. Only named ones keep a name."""
        new = copy.deepcopy(self.builder.source.graph.tensors[tensor])
        new.name, new.buffer = name.encode(), self.builder.copied_buffer(new.buffer)
        new.shapeSignature = None
        if new.quantization is not None:
            new.quantization.min = new.quantization.max = None
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def tensor(self, shape: Sequence[int], kind: int, constant: np.ndarray[Any, Any] | None = None) -> int:
        """A new tensor without a scale."""
        new = schema.TensorT()
        new.name, new.shape, new.type = b"", np.array(shape, np.int32), kind
        new.buffer = 0 if constant is None else self.builder.buffer(constant)
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def stand_in(self, tensor: int, own: int, what: str) -> None:
        """Let the subgraph's tensor `own` stand for the source's `tensor`, wherever operators are taken from there.

        Raises:
            ConversionError: their scales differ.
        """
        theirs = grid(self.builder.source.graph.tensors[tensor])
        if grid(self.graph.tensors[own]) != theirs:
            raise ConversionError(
                f"The scale of {what} is not the same on both sides of the seam. Make the pieces with QatStudent, "
                "which shares one scale wherever two of them meet."
            )
        self._taken[tensor] = own

    def take(self, operators: Sequence[Any], names: Mapping[int, str] | None = None) -> None:
        """Copy operators of the source, with the tensors that they touch; `names` names some of these."""
        names = names or {}
        for operator in operators:
            new = copy.deepcopy(operator)
            for ends in ("inputs", "outputs"):
                indices = [self._copied(int(t), names) for t in getattr(operator, ends)]
                setattr(new, ends, np.array(indices, np.int32))
            self.graph.operators.append(new)

    def _copied(self, tensor: int, names: Mapping[int, str]) -> int:
        if tensor < 0:  # an optional input that is left out
            return tensor
        if tensor not in self._taken:
            self._taken[tensor] = self.like(tensor, names.get(tensor, ""))
        return self._taken[tensor]

    def own(self, tensor: int) -> int:
        """The subgraph's index of a tensor of the source."""
        return self._taken[tensor]

    def operator(self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Any) -> None:
        """Append an operator of this project's own; `options` is an options object of the schema."""
        new = schema.OperatorT()
        new.opcodeIndex = self.builder.opcode(name)
        new.inputs, new.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        new.builtinOptions = options
        new.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        self.graph.operators.append(new)

    def ends(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Declare the subgraph's own inputs and outputs."""
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)


def branches(model: Any, graph: Any) -> Iterator[Any]:
    """Subgraphs that the `IF` operators of a subgraph choose between."""
    for operator in graph.operators:
        if isinstance(operator.builtinOptions, schema.IfOptionsT):
            yield model.subgraphs[operator.builtinOptions.thenSubgraphIndex]
            yield model.subgraphs[operator.builtinOptions.elseSubgraphIndex]
