from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_onnx import expected, onnx_model, random_inputs

from ecgmoe_edge.contract import SHAPES
from ecgmoe_edge.errors import BundleError, SignalError
from ecgmoe_edge.runtime.manifest import TensorSpec
from ecgmoe_edge.runtime.onnx_engine import OnnxEngine

INPUTS = tuple(TensorSpec(name, (1, *shape)) for name, shape in SHAPES.items())
OUTPUTS = (
    TensorSpec("beat", (1, 4), in_file="beat_logits"),
    TensorSpec("rhythm", (1, 4), in_file="rhythm_logits"),
    TensorSpec("route_morphology", (1, 2)),
    TensorSpec("route_rhythm", (1, 2)),
)


def test_a_batch_comes_out_as_the_model_computes_it_row_by_row() -> None:
    engine = OnnxEngine(onnx_model(), inputs=INPUTS, outputs=OUTPUTS)
    inputs = random_inputs(40)
    got, want = engine.run(inputs), expected(inputs)
    assert list(got) == ["beat", "rhythm", "route_morphology", "route_rhythm"]
    for name, value in got.items():
        assert value.dtype == np.float32
        assert np.abs(value - want[name]).max() < 1e-5
    routes = {
        (int(m.argmax()), int(r.argmax())) for m, r in zip(got["route_morphology"], got["route_rhythm"], strict=True)
    }
    assert len(routes) == 4, "the data must send beats through every expert"


def test_without_specs_the_names_of_the_file_are_used() -> None:
    assert [spec.name for spec in OnnxEngine(onnx_model()).outputs][:2] == ["beat_logits", "rhythm_logits"]


def test_it_runs_on_one_thread_and_on_the_processor_where_nothing_better_is_there() -> None:
    engine = OnnxEngine(onnx_model(), providers=("TensorrtExecutionProvider", "CPUExecutionProvider"))
    described = engine.describe()
    assert described["threads"] == 1
    assert described["providers"][-1] == "CPUExecutionProvider"
    assert described["providers_wanted"][0] == "TensorrtExecutionProvider"


@pytest.mark.parametrize("content", [b"", b"not a model" * 20, onnx_model()[:200]])
def test_a_file_that_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="cannot load the model"):
        OnnxEngine(content)


def test_a_manifest_that_differs_from_the_file_is_refused() -> None:
    wrong = (TensorSpec("beat", (1, 2, 7)), *INPUTS[1:])
    with pytest.raises(BundleError, match=r"disagree on the input beat: float32 \(1, 2, 7\) in the manifest"):
        OnnxEngine(onnx_model(), inputs=wrong)
    with pytest.raises(BundleError, match="no output sex; it has beat_logits"):
        OnnxEngine(onnx_model(), outputs=(TensorSpec("sex", (1, 2)),))
    with pytest.raises(BundleError, match="needs the input rr_sequence, which the manifest does not list"):
        OnnxEngine(onnx_model(), inputs=INPUTS[:2])


def test_inputs_that_do_not_fit_are_refused_by_name() -> None:
    engine = OnnxEngine(onnx_model(), inputs=INPUTS, outputs=OUTPUTS)
    inputs = random_inputs(2)
    with pytest.raises(SignalError, match="rr_sequence was not given"):
        engine.run({name: x for name, x in inputs.items() if name != "rr_sequence"})
    with pytest.raises(SignalError, match=r"features must have the shape \(beats, 27\); it has \(1, 27\)"):
        engine.run({**inputs, "features": inputs["features"][:1]})
    with pytest.raises(SignalError, match=rf"beat must have the shape \(beats, 2, {SHAPES['beat'][-1]}\)"):
        engine.run({**inputs, "beat": inputs["beat"][:, :, :-1]})


def largest_integers() -> bytes:
    """One int8 matrix product of the largest numbers: 64 products of 1 with 1."""
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", "step", "zero"], ["xd"]),
            helper.make_node("DequantizeLinear", ["w", "step", "zero"], ["wd"]),
            helper.make_node("MatMul", ["xd", "wd"], ["product"]),
            helper.make_node("QuantizeLinear", ["product", "coarse", "zero"], ["yq"]),
            helper.make_node("DequantizeLinear", ["yq", "coarse", "zero"], ["y"]),
        ],
        "largest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(np.full((64, 4), 127, np.int8), "w"),
            numpy_helper.from_array(np.array(1 / 127, np.float32), "step"),
            numpy_helper.from_array(np.array(0.5, np.float32), "coarse"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def test_signed_integers_do_not_saturate_on_any_processor() -> None:
    engine = OnnxEngine(largest_integers(), activations="int8")
    y = engine.run({"x": np.ones((1, 64), np.float32)})["y"]
    assert y.tolist() == [[63.5, 63.5, 63.5, 63.5]], "64, held at the largest int8 step"
