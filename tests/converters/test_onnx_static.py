from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import GraphProto, TensorProto, helper, numpy_helper

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.qat import IntegerStudent
from ecgmoe_edge.converters.calibration import CalibrationBeats
from ecgmoe_edge.converters.cost_breakdown import cost_breakdown
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.parity import Tensors, compare, torch_model
from ecgmoe_edge.converters.targets import target_named
from ecgmoe_edge.converters.targets.onnx import static
from ecgmoe_edge.converters.targets.onnx.graph import BoundaryInput, PieceExtractor, nested_graphs, to_uint8
from ecgmoe_edge.converters.targets.onnx.reader import inspect_onnx
from ecgmoe_edge.converters.targets.onnx.static import export_onnx
from ecgmoe_edge.device_profiles import load_profile
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.model.student import Student
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.onnx_engine import OnnxEngine


def run(path: Path, beats: CalibrationBeats, activations: str = "float32") -> Tensors:
    specs = OnnxEngine(path).outputs
    own = [TensorSpec(spec.name.removesuffix("_logits"), spec.shape, in_file=spec.name) for spec in specs]
    return OnnxEngine(path, outputs=own, activations=activations).run(beats.inputs)  # type: ignore[arg-type]


def routes(outputs: Tensors) -> set[tuple[int, int]]:
    chosen = (outputs["route_morphology"].argmax(-1), outputs["route_rhythm"].argmax(-1))
    return set(zip(*(index.tolist() for index in chosen), strict=True))


def test_the_float_file_equals_the_student_on_every_route(
    student: Student, float_onnx: ModelSummary, beats: CalibrationBeats
) -> None:
    expected = torch_model(student)(beats.inputs)
    report = compare(expected, run(float_onnx.path, beats))
    assert report.route_agreement == 1.0
    assert report.logit_difference < 1e-4
    assert {morphology for morphology, _ in routes(expected)} == {0, 1, 2}
    assert {rhythm for _, rhythm in routes(expected)} == {0, 1, 2, 3}


def test_the_int8_file_equals_the_integer_student(
    integer: IntegerStudent, int8_onnx: ModelSummary, beats: CalibrationBeats
) -> None:
    report = compare(torch_model(integer)(beats.inputs), run(int8_onnx.path, beats, "int8"))
    assert report.route_agreement >= 0.995
    assert min(report.label_agreement.values()) >= 0.995  # one beat of 200
    assert report.logit_difference < 0.2


def test_a_uint8_file_has_the_outputs_of_the_int8_student(
    integer: IntegerStudent, int8_onnx: ModelSummary, beats: CalibrationBeats, tmp_path: Path
) -> None:
    model = onnx.load(int8_onnx.path)
    to_uint8(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "uint8.onnx")
    report = compare(torch_model(integer)(beats.inputs), run(tmp_path / "uint8.onnx", beats, "uint8"))
    assert report.route_agreement >= 0.995
    assert report.logit_difference < 0.2
    kinds = {tensor.data_type for graph in nested_graphs(model.graph) for tensor in graph.initializer}
    assert TensorProto.INT8 not in kinds
    assert TensorProto.UINT8 in kinds


@pytest.mark.parametrize("kind", ["float_onnx", "int8_onnx"])
def test_the_file_contains_every_expert_and_every_weight(
    kind: str, pieces: Pieces, request: pytest.FixtureRequest
) -> None:
    summary: ModelSummary = request.getfixturevalue(kind)
    assert summary.experts == {"morphology": 3, "rhythm": 4}
    assert summary.dispatch == "if"
    # The exporter writes equal constants once: here the biases of the fusion block, which LoRA does not change.
    different = {tensor.detach().numpy().tobytes(): tensor.numel() for tensor in pieces.parameters()}
    # In int8, they are rounded to different steps for each task, so they differ.
    rounded = () if kind == "float_onnx" else ("merged.rhythm.up.bias", "merged.rhythm.down.bias")
    copies = sum(p.numel() for name, p in pieces.tail.named_parameters() if name in rounded)
    assert summary.parameters == sum(different.values()) + copies
    assert summary.operators["If"] == 5


def test_an_int8_file_is_smaller_than_the_float_file(float_onnx: ModelSummary, int8_onnx: ModelSummary) -> None:
    # Without the graph, which takes more than half of a nano student's file, the ratio would be 0.25.
    assert int8_onnx.bytes < float_onnx.bytes
    weights = [sum(part.bytes for part in cost_breakdown(one.path).parts) for one in (int8_onnx, float_onnx)]
    assert weights[0] < 0.35 * weights[1]


def test_only_the_chosen_experts_run(float_onnx: ModelSummary, beats: CalibrationBeats, tmp_path: Path) -> None:
    one = CalibrationBeats({name: array[:1] for name, array in beats.inputs.items()}, "one beat")
    before = run(float_onnx.path, one)
    (route,) = routes(before)
    kept = {f"morphology_{route[0]}", f"rhythm_{route[1]}"}
    model = onnx.load(float_onnx.path)
    poisoned = 0
    for graph in nested_graphs(model.graph):
        if graph.name.startswith(("morphology_", "rhythm_")) and graph.name not in kept:
            poisoned += 1
            for tensor in graph.initializer:
                if tensor.data_type == TensorProto.FLOAT:
                    nan = np.full_like(numpy_helper.to_array(tensor), np.nan)
                    tensor.CopyFrom(numpy_helper.from_array(nan, tensor.name))
    assert poisoned == 5
    onnx.save(model, tmp_path / "poisoned.onnx")
    after = run(tmp_path / "poisoned.onnx", one)
    assert all(np.array_equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("kind", ["float_onnx", "int8_onnx"])
def test_the_profiler_of_onnxruntime_shows_only_the_chosen_experts(
    kind: str, beats: CalibrationBeats, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    summary: ModelSummary = request.getfixturevalue(kind)
    options = onnxruntime.SessionOptions()
    # Without optimization, nodes keep their names.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(str(summary.path), options, providers=["CPUExecutionProvider"])
    names = ["route_morphology", "route_rhythm"]
    wanted: Counter[str] = Counter()
    for beat in range(len(beats)):
        feed = {name: array[beat : beat + 1] for name, array in beats.inputs.items()}
        for name, logits in zip(names, session.run(names, feed), strict=True):
            wanted[f"{name.removeprefix('route_')}_{logits.argmax()}"] += 1
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = Counter(
        found[1]
        for event in events
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time")
        if (found := re.search(r"\.((?:morphology|rhythm)_\d)_kernel_time$", event["name"]))
    )
    graphs = {graph.name: len(graph.node) for graph in nested_graphs(onnx.load(summary.path).graph)}
    assert ran == {expert: count * graphs[expert] for expert, count in wanted.items()}
    assert len(wanted) == 7  # each expert ran for at least one beat


@pytest.mark.parametrize("kind", ["float_onnx", "int8_onnx"])
def test_a_file_is_readable_by_old_runtimes_and_contains_no_paths_of_the_exporter(
    kind: str, forbidden: tuple[bytes, ...], request: pytest.FixtureRequest
) -> None:
    summary: ModelSummary = request.getfixturevalue(kind)
    model = onnx.load(summary.path)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert model.ir_version <= 10
    assert list(summary.inputs) == ["beat", "features", "rr_sequence"]
    assert list(summary.outputs) == ["beat_logits", "rhythm_logits", "route_morphology", "route_rhythm"]
    content = summary.path.read_bytes()
    assert not [part for part in forbidden if part in content]


def two_pieces(second_scale: float) -> GraphProto:
    """Return two pieces: y = quantize(x), and an unconnected piece that reads y.in with its own scale."""
    scalars = {"s1": 0.5, "s2": second_scale}
    constants = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in scalars.items()]
    constants.append(numpy_helper.from_array(np.array(3, np.int8), "z"))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s1", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s1", "z"], ["y"]),
        helper.make_node("QuantizeLinear", ["y.in", "s2", "z"], ["q2"]),
        helper.make_node("DequantizeLinear", ["q2", "s2", "z"], ["end"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y.in", "y", "end")]
    return helper.make_graph(nodes, "g", ends[:2], ends[2:], constants)


def test_pieces_are_connected_at_integer_tensors() -> None:
    extractor = PieceExtractor(two_pieces(0.5))
    nodes, _ = extractor.extract(["end"], {"y.in": BoundaryInput(extractor.source("y"), extractor.source("y"))})
    assert [(node.op_type, node.input[0]) for node in nodes] == [("DequantizeLinear", "q")]


def test_pieces_with_different_scales_are_refused() -> None:
    extractor = PieceExtractor(two_pieces(0.25))
    with pytest.raises(ConversionError, match=r"scale of 'y\.in'"):
        extractor.extract(["end"], {"y.in": BoundaryInput("q", "q")})


def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    with pytest.raises(ConversionError, match="cannot be read"):
        inspect_onnx(path)
    path.write_bytes(b"\xff\xff\xff\xff nothing")
    with pytest.raises(ConversionError, match="cannot be read"):
        inspect_onnx(path)


@pytest.mark.parametrize(("opset", "ir_version"), [(18, 8), (19, 9), (20, 10)])
def test_the_file_has_the_opset_and_ir_version_of_its_profile(
    opset: int, ir_version: int, pieces: Pieces, float_onnx: ModelSummary, beats: CalibrationBeats, tmp_path: Path
) -> None:
    profile = load_profile("generic-cpu")
    runtime = msgspec.structs.replace(profile.runtime, opset=opset, ir_version=ir_version)
    precision = msgspec.structs.replace(profile.precision, precision="float32", activations="float32")
    profile = msgspec.structs.replace(profile, runtime=runtime, precision=precision)
    path = target_named("onnx").convert(pieces, profile, tmp_path / "model.onnx").path
    model = onnx.load(str(path))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == ir_version
    report = compare(run(float_onnx.path, beats), run(path, beats))
    assert report.route_agreement == 1.0
    assert report.logit_difference < 1e-3


def test_an_opset_that_the_ir_version_does_not_support_is_refused(pieces: Pieces, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="needs ONNX IR version 9, and the profile's runtime reads 8"):
        export_onnx(pieces, tmp_path / "model.onnx", opset=20, ir_version=8)
    with pytest.raises(ConversionError, match="does not know opset 99"):
        export_onnx(pieces, tmp_path / "model.onnx", opset=99)
    assert not any(tmp_path.iterdir())


def test_an_exporter_that_writes_another_opset_is_refused(
    pieces: Pieces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = static._export(pieces, 18)
    monkeypatch.setattr(static, "_export", lambda *_: written)
    with pytest.raises(ConversionError, match=r"torch wrote opset \[18\], but the profile requires 20"):
        export_onnx(pieces, tmp_path / "model.onnx", opset=20)
