"""A student that was extended by a light expert before four full ones runs and skips in every file format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.compress.qat import IntegerStudent, QatSettings, QatStudent
from ecgmoe_edge.converters.calibration import CalibrationBeats
from ecgmoe_edge.converters.parity import Tensors, compare, torch_model
from ecgmoe_edge.converters.targets.onnx.graph import nested_graphs
from ecgmoe_edge.converters.targets.onnx.static import export_onnx
from ecgmoe_edge.converters.targets.tflite.graph import read_model
from ecgmoe_edge.converters.targets.tflite.static import ConvertedPieces, convert_pieces, write_tflite
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.runtime.litert_engine import LiteRtEngine
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.onnx_engine import OnnxEngine
from ecgmoe_edge.training.extension import Extension

WIDTHS = (0.0, 1.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def extended(beats: CalibrationBeats) -> Student:
    """An extended nano student whose light expert answers half of the beats, and whose full experts are all in use."""
    torch.manual_seed(4)
    student = Student(StudentConfig.named("nano", morphology_widths=WIDTHS[1:], tasks=("beat",))).eval()
    with torch.no_grad():
        student.trunk.route_morphology.weight.normal_(0, 0.5)
        extension = Extension(student).eval()
        assert extension.light_route is not None
        extension.light_route.bias.sub_(extension(*map(torch.from_numpy, beats.inputs.values())).margin.median())
    return extension.merged()


@pytest.fixture(scope="module")
def integer(extended: Student, beats: CalibrationBeats) -> IntegerStudent:
    qat = QatStudent(extended, QatSettings(tasks=("beat",)))
    qat.calibrate(beats.batches())
    return qat.to_eval().convert()


@pytest.fixture(scope="module")
def converted(integer: IntegerStudent) -> ConvertedPieces:
    return convert_pieces(integer)


def run_onnx(path: Path, inputs: Mapping[str, NDArray[np.float32]]) -> Tensors:
    specs = OnnxEngine(path).outputs
    own = [TensorSpec(spec.name.removesuffix("_logits"), spec.shape, in_file=spec.name) for spec in specs]
    return OnnxEngine(path, outputs=own, activations="float32").run(inputs)


def test_the_onnx_file_equals_the_student_and_runs_only_the_chosen_expert(
    extended: Student, beats: CalibrationBeats, tmp_path: Path
) -> None:
    expected = torch_model(extended)(beats.inputs)
    assert set(expected["route_morphology"].argmax(-1).tolist()) == set(range(len(WIDTHS)))
    summary = export_onnx(merge_student(extended), tmp_path / "float.onnx")
    assert summary.experts == {"morphology": 5, "rhythm": 2}
    report = compare(expected, run_onnx(summary.path, beats.inputs))
    assert report.route_agreement == 1.0
    assert report.logit_difference < 1e-4
    light = int(np.flatnonzero(expected["route_morphology"].argmax(-1) == 0)[0])
    one = {name: array[light : light + 1] for name, array in beats.inputs.items()}
    before = run_onnx(summary.path, one)
    model = onnx.load(summary.path)
    full = [graph for graph in nested_graphs(model.graph) if graph.name in {f"morphology_{i}" for i in range(1, 5)}]
    assert len(full) == 4
    for tensor in (tensor for graph in full for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT):
        nan = np.full_like(numpy_helper.to_array(tensor), np.nan)
        tensor.CopyFrom(numpy_helper.from_array(nan, tensor.name))
    onnx.save(model, tmp_path / "poisoned.onnx")
    after = run_onnx(tmp_path / "poisoned.onnx", one)
    assert all(np.array_equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("dispatch", ["if", "host"])
def test_the_tflite_file_equals_the_int8_student_and_runs_only_the_chosen_expert(
    dispatch: Literal["if", "host"], converted: ConvertedPieces, integer: IntegerStudent, beats: CalibrationBeats,
    tmp_path: Path,
) -> None:  # fmt: skip
    summary = write_tflite(converted, tmp_path / "student.tflite", dispatch=dispatch)
    assert summary.experts == {"morphology": 5, "rhythm": 2}
    before = LiteRtEngine(summary.path).run(beats.inputs)
    report = compare(torch_model(integer)(beats.inputs), before)
    assert report.route_agreement >= 0.995
    assert report.logit_difference < 0.2
    content, model = bytearray(summary.path.read_bytes()), read_model(summary.path)
    changed = 0
    for graph in model.subgraphs:
        if graph.name.decode() in {f"morphology_{i}" for i in range(1, 5)}:
            weights = max((model.buffers[tensor.buffer].data for tensor in graph.tensors), key=_length)
            start = content.find(weights.tobytes())
            content[start : start + len(weights)] = bytes(len(weights))
            changed += 1
    assert changed == 4
    summary.path.write_bytes(content)
    after = LiteRtEngine(summary.path).run(beats.inputs)
    light = before["route_morphology"].argmax(-1) == 0
    assert 0.3 < light.mean() < 0.7
    assert np.array_equal(after["beat"][light], before["beat"][light])
    assert not np.array_equal(after["beat"][~light], before["beat"][~light])


def _length(data: object) -> int:
    return 0 if data is None else len(data)  # type: ignore[arg-type]
