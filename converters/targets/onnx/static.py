"""ONNX files that run one expert per path with nested `If`, in float32 or quantized (QDQ), opset 18 to 20.

torch exports all pieces of the student as one graph in which they are not connected. This module extracts the pieces
and connects them at the boundary tensors: the outputs of the trunk (integers, if quantized) become inputs of the tail
and of the branches of one nested `If` per path.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor, nn

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.qat import piece_inputs
from ecgmoe_edge.contract import INPUTS, ROUTES, route_name
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.targets.onnx.graph import BoundaryInput, PieceExtractor, remove_debug_info, to_uint8
from ecgmoe_edge.converters.targets.onnx.reader import inspect_onnx
from ecgmoe_edge.errors import ConversionError

OPSET = 18  # onnxruntime 1.32 refuses the optimized graph with opset 21
MAX_IR_VERSION = 10  # the newest version that the runtimes on devices with Python 3.10 read


def output_name(output: str) -> str:
    """Return the name of a student's output in the file. In ONNX, an output must not have the name of an input."""
    return output if output in ROUTES else f"{output}_logits"


def check_versions(opset: int, ir_version: int) -> None:
    """Check that the IR version supports the opset.

    Raises:
        ConversionError: the opset needs a newer IR version, or the installed onnx does not know the opset.
    """
    least = helper.OP_SET_ID_VERSION_MAP.get(("ai.onnx", opset))
    if least is None:
        raise ConversionError(f"The installed onnx does not know opset {opset}. Choose 18 in the profile.")
    if least > ir_version:
        raise ConversionError(
            f"Opset {opset} needs ONNX IR version {least}, and the profile's runtime reads {ir_version}. Raise "
            "ir_version, or choose opset 18, which needs 8."
        )


def export_onnx(
    pieces: Pieces,
    path: Path | str,
    *,
    activations: Literal["float32", "int8", "uint8"] = "float32",
    opset: int = OPSET,
    ir_version: int = MAX_IR_VERSION,
) -> ModelSummary:
    """Write a student as one ONNX file with batch 1 that runs one expert per path with nested `If`.

    The inputs are "beat", "features" and "rr_sequence". The outputs are "<task>_logits", "route_morphology" and
    "route_rhythm". All are float32.

    Args:
        pieces: pieces of `merge_student` for float32, `IntegerStudent.folded` for integer activations.
        path: the file to write.
        activations: "float32", or "int8" or "uint8" for a quantized file. On x86, onnxruntime fuses all convolutions
            with uint8 but leaves some in float with int8. TensorRT supports only int8.
        opset: ONNX opset of the file, 18 to 20.
        ir_version: the newest IR version that the file may have.

    Raises:
        ConversionError: the exporter cannot write that opset, the opset needs a newer IR version, a boundary tensor has
            different scales in two pieces, or the result is not valid ONNX.
    """
    check_versions(opset, ir_version)
    model = _connect(_export(pieces, opset), pieces, ir_version)
    written = [entry.version for entry in model.opset_import]
    if written != [opset]:
        raise ConversionError(f"torch wrote opset {written}, but the profile requires {opset}. Choose opset 18.")
    if activations == "uint8":
        to_uint8(model.graph)
    remove_debug_info(model.graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"The ONNX graph is not valid: {error}") from error
    onnx.save(model, str(path))
    return inspect_onnx(path)


class _Unconnected(nn.Module):
    """All pieces with separate inputs, so that one export contains all of them."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(
        self,
        trunk: tuple[Tensor, ...],
        z_morphology: Tensor,
        z_rhythm: Tensor,
        tail: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        ys = [expert(z_morphology) for expert in self.pieces.morphology]
        ys += [expert(z_rhythm) for expert in self.pieces.rhythm]
        return (*self.pieces.trunk(*trunk), *ys, *self.pieces.tail(*tail))


def _export(pieces: Pieces, opset: int) -> ModelProto:
    """Export all pieces in one graph; inputs at boundary tensors are named "<tensor>.in"."""
    examples = piece_inputs(pieces, rows=1)
    arguments = (examples["trunk"], *examples["morphology_0"], *examples["rhythm_0"], examples["tail"])
    boundaries = ("z_morphology", "z_rhythm", *pieces.tail_inputs)
    ys = [f"y_{name}" for name, _ in pieces.named() if name not in ("trunk", "tail")]
    with quiet_exporter():
        program = torch.onnx.export(
            torch.export.export(_Unconnected(pieces), arguments),
            dynamo=True,
            opset_version=opset,
            external_data=False,
            verbose=False,
            input_names=[*INPUTS, *(f"{boundary}.in" for boundary in boundaries)],
            output_names=[*pieces.trunk_outputs, *ys, *(output_name(task) for task in pieces.tasks)],
        )
    if program is None:
        raise ConversionError("torch returned no ONNX program. Install the versions listed in constraints.txt.")
    model: ModelProto = program.model_proto
    return model


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Suppress the exporter's warnings about packages that no student needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _connect(exported: ModelProto, pieces: Pieces, ir_version: int) -> ModelProto:
    extractor = PieceExtractor(exported.graph)
    sources = {boundary: extractor.source(boundary) for boundary in pieces.trunk_outputs}
    wanted = [name if name in ROUTES else sources[name] for name in pieces.trunk_outputs]
    nodes, constants = extractor.extract(wanted, {})
    boundary_inputs = {f"{gate}.in": BoundaryInput(sources[gate], sources[gate]) for gate in pieces.gates}
    for path, bank in pieces.banks().items():
        entry = {f"z_{path}.in": BoundaryInput(sources[f"z_{path}"], sources[f"z_{path}"])}
        experts = [_branch(extractor, f"{path}_{index}", entry) for index in range(len(bank))]
        nodes += _dispatch(path, experts)
        boundary_inputs[f"y_{path}.in"] = BoundaryInput(f"y_{path}", extractor.source(f"y_{path}_0"))
    tail, tail_constants = extractor.extract([output_name(task) for task in pieces.tasks], boundary_inputs)
    declared = {value.name: value for value in (*exported.graph.input, *exported.graph.output)}
    outputs = [output_name(output) for output in (*pieces.tasks, *ROUTES)]
    made = {name for node in nodes for name in node.output}
    graph = helper.make_graph(
        [*nodes, *(node for node in tail if not made.intersection(node.output))],
        "ecgmoe_student",
        [declared[name] for name in INPUTS],
        [declared[name] for name in outputs],
        list({tensor.name: tensor for tensor in (*constants, *tail_constants)}.values()),
    )
    opsets = [opset for opset in exported.opset_import if not opset.domain]
    newest = min(exported.ir_version, ir_version)
    return helper.make_model(graph, opset_imports=opsets, ir_version=newest, producer_name="ecgmoe-edge")


def _branch(extractor: PieceExtractor, name: str, entry: dict[str, BoundaryInput]) -> GraphProto:
    """Return one expert as a branch of an `If`; it reads its input from the graph around it."""
    suffix = f".{name}"
    source = extractor.source(f"y_{name}")
    nodes, constants = extractor.extract([source], entry, suffix)
    return helper.make_graph(nodes, name, [], [extractor.value(f"y_{name}", source + suffix)], constants)


def _dispatch(path: str, experts: list[GraphProto]) -> list[NodeProto]:
    """Return the ArgMax of a router and the nested `If` that runs the chosen expert; the output is "y_<path>"."""
    index = f"expert_{path}"
    argmax = helper.make_node("ArgMax", [route_name(path)], [index], name=f"argmax_{path}", axis=1, keepdims=0)
    return [argmax, *_choose(path, experts, 0, index, f"y_{path}")]


def _choose(path: str, experts: list[GraphProto], first: int, index: str, output: str) -> list[NodeProto]:
    """Return the nodes that run expert number `index` - `first` of a list.

    The list is halved at each `If`, so four experts need two comparisons. The first half of an odd number is the
    smaller one, so the first of three experts, the cheapest, needs one comparison.
    """
    half = len(experts) // 2
    name = f"{path}_{first}_{first + len(experts)}"
    branches = []
    for start, part in ((first, experts[:half]), (first + half, experts[half:])):
        if len(part) == 1:
            branches.append(part[0])
            continue
        inner = f"y_{path}_{start}_{start + len(part)}"
        declared = copy.deepcopy(part[0].output[0])
        declared.name = inner
        branches.append(helper.make_graph(_choose(path, part, start, index, inner), inner, [], [declared]))
    middle = numpy_helper.from_array(np.array([first + half], np.int64))
    return [
        helper.make_node("Constant", [], [f"middle_{name}"], name=f"constant_{name}", value=middle),
        helper.make_node("Less", [index, f"middle_{name}"], [f"below_{name}"], name=f"less_{name}"),
        helper.make_node(
            "If", [f"below_{name}"], [output], f"if_{name}", then_branch=branches[0], else_branch=branches[1]
        ),
    ]
