"""Routers of the expert banks: which expert runs, with gradients that reach the router, and a balanced load."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from ecgmoe_edge.errors import ModelError

#: "soft" mixes all experts; "hard" runs the top k only.
Route: TypeAlias = Literal["soft", "hard"]
#: What teaches a router under the hard route: what came of its choice, or also what came of the experts not chosen.
RouterGradient: TypeAlias = Literal["chosen", "straight_through"]


def route_weights(
    logits: Tensor, route: Route, *, k: int = 1, training: bool = False, gradient: RouterGradient = "chosen"
) -> Tensor:
    """Weights of the experts, (b, n), each row summing to 1.

    "hard" keeps the k largest probabilities, renormalised (k = 1: one-hot). A router that is trained soft and hardened
    only at the end loses a third of its F1; so models here train hard from early on, with the values of the hard route
    and one of two gradients. "chosen" weighs an expert by p / p as it was: the router learns from the experts that ran
    alone, as in the Switch Transformer. "straight_through" has the gradient of the soft route: the router learns from
    the other experts too, whose answers to beats that they were never taught on are noise. Over a few seeds "chosen"
    was level or better; the spread between seeds was as large as the difference.

    Args:
        logits: (b, n) router logits.
        route: "soft" or "hard".
        k: experts that run in the hard route.
        training: whether gradients are wanted through the choice.
        gradient: which, see above.

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
    if not training:
        return hard
    if gradient == "straight_through":
        return hard.detach() + probability - probability.detach()
    return hard.detach() * (probability / probability.detach().clamp(min=1e-9))


class Annealing(nn.Module):
    """A hard route that is reached by degrees: while training, a mixture that sharpens from batch to batch.

    The softmax's temperature falls from 1 to 0.05 over `steps` batches; from then on the route is the straight-through
    one. The batches seen are part of the state, so that a resumed fit goes on where it was.
    """

    coldest = 0.05

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, logits: Tensor, k: int) -> Tensor:
        """Weights of the experts while training, (b, n), each row summing to 1."""
        seen = torch.as_tensor(self.seen)
        done = min(1.0, int(seen) / max(1, self.steps))
        seen += 1
        if done >= 1.0:
            return route_weights(logits, "hard", k=k, training=True)
        return torch.as_tensor((logits / self.coldest**done).softmax(-1))


def load_balance(logits: Tensor) -> Tensor:
    """Load-balancing loss of one router, a scalar: 1 where all experts are used alike, n where only one is.

    n * sum_e(share of the batch whose top expert is e * mean probability of e), as in Fedus, Zoph and Shazeer,
    "Switch Transformers", JMLR 2022, equation 4.
    """
    n = logits.shape[-1]
    share = torch.nn.functional.one_hot(logits.argmax(-1), n).to(logits.dtype).mean(0)
    return n * (share * logits.softmax(-1).mean(0)).sum()
