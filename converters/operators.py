"""Check of a student's operators against those of a runtime.

It runs before the conversion, so that the user gets one sentence instead of a traceback of the converter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.qat import piece_inputs
from ecgmoe_edge.compress.quantizer import TABLE
from ecgmoe_edge.converters.targets import target_of_engine
from ecgmoe_edge.errors import ConversionError

#: Operators that every target supports in int8: those that the quantizer has a rule for.
EVERYWHERE = {str(target).removeprefix("aten.").partition(".")[0] for target in TABLE} | {"relu", "relu_"}
#: Further operators, which all runtimes except TFLite Micro support.
MOSTLY = {"permute", "transpose", "view", "squeeze", "sub", "div", "max_pool2d", "sigmoid", "tanh", "hardtanh"}


def operators_of(piece: nn.Module, arguments: tuple[torch.Tensor, ...]) -> set[str]:
    """Return the names of a piece's ATen operators without quantization operators: "conv2d", "add", ..."""
    graph = piece if isinstance(piece, GraphModule) else torch.export.export(piece, arguments).module()
    return {_name(node.target) for node in graph.graph.nodes if node.op == "call_function" and _is_aten(node.target)}


def _is_aten(target: Any) -> bool:
    return str(target).startswith("aten.") and not str(target).startswith(("aten.sym_size", "aten._assert"))


def _name(target: Any) -> str:
    return str(target).removeprefix("aten.").partition(".")[0]


def check_operators(pieces: Pieces, engine: str) -> None:
    """Refuse pieces with operators that a runtime does not support.

    Args:
        pieces: float pieces or converted int8 pieces.
        engine: name of the runtime in a profile, such as "onnxruntime".

    Raises:
        ConversionError: the runtime lacks an operator, or there is no such runtime.
    """
    known = target_of_engine(engine).operators(engine)
    examples = piece_inputs(pieces, rows=2)
    missing = {name: operators_of(piece, examples[name]) - known for name, piece in pieces.named()}
    listed = [f"{name}: {', '.join(sorted(operators))}" for name, operators in missing.items() if operators]
    if listed:
        raise ConversionError(
            f"{engine} lacks operators of this student ({'; '.join(listed)}). Replace them (LayerNorm by BatchNorm, "
            "GELU by ReLU), or choose a profile with another runtime."
        )
