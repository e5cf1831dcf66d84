"""Fixtures: a nano student in PyTorch and in every file format, converted once per session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.compress.qat import IntegerStudent, QatStudent
from ecgmoe_edge.contract import INPUTS, LIMITS, SHAPES
from ecgmoe_edge.converters.calibration import CalibrationBeats
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.targets.onnx.static import export_onnx
from ecgmoe_edge.converters.targets.tflite.static import ConvertedPieces, convert_pieces, write_tflite
from ecgmoe_edge.model.student import Student, StudentConfig


def _random_beats(n: int, seed: int) -> CalibrationBeats:
    rng = np.random.default_rng(seed)

    def draw(name: str) -> NDArray[np.float32]:
        return rng.standard_normal((n, *SHAPES[name])).clip(-LIMITS[name], LIMITS[name]).astype(np.float32)

    inputs = {name: draw(name) for name in INPUTS}
    return CalibrationBeats(inputs, "random numbers")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def beats() -> CalibrationBeats:
    return _random_beats(200, seed=0)


@pytest.fixture(scope="session")
def student() -> Student:
    """A briefly trained student with three unequal morphology experts, whose routers use all experts."""
    torch.manual_seed(0)
    student = Student(StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0), rhythm_experts=4))
    data = _random_beats(256, seed=1)
    label = torch.from_numpy((data.inputs["features"][:, 0] > 0) * 1 + (data.inputs["beat"][:, 0, 50] > 0) * 2)
    optimizer = torch.optim.Adam(student.parameters(), 2e-3)
    for _ in range(8):
        for index, batch in enumerate(data.batches(64)):
            outputs = student(*batch)
            wanted = label[index * 64 : index * 64 + 64].long()
            loss = torch.stack([torch.nn.functional.cross_entropy(outputs[t], wanted) for t in student.tasks]).sum()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    torch.manual_seed(4)  # of its own, so that every expert gets beats whatever was drawn before
    with torch.no_grad():
        for router in (student.trunk.route_morphology, student.trunk.route_rhythm):
            router.weight.normal_(0, 0.5)
    return student.eval()


@pytest.fixture(scope="session")
def pieces(student: Student) -> Pieces:
    return merge_student(student)


@pytest.fixture(scope="session")
def integer(student: Student) -> IntegerStudent:
    qat = QatStudent(student)
    qat.calibrate(_random_beats(256, seed=2).batches())
    return qat.to_eval().convert()


@pytest.fixture(scope="session")
def float_onnx(pieces: Pieces, tmp_path_factory: pytest.TempPathFactory) -> ModelSummary:
    return export_onnx(pieces, tmp_path_factory.mktemp("onnx") / "float.onnx")


@pytest.fixture(scope="session")
def int8_onnx(integer: IntegerStudent, tmp_path_factory: pytest.TempPathFactory) -> ModelSummary:
    return export_onnx(integer.folded, tmp_path_factory.mktemp("onnx") / "int8.onnx", activations="int8")


@pytest.fixture(scope="session")
def converted(integer: IntegerStudent) -> ConvertedPieces:
    """The slow conversion, done once; both kinds of TFLite file are written from it."""
    return convert_pieces(integer)


@pytest.fixture(scope="session")
def if_tflite(converted: ConvertedPieces, tmp_path_factory: pytest.TempPathFactory) -> ModelSummary:
    return write_tflite(converted, tmp_path_factory.mktemp("tflite") / "if.tflite", dispatch="if")


@pytest.fixture(scope="session")
def host_tflite(converted: ConvertedPieces, tmp_path_factory: pytest.TempPathFactory) -> ModelSummary:
    return write_tflite(converted, tmp_path_factory.mktemp("tflite") / "host.tflite", dispatch="host")


@pytest.fixture(scope="session")
def forbidden() -> tuple[bytes, ...]:
    """Byte strings that no exported file may contain: paths of this machine, and parts of stack traces."""
    return (str(Path.home()).encode(), str(Path.cwd()).encode(), b"site-packages", b".py", b"stack_trace")
