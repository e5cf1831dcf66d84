"""An independent cross-check: the shipped student is rebuilt in Keras and converted by TensorFlow's own converter.

That file uses only the weights, and no code of torch, litert-torch or this project's converters. On the beats of the
shipped recording, it must have the outputs of PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.merge import MergedTail, merge_student
from ecgmoe_edge.contract import SHAPES
from ecgmoe_edge.converters.calibration import CalibrationBeats, shipped_beats
from ecgmoe_edge.converters.parity import Infer, Tensors, compare, torch_model
from ecgmoe_edge.model.morphology_experts import ConvBlock, LightMorphologyExpert, MorphologyExpert
from ecgmoe_edge.model.student import BeatHead, RhythmExpert, Trunk, load_student
from ecgmoe_edge.runtime.litert_engine import LiteRtEngine

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed: pip install 'ecgmoe-edge[tensorflow]'")
pytestmark = pytest.mark.slow
layers = tf.keras.layers

WIDTHS = ("nano", "small")


def array(tensor: Any) -> NDArray[np.float32]:
    return np.asarray(tensor.detach().numpy())


def dense(linear: Any) -> Callable[[Any], Any]:
    """Rebuild a linear layer."""
    return _weighted(layers.Dense(linear.out_features), array(linear.weight).T, array(linear.bias))


def _weighted(layer: Any, *weights: NDArray[np.float32]) -> Callable[[Any], Any]:
    def call(x: Any) -> Any:
        y = layer(x)
        layer.set_weights(list(weights))
        return y

    return call


def convolution(block: ConvBlock) -> Callable[[Any], Any]:
    """Rebuild convolution and ReLU with channels last; BatchNorm must already be folded."""
    conv = block.conv
    (_, kernel), (_, stride), padding = conv.kernel_size, conv.stride, conv.padding[1]
    assert isinstance(block.norm, nn.Identity)
    layer = layers.Conv2D(conv.out_channels, (1, kernel), (1, stride), activation="relu")
    apply = _weighted(layer, array(conv.weight).transpose(2, 3, 1, 0), array(conv.bias))
    return lambda x: apply(layers.ZeroPadding2D(((0, 0), (padding, padding)))(x))


def pooled(pool: Any, x: Any) -> Any:
    """Rebuild average pooling and flattening to (b, channels * positions) in PyTorch's order."""
    x = layers.AveragePooling2D(pool.kernel_size, pool.stride)(x)
    return layers.Flatten()(layers.Permute((3, 1, 2))(x))


def channels_last(x: Any) -> Any:
    """Map (b, 2, n) to (b, 1, n, 2)."""
    return layers.Reshape((1, x.shape[2], x.shape[1]))(layers.Permute((2, 1))(x))


def trunk(piece: Any, beat: Any, features: Any, rr_sequence: Any) -> tuple[Any, ...]:
    assert isinstance(piece, Trunk)
    z_morphology = convolution(piece.stem)(channels_last(beat))
    first, second, pool, _ = piece.sequence
    sequence = convolution(second)(convolution(first)(channels_last(rr_sequence)))  # type: ignore[arg-type]
    embedded = dense(piece.from_features.linear)(features) + dense(piece.from_sequence.linear)(pooled(pool, sequence))
    z_rhythm = layers.ReLU()(embedded)
    period = layers.Concatenate()([layers.GlobalAveragePooling2D()(z_morphology), z_rhythm])
    gates = [layers.Softmax()(dense(gate)(period)) for gate in piece.gates.values()]
    return z_morphology, z_rhythm, dense(piece.route_morphology)(period), dense(piece.route_rhythm)(z_rhythm), *gates


def expert(piece: Any, z: Any) -> Any:
    relu = layers.ReLU()
    if isinstance(piece, MorphologyExpert):
        return relu(dense(piece.out)(pooled(piece.pool, convolution(piece.second)(convolution(piece.first)(z)))))
    if isinstance(piece, LightMorphologyExpert):
        return relu(dense(piece.out)(pooled(piece.pool, z)))
    assert isinstance(piece, RhythmExpert)
    return relu(dense(piece.out)(layers.ReLU()(dense(piece.hidden)(z))))


def chosen(experts: Any, z: Any, logits: Any) -> Any:
    """Compute the outputs of all experts and select that of the router's choice."""
    # Keras' own argmax uses operators that TFLite lacks.
    choice = layers.Lambda(lambda x: tf.one_hot(tf.argmax(x, -1), len(experts)))(logits)
    return layers.Add()([expert(piece, z) * choice[:, i : i + 1] for i, piece in enumerate(experts)])


def head(piece: Any, paths: list[Any]) -> Any:
    if not isinstance(piece, BeatHead):
        return dense(piece)(layers.Concatenate()(paths))
    shared = dense(piece.morphology)(paths[0])
    return layers.Concatenate()([shared[:, :1], shared]) + dense(piece.rhythm)(paths[1])


def keras_student(pieces: Pieces) -> Any:
    """Rebuild the student in Keras with channels last; only the weights come from PyTorch."""
    tail = pieces.tail
    assert isinstance(tail, MergedTail)
    inputs = [layers.Input(shape, batch_size=1, name=name) for name, shape in SHAPES.items()]
    z_morphology, z_rhythm, route_morphology, route_rhythm, *gates = trunk(pieces.trunk, *inputs)
    ys = [chosen(pieces.morphology, z_morphology, route_morphology), chosen(pieces.rhythm, z_rhythm, route_rhythm)]
    outputs = {"route_morphology": route_morphology, "route_rhythm": route_rhythm}
    for task, gate in zip(pieces.tasks, gates, strict=True):
        block: Any = tail.merged[task]
        fused = [y + dense(block.down)(layers.ReLU()(dense(block.up)(y))) for y in ys]
        outputs[task] = head(tail.heads[task], [y * gate[:, i : i + 1] for i, y in enumerate(fused)])
    return tf.keras.Model(inputs, outputs)


def converted(model: Any, path: Path, calibration: CalibrationBeats | None) -> LiteRtEngine:
    """Convert with TensorFlow's converter: to float, or to int8 with ranges from the calibration beats."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        rows = range(0, len(calibration), 2)
        converter.representative_dataset = lambda: (
            {name: x[row : row + 1] for name, x in calibration.inputs.items()} for row in rows
        )
    path.write_bytes(converter.convert())
    return LiteRtEngine(path)


@pytest.fixture(scope="module", params=WIDTHS)
def pieces(request: pytest.FixtureRequest) -> Pieces:
    shipped = Path(str(resources.files("ecgmoe_edge"))) / "pretrained" / f"student-{request.param}.safetensors"
    return merge_student(load_student(shipped))


@pytest.fixture(scope="module")
def beats() -> CalibrationBeats:
    return shipped_beats()


@pytest.fixture(scope="module")
def expected(pieces: Pieces, beats: CalibrationBeats) -> Tensors:
    infer: Infer = torch_model(pieces)
    return infer(beats.inputs)


@pytest.fixture(scope="module")
def rebuilt(pieces: Pieces) -> Any:
    return keras_student(pieces)


def test_the_float_file_of_tensorflow_has_the_outputs_of_pytorch(
    rebuilt: Any, expected: Tensors, beats: CalibrationBeats, tmp_path: Path
) -> None:
    report = compare(expected, converted(rebuilt, tmp_path / "float.tflite", None).run(beats.inputs))
    assert report.beats > 400
    assert report.route_agreement == 1.0
    assert min(report.label_agreement.values()) == 1.0
    assert report.logit_difference < 1e-3


def test_the_int8_file_of_tensorflow_agrees_with_pytorch_on_most_beats(
    rebuilt: Any, expected: Tensors, beats: CalibrationBeats, tmp_path: Path
) -> None:
    report = compare(expected, converted(rebuilt, tmp_path / "int8.tflite", beats).run(beats.inputs))
    assert report.route_agreement > 0.93
    # The ranges come from few beats, and the weights were not trained with quantization.
    assert min(report.label_agreement.values()) > 0.88
