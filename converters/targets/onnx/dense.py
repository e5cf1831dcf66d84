"""ONNX file of a float student that runs all experts: the reference for the speed of static top-1 dispatch."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.qat import example_inputs
from ecgmoe_edge.contract import INPUTS, ROUTES
from ecgmoe_edge.converters.targets.onnx.graph import remove_debug_info
from ecgmoe_edge.converters.targets.onnx.static import MAX_IR_VERSION, OPSET, output_name, quiet_exporter
from ecgmoe_edge.errors import ConversionError


class AllExperts(nn.Module):
    """A student that runs all experts and mixes them by router probability, as `Student.forward` with a soft route."""

    def __init__(self, pieces: Pieces) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of the tasks, then those of the routers."""
        return tuple(self.pieces(beat, features, rr_sequence, "soft").values())


def export_dense(pieces: Pieces, path: Path | str) -> None:
    """Write a float student that runs all experts, with batch 1 and the inputs and outputs of `export_onnx`.

    Raises:
        ConversionError: torch returned no ONNX program.
    """
    with quiet_exporter():
        program = torch.onnx.export(
            torch.export.export(AllExperts(pieces), example_inputs(1)),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            input_names=list(INPUTS),
            output_names=[*(output_name(task) for task in pieces.tasks), *ROUTES],
        )
    if program is None:
        raise ConversionError("torch returned no ONNX program. Install the versions listed in constraints.txt.")
    model = program.model_proto
    remove_debug_info(model.graph)
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    onnx.save(model, str(path))
