"""Which operators a runtime can hold: asked before a conversion, so that the answer is a sentence and not a trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.qat import piece_inputs
from ecgmoe_edge.compress.quantizer import TABLE
from ecgmoe_edge.errors import ConversionError

#: What every target holds in int8: the operators that the quantizer has a rule for.
_EVERYWHERE = {str(target).removeprefix("aten.").partition(".")[0] for target in TABLE} | {"relu", "relu_"}
_MORE_IN_LITERT = {"permute", "transpose", "view", "squeeze", "sub", "div", "max_pool2d", "sigmoid", "tanh", "hardtanh"}
_MORE_IN_ONNX = {"layer_norm", "matmul", "gelu", "exp", "log", "sqrt", "pow", "embedding", "lstm", "conv1d", "select"}
#: Operators by the engine that a profile names. The integer kernels of TFLite Micro are the fewest.
KNOWN: dict[str, frozenset[str]] = {
    "tflite-micro": frozenset(_EVERYWHERE),
    "litert": frozenset(_EVERYWHERE | _MORE_IN_LITERT),
    "onnxruntime": frozenset(_EVERYWHERE | _MORE_IN_LITERT | _MORE_IN_ONNX),
}


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
        engine: "onnxruntime", "litert" or "tflite-micro".

    Raises:
        ConversionError: there are operators that the runtime lacks, named with the piece; or no such runtime.
    """
    if engine not in KNOWN:
        raise ConversionError(f"There is no runtime {engine!r}; choose one of {', '.join(KNOWN)}.")
    examples = piece_inputs(pieces, rows=2)
    lacking = {name: operators_of(piece, examples[name]) - KNOWN[engine] for name, piece in pieces.named()}
    found = [f"{name}: {', '.join(sorted(operators))}" for name, operators in lacking.items() if operators]
    if found:
        raise ConversionError(
            f"{engine} lacks operators of this student ({'; '.join(found)}). Replace them (BatchNorm for LayerNorm, "
            "ReLU for GELU), or choose a profile with another runtime."
        )
