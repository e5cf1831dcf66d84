"""Period-aware gate: the two period embeddings say, for each task, how much each backbone counts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class PeriodGate(nn.Module):
    """Morphology and rhythm embeddings, (b, d) each, to softmax weights over the backbones, one set a task."""

    def __init__(self, d: int, tasks: Sequence[str], n_backbones: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(2 * d, d), nn.ReLU())
        self.tasks = nn.ModuleDict({task: nn.Linear(d, n_backbones) for task in tasks})

    def forward(self, morphology: Tensor, rhythm: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Weights (b, n_backbones) for each of the tasks asked for; each row sums to 1."""
        hidden = self.hidden(torch.cat([morphology, rhythm], 1))
        return {task: self.tasks[task](hidden).softmax(-1) for task in tasks}
