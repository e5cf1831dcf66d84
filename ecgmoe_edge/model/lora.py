"""A linear layer shared by all tasks, with one low-rank adapter a task (LoRA)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgmoe_edge.errors import ModelError


class LoRALinear(nn.Module):
    """y = W x + b + (alpha / rank) * B_task A_task x, as in Hu et al., "LoRA", ICLR 2022.

    W and b belong to all tasks; A_task (rank, in) and B_task (out, rank) to one. B starts at zero, so that
    every task begins with the shared layer. With rank 0 there are no adapters and all tasks share it for good.
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
        """The layer of `task`: (..., in_features) to (..., out_features).

        Raises:
            ModelError: there is no adapter for the task.
        """
        y: Tensor = self.base(x)
        if not self.rank:
            return y
        down, up = self._adapter(task)
        return y + self.scaling * functional.linear(functional.linear(x, down), up)

    def merged(self, task: str) -> nn.Linear:
        """A plain linear layer with the adapter of `task` added into its weight; a copy, equal to within
        rounding.

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
