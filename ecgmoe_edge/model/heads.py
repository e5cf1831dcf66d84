"""Heads of the teacher that are more than one layer: the beat's class and the mean RR interval."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgmoe_edge.tasks import BEAT_CLASSES, Task


class BeatHead(nn.Module):
    """Beat logits in which the waveform moves N and S together: (a, a, v, f) from it, four from the rhythm path.

    Without a rhythm path nothing but the waveform is left to tell S from N, and it gives all four.
    """

    def __init__(self, d: int, dropout: float, morphology: bool, rhythm: bool) -> None:
        super().__init__()
        self.uses_morphology, n = morphology, len(BEAT_CLASSES)
        width = (2 * morphology + rhythm) * d
        self.waveform = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(width, d),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(d, n - 1 if rhythm else n),
        )
        self.rhythm = nn.Linear(d, n) if rhythm else None

    def forward(self, fused: Tensor, periods: Tensor) -> Tensor:
        """Logits (b, 4) from the fused tokens (b, periods, d) and the period embeddings as they were before."""
        seen = fused.flatten(1)
        if self.uses_morphology:
            seen = torch.cat([seen, periods[:, 0]], 1)
        waveform: Tensor = self.waveform(seen)
        if self.rhythm is None:
            return waveform
        logits: Tensor = self.rhythm(periods[:, -1]) + torch.cat([waveform[:, :1], waveform], 1)
        return logits


class RRHead(nn.Module):
    """Mean RR interval: what the context and the RR sequence give by measuring, as far as it can be trusted.

    The rest is the network's own estimate; how much to trust follows from how well the measuring went and how far
    the two lie apart.
    """

    def __init__(self, width: int, dropout: float, task: Task) -> None:
        super().__init__()
        self.own = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, 1))
        self.trust = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
        nn.init.constant_(torch.as_tensor(self.trust[2].bias), 3.0)  # measured, at first
        self.scale, self.offset = task.scale, task.offset

    def forward(self, fused: Tensor, measured: Tensor) -> Tensor:
        """(b, 1) in the head's unit, from the fused tokens (b, periods * d) and `rr_prior.mean_rr`, (b, 3)."""
        own: Tensor = self.own(fused)
        mean, quality = measured[:, :1], measured[:, 1:]
        prior = (mean - self.offset) / self.scale
        apart = (prior - own.detach()).abs().clamp(max=4.0)
        trust = torch.sigmoid(self.trust(torch.cat([quality, apart], 1))) * (mean > 0)
        return own + trust * (prior - own)
