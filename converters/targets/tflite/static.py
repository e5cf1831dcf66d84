"""TFLite files of an int8 student that run one expert a path: one file with nested `IF`, or one signature a piece.

litert-torch converts all pieces at once as one subgraph in which nothing connects them. Here they are cut apart and
joined again. The file with `IF` chooses by itself; the other one, for runtimes without control flow, holds a
signature for each piece, and the caller runs trunk, the two chosen experts, and tail.
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
from ecgmoe_edge.converters.experts import ModelSummary
from ecgmoe_edge.converters.targets.tflite.graph import Builder, Part, Source, read_model
from ecgmoe_edge.converters.targets.tflite.reader import inspect_tflite

_SIGNATURE = "pieces"


def export_tflite(student: IntegerStudent, path: Path | str, *, dispatch: Literal["if", "host"] = "if") -> ModelSummary:
    """Write an int8 student as a TFLite file with batch 1.

    Inputs and outputs are int8 with a scale each. With "if" there is one signature, "serving_default", with inputs
    "beat", "features", "rr_sequence" and outputs "<task>", "route_morphology" and "route_rhythm". With "host" there
    are "trunk", "morphology_0", ..., "rhythm_0", ..., "tail", with the names of `Pieces.trunk_outputs` and
    `Pieces.tail_inputs`; an expert turns "z" into "y". All seams have one scale, so int8 values go through as they are.

    Args:
        student: what `QatStudent.convert` gave.
        path: the file to write.
        dispatch: "if" for one file that chooses its experts, "host" where the caller does.

    Raises:
        ConversionError: pieces disagree about a scale where they meet.
    """
    return write_tflite(convert_pieces(student), path, dispatch=dispatch)


class _Unconnected(nn.Module):
    """Every piece with inputs of its own, so that one conversion holds them all."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self.pieces = pieces
        self.training = False  # the pieces are graphs and know no modes, so eval() would fail

    def forward(
        self, beat: Tensor, features: Tensor, rr_sequence: Tensor, z_morphology: Tensor, z_rhythm: Tensor, *tail: Tensor
    ) -> tuple[Tensor, ...]:
        ys = [expert(z_morphology) for expert in self.pieces.morphology]
        ys += [expert(z_rhythm) for expert in self.pieces.rhythm]
        return (*self.pieces.trunk(beat, features, rr_sequence), *ys, *self.pieces.tail(*tail))


@dataclass(frozen=True)
class Converted:
    """All pieces as one unconnected subgraph, and where their inputs and outputs are: seams enter as "<name>.in"."""

    pieces: Pieces
    source: Source
    index: Mapping[str, int]

    @staticmethod
    def of(pieces: Pieces, source: Source) -> Converted:
        """Name the tensors, which the converter has in the order of `_Unconnected.forward`."""
        seams = ("z_morphology", "z_rhythm", *pieces.tail_inputs)
        experts = [f"y_{name}" for name, _ in pieces.named() if name not in ("trunk", "tail")]
        outputs = (*pieces.trunk_outputs, *experts, *(f"{task}.out" for task in pieces.tasks))
        index = dict(zip((*INPUTS, *(f"{seam}.in" for seam in seams)), source.inputs, strict=True))
        made = [
            tensor if name in ROUTES else source.integer(tensor)
            for name, tensor in zip(outputs, source.outputs, strict=True)
        ]
        return Converted(pieces, source, {**index, **dict(zip(outputs, made, strict=True))})

    def __getitem__(self, name: str) -> int:
        return self.index[name]

    def take(self, part: Part, inputs: Sequence[str], outputs: Mapping[str, str]) -> None:
        """Copy into a subgraph what makes `outputs` (by their names in the file) from `inputs`."""
        operators = self.source.between([self[name] for name in outputs.values()], [self[name] for name in inputs])
        part.take(operators, {self[name]: called for called, name in outputs.items()})


def convert_pieces(student: IntegerStudent) -> Converted:
    """Convert all pieces of an int8 student, once for both kinds of file."""
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    pieces = student.unfolded
    examples = piece_inputs(pieces, rows=1)
    arguments = (*examples["trunk"], *examples["morphology_0"], *examples["rhythm_0"], *examples["tail"])
    # A marker only: it tells the converter to keep the graph's scales and to write int8 inputs and outputs.
    marker = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_qat=True))
    with tempfile.TemporaryDirectory() as folder, _quiet_converter():
        path = Path(folder) / "pieces.tflite"
        signature = litert_torch.signature(_SIGNATURE, _Unconnected(pieces), arguments)
        signature.convert(quant_config=QuantConfig(pt2e_quantizer=marker)).export(str(path))
        return Converted.of(pieces, Source(read_model(path), _SIGNATURE))


def write_tflite(converted: Converted, path: Path | str, *, dispatch: Literal["if", "host"]) -> ModelSummary:
    """Join converted pieces into a file; see `export_tflite`."""
    builder = Builder(converted.source)
    if dispatch == "if":
        _one_graph(builder, converted)
    else:
        _signatures(builder, converted)
    builder.write(path)
    return inspect_tflite(path)


def _signatures(builder: Builder, tensors: Converted) -> None:
    """One subgraph and one signature for each piece."""
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
        part = builder.part(key)
        own_inputs = {called: part.like(tensors[name], called) for called, name in inputs.items()}
        for called, name in inputs.items():
            part.stand_in(tensors[name], own_inputs[called], called)
        tensors.take(part, list(inputs.values()), outputs)
        own_outputs = {called: part.own(tensors[name]) for called, name in outputs.items()}
        part.ends(list(own_inputs.values()), list(own_outputs.values()))
        builder.signature(key, part, own_inputs, own_outputs)


def _one_graph(builder: Builder, tensors: Converted) -> None:
    """Trunk, nested `IF` for each bank, and tail in one subgraph."""
    pieces = tensors.pieces
    main = builder.part("main")
    inputs = {name: main.like(tensors[name], name) for name in INPUTS}
    for name, own in inputs.items():
        main.stand_in(tensors[name], own, name)
    tensors.take(main, INPUTS, {name: name for name in pieces.trunk_outputs})
    for gate in pieces.gates:
        main.stand_in(tensors[f"{gate}.in"], main.own(tensors[gate]), gate)
    for path, bank in pieces.banks().items():
        index = _expert_index(main, main.own(tensors[route_name(path)]))
        z = main.own(tensors[f"z_{path}"])
        y = _Bank(builder, tensors, path).choose(main, 0, len(bank), z, index)
        main.stand_in(tensors[f"y_{path}.in"], y, f"y_{path}")
    outputs = {task: f"{task}.out" for task in pieces.tasks}
    tensors.take(main, [f"{name}.in" for name in pieces.tail_inputs], outputs)
    outputs.update({route: route for route in ROUTES})
    ends = {called: main.own(tensors[name]) for called, name in outputs.items()}
    main.ends(list(inputs.values()), list(ends.values()))
    builder.signature("serving_default", main, inputs, ends)


def _expert_index(part: Part, logits: int) -> int:
    """ARG_MAX over a router's logits: the first of equal ones, as everywhere."""
    axis = part.tensor([], schema.TensorType.INT32, np.array(-1, np.int32))
    index = part.tensor([1], schema.TensorType.INT32)
    options = schema.ArgMaxOptionsT()
    options.outputType = schema.TensorType.INT32
    part.operator("ARG_MAX", [logits, axis], [index], options)
    return index


@dataclass(frozen=True)
class _Bank:
    """The experts of one path as subgraphs, each with inputs (z, index): both branches of an `IF` take the same."""

    builder: Builder
    tensors: Converted
    path: str

    def choose(self, part: Part, low: int, high: int, z: int, index: int) -> int:
        """Append the `IF` that runs expert `index` of low..high-1; halving, four experts take two questions."""
        middle = (low + high + 1) // 2
        bound = part.tensor([1], schema.TensorType.INT32, np.array([middle], np.int32))
        below = part.tensor([1], schema.TensorType.BOOL)
        part.operator("LESS", [index, bound], [below], schema.LessOptionsT())
        y = part.like(self.tensors[f"y_{self.path}_{low}"])
        options = schema.IfOptionsT()
        options.thenSubgraphIndex = self._branch(low, middle)
        options.elseSubgraphIndex = self._branch(middle, high)
        part.operator("IF", [below, z, index], [y], options)
        return y

    def _branch(self, low: int, high: int) -> int:
        name = f"{self.path}_{low}" if high - low == 1 else f"{self.path}_{low}_to_{high - 1}"
        part = self.builder.part(name)
        entry = self.tensors[f"z_{self.path}.in"]
        z = part.like(self.tensors[f"z_{self.path}"])
        index = part.tensor([1], schema.TensorType.INT32)
        if high - low > 1:
            y = self.choose(part, low, high, z, index)
        else:
            part.stand_in(entry, z, f"z_{self.path}")
            output = f"y_{self.path}_{low}"
            self.tensors.take(part, [f"z_{self.path}.in"], {"": output})
            y = part.own(self.tensors[output])
        part.ends([z, index], [y])
        return part.index


@contextmanager
def _quiet_converter() -> Iterator[None]:
    """Keep the converter's progress lines off stdout, which belongs to the command's results."""
    from litert_torch.progress import config

    shown = config.show_progress
    config.show_progress = False
    try:
        yield
    finally:
        config.show_progress = shown
