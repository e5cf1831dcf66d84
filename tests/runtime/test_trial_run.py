"""A bundle is run once while it is loaded; one whose answers cannot be used is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_onnx import expected, onnx_model

from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.bundle import load_bundle, write_bundle
from ecgmoe_edge.runtime.engine import Tensors
from ecgmoe_edge.runtime.manifest import Manifest
from ecgmoe_edge.runtime.onnx_engine import OnnxEngine
from ecgmoe_edge.runtime.trial_run import try_model


def with_weight(name: str, value: float) -> bytes:
    """The small model with one of its weights replaced everywhere."""
    model = onnx.load_from_string(onnx_model())
    for tensor in model.graph.initializer:
        if tensor.name == name:
            filled = np.full_like(numpy_helper.to_array(tensor), value)
            tensor.CopyFrom(numpy_helper.from_array(filled, name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("weight", "value", "outputs"),
    [
        ("skip", np.nan, "beat"),  # also for an input of zeros
        ("skip", np.inf, "beat"),
        ("skip", 1e30, "beat"),  # finite, and no logit
        ("m1", np.nan, "beat"),  # an expert that an input of zeros does not select
        ("r0", np.nan, "rhythm"),
        ("route_m", np.nan, "route_morphology"),
    ],
)
def test_a_bundle_that_answers_with_no_number_is_refused(
    tmp_path: Path, manifest: Manifest, weight: str, value: float, outputs: str
) -> None:
    path = write_bundle(
        tmp_path / "bundle", manifest, {"model.onnx": with_weight(weight, value), "MODEL_CARD.md": b"# tiny\n"}
    )
    with pytest.raises(BundleError, match=rf"bundle gives .*{outputs}.* with NaN, infinity or more"):
        load_bundle(path)


class Answers(OnnxEngine):
    """The small model, with one output replaced."""

    def __init__(self, name: str, answer: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        super().__init__(onnx_model("n"))
        self._name, self._answer = name, answer

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        return {**expected(dict(inputs)), self._name: self._answer}


@pytest.mark.parametrize("shape", [(4, 5), (1, 4), (4,), (4, 4, 1)])
def test_an_answer_of_another_shape_is_refused(manifest: Manifest, shape: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match=r"rhythm in the shape .* for 4 beats; its manifest has \(4, 4\)"):
        try_model(Answers("rhythm", np.zeros(shape, np.float32)), manifest, "this")
    try_model(Answers("rhythm", np.zeros((4, 4), np.float32)), manifest, "this")


def test_a_model_that_takes_other_inputs_than_a_monitor_gives_is_refused(tmp_path: Path, manifest: Manifest) -> None:
    model = onnx.load_from_string(onnx_model())
    features = next(value for value in model.graph.input if value.name == "features")
    features.type.tensor_type.shape.dim[1].dim_value = 30
    for tensor in model.graph.initializer:
        if tensor.name in ("route_m", "route_r", "skip"):
            wider = np.pad(numpy_helper.to_array(tensor), ((0, 3), (0, 0)))
            tensor.CopyFrom(numpy_helper.from_array(wider, tensor.name))
    inputs = tuple(
        msgspec.structs.replace(spec, shape=(1, 30)) if spec.name == "features" else spec for spec in manifest.inputs
    )
    path = write_bundle(
        tmp_path / "bundle",
        msgspec.structs.replace(manifest, inputs=inputs),
        {"model.onnx": bytes(model.SerializeToString()), "MODEL_CARD.md": b"# tiny\n"},
    )
    with pytest.raises(BundleError, match=r"does not accept the inputs of a monitor: features must have the shape"):
        load_bundle(path)
