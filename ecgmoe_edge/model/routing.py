"""Routers of the expert banks: which expert runs, with gradients that reach the router, and a balanced load."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ecgmoe_edge.errors import ModelError

#: "soft" mixes all experts; "hard" runs the top k only (straight-through gradient while training).
Route: TypeAlias = Literal["soft", "hard"]


def route_weights(logits: Tensor, route: Route, *, k: int = 1, training: bool = False) -> Tensor:
    """Weights of the experts, (b, n), each row summing to 1.

    "hard" keeps the k largest probabilities, renormalised (k = 1: one-hot). While training, the forward value is that
    of the hard route and the gradient that of the soft one (straight-through), so a router learns from the experts
    that it did not choose too. A router that is trained soft and hardened only at the end loses a third of its F1;
    so models here train hard from early on.

    Args:
        logits: (b, n) router logits.
        route: "soft" or "hard".
        k: experts that run in the hard route.
        training: whether gradients are wanted through the choice.

    Raises:
        ModelError: k is not between 1 and n, or the route has another name.
    """
    n = logits.shape[-1]
    if not 1 <= k <= n:
        raise ModelError(f"top-k routing needs k between 1 and {n} experts, not {k}. Change `top_k` of the model.")
    probability = logits.softmax(-1)
    if route == "soft":
        return probability
    if route != "hard":
        raise ModelError(f"A route is 'soft' or 'hard', not {route!r}.")
    values, index = probability.topk(k, dim=-1)
    hard = torch.zeros_like(probability).scatter(-1, index, values / values.sum(-1, keepdim=True))
    return hard.detach() + probability - probability.detach() if training else hard


def load_balance(logits: Tensor) -> Tensor:
    """Load-balancing loss of one router, a scalar: 1 where all experts are used alike, n where only one is.

    n * sum_e(share of the batch whose top expert is e * mean probability of e), as in Fedus, Zoph and Shazeer,
    "Switch Transformers", JMLR 2022, equation 4.
    """
    n = logits.shape[-1]
    share = torch.nn.functional.one_hot(logits.argmax(-1), n).to(logits.dtype).mean(0)
    return n * (share * logits.softmax(-1).mean(0)).sum()
