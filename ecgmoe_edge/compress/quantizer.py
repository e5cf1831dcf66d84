"""The project's PT2E quantizer: one table says how each operator is quantized.

It depends only on torchao. Each tensor has one scale: all operators that read a tensor use the scale of the operator
that writes it, so no requantization is needed between two operators. Weights are quantized symmetrically per output
channel. Activations are quantized per tensor: with a zero point for CPU and microcontroller kernels, or with zero point
0 (`symmetric`) for runtimes such as TensorRT.
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
    """How an operator is quantized."""

    WEIGHTED = "input and weight are quantized; the output has its own scale, set after the ReLU if one follows"
    OWN = "inputs are quantized; the output has its own scale, set after the ReLU if one follows"
    FIXED = "the output lies in 0..1, so its scale is a constant"
    SAME = "values are only moved or averaged, so the output has the scale of the input"
    JOINED = "all inputs and the output have one common scale"
    FLOAT = "the input is quantized; the operator computes in float"


#: The rule of every operator that occurs in a student. The quantizer refuses any other operator instead of leaving it
#: in float without notice.
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
#: Exceptions for layers, by the prefix of the module's name. The routers stay in float: with int8 logits, two experts
#: tie for about one beat in thirty, and the chosen expert would depend on how the runtime rounds. The routers have only
#: a few hundred weights.
LAYERS: dict[str, Rule] = {"route_": Rule.FLOAT}
_RELU = (aten.relu.default, aten.relu_.default)
_SHAPES = (aten.sym_size.int,)  # sizes of a dynamic batch: their outputs are numbers, not tensors
_EPS = 2.0**-12  # smallest scale; avoids a division by zero for a constant tensor


class EdgeQuantizer(Quantizer):  # type: ignore[misc]
    """Annotates an exported graph for int8 quantization, following `TABLE` and `LAYERS`."""

    def __init__(self, symmetric: bool = False, averaging: float = 0.01) -> None:
        """Build the quantization specifications.

        Args:
            symmetric: whether activations have zero point 0.
            averaging: weight of a new batch in the moving average of an activation's range.
        """
        super().__init__()
        # For a symmetric range, torch's fused fake quantizer divides by 127.5 or 128, but the converted graph divides
        # by 127. With the fused one, training would use another scale than the converted student.
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
            # The range of a weight is known exactly, so it needs no moving average.
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
        """Annotate every node that returns a tensor.

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
        else:  # SAME; JOINED begins as SAME and is completed in `_join` after all nodes are annotated
            _write(node, inputs, SharedQuantizationSpec(next(iter(inputs))))

    def validate(self, model: GraphModule) -> None:
        """Do nothing: `annotate` already refuses unknown operators."""


def _rule(node: Node) -> Rule | None:
    modules = [str(path) for path, _ in node.meta.get("nn_module_stack", {}).values()]
    named = [rule for prefix, rule in LAYERS.items() if modules and modules[-1].startswith(prefix)]
    return named[0] if named else TABLE.get(node.target)


def _write(node: Node, inputs: dict[Any, Any] | None, output: Any) -> None:
    """Annotate a node; `inputs` None keeps the input annotations that it has."""
    annotation = node.meta.get(Q_ANNOTATION_KEY)
    kept = annotation.input_qspec_map if annotation is not None and inputs is None else inputs or {}
    node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(input_qspec_map=kept, output_qspec=output, _annotated=True)


def _tensor_inputs(node: Node) -> list[Node]:
    """Return the quantized inputs of a node: the list of a cat, both operands of an add or mul, else its first."""
    if node.target is aten.cat.default:
        return list(node.args[0])  # type: ignore[arg-type]
    count = 2 if node.target in (aten.add.Tensor, aten.mul.Tensor) else 1
    return [argument for argument in node.args[:count] if isinstance(argument, Node)]


def _grid_owner(node: Node) -> Node:
    """Return the ReLU that follows `node` if it is the only reader, because both become one integer operator.

    In all other cases return `node`.
    """
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0].target in _RELU else node


def _join(cat: Node) -> None:
    """Give the cat and all its inputs the scale of the input that the graph computes first."""
    first, *others = sorted(_tensor_inputs(cat))  # nodes are ordered by their position in the graph
    _write(cat, cat.meta[Q_ANNOTATION_KEY].input_qspec_map, SharedQuantizationSpec(first))
    for other in others:
        annotation = other.meta[Q_ANNOTATION_KEY]
        _write(other, annotation.input_qspec_map, SharedQuantizationSpec(first))
