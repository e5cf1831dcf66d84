"""Low-rank adapters: one linear layer shared by all tasks, and a small correction to it for each task."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.errors import ModelError


class LoRALinear(nn.Module):
    """A linear layer with one LoRA adapter a task: base(x) + alpha / rank * B_task A_task x.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022: A starts random, B at zero, so every
    task starts from the base.
    """

    def __init__(self, n_in: int, n_out: int, tasks: Sequence[str], rank: int = 8, alpha: float = 32.0) -> None:
        super().__init__()
        if rank < 1:
            raise ModelError(f"A LoRA rank is at least 1, not {rank}.")
        self.base = nn.Linear(n_in, n_out)
        self.down = nn.ParameterDict({task: torch.randn(rank, n_in) / n_in**0.5 for task in tasks})
        self.up = nn.ParameterDict({task: torch.zeros(n_out, rank) for task in tasks})
        self.scale = alpha / rank

    def forward(self, x: Tensor, task: str) -> Tensor:
        """(..., n_in) to (..., n_out) with the adapter of `task`."""
        y: Tensor = self.base(x) + fn.linear(fn.linear(x, self.down[task]), self.up[task]) * self.scale
        return y

    def merged(self, task: str) -> nn.Linear:
        """A plain linear layer that equals this one for `task`: weight + alpha / rank * B A."""
        layer = nn.Linear(self.base.in_features, self.base.out_features)
        with torch.no_grad():
            layer.weight.copy_(self.base.weight + self.scale * (self.up[task] @ self.down[task]))
            layer.bias.copy_(self.base.bias)
        return layer
