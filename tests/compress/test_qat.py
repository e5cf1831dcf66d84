from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ecgmoe_edge.compress.qat import IntegerStudent, QatSettings, QatStudent, is_qat_file, load_qat, save_qat
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.student import Student, save_student

MakeBeats: TypeAlias = Callable[..., tuple[Tensor, Tensor, Tensor]]
Train: TypeAlias = Callable[..., list[float]]


def agreement(a: dict[str, Tensor], b: dict[str, Tensor], name: str) -> float:
    return float((a[name].argmax(-1) == b[name].argmax(-1)).float().mean())


def test_calibration_without_training_keeps_at_least_90_percent_of_labels(
    student: Student, qat: QatStudent, random_beats: MakeBeats
) -> None:
    x = random_beats(300, seed=9)
    expected, rounded = student(*x), qat(*x)
    assert all(agreement(expected, rounded, name) > 0.9 for name in expected)
    assert (expected["beat"] - rounded["beat"]).abs().max() > 1e-3  # the fake quantization is active


def test_quantization_aware_training_also_trains_the_routers(qat: QatStudent, train: Train) -> None:
    router = qat.pieces.trunk.get_parameter("route_morphology.weight")
    before = router.detach().clone()
    losses = train(qat.to_train(), 15, rate=1e-3)
    assert sum(losses[-5:]) < sum(losses[:5])
    assert (router - before).abs().max() > 1e-4


def test_every_expert_of_a_quantized_student_is_trained_alone(qat: QatStudent, random_beats: MakeBeats) -> None:
    qat.to_train()
    x = random_beats(32)
    target = torch.arange(32) % 4
    with torch.no_grad():
        before = [torch.nn.functional.cross_entropy(one["beat"], target) for one in qat.each_expert(*x)]
    optimizer = torch.optim.Adam(qat.parameters(), 3e-3)
    for _ in range(15):
        outputs = qat.each_expert(*x)
        losses = torch.stack([torch.nn.functional.cross_entropy(one["beat"], target) for one in outputs])
        optimizer.zero_grad()
        torch.autograd.backward(losses.sum())
        optimizer.step()
    assert len(losses) == len(qat.config.morphology_widths) == 3
    assert all(loss < 0.95 * first for loss, first in zip(losses, before, strict=True))
    qat.to_eval()
    chosen = qat(*x)["route_morphology"].argmax(-1)
    for index, alone in enumerate(qat.each_expert(*x)):
        torch.testing.assert_close(alone["beat"][chosen == index], qat(*x)["beat"][chosen == index])


def ranges(qat: QatStudent) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in qat.state_dict().items() if name.endswith("min_val") and t.ndim == 0}


def unchanged(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    return all(torch.equal(before[name], after[name]) for name in before)


def test_ranges_follow_the_data_only_in_training_mode(qat: QatStudent, random_beats: MakeBeats) -> None:
    large_beats = (*random_beats(32)[:1], random_beats(32)[1] * 3, random_beats(32)[2])
    before = ranges(qat)
    assert len(before) > 10
    qat(*large_beats)
    assert unchanged(before, ranges(qat))
    qat.to_train()(*large_beats)
    assert not unchanged(before, ranges(qat))
    qat.freeze_observers()
    before = ranges(qat)
    qat.eval()
    qat.train()
    qat(*large_beats)
    assert unchanged(before, ranges(qat))


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_int8_student_has_the_logits_of_the_qat_student(
    symmetric: bool, student: Student, random_beats: MakeBeats, train: Train
) -> None:
    trained = QatStudent(student, QatSettings(symmetric=symmetric))
    trained.calibrate([random_beats(64, seed) for seed in (1, 2, 3)])
    train(trained, 3)
    trained.to_eval().snap_biases()
    x = random_beats(300, seed=9)
    expected, integer = trained(*x), trained.convert()
    folded, unfolded = integer(*x), integer.unfolded(*x)
    assert all(torch.equal(folded[name], unfolded[name]) for name in folded)
    for name, logits in expected.items():
        same = (logits - folded[name]).abs().max(1).values < 1e-4
        # One divides by the scale, the other multiplies by its reciprocal, so ties may round differently.
        assert same.float().mean() > 0.99, name


def test_snapping_the_biases_twice_changes_nothing(qat: QatStudent) -> None:
    qat.snap_biases()
    before = {name: tensor.clone() for name, tensor in qat.state_dict().items()}
    qat.snap_biases()
    assert all(torch.equal(tensor, before[name]) for name, tensor in qat.state_dict().items())


def test_router_logits_stay_in_float(integer: IntegerStudent, random_beats: MakeBeats) -> None:
    outputs = integer(*random_beats(300, seed=9))
    for name in ("route_morphology", "route_rhythm"):
        assert len(outputs[name].unique()) > 400  # of 600
    assert len(outputs["beat"].unique()) <= 256


def test_float_pieces_have_the_logits_of_the_float_student(
    student: Student, qat: QatStudent, random_beats: MakeBeats
) -> None:
    x = random_beats(50)
    assert (qat.float_pieces()(*x)["beat"] - student(*x)["beat"]).abs().max() < 1e-4


def test_a_saved_qat_student_continues_training_bit_for_bit(
    qat: QatStudent, tmp_path: Path, random_beats: MakeBeats, train: Train
) -> None:
    train(qat.to_train(), 3)
    path = tmp_path / "qat.safetensors"
    save_qat(path, qat, {"run": "7"})
    loaded = load_qat(path)
    assert is_qat_file(path)
    assert loaded.settings == qat.settings
    x = random_beats(20)
    assert torch.equal(loaded(*x)["beat"], qat.to_eval()(*x)["beat"])
    assert train(loaded.to_train(), 2) == train(qat.to_train(), 2)
    qat.freeze_observers()
    loaded.load_state_dict(qat.state_dict())
    before = ranges(loaded)
    loaded.to_train()(*random_beats(20, seed=3))
    assert unchanged(before, ranges(loaded))


def test_a_float_student_is_not_read_as_a_qat_file(student: Student, tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    save_student(path, student)
    assert not is_qat_file(path)
    with pytest.raises(ModelError, match="not 'ecgmoe-edge qat 2'"):
        load_qat(path)


def test_a_tampered_qat_file_is_refused(qat: QatStudent, tmp_path: Path) -> None:
    path = tmp_path / "qat.safetensors"
    save_qat(path, qat)
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("stem.conv.weight"))
    with pytest.raises(ModelError, match="does not fit"):
        qat.load_state_dict({**tensors, name: torch.zeros(2)})
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, str(path), metadata=metadata)
    with pytest.raises(ModelError, match="is damaged"):
        load_qat(path)


def test_converting_or_calibrating_without_data_is_refused(student: Student) -> None:
    qat = QatStudent(student)
    with pytest.raises(ModelError, match="calibrate"):
        qat.convert()
    with pytest.raises(ModelError, match="at least one batch"):
        qat.calibrate([])


def test_with_int8_the_waveform_alone_barely_separates_s_from_n(integer: IntegerStudent) -> None:
    z = torch.rand(40, 16) * 0.5
    y_rhythm = torch.rand(1, 16).expand(40, 16) * 0.5
    gates = [torch.full((40, 2), 0.5) for _ in integer.tasks]
    logits = integer.folded.tail(z, y_rhythm, *gates)[0]
    step = (logits[:, 1] - logits[:, 0]).unique()
    assert logits[:, 2].std() > 0.01
    assert step.max() - step.min() < 0.3  # at most two quantization steps of the logits
