"""Layers that teacher and student share: top-k routing of experts, and linear layers with one LoRA adapter per task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.errors import ModelError

#: "hard" runs only the k experts with the highest probability; "soft" mixes all experts.
Route: TypeAlias = Literal["soft", "hard"]
#: Gradient that reaches a router under the hard route: from the chosen experts only, or as under the soft route.
RouterGradient: TypeAlias = Literal["chosen", "straight_through"]


def route_weights(
    logits: Tensor, route: Route, *, k: int = 1, training: bool = False, gradient: RouterGradient = "chosen"
) -> Tensor:
    """Weights of the experts, (b, experts); each row has the sum 1.

    The hard route keeps the k largest probabilities and renormalises them; with k = 1 a row is one-hot. A router that
    is trained soft and becomes hard only at the end loses a third of its F1. Therefore the models train with the hard
    route from early on, with one of two gradients:

    - "chosen": the weight of an expert is multiplied by p / detach(p), so the router learns only from the experts that
      ran, as in the Switch Transformer.
    - "straight_through": the gradient is that of the soft route, so the router also learns from the other experts.
      Their outputs for beats on which they were not trained are noise.

    Over a few seeds "chosen" was equal or better; the difference was not larger than the spread between seeds.

    Args:
        logits: router logits, (b, experts).
        route: "soft" or "hard".
        k: number of experts that run under the hard route.
        training: whether the result needs a gradient under the hard route.
        gradient: kind of this gradient.

    Raises:
        ModelError: k is not between 1 and the number of experts, or the route is unknown.
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
    """Routing that changes from soft to hard during training.

    The temperature of the softmax falls from 1 to `coldest` over `steps` batches. After that, the route is hard, with
    the gradient "chosen". The number of batches is part of the state, so that a resumed training continues correctly.
    """

    coldest = 0.05

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, logits: Tensor, k: int) -> Tensor:
        """Weights of the experts during training, (b, experts); each row has the sum 1. Counts the batch."""
        seen = torch.as_tensor(self.seen)
        progress = min(1.0, int(seen) / max(1, self.steps))
        seen += 1
        if progress >= 1.0:
            return route_weights(logits, "hard", k=k, training=True)
        return torch.as_tensor((logits / self.coldest**progress).softmax(-1))


def load_balance(logits: Tensor) -> Tensor:
    """Load-balancing loss of one router, a scalar: 1 if all experts are used equally, n if only one is used.

    n * sum_e(fraction of the batch whose top expert is e * mean probability of e), equation 4 of Fedus, Zoph and
    Shazeer, "Switch Transformers", JMLR 2022, without their weight alpha.

    Args:
        logits: router logits, (b, n).
    """
    n = logits.shape[-1]
    fraction = fn.one_hot(logits.argmax(-1), n).to(logits.dtype).mean(0)
    return n * (fraction * logits.softmax(-1).mean(0)).sum()


class LoRALinear(nn.Module):
    """A linear layer shared by all tasks, with one low-rank adapter per task.

    y = W x + b + (alpha / rank) * B_task A_task x, as in Hu et al., "LoRA", ICLR 2022. All tasks share W and b; each
    task has its own A_task (rank, in) and B_task (out, rank). B_task starts at zero, so every task starts from the
    shared layer. With rank 0 there are no adapters, and all tasks use the shared layer.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        tasks: Sequence[str],
        rank: int = 8,
        alpha: float = 32.0,
    ) -> None:
        super().__init__()
        if rank < 0:
            raise ModelError(f"A LoRA rank is at least 1, or 0 for no adapters, not {rank}.")
        self.base = nn.Linear(in_features, out_features)
        self.rank, self.scaling = rank, alpha / max(rank, 1)
        adapted = tasks if rank else ()
        self.down = nn.ParameterDict({task: nn.Parameter(torch.empty(rank, in_features)) for task in adapted})
        self.up = nn.ParameterDict({task: nn.Parameter(torch.zeros(out_features, rank)) for task in adapted})
        for matrix in self.down.values():
            nn.init.kaiming_uniform_(matrix, a=5**0.5)

    def _adapter(self, task: str) -> tuple[Tensor, Tensor]:
        if task not in self.down:
            raise ModelError(f"This layer has no adapter for the task {task!r}; it has {', '.join(self.down)}.")
        return self.down[task], self.up[task]

    def forward(self, x: Tensor, task: str) -> Tensor:
        """Apply the layer with the adapter of `task`: (..., in_features) to (..., out_features).

        Raises:
            ModelError: there is no adapter for the task.
        """
        y: Tensor = self.base(x)
        if not self.rank:
            return y
        down, up = self._adapter(task)
        return y + self.scaling * fn.linear(fn.linear(x, down), up)

    def merged(self, task: str) -> nn.Linear:
        """A new plain linear layer whose weight includes the adapter of `task`; equal except for rounding.

        Raises:
            ModelError: there is no adapter for the task.
        """
        weight = self.base.weight
        plain = nn.Linear(self.base.in_features, self.base.out_features, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            plain.weight.copy_(weight)
            if self.rank:
                down, up = self._adapter(task)
                plain.weight.add_(self.scaling * (up @ down))
            plain.bias.copy_(self.base.bias)
        return plain


def merge_adapters(module: nn.Module, tasks: Sequence[str]) -> int:
    """Replace every `LoRALinear` inside `module` by plain merged layers, one per task.

    Returns:
        Number of layers that were replaced.
    """
    replaced = 0
    for name, child in module.named_children():
        if isinstance(child, LoRALinear):
            setattr(module, name, _MergedLinear(child, tasks))
            replaced += 1
        else:
            replaced += merge_adapters(child, tasks)
    return replaced


class _MergedLinear(nn.Module):
    """Takes the place of a `LoRALinear`, with one merged layer per task."""

    def __init__(self, layer: LoRALinear, tasks: Sequence[str]) -> None:
        super().__init__()
        self.of_task = nn.ModuleDict({task: layer.merged(task) for task in tasks})

    def forward(self, x: Tensor, task: str) -> Tensor:
        y: Tensor = self.of_task[task](x)
        return y
