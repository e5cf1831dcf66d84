from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.qat import IntegerStudent
from ecgmoe_edge.converters.calibration import CalibrationBeats
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.parity import compare, torch_model
from ecgmoe_edge.converters.targets.tflite.graph import branches, read_model
from ecgmoe_edge.converters.targets.tflite.reader import inspect_tflite
from ecgmoe_edge.converters.targets.tflite.static import ConvertedPieces, write_tflite
from ecgmoe_edge.errors import ConversionError
from ecgmoe_edge.runtime.litert_engine import LiteRtEngine
from ecgmoe_edge.runtime.quantized_tensors import Writer

BOTH = pytest.mark.parametrize("kind", ["if_tflite", "host_tflite"])


@BOTH
def test_a_file_has_the_outputs_of_the_int8_student(
    kind: str, integer: IntegerStudent, beats: CalibrationBeats, request: pytest.FixtureRequest
) -> None:
    summary: ModelSummary = request.getfixturevalue(kind)
    report = compare(torch_model(integer)(beats.inputs), LiteRtEngine(summary.path).run(beats.inputs))
    assert report.route_agreement >= 0.995
    assert min(report.label_agreement.values()) >= 0.995  # one beat of 200
    assert report.logit_difference < 0.2


def test_if_and_host_dispatch_give_the_same_outputs_bit_for_bit(
    if_tflite: ModelSummary, host_tflite: ModelSummary, beats: CalibrationBeats
) -> None:
    by_file = LiteRtEngine(if_tflite.path, kernels="reference").run(beats.inputs)
    by_caller = LiteRtEngine(host_tflite.path, kernels="reference").run(beats.inputs)
    assert all(np.array_equal(by_file[name], by_caller[name]) for name in by_file)
    assert len(np.unique(by_file["route_morphology"].argmax(-1))) == 3


@BOTH
def test_the_file_contains_every_expert_and_every_weight(
    kind: str, pieces: Pieces, request: pytest.FixtureRequest
) -> None:
    summary: ModelSummary = request.getfixturevalue(kind)
    assert summary.experts == {"morphology": 3, "rhythm": 4}
    assert summary.dispatch == kind.removesuffix("_tflite")
    assert summary.parameters == sum(parameter.numel() for parameter in pieces.parameters())


def test_the_if_file_has_the_package_s_names_and_only_router_logits_are_float(if_tflite: ModelSummary) -> None:
    assert list(if_tflite.inputs) == ["beat", "features", "rr_sequence"]
    assert list(if_tflite.outputs) == ["beat", "rhythm", "route_morphology", "route_rhythm"]
    assert if_tflite.operators["IF"] == 5
    assert not {"QUANTIZE", "CAST"} & set(if_tflite.operators)
    assert if_tflite.operators["DEQUANTIZE"] == 2  # the inputs of the two routers
    engine = LiteRtEngine(if_tflite.path)
    stored = {spec.name: spec.dtype for spec in (*engine.inputs, *engine.outputs)}
    assert {name for name, kind in stored.items() if kind == "float32"} == {"route_morphology", "route_rhythm"}
    assert set(stored.values()) == {"int8", "float32"}


def test_the_host_file_has_one_signature_per_piece(host_tflite: ModelSummary) -> None:
    model = read_model(host_tflite.path)
    names = {
        entry.signatureKey.decode(): [item.name.decode() for item in (*entry.inputs, *entry.outputs)]
        for entry in model.signatureDefs
    }
    experts = [f"{path}_{index}" for path, n in (("morphology", 3), ("rhythm", 4)) for index in range(n)]
    assert list(names) == ["trunk", *experts, "tail"]
    assert all(names[expert] == ["z", "y"] for expert in experts)
    assert names["tail"] == ["y_morphology", "y_rhythm", "gate_beat", "gate_rhythm", "beat", "rhythm"]


def test_an_inference_changes_only_the_tensors_of_the_chosen_experts(
    if_tflite: ModelSummary, beats: CalibrationBeats
) -> None:
    """With preserved tensors, the interpreter shows which subgraphs an inference has changed.

    The output tensors of the experts share one address, so only their inner tensors are compared.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    path = str(if_tflite.path)
    interpreter = Interpreter(path, experimental_preserve_all_tensors=True, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    model, engine = read_model(if_tflite.path), LiteRtEngine(if_tflite.path)
    experts = {
        graph.name.decode(): (number, [int(operator.outputs[0]) for operator in graph.operators[:-1]])
        for number, graph in enumerate(model.subgraphs)
        if graph.name.decode().rpartition("_")[2].isdigit() and "_to_" not in graph.name.decode()
    }
    assert len(experts) == 7

    def held(expert: str) -> bytes:
        number, tensors = experts[expert]
        return b"".join(interpreter.get_tensor(tensor, number).tobytes() for tensor in tensors)

    runner = interpreter.get_signature_runner("serving_default")
    writers = {spec.name: Writer(spec) for spec in engine.inputs}
    touched: set[str] = set()
    for beat in range(len(beats)):
        before = {expert: held(expert) for expert in experts}
        outputs = runner(**{name: w.store(beats.inputs[name][beat : beat + 1]) for name, w in writers.items()})
        chosen = {f"{path}_{outputs[f'route_{path}'].argmax()}" for path in ("morphology", "rhythm")}
        changed = {expert for expert in experts if held(expert) != before[expert]}
        assert changed <= chosen
        touched |= changed
    assert touched == set(experts)


def test_only_the_chosen_experts_run(converted: ConvertedPieces, beats: CalibrationBeats, tmp_path: Path) -> None:
    path = tmp_path / "if.tflite"
    write_tflite(converted, path, dispatch="if")
    one = {name: array[:1] for name, array in beats.inputs.items()}
    before = LiteRtEngine(path).run(one)
    kept = {f"{name}_{before[f'route_{name}'].argmax()}" for name in ("morphology", "rhythm")}
    model = read_model(path)
    content = bytearray(path.read_bytes())
    for graph in model.subgraphs[1:]:
        name = graph.name.decode()
        if "to" not in name and name not in kept:
            weights = max((model.buffers[tensor.buffer].data for tensor in graph.tensors), key=_length)
            start = content.find(weights.tobytes())
            content[start : start + len(weights)] = bytes(len(weights))
    path.write_bytes(content)
    after = LiteRtEngine(path).run(one)
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert not np.array_equal(
        LiteRtEngine(path).run(beats.inputs)["beat"],
        LiteRtEngine(write_tflite(converted, tmp_path / "whole.tflite", dispatch="if").path).run(beats.inputs)["beat"],
    )


def _length(data: object) -> int:
    return 0 if data is None else len(data)  # type: ignore[arg-type]


def test_the_cheapest_of_three_experts_needs_one_comparison_and_four_experts_need_two(if_tflite: ModelSummary) -> None:
    model = read_model(if_tflite.path)
    outer = list(branches(model, model.subgraphs[0]))
    names = [half.name.decode() for half in outer]
    assert names == ["morphology_0", "morphology_1_to_2", "rhythm_0_to_1", "rhythm_2_to_3"]
    leaves = [leaf.name.decode() for half in outer for leaf in branches(model, half)]
    assert leaves == ["morphology_1", "morphology_2", *(f"rhythm_{index}" for index in range(4))]


@BOTH
def test_a_file_contains_no_paths_of_the_exporter(
    kind: str, forbidden: tuple[bytes, ...], request: pytest.FixtureRequest
) -> None:
    content = request.getfixturevalue(kind).path.read_bytes()
    assert not [part for part in forbidden if part in content]


def test_pieces_with_different_scales_are_refused(converted: ConvertedPieces, tmp_path: Path) -> None:
    tensor = converted.source.graph.tensors[converted["z_rhythm.in"]]
    scale = tensor.quantization.scale
    tensor.quantization.scale = scale * 2
    try:
        with pytest.raises(ConversionError, match="z_rhythm"):
            write_tflite(converted, tmp_path / "x.tflite", dispatch="if")
    finally:
        tensor.quantization.scale = scale


def test_a_file_that_is_not_tflite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    with pytest.raises(ConversionError, match="cannot be read"):
        inspect_tflite(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ConversionError, match="not a TFLite model"):
        inspect_tflite(path)
