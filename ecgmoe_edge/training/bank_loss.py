"""Training loss of a bank of experts of unequal cost, and of the router that selects one of them for each beat.

Every expert answers every beat alone, so that the router can compare what each of them would have answered. The loss of
the router includes the cost of the experts: it learns to select an expensive expert only for the beats on which that
expert is better by more than its additional cost.

In all shapes, b is the number of beats and e the number of experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_SHARED = 0.5  # part of the weight of a beat that all experts share equally


def bank_loss(losses: Tensor, logits: Tensor, costs: Sequence[float], cost_weight: float) -> Tensor:
    """Return the loss of the experts and of their router, a scalar.

    It is `answering_loss` + the mean over the beats of sum_e p[e] * (loss[e] + cost_weight * cost[e]), where p is the
    probability of the router. The first part trains the experts; the second part trains p: the router, and
    the trunk before it.

    Args:
        losses: loss of each beat with each expert alone, (b, e).
        logits: logits of the router, (b, e).
        costs: relative cost of each expert, from 0 to 1 (`model.macs.relative_costs`).
        cost_weight: loss by which an expert of cost 1 has to be better than one of cost 0.
    """
    routed = (logits.softmax(1) * losses.detach()).sum(1).mean()
    return answering_loss(losses, logits) + routed + cost_weight * expected_cost(logits, costs)


def answering_loss(losses: Tensor, logits: Tensor) -> Tensor:
    """Return the loss of the experts, a scalar: the mean over the beats of sum_e w[e] * loss[e].

    Half of the weight w of a beat is shared equally, so that every expert can answer every beat. The other half is the
    probability of the router, so that an expert specialises on the beats that it is selected for.

    Args:
        losses: loss of each beat with each expert alone, (b, e).
        logits: logits of the router, (b, e).
    """
    weights = _SHARED / losses.shape[1] + (1.0 - _SHARED) * logits.softmax(1).detach()
    return (weights * losses).sum(1).mean()


def expected_cost(logits: Tensor, costs: Sequence[float]) -> Tensor:
    """Return the mean relative cost of a beat under the probabilities of the router, a scalar.

    Args:
        logits: logits of the router, (b, e).
        costs: relative cost of each expert.
    """
    return (logits.softmax(1) * torch.tensor(costs, dtype=logits.dtype, device=logits.device)).sum(1).mean()
