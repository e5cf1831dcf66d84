"""EcgMoe, the full-precision teacher, top to bottom: dual path, gate, fusion, heads, and the model that joins them.

    context ───────────────> backbones ──> tokens ──> gate ──> self-attention ──┐
                                                       ^                        v memory
    beat, template ────────> morphology path ─┐        │                 cross-attention ──> heads
                                              ├─> period embeddings ─── queries ┘
    features, RR sequence ─> rhythm path ─────┘

The encoders of the context are in `backbones.py`, top-k routing and LoRA in `shared_layers.py`, the sizes in
`teacher_config.py`.

The model is an interpretation of Xu et al., "ECG-MoE: Mixture-of-Expert Electrocardiogram Foundation Model", arXiv
2603.04589. It is not a reproduction, because the equations and the code of the paper were not available. From the
abstract and the figure captions come three parts: (1) several backbones, each of which sees the ECG downsampled to its
own length, (2) a period-aware gate fed by two separate paths of experts, one for beat morphology and one for rhythm,
and (3) multi-task fusion by hybrid attention with LoRA. The sizes, the heads, the beat task and the connections between
the parts are choices of this project.

The most important of these choices comes from experiments: **the waveform must not decide between N and S**. A waveform
path that may do so memorises the P waves of its training patients and fails on new patients. Therefore the morphology
path and the backbones give the beat head only three numbers, (a, v, f), used as (a, a, v, f) for (N, S, V, F). Only the
rhythm path, with its relative RR and template features, gives all four.

In all shapes, b is the number of beats in the batch and d is `TeacherConfig.d`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.contract import FEATURES, RR_SEQUENCE, SHAPES, route_name
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.backbones import build_backbones
from ecgmoe_edge.model.rr_prior import mean_rr
from ecgmoe_edge.model.shared_layers import Annealing, LoRALinear, Route, RouterGradient, route_weights
from ecgmoe_edge.model.teacher_config import TeacherConfig
from ecgmoe_edge.tasks import BEAT_ANSWERS, Task, tasks_named


class MorphologyExpert(nn.Module):
    """Two convolutions over the stem's output, (b, stem, 52) to (b, d). Each expert has its own kernel length."""

    def __init__(self, config: TeacherConfig, kernel: int) -> None:
        super().__init__()
        w = config.stem
        self.convolutions = nn.Sequential(
            nn.Conv1d(w, 2 * w, kernel, 2, kernel // 2, bias=False),
            nn.BatchNorm1d(2 * w),
            nn.ReLU(),
            nn.Conv1d(2 * w, 3 * w, kernel, 2, kernel // 2, bias=False),
            nn.BatchNorm1d(3 * w),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(4),  # four positions, so that P wave, QRS, ST segment and T wave stay apart
            nn.Flatten(),
        )
        self.out = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(12 * w, config.d), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.out(self.convolutions(x))
        return y


class RhythmExpert(nn.Module):
    """A two-layer network over the rhythm stem's output, (b, width) to (b, d)."""

    def __init__(self, config: TeacherConfig, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(width, config.d), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.net(x)
        return y


class ExpertBank(nn.Module):
    """Experts, and the top-k router that selects among them for each beat."""

    def __init__(self, config: TeacherConfig, experts: Sequence[nn.Module], router_width: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.router = nn.Linear(router_width, len(experts))
        self.d, self.top_k = config.d, config.top_k
        self.annealing = Annealing(config.anneal_steps) if config.routing == "annealed" else None
        self.gradient: RouterGradient = "chosen" if config.routing == "annealed" else config.routing

    def forward(self, x: Tensor, router_input: Tensor, route: Route) -> tuple[Tensor, Tensor]:
        """Mixture of the experts, (b, d), and router logits, (b, experts).

        During training all experts run on all beats: a straight-through gradient needs the outputs of the experts that
        were not chosen, and the BatchNorm of every expert takes its statistics over all beats. An expert still gets no
        gradient from a beat that did not choose it. In evaluation with the hard route, each expert runs only on the
        beats that chose it.

        Args:
            x: input of the experts, with the beats as first dimension.
            router_input: input of the router, (b, router_width).
            route: "hard" selects the top-k experts, "soft" mixes all.
        """
        logits = self.router(router_input)
        if self.annealing is not None and self.training and route == "hard":
            weights = self.annealing(logits, self.top_k)
        else:
            weights = route_weights(logits, route, k=self.top_k, training=self.training, gradient=self.gradient)
        if self.training or route == "soft":
            outputs = torch.stack([expert(x) for expert in self.experts], 1)
            return (outputs * weights[:, :, None]).sum(1), logits
        mixed = x.new_zeros(len(x), self.d)
        for index, expert in enumerate(self.experts):
            beats = weights[:, index].nonzero()[:, 0]
            if len(beats):
                mixed = mixed.index_add(0, beats, expert(x[beats]) * weights[beats, index, None])
        return mixed, logits


class RhythmPath(nn.Module):
    """RR sequence and relative features of a beat to the rhythm embedding, (b, d)."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        n_features, n_rr = SHAPES[FEATURES][0], SHAPES[RR_SEQUENCE][-1]
        wide, narrow = config.rhythm_width, config.rhythm_width // 2
        self.features = nn.Sequential(nn.BatchNorm1d(n_features), nn.Linear(n_features, wide), nn.ReLU())
        self.sequence = nn.Sequential(
            nn.Conv1d(2, 16, 5, 1, 2),
            nn.ReLU(),
            nn.Conv1d(16, 16, 5, 2, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(16 * ((n_rr + 1) // 2), narrow),
            nn.ReLU(),
        )
        self.width = wide + narrow
        experts = [RhythmExpert(config, self.width) for _ in range(config.rhythm_experts)]
        self.bank = ExpertBank(config, experts, self.width)

    def stem(self, features: Tensor, rr_sequence: Tensor) -> Tensor:
        """Features (b, 27) and RR sequence (b, 2, 32) to (b, width), the input of both routers and of the experts."""
        return torch.cat([self.features(features), self.sequence(rr_sequence)], 1)

    def forward(self, stem: Tensor, route: Route) -> tuple[Tensor, Tensor]:
        """Embedding (b, d) and router logits (b, experts) from the output of `stem`, (b, width)."""
        embedding, logits = self.bank(stem, stem, route)
        return embedding, logits


class MorphologyPath(nn.Module):
    """R-aligned beat and the patient's running template, (b, 2, 103), to the morphology embedding, (b, d)."""

    def __init__(self, config: TeacherConfig, rhythm_width: int) -> None:
        """Build the path; `rhythm_width` is the width of the rhythm stem, 0 for a model without the rhythm path."""
        super().__init__()
        w = config.stem
        self.stem = nn.Sequential(nn.Conv1d(2, w, 7, 2, 3, bias=False), nn.BatchNorm1d(w), nn.ReLU())
        experts = [MorphologyExpert(config, kernel) for kernel in config.morphology_kernels]
        self.bank = ExpertBank(config, experts, w + rhythm_width)

    def forward(self, beat: Tensor, rhythm_stem: Tensor | None, route: Route) -> tuple[Tensor, Tensor]:
        """Embedding (b, d) and router logits (b, experts). The router sees both stems, if there are two."""
        z = self.stem(beat)
        mean = z.mean(-1)
        embedding, logits = self.bank(z, mean if rhythm_stem is None else torch.cat([mean, rhythm_stem], 1), route)
        return embedding, logits


class PeriodGate(nn.Module):
    """Period-aware gate: the period embeddings (b, periods, d) determine the weight of each backbone, for each task."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(config.n_periods * config.d, config.d), nn.ReLU())
        self.tasks = nn.ModuleDict({task: nn.Linear(config.d, len(config.backbones)) for task in config.tasks})

    def forward(self, periods: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """Softmax weights (b, backbones) for each of `tasks`; each row has the sum 1."""
        hidden = self.hidden(periods.flatten(1))
        return {task: self.tasks[task](hidden).softmax(-1) for task in tasks}


class AttentionLevel(nn.Module):
    """Residual multi-head attention and feed-forward block, normalised first; a LoRA adapter on each linear layer."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        d, lora = config.d, (config.tasks, config.lora_rank, config.lora_alpha)
        self.heads = config.heads
        self.norm_query, self.norm_memory, self.norm_forward = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.o = (LoRALinear(d, d, *lora) for _ in range(4))
        self.wide, self.narrow = LoRALinear(d, 2 * d, *lora), LoRALinear(2 * d, d, *lora)

    def forward(self, query: Tensor, memory: Tensor, task: str) -> Tensor:
        """Queries (b, n, d) that attend to the memory (b, m, d), to (b, n, d), with the adapters of `task`."""
        normed_query, normed_memory = self.norm_query(query), self.norm_memory(memory)
        q, k, v = (
            layer(x, task).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.q, normed_query), (self.k, normed_memory), (self.v, normed_memory))
        )
        attended = fn.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        x = query + self.o(attended, task)
        y: Tensor = x + self.narrow(torch.relu(self.wide(self.norm_forward(x), task)), task)
        return y


class HybridFusion(nn.Module):
    """Self-attention over the gated backbone tokens, then cross-attention with the period embeddings as queries."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.backbone_kind = nn.Parameter(torch.randn(1, len(config.backbones), config.d) * 0.02)
        self.period_kind = nn.Parameter(torch.randn(1, config.n_periods, config.d) * 0.02)
        self.self_attention = AttentionLevel(config)
        self.cross_attention = AttentionLevel(config)

    def forward(self, tokens: Tensor, gate: Tensor, periods: Tensor, task: str) -> Tensor:
        """Fused period tokens of one task, (b, periods, d), in the order of `periods`.

        Args:
            tokens: backbone tokens, (b, backbones, d).
            gate: weights of the backbones for this task, (b, backbones); each row has the sum 1.
            periods: period embeddings, (b, periods, d).
            task: task whose adapters are used.
        """
        weighted = tokens * gate[:, :, None] * tokens.shape[1] + self.backbone_kind
        memory = self.self_attention(weighted, weighted, task)
        fused: Tensor = self.cross_attention(periods + self.period_kind, memory, task)
        return fused


class BeatHead(nn.Module):
    """Logits of (N, S, V, F, artefact): (a, a, v, f, x) from the waveform, plus five numbers from the rhythm path.

    Without the rhythm path, the waveform gives five independent numbers, since nothing else can separate S from N.
    """

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        d, n, rhythm = config.d, len(BEAT_ANSWERS), config.rhythm_path
        self.uses_morphology = config.morphology_path
        self.waveform = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear((2 * config.morphology_path + rhythm) * d, d),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(d, n - 1 if rhythm else n),
        )
        self.rhythm = nn.Linear(d, n) if rhythm else None

    def forward(self, fused: Tensor, periods: Tensor) -> Tensor:
        """Logits (b, 5) from the fused tokens and from the period embeddings before fusion, both (b, periods, d)."""
        seen = fused.flatten(1)
        if self.uses_morphology:
            seen = torch.cat([seen, periods[:, 0]], 1)
        waveform: Tensor = self.waveform(seen)
        if self.rhythm is None:
            return waveform
        logits: Tensor = self.rhythm(periods[:, -1]) + torch.cat([waveform[:, :1], waveform], 1)
        return logits


class RRHead(nn.Module):
    """Mean RR interval: a mixture of the interval measured by `rr_prior.mean_rr` and the network's own estimate.

    The weight of the measured interval (`trust`) depends on how well the measurement fits, and on how far the two lie
    apart.
    """

    def __init__(self, config: TeacherConfig, task: Task) -> None:
        super().__init__()
        width = config.n_periods * config.d
        self.own = nn.Sequential(nn.LayerNorm(width), nn.Dropout(config.dropout), nn.Linear(width, 1))
        self.trust = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
        nn.init.constant_(torch.as_tensor(self.trust[2].bias), 3.0)  # training starts from the measured interval
        self.scale, self.offset = task.scale, task.offset

    def forward(self, fused: Tensor, measured: Tensor) -> Tensor:
        """Scaled mean RR interval, (b, 1).

        Args:
            fused: fused tokens, (b, periods * d).
            measured: output of `mean_rr`, (b, 3); a mean of 0 means that nothing was measured.
        """
        own: Tensor = self.own(fused)
        mean, quality = measured[:, :1], measured[:, 1:]
        prior = (mean - self.offset) / self.scale
        distance = (prior - own.detach()).abs().clamp(max=4.0)
        trust = torch.sigmoid(self.trust(torch.cat([quality, distance], 1))) * (mean > 0)
        return own + trust * (prior - own)


class EcgMoe(nn.Module):
    """The teacher. The text of the module says what it takes from the paper and what it does not."""

    def __init__(self, config: TeacherConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TeacherConfig()
        self.tasks: tuple[Task, ...] = tasks_named(config.tasks)
        config.check()
        self.backbones = build_backbones(config.backbones, config.d, config.leads)
        self.rhythm_path = RhythmPath(config) if config.rhythm_path else None
        rhythm_width = 0 if self.rhythm_path is None else self.rhythm_path.width
        self.morphology_path = MorphologyPath(config, rhythm_width) if config.morphology_path else None
        self.gate = PeriodGate(config) if config.gate else None
        self.fusion = HybridFusion(config)
        self.heads = nn.ModuleDict({task.name: _head(config, task) for task in self.tasks})

    def forward(
        self,
        beat: Tensor,
        features: Tensor,
        rr_sequence: Tensor,
        context: Tensor,
        *,
        route: Route = "hard",
        tasks: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Logits of each task, (b, classes) or (b, 1), by its name, and router logits by their names.

        The router logits are `route_morphology` and `route_rhythm`, (b, experts).

        Args:
            beat: beat and template divided by the R amplitude, (b, 2, 103).
            features: relative RR and template features, (b, 27).
            rr_sequence: log RR ratios and their mask, (b, 2, 32).
            context: the last 10 s at 128 Hz divided by the R amplitude, (b, leads, 1280).
            route: "hard" runs the top-k experts of each bank, "soft" mixes all.
            tasks: the tasks to compute; None for all. Everything before the fusion runs once for all tasks.

        Raises:
            ModelError: the context has another number of leads than the model, or a task has no head.
        """
        tasks = self._checked(tasks, context)
        periods, routers = self._periods(beat, features, rr_sequence, route)
        tokens = torch.stack([backbone(context) for backbone in self.backbones], 1)
        equal = tokens.new_full(tokens.shape[:2], 1.0 / tokens.shape[1])
        gates = dict.fromkeys(tasks, equal) if self.gate is None else self.gate(periods, tasks)
        outputs = {}
        for task in tasks:
            fused = self.fusion(tokens, gates[task], periods, task)
            head = self.heads[task]
            if isinstance(head, BeatHead):
                outputs[task] = head(fused, periods)
            elif isinstance(head, RRHead):
                outputs[task] = head(fused.flatten(1), mean_rr(context, rr_sequence))
            else:
                outputs[task] = head(fused.flatten(1))
        return outputs | routers

    def banks(self) -> dict[str, ExpertBank]:
        """The expert banks by the name of their path: morphology, rhythm."""
        paths = {"morphology": self.morphology_path, "rhythm": self.rhythm_path}
        return {name: path.bank for name, path in paths.items() if path is not None}

    def _checked(self, tasks: Sequence[str] | None, context: Tensor) -> tuple[str, ...]:
        if context.shape[1] != self.config.leads:
            raise ModelError(
                f"This model takes contexts of {self.config.leads} lead(s), not {context.shape[1]}; "
                "fill a missing lead with zeros."
            )
        tasks = self.config.tasks if tasks is None else tuple(tasks)
        if unknown := [task for task in tasks if task not in self.heads]:
            raise ModelError(f"This model has no head for {', '.join(unknown)}; it has {', '.join(self.config.tasks)}.")
        return tasks

    def _periods(
        self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Period embeddings (b, periods, d), morphology first, and the router logits by name."""
        stem = None if self.rhythm_path is None else self.rhythm_path.stem(features, rr_sequence)
        embeddings, routers = [], {}
        if self.morphology_path is not None:
            embedding, routers[route_name("morphology")] = self.morphology_path(beat, stem, route)
            embeddings.append(embedding)
        if self.rhythm_path is not None:
            embedding, routers[route_name("rhythm")] = self.rhythm_path(stem, route)
            embeddings.append(embedding)
        return torch.stack(embeddings, 1), routers


def _head(config: TeacherConfig, task: Task) -> nn.Module:
    if task.name == "beat":
        return BeatHead(config)
    if task.name == "rr" and config.rr_prior:
        return RRHead(config, task)
    width = config.n_periods * config.d
    return nn.Sequential(nn.LayerNorm(width), nn.Dropout(config.dropout), nn.Linear(width, task.n_outputs))
