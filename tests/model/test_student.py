from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ecgmoe_edge.contract import INPUTS, SHAPES
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.morphology_experts import stem_length
from ecgmoe_edge.model.shared_layers import load_balance
from ecgmoe_edge.model.student import Student, StudentConfig, load_student, save_student


def inputs(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    beat, features, rr_sequence = (torch.randn(n, *SHAPES[name], generator=g) for name in INPUTS)
    return beat, features, rr_sequence


@pytest.fixture
def nano() -> Student:
    torch.manual_seed(1)
    return Student(StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0))).eval()


@pytest.mark.parametrize(
    ("width", "most", "most_per_beat"),
    [("nano", 30_000, 12_000), ("small", 1_000_000, 300_000), ("base", 1_700_000, 500_000)],
)
def test_each_width_yields_the_contracts_outputs_within_its_size(width: str, most: int, most_per_beat: int) -> None:
    student = Student(StudentConfig.named(width)).eval()
    outputs = student(*inputs(3))
    experts = len(student.config.morphology_widths), student.config.rhythm_experts
    assert min(experts) >= 2
    widths = dict(zip(("beat", "rhythm", "route_morphology", "route_rhythm"), (5, 4, *experts), strict=True))
    assert {name: tuple(y.shape) for name, y in outputs.items()} == {name: (3, n) for name, n in widths.items()}
    assert sum(p.numel() for p in student.parameters()) < most
    assert student.most_parameters_per_beat() < most_per_beat


def test_the_hard_route_runs_the_preferred_expert_alone(nano: Student) -> None:
    x = inputs(40)
    z, _, logits, *_ = nano.trunk(*x)
    chosen = logits.argmax(-1)
    before = nano(*x)["beat"]
    unused = (int(chosen[0]) + 1) % len(nano.morphology)
    with torch.no_grad():
        nano.morphology[unused].get_parameter("out.bias").add_(5.0)
    after = nano(*x)["beat"]
    assert torch.equal(after[chosen != unused], before[chosen != unused])
    assert z.shape == (40, 8, 1, stem_length())


def test_hard_and_soft_agree_where_a_router_is_sure(nano: Student) -> None:
    with torch.no_grad():
        nano.trunk.route_morphology.bias[1] += 50
        nano.trunk.route_rhythm.bias[1] += 50
    x = inputs(16)
    assert (nano(*x, route="hard")["beat"] - nano(*x, route="soft")["beat"]).abs().max() < 1e-5


def test_the_hard_route_trains_both_routers_and_every_chosen_expert(nano: Student) -> None:
    nano.train()
    outputs = nano(*inputs(64), route="hard")
    sum(y.square().mean() for y in outputs.values()).backward()
    for router in (nano.trunk.route_morphology, nano.trunk.route_rhythm):
        assert router.weight.grad is not None
        assert router.weight.grad.abs().sum() > 0
    assert load_balance(outputs["route_rhythm"]) >= 0.99


def test_each_expert_alone_answers_as_the_hard_route_does_where_it_is_chosen(nano: Student) -> None:
    x = inputs(60)
    together, alone = nano(*x), nano.each_expert(*x)
    chosen = together["route_morphology"].argmax(-1)
    assert len(alone) == len(nano.morphology)
    assert len(chosen.unique()) > 1
    for index, outputs in enumerate(alone):
        assert outputs.keys() == together.keys()
        assert torch.equal(outputs["route_rhythm"], together["route_rhythm"])
        rows = chosen == index
        for task in nano.tasks:
            torch.testing.assert_close(outputs[task][rows], together[task][rows])


def test_every_expert_is_trained_on_every_beat_when_each_answers_alone(nano: Student) -> None:
    nano.train()
    outputs = nano.each_expert(*inputs(16))
    torch.stack([one["beat"].square().mean() for one in outputs]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0
        for parameter in nano.morphology.parameters()
        if parameter.ndim > 1
    )


@pytest.mark.parametrize("widths", [(), (0.5, 0.1), (-0.1, 1.0), (1.5,), (float("nan"),), ("1",), (True,), 3])
def test_widths_that_are_no_ascending_fractions_are_refused(widths: Any) -> None:
    with pytest.raises(ModelError, match="ascending order"):
        StudentConfig(morphology_widths=widths)


def test_a_student_of_an_older_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path, tensors, metadata = _saved(tmp_path)
    for old in ("ecgmoe-edge student 1", "ecgmoe-edge qat 1"):
        save_file(tensors, str(path), metadata={**metadata, "format": old})
        with pytest.raises(ModelError, match="distil it again") as raised:
            load_student(path)
        assert str(raised.value).count(".") == str(path).count(".") + 1  # one sentence


def test_training_and_eval_take_the_same_hard_route_without_dropout_and_batch_statistics() -> None:
    torch.manual_seed(3)
    student = Student(StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0), dropout=0.0)).eval()
    expected = student(*inputs(20))["beat"]
    student.training = True  # the route of training; the layers stay in eval mode
    assert (student(*inputs(20))["beat"] - expected).abs().max() < 1e-5


def test_the_waveform_cannot_tell_s_from_n(nano: Student) -> None:
    beat, features, sequence = inputs(30)
    with torch.no_grad():  # one rhythm expert, one gate: what is left of the waveform's way is its own path
        nano.trunk.get_parameter("gates.beat.weight").zero_()
    other = inputs(30, seed=9)[0]
    first, second = nano(beat, features, sequence)["beat"], nano(other, features, sequence)["beat"]
    assert (first - second).abs().max() > 1e-3
    assert ((first[:, 1] - first[:, 0]) - (second[:, 1] - second[:, 0])).abs().max() < 1e-5


def test_a_saved_student_comes_back_the_same(tmp_path: Path) -> None:
    student = Student(StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0), tasks=("beat",), rank=2)).eval()
    path = tmp_path / "student.safetensors"
    save_student(path, student, {"command": "make train"})
    loaded = load_student(path)
    assert loaded.config == student.config
    assert torch.equal(loaded(*inputs(4))["beat"], student(*inputs(4))["beat"])
    with safe_open(str(path), framework="pt") as file:
        assert file.metadata()["command"] == "make train"


def _saved(tmp_path: Path) -> tuple[Path, dict[str, Tensor], dict[str, str]]:
    path = tmp_path / "student.safetensors"
    save_student(path, Student(StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0))))
    with safe_open(str(path), framework="pt") as file:
        return path, load_file(path), file.metadata()


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_a_tensor_that_does_not_fit_is_refused_by_name(tmp_path: Path, change: str) -> None:
    path, tensors, metadata = _saved(tmp_path)
    name = "trunk.stem.conv.weight"
    if change == "missing":
        del tensors[name]
    elif change == "unknown":
        name = "surprise"
        tensors[name] = torch.zeros(1)
    else:
        tensors[name] = torch.zeros(3)
    save_file(tensors, str(path), metadata=metadata)
    with pytest.raises(ModelError, match=name):
        load_student(path)


def test_an_unknown_configuration_key_is_refused(tmp_path: Path) -> None:
    path, tensors, metadata = _saved(tmp_path)
    metadata["config"] = json.dumps({**json.loads(metadata["config"]), "colour": 3})
    save_file(tensors, str(path), metadata=metadata)
    with pytest.raises(ModelError, match="colour"):
        load_student(path)


def test_a_file_that_is_no_student_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(ModelError, match="cannot be read"):
        load_student(path)
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="cannot be read"):
        load_student(path)
    save_file({"a": torch.zeros(1)}, str(path))
    with pytest.raises(ModelError, match="not 'ecgmoe-edge student 2'"):
        load_student(path)


def test_an_unknown_width_or_task_is_refused() -> None:
    with pytest.raises(ModelError, match="nano, small, base"):
        StudentConfig.named("huge")
    with pytest.raises(ModelError, match="no head"):
        StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0), tasks=("beat", "age"))
