from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as fn

from ecgmoe_edge.contract import SHAPES
from ecgmoe_edge.model.macs import count_macs, relative_costs
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.tasks import BEAT_CLASSES
from ecgmoe_edge.training.bank_loss import answering_loss, bank_loss, expected_cost

EASY, HARD = 0, 1


def made_beats(n: int, seed: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
    """Return inputs, class and difficulty of n beats: flat ones are N, and two pulses are V or F by their distance.

    The cheapest expert averages over more than the distance of the pulses, so it cannot see which of the two it is.
    """
    g = torch.Generator().manual_seed(seed)
    beat = 0.05 * torch.randn(n, *SHAPES["beat"], generator=g)
    difficulty, far = torch.randint(0, 2, (n,), generator=g), torch.randint(0, 2, (n,), generator=g)
    for row in torch.nonzero(difficulty == HARD)[:, 0].tolist():
        first = 20 + int(torch.randint(0, 32, (1,), generator=g))
        beat[row, 0, first] += 3.0
        beat[row, 0, first + (16 if far[row] else 10)] += 3.0
    v, f = BEAT_CLASSES.index("V"), BEAT_CLASSES.index("F")
    label = torch.where(difficulty == HARD, torch.where(far == 1, v, f), BEAT_CLASSES.index("N"))
    features = torch.zeros(n, 27)
    features[:, 0] = 2.0 * difficulty - 1.0  # stands for the similarity to the template, which the router can use
    return (beat, features, torch.zeros(n, 2, 32)), label, difficulty


def trained(cost_weight: float, steps: int = 120) -> Student:
    torch.manual_seed(0)
    config = StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0), tasks=("beat",), dropout=0.0)
    student, costs = Student(config), relative_costs(count_macs(config).experts["morphology"])
    optimizer = torch.optim.Adam(student.parameters(), 3e-3)
    for step in range(steps):
        x, label, _ = made_beats(64, step)
        outputs = student.each_expert(*x)
        losses = torch.stack([fn.cross_entropy(one["beat"], label, reduction="none") for one in outputs], 1)
        loss = bank_loss(losses, outputs[0]["route_morphology"], costs, cost_weight)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return student.eval()


def mean_macs(student: Student) -> float:
    with torch.no_grad():
        outputs = student(*made_beats(400, 999)[0])
    return count_macs(student.config).mean({name: value.numpy() for name, value in outputs.items()})


@pytest.fixture(scope="module")
def student() -> Student:
    return trained(0.05)


def test_the_router_learns_to_select_the_cheapest_expert_for_easy_beats_only(student: Student) -> None:
    x, label, difficulty = made_beats(400, 1000)
    outputs = student(*x)
    chosen = outputs["route_morphology"].argmax(1)
    assert (chosen[difficulty == EASY] == 0).float().mean() > 0.95
    assert (chosen[difficulty == HARD] > 0).float().mean() > 0.9
    assert (outputs["beat"].argmax(1) == label).float().mean() > 0.95


def test_the_cheapest_expert_alone_cannot_answer_the_hard_beats(student: Student) -> None:
    x, label, difficulty = made_beats(400, 1001)
    cheapest, *_ = student.each_expert(*x)
    correct = cheapest["beat"].argmax(1) == label
    assert correct[difficulty == EASY].float().mean() > 0.95
    assert correct[difficulty == HARD].float().mean() < 0.8


def test_a_larger_cost_weight_lowers_the_mean_multiplications_of_a_beat(student: Student) -> None:
    costs = count_macs(student.config)
    cheapest = costs.most - max(costs.experts["morphology"]) + min(costs.experts["morphology"])
    assert mean_macs(trained(5.0)) == cheapest < 0.9 * mean_macs(student)


def test_without_a_cost_the_router_learns_the_better_expert_only_from_the_losses() -> None:
    logits = torch.zeros(3, 2, requires_grad=True)
    losses = torch.tensor([[1.0, 0.5], [0.2, 0.6], [0.3, 0.3]])
    torch.autograd.backward(bank_loss(losses, logits, (0.0, 1.0), 0.0))
    assert logits.grad is not None
    assert torch.equal((-logits.grad[:, 1]).sign(), torch.tensor([1.0, -1.0, 0.0]))


def test_a_cost_beyond_the_difference_of_the_losses_turns_the_router_to_the_cheap_expert() -> None:
    for cost_weight, expensive in ((0.4, True), (0.6, False)):
        logits = torch.zeros(1, 2, requires_grad=True)
        torch.autograd.backward(bank_loss(torch.tensor([[1.0, 0.5]]), logits, (0.0, 1.0), cost_weight))
        assert logits.grad is not None
        assert bool(logits.grad[0, 1] < 0) is expensive


def test_every_expert_gets_at_least_an_equal_share_of_half_the_loss() -> None:
    losses = torch.ones(4, 3, requires_grad=True)
    torch.autograd.backward(answering_loss(losses, torch.tensor([[50.0, 0.0, 0.0]]).repeat(4, 1)))
    assert losses.grad is not None
    expected = torch.tensor([0.5 / 3 + 0.5, 0.5 / 3, 0.5 / 3]).repeat(4, 1) / 4
    torch.testing.assert_close(losses.grad, expected)


def test_a_single_expert_gets_the_gradient_of_its_mean_loss() -> None:
    losses = torch.rand(5, 1, requires_grad=True)
    torch.autograd.backward(bank_loss(losses, torch.randn(5, 1), (0.0,), 0.05))
    assert losses.grad is not None
    torch.testing.assert_close(losses.grad, torch.full((5, 1), 0.2))


def test_the_expected_cost_is_that_of_the_router_probabilities() -> None:
    logits = torch.tensor([[0.0, 0.0], [50.0, 0.0]])
    np.testing.assert_allclose(expected_cost(logits, (0.0, 1.0)), 0.25, atol=1e-6)
