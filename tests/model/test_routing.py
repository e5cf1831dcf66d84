from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.shared_layers import Annealing, Route, RouterGradient, load_balance, route_weights


def test_hard_route_is_one_hot_at_the_largest_logit() -> None:
    logits = torch.randn(50, 4)
    for training in (False, True):
        weights = route_weights(logits, "hard", training=training)
        assert torch.equal(weights.argmax(1), logits.argmax(1))
        assert torch.allclose(weights.sort(1).values, torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(50, 4), atol=1e-6)


def test_top_two_share_the_weight_and_the_rest_get_none() -> None:
    weights = route_weights(torch.randn(50, 4), "hard", k=2)
    assert torch.equal((weights > 0).sum(1), torch.full((50,), 2))
    assert torch.allclose(weights.sum(1), torch.ones(50))


def _gradient(value: Tensor, route: Route, how: RouterGradient = "chosen", k: int = 1) -> Tensor:
    logits = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = (route_weights(logits, route, k=k, training=True, gradient=how) * value).sum()
    return torch.autograd.grad(loss, logits)[0]


def test_straight_through_sends_the_soft_gradient_to_the_router() -> None:
    value = torch.randn(8, 4)
    assert _gradient(value, "hard", "straight_through").abs().sum() > 0.1
    assert torch.allclose(_gradient(value, "hard", "straight_through"), _gradient(value, "soft"))


@pytest.mark.parametrize("k", [1, 2])
def test_by_default_only_the_chosen_experts_teach_the_router(k: int) -> None:
    value = torch.randn(8, 4)
    chosen = route_weights(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), "hard", k=k) > 0
    gradient = _gradient(value, "hard", k=k)
    assert gradient.abs().sum() > 0.1
    assert torch.allclose(_gradient(torch.where(chosen, value, 9.0), "hard", k=k), gradient)
    assert not torch.allclose(_gradient(torch.where(chosen, 9.0, value), "hard", k=k), gradient)


def test_load_balance_is_one_when_even_and_n_when_collapsed() -> None:
    even = torch.eye(4).repeat(25, 1) * 20.0
    collapsed = torch.tensor([[20.0, 0.0, 0.0, 0.0]]).repeat(100, 1)
    assert load_balance(even).item() == pytest.approx(1.0, abs=1e-3)
    assert load_balance(collapsed).item() == pytest.approx(4.0, abs=1e-3)


@pytest.mark.parametrize("k", [0, 5])
def test_impossible_top_k_is_refused(k: int) -> None:
    with pytest.raises(ModelError, match="between 1 and 4"):
        route_weights(torch.zeros(2, 4), "hard", k=k)


def test_an_annealed_route_goes_from_soft_to_hard_and_its_state_can_be_saved() -> None:
    logits, annealing = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), Annealing(10)
    sharpest = [annealing(logits, 1).amax(1).mean().item() for _ in range(12)]
    assert sharpest[0] == pytest.approx(logits.softmax(1).amax(1).mean().item())
    assert all(a < b for a, b in pairwise(sharpest[:10]))
    assert sharpest[9] > 0.9
    assert sharpest[10:] == pytest.approx([1.0, 1.0])
    resumed = Annealing(10)
    resumed.load_state_dict(annealing.state_dict())
    assert torch.equal(resumed(logits, 2), route_weights(logits, "hard", k=2, training=True))
