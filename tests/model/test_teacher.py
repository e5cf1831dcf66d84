from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor, nn

from ecgmoe_edge.contract import SHAPES_WITH_CONTEXT
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.backbones import backbone_kinds, build_backbones, register_backbone
from ecgmoe_edge.model.shared_layers import LoRALinear, merge_adapters
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import BackboneSpec, TeacherConfig
from ecgmoe_edge.model.teacher_file import load_teacher, save_teacher
from ecgmoe_edge.tasks import TASK_NAMES, TASKS

Inputs: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def inputs() -> Inputs:
    g = torch.Generator().manual_seed(3)
    beat, features, rr_sequence, context = (torch.randn(12, *s, generator=g) for s in SHAPES_WITH_CONTEXT.values())
    return beat, features, rr_sequence, context


@pytest.fixture
def model() -> EcgMoe:
    torch.manual_seed(0)
    return EcgMoe()


def _moved(module: nn.Module) -> float:
    return sum(p.grad.abs().sum().item() for p in module.parameters() if p.grad is not None)


def _trained_adapters(module: nn.Module) -> None:
    """Adapters start at zero, where every comparison would pass; give them values."""
    for part in module.modules():
        if isinstance(part, LoRALinear):
            for task in part.up:
                torch.nn.init.normal_(part.up[task], std=0.1)


def test_every_task_has_logits_of_its_width_and_both_routers_are_given(model: EcgMoe, inputs: Inputs) -> None:
    outputs = model.eval()(*inputs)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        **{task.name: (12, task.n_outputs) for task in TASKS},
        "route_morphology": (12, 4),
        "route_rhythm": (12, 4),
    }


def test_teacher_stays_small_enough_for_one_core(model: EcgMoe) -> None:
    assert sum(p.numel() for p in model.parameters()) < 450_000


def test_tasks_asked_for_are_the_same_as_in_the_pass_for_all(model: EcgMoe, inputs: Inputs) -> None:
    model.eval()
    everything, beat = model(*inputs), model(*inputs, tasks=("beat",))
    assert set(beat) == {"beat", "route_morphology", "route_rhythm"}
    assert torch.equal(beat["beat"], everything["beat"])


def test_hard_route_gives_the_same_sparse_and_dense(model: EcgMoe, inputs: Inputs) -> None:
    _trained_adapters(model)
    model.eval()
    sparse = model(*inputs)
    for bank in model.banks().values():
        bank.training = True  # the dense, straight-through computation, without dropout below it
    dense = model(*inputs)
    for name, value in sparse.items():
        assert torch.allclose(value, dense[name], atol=1e-5), name


def test_hard_and_soft_routes_differ(model: EcgMoe, inputs: Inputs) -> None:
    model.eval()
    assert not torch.allclose(model(*inputs)["beat"], model(*inputs, route="soft")["beat"], atol=1e-3)


def test_waveform_never_moves_s_against_n(model: EcgMoe, inputs: Inputs) -> None:
    _trained_adapters(model)
    model.eval()
    beat, features, rr_sequence, context = inputs
    one = model(beat, features, rr_sequence, context)["beat"]
    other = model(torch.randn_like(beat), features, rr_sequence, torch.randn_like(context))["beat"]
    assert not torch.allclose(one, other, atol=1e-2)
    assert torch.allclose(one[:, 1] - one[:, 0], other[:, 1] - other[:, 0], atol=1e-5)
    changed = model(beat, -features, rr_sequence, context)["beat"]
    assert (changed[:, 1] - changed[:, 0] - one[:, 1] + one[:, 0]).abs().max() > 1e-3


def test_gradient_reaches_every_part_in_the_soft_route(model: EcgMoe, inputs: Inputs) -> None:
    _trained_adapters(model)
    outputs = model.train()(*inputs, route="soft")
    torch.stack([value.square().sum() for value in outputs.values()]).sum().backward()  # type: ignore[no-untyped-call]
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A key's bias shifts all scores of a query alike, which the softmax takes out again.
    assert [name for name in without if not name.endswith(("k.base.bias", "in_proj_bias"))] == []


def test_gradient_of_a_hard_route_reaches_chosen_experts_and_both_routers(model: EcgMoe, inputs: Inputs) -> None:
    outputs = model.train()(*inputs, route="hard")
    outputs["beat"].square().sum().backward()
    for name, bank in model.banks().items():
        assert _moved(bank.router) > 0
        chosen = set(outputs[f"route_{name}"].argmax(1).tolist())
        for index, expert in enumerate(bank.experts):
            assert (_moved(expert) > 0) == (index in chosen)


def test_a_task_trains_only_its_own_adapters(model: EcgMoe, inputs: Inputs) -> None:
    model.train()(*inputs, tasks=("rhythm",))["rhythm"].sum().backward()
    layer = model.fusion.cross_attention.q
    assert layer.up["rhythm"].grad is not None
    assert layer.up["rhythm"].grad.abs().sum() > 0
    assert layer.up["beat"].grad is None


def test_merged_teacher_equals_the_unmerged_one_for_every_task(model: EcgMoe, inputs: Inputs) -> None:
    _trained_adapters(model)
    expected = model.eval()(*inputs)
    assert merge_adapters(model, TASK_NAMES) == 12
    assert not any(isinstance(part, LoRALinear) for part in model.modules())
    merged = model(*inputs)
    for task in TASK_NAMES:
        assert torch.allclose(merged[task], expected[task], atol=1e-5), task


def test_a_saved_teacher_gives_the_same_outputs(model: EcgMoe, inputs: Inputs, tmp_path: Path) -> None:
    save_teacher(tmp_path / "t.safetensors", model.eval(), {"training": "abc"})
    again = load_teacher(tmp_path / "t.safetensors")
    assert torch.equal(again(*inputs)["beat"], model(*inputs)["beat"])


@pytest.mark.parametrize("damage", ["absent", "cut", "other"])
def test_a_file_that_is_no_teacher_is_refused_with_a_sentence(damage: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "t.safetensors"
    if damage == "cut":
        path.write_bytes(b"\x10\x00")
    if damage == "other":
        save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"t\.safetensors"):
        load_teacher(path)


def test_four_kinds_of_backbone_see_the_context_at_their_own_length() -> None:
    specs = TeacherConfig().backbones
    assert {spec.kind for spec in specs} == {"conv_residual", "patch_transformer", "dlinear", "timesnet"}
    assert {spec.kind for spec in specs} < set(backbone_kinds())
    assert len({spec.length for spec in specs}) == len(specs)


def test_a_backbone_of_ones_own_can_be_registered_and_started_from_a_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    if "mine" not in backbone_kinds():
        register_backbone("mine")(
            lambda spec, d, leads: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(spec.length, d))
        )
    with pytest.raises(ModelError, match="registered already"):
        register_backbone("mine")(lambda spec, d, leads: torch.nn.Identity())
    weights = {"1.weight": torch.ones(8, 64), "1.bias": torch.zeros(8)}
    save_file(weights, tmp_path / "mine.safetensors")
    spec = BackboneSpec("mine", 64, weights=str(tmp_path / "mine.safetensors"))
    assert torch.equal(build_backbones((spec,), 8)[0].state_dict()["net.1.weight"], weights["1.weight"])
    with pytest.raises(ModelError, match="do not fit"):
        build_backbones((spec,), 9)


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"gate": False}, "gate."),
        ({"morphology_path": False}, "morphology_path."),
        ({"rhythm_path": False}, "rhythm_path."),
        ({"lora_rank": 0}, ".up."),
        ({"rr_prior": False}, "heads.rr.trust"),
        ({"backbones": (BackboneSpec("dlinear", 320),)}, "backbones.1."),
    ],
)
def test_each_part_can_be_left_out_and_the_rest_still_trains_and_comes_back(
    change: dict[str, Any], gone: str, inputs: Inputs, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = EcgMoe(TeacherConfig(**change))
    assert any(gone in name for name in EcgMoe().state_dict())
    assert not any(gone in name for name in model.state_dict())
    outputs = model.train()(*inputs)
    assert {task.name: outputs[task.name].shape for task in TASKS} == {t.name: (12, t.n_outputs) for t in TASKS}
    torch.stack([outputs[task.name].square().sum() for task in TASKS]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(_moved(head) > 0 for head in model.heads.values())
    save_teacher(tmp_path / "t.safetensors", model.eval())
    again = load_teacher(tmp_path / "t.safetensors")
    assert torch.equal(again(*inputs)["rhythm"], model(*inputs)["rhythm"])


def test_without_the_rhythm_path_the_waveform_tells_s_from_n(inputs: Inputs) -> None:
    torch.manual_seed(0)
    model = EcgMoe(TeacherConfig(rhythm_path=False)).eval()
    beat, features, rr_sequence, context = inputs
    one = model(beat, features, rr_sequence, context)["beat"]
    other = model(-beat, features, rr_sequence, context)["beat"]
    assert (one[:, 1] - one[:, 0] - other[:, 1] + other[:, 0]).abs().max() > 1e-3


def test_without_the_gate_every_backbone_counts_alike(inputs: Inputs) -> None:
    torch.manual_seed(0)
    gated = EcgMoe().eval()
    even = EcgMoe(TeacherConfig(gate=False)).eval()
    even.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("gate.")})
    assert not torch.allclose(gated(*inputs)["rhythm"], even(*inputs)["rhythm"], atol=1e-4)
    assert gated.gate is not None
    for layer in gated.gate.tasks.values():
        torch.nn.init.zeros_(layer.get_parameter("weight"))
        torch.nn.init.zeros_(layer.get_parameter("bias"))
    assert torch.allclose(gated(*inputs)["rhythm"], even(*inputs)["rhythm"], atol=1e-5)


def test_twelve_leads_go_through_and_each_counts(inputs: Inputs) -> None:
    torch.manual_seed(0)
    model = EcgMoe(TeacherConfig(leads=12)).eval()
    beat, features, rr_sequence, _ = inputs
    context = torch.randn(12, 12, 1280, generator=torch.Generator().manual_seed(4))
    whole = model(beat, features, rr_sequence, context)
    for lead in range(12):
        changed = context.clone()
        changed[:, lead] = 0.0
        assert (model(beat, features, rr_sequence, changed)["rhythm"] - whole["rhythm"]).abs().max() > 1e-4
    with pytest.raises(ModelError, match="12 lead"):
        model(*inputs)


def test_annealed_routing_trains_every_expert_at_first_and_is_hard_in_use(inputs: Inputs) -> None:
    torch.manual_seed(0)
    model = EcgMoe(TeacherConfig(routing="annealed", anneal_steps=5))
    model.train()(*inputs)["beat"].square().sum().backward()
    assert all(_moved(expert) > 0 for bank in model.banks().values() for expert in bank.experts)
    plain = EcgMoe().eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.endswith("annealing.seen")})
    assert torch.equal(plain(*inputs)["beat"], model.eval()(*inputs)["beat"])


def test_a_task_without_a_head_is_named(inputs: Inputs) -> None:
    with pytest.raises(ModelError, match="no head for age"):
        EcgMoe(TeacherConfig(tasks=("beat",)))(*inputs, tasks=("age",))


@pytest.mark.parametrize(
    "config",
    [
        TeacherConfig(d=50),
        TeacherConfig(backbones=()),
        TeacherConfig(backbones=(BackboneSpec("wavelet", 64),)),
        TeacherConfig(backbones=(BackboneSpec("patch_transformer", 1281, 48),)),
        TeacherConfig(morphology_kernels=(4,)),
        TeacherConfig(top_k=9),
        TeacherConfig(leads=13),
        TeacherConfig(morphology_path=False, rhythm_path=False),
        TeacherConfig(lora_rank=-1),
        TeacherConfig(backbones=(BackboneSpec("dlinear", 0),)),
        TeacherConfig(backbones=(BackboneSpec("dlinear", 64, sha256="00"),)),
        TeacherConfig(tasks=("beat", "mood")),
    ],
)
def test_a_configuration_that_cannot_be_built_is_refused(config: TeacherConfig) -> None:
    with pytest.raises(ModelError):
        EcgMoe(config)
