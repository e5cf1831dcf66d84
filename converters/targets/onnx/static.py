"""ONNX files of a student that run one expert a path: nested `If`, opset 18 to 20, float32 or int8 QDQ.

All pieces are exported as one graph in which nothing connects them. Here they are cut apart and joined again: the
trunk's vectors go straight (in int8: as integers) into the tail and into the branches of one nested `If` a bank.
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
from ecgmoe_edge.converters.experts import ModelSummary
from ecgmoe_edge.converters.targets.onnx.graph import Cutter, Join, strip, to_uint8
from ecgmoe_edge.converters.targets.onnx.reader import inspect_onnx
from ecgmoe_edge.errors import ConversionError

OPSET = 18  # with 21, onnxruntime 1.32 refuses the graph once it optimizes it
MAX_IR_VERSION = 10  # what the runtimes of Python 3.10 devices read


def output_name(output: str) -> str:
    """The name in the file of a student's output: an ONNX graph cannot have input and output of one name."""
    return output if output in ROUTES else f"{output}_logits"


def check_versions(opset: int, ir_version: int) -> None:
    """Refuse an opset that needs a newer IR version than a file may have.

    Raises:
        ConversionError: it does, or the installed onnx does not know it.
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
    """Write a student as one ONNX file with batch 1 that runs one expert a path, by nested `If`.

    Inputs are "beat", "features" and "rr_sequence"; outputs "<task>_logits", "route_morphology" and "route_rhythm",
    all float32.

    Args:
        pieces: those of `merge_student` for float32, `IntegerStudent.folded` for the others.
        path: the file to write.
        activations: "float32"; "int8" or "uint8" for integer activations (weights are int8 in both). onnxruntime
            on x86 fuses all convolutions with uint8 and leaves some in float with int8; TensorRT takes int8 alone.
        opset: of the operators, 18 to 20.
        ir_version: the newest that the file may have.

    Raises:
        ConversionError: the exporter does not write that opset, or it needs a newer IR version;
            pieces disagree about a scale where they meet; or the result is no valid ONNX.
    """
    check_versions(opset, ir_version)
    model = _join(_export(pieces, opset), pieces, ir_version)
    written = [entry.version for entry in model.opset_import]
    if written != [opset]:
        raise ConversionError(f"torch wrote opset {written} where the profile asks for {opset}. Choose opset 18.")
    if activations == "uint8":
        to_uint8(model.graph)
    strip(model.graph)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"The ONNX graph does not hold together: {error}") from error
    onnx.save(model, str(path))
    return inspect_onnx(path)


class _Unconnected(nn.Module):
    """Every piece with inputs of its own, so that one export holds them all."""

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
    """All pieces in one graph: inputs of the experts and the tail are called "<seam>.in"."""
    examples = piece_inputs(pieces, rows=1)
    arguments = (examples["trunk"], *examples["morphology_0"], *examples["rhythm_0"], examples["tail"])
    seams = ("z_morphology", "z_rhythm", *pieces.tail_inputs)
    ys = [f"y_{name}" for name, _ in pieces.named() if name not in ("trunk", "tail")]
    with quiet_exporter():
        program = torch.onnx.export(
            torch.export.export(_Unconnected(pieces), arguments),
            dynamo=True,
            opset_version=opset,
            external_data=False,
            verbose=False,
            input_names=[*INPUTS, *(f"{seam}.in" for seam in seams)],
            output_names=[*pieces.trunk_outputs, *ys, *(output_name(task) for task in pieces.tasks)],
        )
    if program is None:
        raise ConversionError("torch gave no ONNX program; install the versions that constraints.txt names.")
    model: ModelProto = program.model_proto
    return model


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep the exporter from warning about packages that no student needs."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _join(exported: ModelProto, pieces: Pieces, ir_version: int) -> ModelProto:
    cutter = Cutter(exported.graph)
    sources = {seam: cutter.source(seam) for seam in pieces.trunk_outputs}
    wanted = [name if name in ROUTES else sources[name] for name in pieces.trunk_outputs]
    nodes, constants = cutter.take(wanted, {})
    joins = {f"{gate}.in": Join(sources[gate], sources[gate]) for gate in pieces.gates}
    for path, bank in pieces.banks().items():
        entry = {f"z_{path}.in": Join(sources[f"z_{path}"], sources[f"z_{path}"])}
        experts = [_branch(cutter, f"{path}_{index}", entry) for index in range(len(bank))]
        nodes += _dispatch(path, experts)
        joins[f"y_{path}.in"] = Join(f"y_{path}", cutter.source(f"y_{path}_0"))
    tail, tail_constants = cutter.take([output_name(task) for task in pieces.tasks], joins)
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


def _branch(cutter: Cutter, name: str, entry: dict[str, Join]) -> GraphProto:
    """One expert as a branch of an `If`; it reads its input from the graph around it."""
    suffix = f".{name}"
    source = cutter.source(f"y_{name}")
    nodes, constants = cutter.take([source], entry, suffix)
    return helper.make_graph(nodes, name, [], [cutter.value(f"y_{name}", source + suffix)], constants)


def _dispatch(path: str, experts: list[GraphProto]) -> list[NodeProto]:
    """ArgMax of a router, and the nested `If` that runs the expert it names; the result is called "y_<path>"."""
    index = f"expert_{path}"
    argmax = helper.make_node("ArgMax", [route_name(path)], [index], name=f"argmax_{path}", axis=1, keepdims=0)
    return [argmax, *_choose(path, experts, 0, index, f"y_{path}")]


def _choose(path: str, experts: list[GraphProto], first: int, index: str, output: str) -> list[NodeProto]:
    """Nodes that run expert `index` - `first` of a list; halving it, four experts take two questions."""
    half = (len(experts) + 1) // 2
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
