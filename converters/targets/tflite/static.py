"""TFLite files of an int8 student that run one expert per path.

litert-torch converts all pieces of the student as one subgraph in which they are not connected. This module extracts
the pieces and writes one of two kinds of file. A file with nested `IF` selects the experts itself. A file with one
signature per piece is for runtimes without control flow: the caller runs the trunk, the two chosen experts, and the
tail.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor, nn

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.qat import IntegerStudent, piece_inputs
from ecgmoe_edge.contract import INPUTS, ROUTES, route_name
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.targets.tflite.graph import ModelBuilder, SubgraphBuilder, UnconnectedModel, read_model
from ecgmoe_edge.converters.targets.tflite.reader import inspect_tflite

_SIGNATURE = "pieces"


def export_tflite(student: IntegerStudent, path: Path | str, *, dispatch: Literal["if", "host"] = "if") -> ModelSummary:
    """Write an int8 student as a TFLite file with batch 1.

    Inputs and outputs are int8, each with its own scale; only the router logits are float32.

    With "if", the file has one signature, "serving_default". Its inputs are "beat", "features" and "rr_sequence", its
    outputs "<task>", "route_morphology" and "route_rhythm".

    With "host", the signatures are "trunk", "morphology_0", ..., "rhythm_0", ..., "tail". The tensors of trunk and tail
    have the names of `Pieces.trunk_outputs` and `Pieces.tail_inputs`; an expert maps "z" to "y". A boundary tensor has
    the same scale in both pieces, so the caller passes the int8 values on unchanged.

    Args:
        student: the result of `QatStudent.convert`.
        path: the file to write.
        dispatch: "if" for a file that selects its experts, "host" if the caller does.

    Raises:
        ConversionError: a boundary tensor has different scales in two pieces.
    """
    return write_tflite(convert_pieces(student), path, dispatch=dispatch)


class _Unconnected(nn.Module):
    """All pieces with separate inputs, so that one conversion contains all of them."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self.pieces = pieces
        self.training = False  # the pieces are exported graphs without modes, so eval() would fail

    def forward(
        self, beat: Tensor, features: Tensor, rr_sequence: Tensor, z_morphology: Tensor, z_rhythm: Tensor, *tail: Tensor
    ) -> tuple[Tensor, ...]:
        ys = [expert(z_morphology) for expert in self.pieces.morphology]
        ys += [expert(z_rhythm) for expert in self.pieces.rhythm]
        return (*self.pieces.trunk(beat, features, rr_sequence), *ys, *self.pieces.tail(*tail))


@dataclass(frozen=True)
class ConvertedPieces:
    """All pieces as one subgraph without connections between them, and the tensor indices of inputs and outputs.

    An input of a piece that is a boundary tensor is named "<tensor>.in", an output of the tail "<task>.out".
    """

    pieces: Pieces
    source: UnconnectedModel
    index: Mapping[str, int]

    @staticmethod
    def from_model(pieces: Pieces, source: UnconnectedModel) -> ConvertedPieces:
        """Name the tensors of a converted model; they have the order of `_Unconnected.forward`."""
        boundaries = ("z_morphology", "z_rhythm", *pieces.tail_inputs)
        experts = [f"y_{name}" for name, _ in pieces.named() if name not in ("trunk", "tail")]
        outputs = (*pieces.trunk_outputs, *experts, *(f"{task}.out" for task in pieces.tasks))
        index = dict(zip((*INPUTS, *(f"{boundary}.in" for boundary in boundaries)), source.inputs, strict=True))
        made = [
            tensor if name in ROUTES else source.integer(tensor)
            for name, tensor in zip(outputs, source.outputs, strict=True)
        ]
        return ConvertedPieces(pieces, source, {**index, **dict(zip(outputs, made, strict=True))})

    def __getitem__(self, name: str) -> int:
        return self.index[name]

    def copy_operators(self, subgraph: SubgraphBuilder, inputs: Sequence[str], outputs: Mapping[str, str]) -> None:
        """Copy the operators that compute `outputs` from `inputs` into a subgraph.

        Args:
            subgraph: the subgraph.
            inputs: names of tensors.
            outputs: names of tensors by their name in the file.
        """
        ends = [self[name] for name in outputs.values()]
        operators = self.source.operators_between(ends, [self[name] for name in inputs])
        subgraph.copy_operators(operators, {self[name]: called for called, name in outputs.items()})


def convert_pieces(student: IntegerStudent) -> ConvertedPieces:
    """Convert all pieces of an int8 student; `write_tflite` can write both kinds of file from the result."""
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    pieces = student.unfolded
    examples = piece_inputs(pieces, rows=1)
    arguments = (*examples["trunk"], *examples["morphology_0"], *examples["rhythm_0"], *examples["tail"])
    # It only makes the converter keep the scales of the graph and write int8 inputs and outputs.
    marker = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_qat=True))
    with tempfile.TemporaryDirectory() as folder, _quiet_converter():
        path = Path(folder) / "pieces.tflite"
        signature = litert_torch.signature(_SIGNATURE, _Unconnected(pieces), arguments)
        signature.convert(quant_config=QuantConfig(pt2e_quantizer=marker)).export(str(path))
        return ConvertedPieces.from_model(pieces, UnconnectedModel(read_model(path), _SIGNATURE))


def write_tflite(converted: ConvertedPieces, path: Path | str, *, dispatch: Literal["if", "host"]) -> ModelSummary:
    """Write a file from converted pieces; see `export_tflite`."""
    builder = ModelBuilder(converted.source)
    if dispatch == "if":
        _one_graph(builder, converted)
    else:
        _signatures(builder, converted)
    builder.write(path)
    return inspect_tflite(path)


def _signatures(builder: ModelBuilder, tensors: ConvertedPieces) -> None:
    """Build one subgraph and one signature for each piece."""
    pieces = tensors.pieces
    ends: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    ends["trunk"] = ({name: name for name in INPUTS}, {name: name for name in pieces.trunk_outputs})
    for path, bank in pieces.banks().items():
        for index in range(len(bank)):
            ends[f"{path}_{index}"] = ({"z": f"z_{path}.in"}, {"y": f"y_{path}_{index}"})
    ends["tail"] = (
        {name: f"{name}.in" for name in pieces.tail_inputs},
        {task: f"{task}.out" for task in pieces.tasks},
    )
    for key, (inputs, outputs) in ends.items():
        subgraph = builder.new_subgraph(key)
        own_inputs = {called: subgraph.tensor_like(tensors[name], called) for called, name in inputs.items()}
        for called, name in inputs.items():
            subgraph.substitute(tensors[name], own_inputs[called], called)
        tensors.copy_operators(subgraph, list(inputs.values()), outputs)
        own_outputs = {called: subgraph.index_of(tensors[name]) for called, name in outputs.items()}
        subgraph.set_inputs_and_outputs(list(own_inputs.values()), list(own_outputs.values()))
        builder.signature(key, subgraph, own_inputs, own_outputs)


def _one_graph(builder: ModelBuilder, tensors: ConvertedPieces) -> None:
    """Build one subgraph with the trunk, a nested `IF` for each path, and the tail."""
    pieces = tensors.pieces
    main = builder.new_subgraph("main")
    inputs = {name: main.tensor_like(tensors[name], name) for name in INPUTS}
    for name, own in inputs.items():
        main.substitute(tensors[name], own, name)
    tensors.copy_operators(main, INPUTS, {name: name for name in pieces.trunk_outputs})
    for gate in pieces.gates:
        main.substitute(tensors[f"{gate}.in"], main.index_of(tensors[gate]), gate)
    for path, bank in pieces.banks().items():
        index = _expert_index(main, main.index_of(tensors[route_name(path)]))
        z = main.index_of(tensors[f"z_{path}"])
        y = _Bank(builder, tensors, path).select_expert(main, 0, len(bank), z, index)
        main.substitute(tensors[f"y_{path}.in"], y, f"y_{path}")
    outputs = {task: f"{task}.out" for task in pieces.tasks}
    tensors.copy_operators(main, [f"{name}.in" for name in pieces.tail_inputs], outputs)
    outputs.update({route: route for route in ROUTES})
    ends = {called: main.index_of(tensors[name]) for called, name in outputs.items()}
    main.set_inputs_and_outputs(list(inputs.values()), list(ends.values()))
    builder.signature("serving_default", main, inputs, ends)


def _expert_index(subgraph: SubgraphBuilder, logits: int) -> int:
    """Append an ARG_MAX over router logits; on a tie it returns the first expert, as all other runtimes do."""
    axis = subgraph.tensor([], schema.TensorType.INT32, np.array(-1, np.int32))
    index = subgraph.tensor([1], schema.TensorType.INT32)
    options = schema.ArgMaxOptionsT()
    options.outputType = schema.TensorType.INT32
    subgraph.operator("ARG_MAX", [logits, axis], [index], options)
    return index


@dataclass(frozen=True)
class _Bank:
    """Builds the experts of one path as subgraphs.

    Both branches of an `IF` have the same inputs, so each subgraph has the inputs (z, index).
    """

    builder: ModelBuilder
    tensors: ConvertedPieces
    path: str

    def select_expert(self, subgraph: SubgraphBuilder, low: int, high: int, z: int, index: int) -> int:
        """Append the `IF` that runs expert number `index`, one of low..high-1, and return its output tensor.

        The range is halved at each `IF`, so four experts need two comparisons. The first half of an odd number is the
        smaller one, so the first of three experts, the cheapest, needs one comparison.
        """
        middle = (low + high) // 2
        bound = subgraph.tensor([1], schema.TensorType.INT32, np.array([middle], np.int32))
        below = subgraph.tensor([1], schema.TensorType.BOOL)
        subgraph.operator("LESS", [index, bound], [below], schema.LessOptionsT())
        y = subgraph.tensor_like(self.tensors[f"y_{self.path}_{low}"])
        options = schema.IfOptionsT()
        options.thenSubgraphIndex = self._branch(low, middle)
        options.elseSubgraphIndex = self._branch(middle, high)
        subgraph.operator("IF", [below, z, index], [y], options)
        return y

    def _branch(self, low: int, high: int) -> int:
        name = f"{self.path}_{low}" if high - low == 1 else f"{self.path}_{low}_to_{high - 1}"
        subgraph = self.builder.new_subgraph(name)
        entry = self.tensors[f"z_{self.path}.in"]
        z = subgraph.tensor_like(self.tensors[f"z_{self.path}"])
        index = subgraph.tensor([1], schema.TensorType.INT32)
        if high - low > 1:
            y = self.select_expert(subgraph, low, high, z, index)
        else:
            subgraph.substitute(entry, z, f"z_{self.path}")
            output = f"y_{self.path}_{low}"
            self.tensors.copy_operators(subgraph, [f"z_{self.path}.in"], {"": output})
            y = subgraph.index_of(self.tensors[output])
        subgraph.set_inputs_and_outputs([z, index], [y])
        return subgraph.index


@contextmanager
def _quiet_converter() -> Iterator[None]:
    """Suppress the converter's progress lines on stdout, which is reserved for the results of the command."""
    from litert_torch.progress import config

    shown = config.show_progress
    config.show_progress = False
    try:
        yield
    finally:
        config.show_progress = shown
