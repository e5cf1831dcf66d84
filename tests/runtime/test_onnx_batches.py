from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tiny_onnx import expected, onnx_model, random_inputs

from ecgmoe_edge.contract import LIMITS, SHAPES
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.runtime.onnx_batches import LARGEST_BATCH, OnnxBatches
from ecgmoe_edge.runtime.onnx_engine import OnnxEngine
from ecgmoe_edge.runtime.onnx_pieces import IndivisibleFileError, divide

OUTPUTS = ("beat_logits", "rhythm_logits", "route_morphology", "route_rhythm")


def start(content: bytes) -> Any:
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def beats(count: int) -> dict[str, NDArray[np.float32]]:
    """Random inputs, from nearly nothing to half of the limits, so that all experts run."""
    random = np.random.default_rng(3)
    inputs = {}
    for name in ("beat", "features", "rr_sequence"):
        most = 0.5 * LIMITS[name] * random.uniform(0.0, 1.0, count)
        values = random.uniform(-1.0, 1.0, (count, *SHAPES[name]))
        inputs[name] = (values * most.reshape(-1, *[1] * len(SHAPES[name]))).astype(np.float32)
    return inputs


@pytest.mark.parametrize("count", [1, 7, 2 * LARGEST_BATCH + 3])
def test_the_pieces_compute_what_the_model_computes(count: int) -> None:
    content = onnx_model()
    batches = OnnxBatches(content, start(content).get_inputs(), start)
    inputs = random_inputs(count)
    got = batches.run(inputs, OUTPUTS)
    for value, want in zip(got, expected(inputs).values(), strict=True):
        assert np.abs(value - want).max() < 1e-5


def test_the_shipped_model_gives_the_same_numbers_in_batches_as_beat_by_beat() -> None:
    bundle, inputs = load_bundle(shipped_bundle()), beats(200)
    assert bundle.batched
    one_by_one = [bundle.infer({name: x[i : i + 1] for name, x in inputs.items()}) for i in range(200)]
    together = bundle.infer(inputs)
    for name, value in together.items():
        alone = np.concatenate([outputs[name] for outputs in one_by_one])
        assert np.abs(value - alone).max() <= (1e-6 if name.startswith("route_") else 0.0)
    assert len({int(k) for k in together["route_morphology"].argmax(1)}) > 1, "several experts must run"


def test_an_engine_whose_batches_give_other_results_runs_beat_by_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(OnnxBatches):
        def run(self, *arguments: Any) -> list[NDArray[np.float32]]:
            return [value + np.float32(0.001) for value in super().run(*arguments)]

    monkeypatch.setattr("ecgmoe_edge.runtime.onnx_engine.OnnxBatches", Wrong)
    bundle, inputs = load_bundle(shipped_bundle()), beats(20)
    together = bundle.infer(inputs)
    assert not bundle.batched
    one = bundle.infer({name: x[:1] for name, x in inputs.items()})
    assert all(np.array_equal(together[name][:1], value) for name, value in one.items())


def test_a_model_in_real_numbers_runs_beat_by_beat() -> None:
    assert not OnnxEngine(onnx_model()).batched


def test_a_file_without_experts_cannot_be_divided() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "plain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content = bytes(model.SerializeToString())
    with pytest.raises(IndivisibleFileError):
        divide(content)
    x = np.ones((9, 4), np.float32)
    assert np.array_equal(OnnxEngine(content, activations="uint8").run({"x": x})["y"], x)
