"""The project's own PT2E quantizer: which operator gets which integer grid, as one table.

It needs torchao alone. Each tensor has one scale: its consumers read it on the producer's grid, so that no
requantization stands between two operators. Weights are symmetric per output channel; activations have one
scale a tensor, with a zero point (CPU and microcontroller kernels) or without (`symmetric`, what
TensorRT-class runtimes take).
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import (
    FakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.quantizer import (
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

from ecgmoe_edge.errors import ConversionError

aten = torch.ops.aten


class Rule(Enum):
    """How an operator's output gets its grid."""

    WEIGHTED = "input and weight are quantized, the output gets a scale of its own (after its ReLU, if one follows)"
    OWN = "inputs are quantized, the output gets a scale of its own (after its ReLU, if one follows)"
    FIXED = "the output lies in 0..1, so its scale is known beforehand"
    SAME = "values are only moved or averaged: the output keeps the input's scale"
    JOINED = "all inputs and the output share one scale"
    FLOAT = "reads the integers of its input and computes in float"


#: Every operator that the pieces of a student are made of. Another one is refused, never left float in silence.
TABLE: dict[Any, Rule] = {
    aten.conv2d.default: Rule.WEIGHTED,
    aten.linear.default: Rule.WEIGHTED,
    aten.add.Tensor: Rule.OWN,
    aten.mul.Tensor: Rule.OWN,
    aten.mean.dim: Rule.OWN,
    aten.softmax.int: Rule.FIXED,
    aten.avg_pool2d.default: Rule.SAME,
    aten.flatten.using_ints: Rule.SAME,
    aten.reshape.default: Rule.SAME,
    aten.slice.Tensor: Rule.SAME,
    aten.unsqueeze.default: Rule.SAME,
    aten.cat.default: Rule.JOINED,
}
WEIGHTED = frozenset(operator for operator, rule in TABLE.items() if rule is Rule.WEIGHTED)
#: Layers, by the beginning of their module's name, whose rule is not their operator's. On an int8 grid two experts
#: would be level to the last bit for every thirtieth beat, and each runtime would choose by how it rounds; these are a
#: few hundred weights.
LAYERS: dict[str, Rule] = {"route_": Rule.FLOAT}
_RELU = (aten.relu.default, aten.relu_.default)
_SHAPES = (aten.sym_size.int,)  # sizes of a batch that is not known beforehand: numbers, not tensors
_EPS = 2.0**-12  # the smallest scale: keeps a constant tensor from dividing by nothing


class EdgeQuantizer(Quantizer):  # type: ignore[misc]
    """Annotates an exported graph with int8 grids by `TABLE`."""

    def __init__(self, symmetric: bool = False, averaging: float = 0.01) -> None:
        """`symmetric`: no zero points; `averaging`: weight of a new batch in an activation's running range."""
        super().__init__()
        # Torch's fused fake quantizer divides a symmetric range by 127.5 or 128, the converted graph by 127: a student
        # would be trained for another grid than it gets.
        fake_quantizer = FakeQuantize if symmetric else FusedMovingAvgObsFakeQuantize
        self.activation = QuantizationSpec(
            dtype=torch.int8,
            observer_or_fake_quant_ctr=fake_quantizer.with_args(
                observer=MovingAverageMinMaxObserver, averaging_constant=averaging, eps=_EPS
            ),
            quant_min=-127 if symmetric else -128,
            quant_max=127,
            qscheme=torch.per_tensor_symmetric if symmetric else torch.per_tensor_affine,
        )
        self.weight = QuantizationSpec(
            dtype=torch.int8,
            # A weight is known exactly, so its range follows it at once.
            observer_or_fake_quant_ctr=FakeQuantize.with_args(
                observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0, eps=_EPS
            ),
            quant_min=-127,
            quant_max=127,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
        # TFLite's int8 softmax is defined with this scale and zero point.
        self.share = FixedQParamsQuantizationSpec(
            dtype=torch.int8,
            scale=1 / 127 if symmetric else 1 / 256,
            zero_point=0 if symmetric else -128,
            quant_min=-127 if symmetric else -128,
            quant_max=127,
            qscheme=torch.per_tensor_affine,
        )

    def annotate(self, model: GraphModule) -> GraphModule:
        """Write a quantization annotation on every node that holds a tensor.

        Raises:
            ConversionError: an operator has no rule in `TABLE`.
        """
        for node in model.graph.nodes:
            if node.op == "placeholder" and isinstance(node.meta.get("val"), torch.Tensor) and node.users:
                _write(node, {}, self.activation)
            elif node.op == "call_function" and node.target not in (*_RELU, *_SHAPES):
                self._annotate_operator(node)
        for node in model.graph.nodes:
            if node.target is aten.cat.default:
                _join(node)
        return model

    def _annotate_operator(self, node: Node) -> None:
        rule = _rule(node)
        if rule is None:
            raise ConversionError(f"The quantizer has no rule for {node.target}. Add it to compress/quantizer.py.")
        if rule is Rule.FLOAT:
            return
        inputs = {source: SharedQuantizationSpec(source) for source in _tensor_inputs(node)}
        if rule is Rule.WEIGHTED:
            _write(node, {**inputs, node.args[1]: self.weight}, None)
            _write(_grid_owner(node), None, self.activation)
        elif rule is Rule.OWN:
            _write(node, inputs, None)
            _write(_grid_owner(node), None, self.activation)
        elif rule is Rule.FIXED:
            _write(node, inputs, self.share)
        else:  # SAME; JOINED starts as SAME and is joined once every producer is known
            _write(node, inputs, SharedQuantizationSpec(next(iter(inputs))))

    def validate(self, model: GraphModule) -> None:
        """Nothing to check: `annotate` refuses what it does not know."""


def _rule(node: Node) -> Rule | None:
    modules = [str(path) for path, _ in node.meta.get("nn_module_stack", {}).values()]
    named = [rule for prefix, rule in LAYERS.items() if modules and modules[-1].startswith(prefix)]
    return named[0] if named else TABLE.get(node.target)


def _write(node: Node, inputs: dict[Any, Any] | None, output: Any) -> None:
    """Annotate a node; `inputs` None keeps what it has."""
    annotation = node.meta.get(Q_ANNOTATION_KEY)
    kept = annotation.input_qspec_map if annotation is not None and inputs is None else inputs or {}
    node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(input_qspec_map=kept, output_qspec=output, _annotated=True)


def _tensor_inputs(node: Node) -> list[Node]:
    """What a node reads on an integer grid: its first argument, both operands of a sum or a product, a cat's
    list.
    """
    if node.target is aten.cat.default:
        return list(node.args[0])  # type: ignore[arg-type]
    count = 2 if node.target in (aten.add.Tensor, aten.mul.Tensor) else 1
    return [argument for argument in node.args[:count] if isinstance(argument, Node)]


def _grid_owner(node: Node) -> Node:
    """The ReLU that alone reads `node`, since the two are one integer operator; else the node itself."""
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target in _RELU else node


def _join(cat: Node) -> None:
    """Put all producers of a cat, and the cat, on the grid of the one that the graph computes first."""
    first, *others = sorted(_tensor_inputs(cat))  # nodes compare by their place in the graph
    _write(cat, cat.meta[Q_ANNOTATION_KEY].input_qspec_map, SharedQuantizationSpec(first))
    for other in others:
        annotation = other.meta[Q_ANNOTATION_KEY]
        _write(other, annotation.input_qspec_map, SharedQuantizationSpec(first))
