from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor, nn

from ecgmoe_edge.compress.merge import merge_student, select_tasks
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.shared_layers import LoRALinear
from ecgmoe_edge.model.student import Student

MakeBeats: TypeAlias = Callable[..., tuple[Tensor, Tensor, Tensor]]


def test_merged_pieces_have_the_outputs_of_the_student(student: Student, random_beats: MakeBeats) -> None:
    x = random_beats(100)
    expected, merged = student(*x), merge_student(student)(*x)
    assert merged.keys() == expected.keys()
    assert all((merged[name] - expected[name]).abs().max() < 1e-4 for name in expected)


def test_merged_pieces_have_no_batch_norm_dropout_or_lora(student: Student) -> None:
    kinds = {type(module) for module in merge_student(student).modules()}
    assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d, nn.Dropout, LoRALinear}


def test_only_fusion_block_head_and_gate_are_duplicated_per_task(student: Student) -> None:
    both, beat = (dict(merge_student(student, tasks).named_parameters()) for tasks in (("beat", "rhythm"), ("beat",)))
    more = {name for name in both if name not in beat}
    assert {name.split(".")[1] for name in more} == {"merged", "heads", "gates"}
    fusion = [name for name in both if ".merged." in name]
    assert sum("rhythm" in name for name in fusion) == len(fusion) / 2
    assert not torch.equal(both["tail.merged.beat.up.weight"], both["tail.merged.rhythm.up.weight"])


def test_selecting_tasks_before_or_after_merging_gives_the_same_outputs(
    student: Student, random_beats: MakeBeats
) -> None:
    x = random_beats(20)
    early, late = merge_student(student, ("rhythm",)), select_tasks(merge_student(student), ("rhythm",))
    assert list(early(*x)) == list(late(*x)) == ["rhythm", "route_morphology", "route_rhythm"]
    assert torch.equal(early(*x)["rhythm"], late(*x)["rhythm"])


def test_merging_does_not_change_the_student(student: Student) -> None:
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    for parameter in merge_student(student).parameters():
        parameter.detach().zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())


def test_a_task_without_a_head_is_refused_by_name(student: Student) -> None:
    with pytest.raises(ModelError, match="not age"):
        merge_student(student, ("beat", "age"))
    with pytest.raises(ModelError, match="not age"):
        select_tasks(merge_student(student), ("age",))


def test_one_expert_per_path_runs_for_one_beat(student: Student, random_beats: MakeBeats) -> None:
    pieces = merge_student(student)
    ran: list[str] = []
    for name, piece in pieces.named():
        piece.register_forward_hook(lambda *_, name=name: ran.append(name))
    pieces(*random_beats(1))
    assert len(ran) == 4
    assert [name.rpartition("_")[0] or name for name in ran] == ["trunk", "morphology", "rhythm", "tail"]


def test_on_a_tie_of_the_router_the_first_expert_runs(student: Student, random_beats: MakeBeats) -> None:
    pieces = merge_student(student)
    for router in ("trunk.route_morphology", "trunk.route_rhythm"):
        nn.init.zeros_(pieces.get_parameter(f"{router}.weight"))
        nn.init.zeros_(pieces.get_parameter(f"{router}.bias"))
    ran: list[str] = []
    for name, piece in pieces.named():
        piece.register_forward_hook(lambda *_, name=name: ran.append(name))
    pieces(*random_beats(8))
    assert ran == ["trunk", "morphology_0", "rhythm_0", "tail"]
