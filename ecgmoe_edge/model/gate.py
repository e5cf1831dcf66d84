"""Period-aware gate: the two period embeddings say, for each task, how much each backbone counts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class PeriodGate(nn.Module):
    """Period embeddings, (b, periods, d), to softmax weights over the backbones, one set a task."""

    def __init__(self, d: int, tasks: Sequence[str], n_backbones: int, n_periods: int = 2) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(n_periods * d, d), nn.ReLU())
        self.tasks = nn.ModuleDict({task: nn.Linear(d, n_backbones) for task in tasks})

    def forward(self, periods: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Weights (b, n_backbones) for each of the tasks asked for; each row sums to 1."""
        hidden = self.hidden(periods.flatten(1))
        return {task: self.tasks[task](hidden).softmax(-1) for task in tasks}
