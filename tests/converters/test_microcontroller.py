"""Tests with the real TFLite Micro interpreter of the package tflite-micro, on this machine."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="tflite-micro has no wheel for this machine")

from ecgmoe_edge.converters.calibration import CalibrationBeats
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.parity import compare
from ecgmoe_edge.converters.targets.tflite.microcontroller import MicroEngine, arena_gate, smallest_arena
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.runtime.litert_engine import LiteRtEngine


def test_the_file_with_if_runs_on_tflite_micro(if_tflite: ModelSummary, beats: CalibrationBeats) -> None:
    content = if_tflite.path.read_bytes()
    reference = LiteRtEngine(content, kernels="reference")
    micro = MicroEngine(content, reference.inputs, reference.outputs)
    report = compare(reference.run(beats.inputs), micro.run(beats.inputs))
    assert report.route_agreement == 1.0
    # The kernels round the trunk's embedding of one beat in fifteen to another integer, so two equal logits can part.
    assert min(report.label_agreement.values()) >= 0.995  # one beat of 200
    steps = [spec.scale for spec in reference.outputs if spec.scale is not None]
    assert report.logit_difference < 2.5 * max(steps)
    routes = micro.run(beats.inputs)["route_morphology"].argmax(-1)
    assert len(np.unique(routes)) == 3


def test_the_smallest_arena_loads_the_model_and_a_smaller_one_does_not(if_tflite: ModelSummary) -> None:
    content = if_tflite.path.read_bytes()
    arena = smallest_arena(content)
    MicroEngine(content, (), (), arena)
    with pytest.raises(ConversionError, match="cannot load"):
        MicroEngine(content, (), (), arena - 512)
    assert arena < 48 * 1024
    assert arena_gate(content, arena / 1024, "x").status == "passed"
    assert arena_gate(content, arena / 1024 - 1, "x").status == "failed"
