from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

from ecgmoe_edge.compress.qat import IntegerStudent, QatSettings, QatStudent
from ecgmoe_edge.compress.quantizer import EdgeQuantizer
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.model.student import Student

MakeBeats: TypeAlias = Callable[..., tuple[Tensor, Tensor, Tensor]]


def graphs(student: IntegerStudent) -> list[GraphModule]:
    return [piece for _, piece in student.folded.named() if isinstance(piece, GraphModule)]


def scales_and_zero_points(graph: GraphModule) -> list[tuple[float, int]]:
    nodes = [node for node in graph.graph.nodes if "dequantize_per_tensor" in str(node.target)]
    return [(float(node.args[1]), int(node.args[2])) for node in nodes]


def test_every_operator_has_quantized_inputs_or_outputs(integer: IntegerStudent) -> None:
    for graph in graphs(integer):
        for node in graph.graph.nodes:
            if node.op == "call_function" and "aten." in str(node.target) and "sym_size" not in str(node.target):
                ends = [str(user.target) for user in node.users] + [str(node.args[0])]
                assert any("quantize" in end or "relu" in end for end in ends), node.format_node()
        assert len(scales_and_zero_points(graph)) > 2


def test_every_zero_point_of_a_symmetric_student_is_0(student: Student, random_beats: MakeBeats) -> None:
    qat = QatStudent(student, QatSettings(symmetric=True))
    qat.calibrate([random_beats(64)])
    points = {zero_point for graph in graphs(qat.convert()) for _, zero_point in scales_and_zero_points(graph)}
    assert points == {0}


def test_softmax_outputs_have_the_scale_that_tflite_requires(integer: IntegerStudent) -> None:
    trunk = graphs(integer)[0]
    assert scales_and_zero_points(trunk).count((1 / 256, -128)) == 2  # one gate per task


def test_concatenated_tensors_have_the_same_scale(integer: IntegerStudent) -> None:
    tail = graphs(integer)[-1]
    y_morphology, y_rhythm = scales_and_zero_points(tail)[:2]
    assert y_morphology == y_rhythm


class UnknownOperator(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


def test_an_operator_without_a_rule_is_refused_by_name() -> None:
    graph = torch.export.export(UnknownOperator(), (torch.zeros(2, 3),)).module(check_guards=False)
    with pytest.raises(ConversionError, match=r"aten\.tanh"):
        prepare_qat_pt2e(graph, EdgeQuantizer())
