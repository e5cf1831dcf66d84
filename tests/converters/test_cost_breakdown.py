from __future__ import annotations

from xml.etree import ElementTree

import pytest

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.converters.cost_breakdown import cost_breakdown
from ecgmoe_edge.converters.drawing import svg
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.model.morphology_experts import stem_length

EXPERTS = [f"{path}_{index}" for path, n in (("morphology", 3), ("rhythm", 4)) for index in range(n)]
STEM = stem_length()
HALF = (STEM + 1) // 2
QUARTER = (HALF + 1) // 2
KINDS = pytest.mark.parametrize("kind", ["float_onnx", "int8_onnx", "if_tflite"])


@KINDS
def test_each_parameter_is_counted_in_one_part(kind: str, pieces: Pieces, request: pytest.FixtureRequest) -> None:
    summary: ModelSummary = request.getfixturevalue(kind)
    found = cost_breakdown(summary.path)
    assert [part.name for part in found.parts] == ["trunk", *EXPERTS, "tail", "tail of beat", "tail of rhythm"]
    parts = {part.name: part for part in found.parts}
    named = dict(pieces.named())
    for name in ("trunk", *EXPERTS):
        assert parts[name].parameters == sum(p.numel() for p in named[name].parameters()), name
    assert parts["trunk"].bytes >= parts["trunk"].parameters
    assert sum(part.bytes for part in found.parts) < summary.bytes


@KINDS
def test_multiplications_are_counted_per_layer(kind: str, request: pytest.FixtureRequest) -> None:
    found = cost_breakdown(request.getfixturevalue(kind).path)
    parts = {part.name: part for part in found.parts}
    # 8 to 16 channels over half of the stem's samples, 16 to 24 channels over a quarter, both with 5 taps, then a
    # linear layer 96 to 16.
    # The cheapest expert is a linear layer over four averages of 8 channels, 32 to 16.
    # The linear layers of a rhythm expert are 32 to 16 and 16 to 16.
    assert parts["morphology_0"].macs == 32 * 16
    assert parts["morphology_2"].macs == HALF * 16 * 8 * 5 + QUARTER * 24 * 16 * 5 + 96 * 16
    assert parts["rhythm_0"].macs == 32 * 16 + 16 * 16
    always = parts["trunk"].macs + sum(part.macs for name, part in parts.items() if name.startswith("tail"))
    assert found.macs_per_beat == always + parts["morphology_2"].macs + parts["rhythm_0"].macs


@KINDS
def test_peak_memory_covers_the_input_and_output_of_a_convolution(kind: str, request: pytest.FixtureRequest) -> None:
    found = cost_breakdown(request.getfixturevalue(kind).path)
    each = 4 if kind == "float_onnx" else 1
    expert = next(part for part in found.parts if part.name == "morphology_2")
    assert expert.peak_bytes >= each * (8 * STEM + 16 * HALF)  # input and output of its first convolution
    assert expert.peak_bytes <= found.peak_bytes < each * 4000


def test_lora_adds_one_fusion_block_per_task_after_the_first(float_onnx: ModelSummary) -> None:
    found = cost_breakdown(float_onnx.path)
    assert found.lora_copies == 2
    assert found.lora_bytes == 4 * (16 * 32 + 32 + 32 * 16 + 16)


def test_the_drawing_names_every_part_and_how_often_it_ran(if_tflite: ModelSummary) -> None:
    shares = {"morphology": [0.5, 0.25, 0.25], "rhythm": [1.0, 0.0, 0.0, 0.0]}
    picture = svg(["beat <raw>", "features"], ["beat", "rhythm"], cost_breakdown(if_tflite.path), shares, "a & b")
    texts = [item.text for item in ElementTree.fromstring(picture).iter() if item.tag.endswith("text")]  # noqa: S314, our own
    for name in ("a & b", "beat <raw>", "trunk", *EXPERTS, "tail of beat", "rhythm logits"):
        assert name in texts
    assert any("ran for 50 %" in str(text) for text in texts)
