from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ecgmoe_edge.converters.beat_macs import TakenRoutes, beat_macs
from ecgmoe_edge.converters.cost_breakdown import cost_breakdown
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.model.macs import count_macs
from ecgmoe_edge.model.student import Student


def routes_with(shares: tuple[int, int, int]) -> TakenRoutes:
    """Return the routes of beats, `shares` of them on each morphology expert, and all on the first rhythm expert."""
    chosen = np.repeat(np.arange(3), shares)
    routes = TakenRoutes("made-up beats")
    for start in range(0, len(chosen), 7):
        part = chosen[start : start + 7]
        morphology = np.eye(3, dtype=np.float32)[part]
        routes.add({"route_morphology": morphology, "route_rhythm": np.zeros((len(part), 4), np.float32)})
    return routes


def test_the_parts_of_a_file_have_the_multiplications_of_the_student(
    student: Student, float_onnx: ModelSummary
) -> None:
    counted, found = count_macs(student.config), cost_breakdown(float_onnx.path)
    parts = {part.name: part.macs for part in found.parts}
    assert parts["trunk"] == counted.trunk
    assert [parts[f"morphology_{index}"] for index in range(3)] == list(counted.experts["morphology"])
    assert [parts[f"rhythm_{index}"] for index in range(4)] == list(counted.experts["rhythm"])
    assert sum(macs for name, macs in parts.items() if name.startswith("tail")) == counted.tail
    assert found.macs_per_beat == counted.most


def test_the_mean_is_over_the_beats_and_the_percentile_is_the_cost_of_a_beat(
    student: Student, float_onnx: ModelSummary
) -> None:
    macs, counted = beat_macs(float_onnx.path, student.config, routes_with((92, 4, 4))), count_macs(student.config)
    always = counted.trunk + counted.tail + counted.experts["rhythm"][0]
    cheap, middle, full = (always + expert for expert in counted.experts["morphology"])
    assert macs.mean_macs == pytest.approx(0.92 * cheap + 0.04 * middle + 0.04 * full, abs=0.1)
    assert macs.p95_macs == middle
    assert macs.max_macs == full
    assert macs.dense_twin_macs == count_macs(student.config.dense_twin()).most
    assert (macs.data, macs.beats) == ("made-up beats", 100)
    assert macs.expert_shares == {"morphology": (0.92, 0.04, 0.04), "rhythm": (1.0, 0.0, 0.0, 0.0)}


def test_too_few_beats_give_no_mean_but_the_reason(student: Student, float_onnx: ModelSummary) -> None:
    for routes in (routes_with((5, 5, 5)), TakenRoutes("no beats")):
        macs = beat_macs(float_onnx.path, student.config, routes)
        assert macs.mean_macs is None
        assert macs.p95_macs is None
        assert "too few" in macs.why
        assert macs.max_macs > 0


def test_fewer_tasks_need_fewer_multiplications(student: Student) -> None:
    one, both = (count_macs(replace(student.config, tasks=tasks)).most for tasks in (("beat",), ("beat", "rhythm")))
    assert one < both


@pytest.mark.parametrize("kind", ["int8_onnx", "if_tflite", "host_tflite"])
def test_every_format_has_the_same_multiplications(kind: str, student: Student, request: pytest.FixtureRequest) -> None:
    file = request.getfixturevalue(kind).path
    macs = beat_macs(file, student.config, routes_with((50, 30, 20)))
    assert macs.max_macs == count_macs(student.config).most
