"""Which operators a runtime can hold: asked before a conversion, so that the answer is a sentence and not a trace."""

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

#: What every target holds in int8: the operators that the quantizer has a rule for.
EVERYWHERE = {str(target).removeprefix("aten.").partition(".")[0] for target in TABLE} | {"relu", "relu_"}
#: What all but the smallest runtimes hold besides.
MOSTLY = {"permute", "transpose", "view", "squeeze", "sub", "div", "max_pool2d", "sigmoid", "tanh", "hardtanh"}


def operators_of(piece: nn.Module, arguments: tuple[torch.Tensor, ...]) -> set[str]:
    """Names of the ATen operators that a piece consists of, quantization aside: "conv2d", "add", ..."""
    graph = piece if isinstance(piece, GraphModule) else torch.export.export(piece, arguments).module()
    return {_name(node.target) for node in graph.graph.nodes if node.op == "call_function" and _is_aten(node.target)}


def _is_aten(target: Any) -> bool:
    return str(target).startswith("aten.") and not str(target).startswith(("aten.sym_size", "aten._assert"))


def _name(target: Any) -> str:
    return str(target).removeprefix("aten.").partition(".")[0]


def check_operators(pieces: Pieces, engine: str) -> None:
    """Refuse pieces that a runtime cannot hold.

    Args:
        pieces: float or converted integer pieces.
        engine: as a profile names it, such as "onnxruntime".

    Raises:
        ConversionError: there are operators that the runtime lacks, named with the piece; or no such runtime.
    """
    known = target_of_engine(engine).operators(engine)
    examples = piece_inputs(pieces, rows=2)
    lacking = {name: operators_of(piece, examples[name]) - known for name, piece in pieces.named()}
    found = [f"{name}: {', '.join(sorted(operators))}" for name, operators in lacking.items() if operators]
    if found:
        raise ConversionError(
            f"{engine} lacks operators of this student ({'; '.join(found)}). Replace them (BatchNorm for LayerNorm, "
            "ReLU for GELU), or choose a profile with another runtime."
        )
