"""Hybrid attention fusion: backbone tokens attend to each other, then the period embeddings ask them.

The base weights are shared by all tasks; each task has its LoRA adapters on the query, key, value and output
projections and on the feed-forward layers of both levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.model.lora import LoRALinear


class AttentionLevel(nn.Module):
    """Pre-norm multi-head attention and feed-forward, residual, with LoRA on all six linear layers."""

    def __init__(self, d: int, heads: int, tasks: Sequence[str], rank: int, alpha: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_query, self.norm_memory, self.norm_forward = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.o = (LoRALinear(d, d, tasks, rank, alpha) for _ in range(4))
        self.wide, self.narrow = LoRALinear(d, 2 * d, tasks, rank, alpha), LoRALinear(2 * d, d, tasks, rank, alpha)

    def forward(self, query: Tensor, memory: Tensor, task: str) -> Tensor:
        """Queries (b, n, d) that have looked at the memory (b, m, d); self-attention where both are the same."""
        normed, source = self.norm_query(query), self.norm_memory(memory)
        q, k, v = (
            layer(x, task).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, normed), (self.k, source), (self.v, source))
        )
        seen = fn.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        x = query + self.o(seen, task)
        y: Tensor = x + self.narrow(torch.relu(self.wide(self.norm_forward(x), task)), task)
        return y


class HybridFusion(nn.Module):
    """Level one: self-attention over the gated backbone tokens. Level two: cross-attention, period queries."""

    def __init__(
        self, d: int, heads: int, tasks: Sequence[str], rank: int, alpha: float, n_backbones: int, n_periods: int = 2
    ) -> None:
        super().__init__()
        self.backbone_kind = nn.Parameter(torch.randn(1, n_backbones, d) * 0.02)
        self.period_kind = nn.Parameter(torch.randn(1, n_periods, d) * 0.02)
        self.self_attention = AttentionLevel(d, heads, tasks, rank, alpha)
        self.cross_attention = AttentionLevel(d, heads, tasks, rank, alpha)

    def forward(self, tokens: Tensor, gate: Tensor, periods: Tensor, task: str) -> Tensor:
        """Fused period tokens of one task, (b, periods, d): morphology, rhythm.

        Args:
            tokens: backbone tokens, (b, n_backbones, d).
            gate: this task's weights of the backbones, (b, n_backbones), rows summing to 1.
            periods: morphology and rhythm embeddings, (b, periods, d).
            task: whose adapters to use.
        """
        weighted = tokens * gate[:, :, None] * tokens.shape[1] + self.backbone_kind
        memory = self.self_attention(weighted, weighted, task)
        fused: Tensor = self.cross_attention(periods + self.period_kind, memory, task)
        return fused


def merge_adapters(module: nn.Module, tasks: Sequence[str]) -> int:
    """Replace every `LoRALinear` inside `module` by its plain merged layers, one a task; the number replaced."""
    replaced = 0
    for name, child in module.named_children():
        if isinstance(child, LoRALinear):
            setattr(module, name, _Merged(child, tasks))
            replaced += 1
        else:
            replaced += merge_adapters(child, tasks)
    return replaced


class _Merged(nn.Module):
    """Merged layers in the place of a `LoRALinear`."""

    def __init__(self, layer: LoRALinear, tasks: Sequence[str]) -> None:
        super().__init__()
        self.of_task = nn.ModuleDict({task: layer.merged(task) for task in tasks})

    def forward(self, x: Tensor, task: str) -> Tensor:
        y: Tensor = self.of_task[task](x)
        return y
