"""Dual-path expert banks: convolution experts over the R-aligned beat, small networks over the RR sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecgmoe_edge.model.routing import Annealing, Route, RouterGradient, route_weights


class MorphologyExpert(nn.Module):
    """Two convolutions over the stem's output, (b, w, 52) to (b, d); its kernel length is its own."""

    def __init__(self, w: int, d: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(w, 2 * w, kernel, 2, kernel // 2, bias=False),
            nn.BatchNorm1d(2 * w),
            nn.ReLU(),
            nn.Conv1d(2 * w, 3 * w, kernel, 2, kernel // 2, bias=False),
            nn.BatchNorm1d(3 * w),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(4),  # P, QRS, ST and T keep their places
            nn.Flatten(),
        )
        self.out = nn.Sequential(nn.Dropout(dropout), nn.Linear(12 * w, d), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        y: Tensor = self.out(self.convolutions(x))
        return y


class RhythmExpert(nn.Module):
    """A two-layer network over the rhythm stem's output, (b, e) to (b, d)."""

    def __init__(self, e: int, d: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(e, e), nn.ReLU(), nn.Dropout(dropout), nn.Linear(e, d), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        y: Tensor = self.net(x)
        return y


class ExpertBank(nn.Module):
    """Experts and the top-k router that chooses among them."""

    def __init__(
        self,
        experts: list[nn.Module],
        router_width: int,
        d: int,
        top_k: int,
        learning: Annealing | RouterGradient = "chosen",
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.router = nn.Linear(router_width, len(experts))
        self.d, self.top_k = d, top_k
        self.annealing = learning if isinstance(learning, Annealing) else None
        self.gradient: RouterGradient = "chosen" if isinstance(learning, Annealing) else learning

    def forward(self, x: Tensor, router_input: Tensor, route: Route) -> tuple[Tensor, Tensor]:
        """Mixture of the experts, (b, d), and router logits, (b, n).

        While training, all experts run (a straight-through gradient needs the unchosen too, and the normalisation of
        each is over all beats; their own weights get no gradient from beats that they were not chosen for). Otherwise,
        in the hard route, each expert runs on the beats that chose it and on no others.
        """
        logits = self.router(router_input)
        if self.annealing is not None and self.training and route == "hard":
            weights = self.annealing(logits, self.top_k)
        else:
            weights = route_weights(logits, route, k=self.top_k, training=self.training, gradient=self.gradient)
        if self.training or route == "soft":
            each = torch.stack([expert(x) for expert in self.experts], 1)
            return (each * weights[:, :, None]).sum(1), logits
        mixed = x.new_zeros(len(x), self.d)
        for index, expert in enumerate(self.experts):
            chosen = weights[:, index].nonzero()[:, 0]
            if len(chosen):
                mixed = mixed.index_add(0, chosen, expert(x[chosen]) * weights[chosen, index, None])
        return mixed, logits


class MorphologyPath(nn.Module):
    """The beat and its running template, (b, 2, 103), to the morphology period embedding, (b, d)."""

    def __init__(
        self,
        w: int,
        d: int,
        e: int,
        kernels: tuple[int, ...],
        top_k: int,
        dropout: float,
        learning: Annealing | RouterGradient = "chosen",
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, w, 7, 2, 3, bias=False), nn.BatchNorm1d(w), nn.ReLU())
        experts: list[nn.Module] = [MorphologyExpert(w, d, kernel, dropout) for kernel in kernels]
        self.bank = ExpertBank(experts, w + e, d, top_k, learning)

    def forward(self, beat: Tensor, rhythm_stem: Tensor | None, route: Route) -> tuple[Tensor, Tensor]:
        """Embedding (b, d) and router logits (b, n); the router sees the beat's stem and the rhythm's, if any."""
        z = self.stem(beat)
        seen = z.mean(-1)
        embedding, logits = self.bank(z, seen if rhythm_stem is None else torch.cat([seen, rhythm_stem], 1), route)
        return embedding, logits


class RhythmPath(nn.Module):
    """RR ratios and template features, (b, 27) and (b, 2, 32), to the rhythm period embedding, (b, d)."""

    def __init__(
        self,
        n_features: int,
        n_rr: int,
        e: int,
        d: int,
        n: int,
        top_k: int,
        dropout: float,
        learning: Annealing | RouterGradient = "chosen",
    ) -> None:
        super().__init__()
        half = e // 2
        self.features = nn.Sequential(nn.BatchNorm1d(n_features), nn.Linear(n_features, e), nn.ReLU())
        self.sequence = nn.Sequential(
            nn.Conv1d(2, 16, 5, 1, 2),
            nn.ReLU(),
            nn.Conv1d(16, 16, 5, 2, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(16 * ((n_rr + 1) // 2), half),
            nn.ReLU(),
        )
        self.width = e + half
        experts: list[nn.Module] = [RhythmExpert(self.width, d, dropout) for _ in range(n)]
        self.bank = ExpertBank(experts, self.width, d, top_k, learning)

    def stem(self, features: Tensor, rr_sequence: Tensor) -> Tensor:
        """What both routers and the rhythm experts see, (b, width)."""
        return torch.cat([self.features(features), self.sequence(rr_sequence)], 1)

    def forward(self, stem: Tensor, route: Route) -> tuple[Tensor, Tensor]:
        """Embedding (b, d) and router logits (b, n) for a stem output (b, width)."""
        embedding, logits = self.bank(stem, stem, route)
        return embedding, logits
