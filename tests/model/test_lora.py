from __future__ import annotations

import pytest
import torch

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.shared_layers import LoRALinear


@pytest.fixture
def layer() -> LoRALinear:
    torch.manual_seed(0)
    layer = LoRALinear(12, 7, ("beat", "rhythm"), rank=4, alpha=32)
    with torch.no_grad():
        for matrix in layer.up.values():
            matrix.normal_()
    return layer


def test_a_new_layer_is_the_same_for_every_task() -> None:
    layer = LoRALinear(12, 7, ("beat", "rhythm"))
    x = torch.randn(5, 12)
    assert torch.equal(layer(x, "beat"), layer(x, "rhythm"))


@pytest.mark.parametrize("task", ["beat", "rhythm"])
def test_merging_an_adapter_changes_nothing(layer: LoRALinear, task: str) -> None:
    x = torch.randn(50, 12)
    merged = layer.merged(task)
    assert isinstance(merged, torch.nn.Linear)
    assert (merged(x) - layer(x, task)).abs().max() < 1e-5
    assert (layer.base(x) - layer(x, task)).abs().max() > 0.1


def test_an_adapter_leaves_the_other_tasks_alone(layer: LoRALinear) -> None:
    x = torch.randn(5, 12)
    layer(x, "beat").square().sum().backward()
    assert layer.up["beat"].grad is not None
    assert layer.up["rhythm"].grad is None


def test_merging_copies(layer: LoRALinear) -> None:
    before = layer.base.weight.clone()
    with torch.no_grad():
        layer.merged("beat").weight.zero_()
    assert torch.equal(layer.base.weight, before)


def test_an_unknown_task_is_named(layer: LoRALinear) -> None:
    with pytest.raises(ModelError, match="'age'"):
        layer(torch.zeros(1, 12), "age")


def test_rank_zero_is_the_shared_layer_for_every_task() -> None:
    layer, x = LoRALinear(12, 7, ("beat", "rhythm"), rank=0), torch.randn(5, 12)
    assert len(list(layer.parameters())) == 2
    for task in ("beat", "rhythm"):
        assert torch.equal(layer(x, task), layer.base(x))
        assert torch.equal(layer.merged(task)(x), layer.base(x))
