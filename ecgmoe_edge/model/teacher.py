"""EcgMoe, the full-precision teacher: backbones, dual-path experts, period-aware gate, hybrid fusion, task heads.

A stated interpretation of Xu et al., "ECG-MoE: Mixture-of-Expert Electrocardiogram Foundation Model",
arXiv 2603.04589, and not a reproduction: the paper's equations and code were not available. What is read from its
abstract and figure captions is the three parts, (1) several models, each seeing the ECG adaptively downsampled to its
own length, (2) period-aware gating from a dual-path mixture of experts, beat morphology and rhythm apart, and
(3) multi-task fusion by hybrid attention with LoRA. Sizes, the heads, the beat task and how the parts connect are
this project's own choices. One choice comes from experiments and matters more than the rest: **the waveform must not
decide S against N**. A waveform path that may do so learns its training patients' P waves and fails on new ones, so
the morphology path and the backbones give the beat head (a, a, v, f) for (N, S, V, F), three numbers, and only the
relative RR and template features give all four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.backbones import build_backbones
from ecgmoe_edge.model.experts import MorphologyPath, RhythmPath
from ecgmoe_edge.model.fusion import HybridFusion
from ecgmoe_edge.model.gate import PeriodGate
from ecgmoe_edge.model.routing import Route
from ecgmoe_edge.model.tasks import Task, tasks_named
from ecgmoe_edge.model.teacher_config import TeacherConfig
from ecgmoe_edge.model.weights_file import load_exactly, read_weights, write_weights
from ecgmoe_edge.streaming.features import N_FEATURES, RR_SEQUENCE

_FORMAT = "ecgmoe-edge teacher 1"


class BeatHead(nn.Module):
    """Beat logits in which the waveform moves N and S together: (a, a, v, f) from it, four from the rhythm path."""

    def __init__(self, d: int, dropout: float) -> None:
        super().__init__()
        self.waveform = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(3 * d, d), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d, 3)
        )
        self.rhythm = nn.Linear(d, 4)

    def forward(self, fused: Tensor, morphology: Tensor, rhythm: Tensor) -> Tensor:
        """Logits (b, 4) from the fused tokens (b, 2, d) and the period embeddings (b, d) as they were before."""
        a, v, f = self.waveform(torch.cat([fused.flatten(1), morphology], 1)).split(1, dim=1)
        logits: Tensor = self.rhythm(rhythm) + torch.cat([a, a, v, f], 1)
        return logits


class EcgMoe(nn.Module):
    """The teacher. See the module's text for what it is and is not."""

    def __init__(self, config: TeacherConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TeacherConfig()
        self.tasks: tuple[Task, ...] = tasks_named(config.tasks)
        _check(config)
        d = config.d
        self.backbones = build_backbones(config.backbones, d)
        self.rhythm_path = RhythmPath(
            N_FEATURES, RR_SEQUENCE, config.rhythm_width, d, config.rhythm_experts, config.top_k, config.dropout
        )
        self.morphology_path = MorphologyPath(
            config.stem, d, self.rhythm_path.width, config.morphology_kernels, config.top_k, config.dropout
        )
        self.gate = PeriodGate(d, config.tasks, len(config.backbones))
        self.fusion = HybridFusion(
            d, config.heads, config.tasks, config.lora_rank, config.lora_alpha, len(config.backbones)
        )
        self.heads = nn.ModuleDict(
            {
                task.name: BeatHead(d, config.dropout)
                if task.name == "beat"
                else nn.Sequential(nn.LayerNorm(2 * d), nn.Dropout(config.dropout), nn.Linear(2 * d, task.n_outputs))
                for task in self.tasks
            }
        )

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
        """Outputs by name: logits (b, classes) or (b, 1) of each task, `route_morphology` and `route_rhythm` logits.

        Args:
            beat: beat and template over the R amplitude, (b, 2, 103).
            features: relative RR and template features, (b, 27).
            rr_sequence: log RR ratios and their mask, (b, 2, 32).
            context: the last 10 s at 128 Hz over the R amplitude, (b, 1, 1280).
            route: "hard" runs the top-k experts of each bank, "soft" mixes all.
            tasks: the tasks wanted; None gives all. The parts before the fusion run once for all of them.
        """
        wanted = self.config.tasks if tasks is None else tuple(tasks)
        stem = self.rhythm_path.stem(features, rr_sequence)
        rhythm, route_rhythm = self.rhythm_path(stem, route)
        morphology, route_morphology = self.morphology_path(beat, stem, route)
        tokens = torch.stack([backbone(context) for backbone in self.backbones], 1)
        gates = self.gate(morphology, rhythm, wanted)
        periods = torch.stack([morphology, rhythm], 1)
        outputs = {}
        for task in wanted:
            fused = self.fusion(tokens, gates[task], periods, task)
            head = self.heads[task]
            outputs[task] = head(fused, morphology, rhythm) if task == "beat" else head(fused.flatten(1))
        return outputs | {"route_morphology": route_morphology, "route_rhythm": route_rhythm}


def _check(config: TeacherConfig) -> None:
    if config.d % config.heads:
        raise ModelError(f"The teacher's width d = {config.d} does not divide into {config.heads} heads.")
    if not config.morphology_kernels or any(k < 1 or k % 2 == 0 for k in config.morphology_kernels):
        raise ModelError("morphology_kernels needs at least one expert, each with an odd kernel length.")
    for bank, n in (("morphology", len(config.morphology_kernels)), ("rhythm", config.rhythm_experts)):
        if not 1 <= config.top_k <= n:
            raise ModelError(f"top_k = {config.top_k} does not fit the {n} experts of the {bank} bank.")


def save_teacher(path: Path, model: EcgMoe, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration as one safetensors file, atomically.

    Args:
        path: the file; its folder must exist.
        model: the teacher.
        metadata: further text entries for the file's header, such as the digest of its training configuration.
    """
    partial = path.with_name(path.name + ".partial")
    header = {**(metadata or {}), "config": msgspec.json.encode(model.config).decode()}
    write_weights(partial, model.state_dict(), _FORMAT, {}, header)
    partial.replace(path)


def load_teacher(path: Path) -> EcgMoe:
    """The teacher of a file that `save_teacher` wrote, in evaluation mode.

    Raises:
        ModelError: the file is absent, is no teacher, or does not fit its own configuration.
    """
    weights, header = read_weights(path, _FORMAT)
    try:
        config = msgspec.json.decode(header.get("config", "null"), type=TeacherConfig)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path} was written by another version of this model ({error}). Train anew.") from error
    # The weights are all here: a backbone's own starting weights need not exist any more.
    specs = tuple(msgspec.structs.replace(spec, weights=None) for spec in config.backbones)
    model = EcgMoe(msgspec.structs.replace(config, backbones=specs))
    load_exactly(model, weights, path)
    return model.eval()
