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

from ecgmoe_edge.contract import FEATURES, RR_SEQUENCE, SHAPES, route_name
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.backbones import build_backbones
from ecgmoe_edge.model.experts import ExpertBank, MorphologyPath, RhythmPath
from ecgmoe_edge.model.fusion import HybridFusion
from ecgmoe_edge.model.gate import PeriodGate
from ecgmoe_edge.model.heads import BeatHead, RRHead
from ecgmoe_edge.model.routing import Annealing, Route, RouterGradient
from ecgmoe_edge.model.rr_prior import mean_rr
from ecgmoe_edge.model.teacher_config import BackboneSpec, TeacherConfig, refuse_code
from ecgmoe_edge.model.weights_file import load_exactly, read_weights, refuse_damaged, refuse_unlike_made, write_weights
from ecgmoe_edge.tasks import Task, tasks_named

_FORMAT = "ecgmoe-edge teacher 1"


class EcgMoe(nn.Module):
    """The teacher. See the module's text for what it is and is not."""

    def __init__(self, config: TeacherConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TeacherConfig()
        self.tasks: tuple[Task, ...] = tasks_named(config.tasks)
        _check(config)
        d, n_periods = config.d, config.morphology_path + config.rhythm_path
        self.backbones = build_backbones(config.backbones, d, config.leads)
        self.rhythm_path = (
            RhythmPath(
                SHAPES[FEATURES][0],
                SHAPES[RR_SEQUENCE][-1],
                config.rhythm_width,
                d,
                config.rhythm_experts,
                config.top_k,
                config.dropout,
                _learning(config),
            )
            if config.rhythm_path
            else None
        )
        self.morphology_path = (
            MorphologyPath(
                config.stem,
                d,
                self.rhythm_path.width if self.rhythm_path is not None else 0,
                config.morphology_kernels,
                config.top_k,
                config.dropout,
                _learning(config),
            )
            if config.morphology_path
            else None
        )
        self.gate = PeriodGate(d, config.tasks, len(config.backbones), n_periods) if config.gate else None
        self.fusion = HybridFusion(
            d, config.heads, config.tasks, config.lora_rank, config.lora_alpha, len(config.backbones), n_periods
        )
        self.heads = nn.ModuleDict({task.name: self._head(task, n_periods * d) for task in self.tasks})

    def _head(self, task: Task, width: int) -> nn.Module:
        config = self.config
        if task.name == "beat":
            return BeatHead(config.d, config.dropout, config.morphology_path, config.rhythm_path)
        if task.name == "rr" and config.rr_prior:
            return RRHead(width, config.dropout, task)
        return nn.Sequential(nn.LayerNorm(width), nn.Dropout(config.dropout), nn.Linear(width, task.n_outputs))

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
            context: the last 10 s at 128 Hz over the R amplitude, (b, leads, 1280).
            route: "hard" runs the top-k experts of each bank, "soft" mixes all.
            tasks: the tasks wanted; None gives all. The parts before the fusion run once for all of them.

        Raises:
            ModelError: the context has not the model's number of leads, or a task has no head.
        """
        wanted = self._wanted(tasks, context)
        periods, routers = self._periods(beat, features, rr_sequence, route)
        tokens = torch.stack([backbone(context) for backbone in self.backbones], 1)
        even = tokens.new_full(tokens.shape[:2], 1.0 / tokens.shape[1])
        gates = self.gate(periods, wanted) if self.gate is not None else dict.fromkeys(wanted, even)
        outputs = {}
        for task in wanted:
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

    def _wanted(self, tasks: Sequence[str] | None, context: Tensor) -> tuple[str, ...]:
        if context.shape[1] != self.config.leads:
            raise ModelError(
                f"This model takes contexts of {self.config.leads} lead(s), not {context.shape[1]}; "
                "zeros stand for a lead that is not there."
            )
        wanted = self.config.tasks if tasks is None else tuple(tasks)
        unknown = [task for task in wanted if task not in self.heads]
        if unknown:
            raise ModelError(f"This model has no head for {', '.join(unknown)}; it has {', '.join(self.config.tasks)}.")
        return wanted

    def _periods(
        self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Period embeddings (b, periods, d), morphology first, and the routers' logits by name."""
        stem = self.rhythm_path.stem(features, rr_sequence) if self.rhythm_path is not None else None
        embeddings, routers = [], {}
        if self.morphology_path is not None:
            embedding, routers[route_name("morphology")] = self.morphology_path(beat, stem, route)
            embeddings.append(embedding)
        if self.rhythm_path is not None:
            embedding, routers[route_name("rhythm")] = self.rhythm_path(stem, route)
            embeddings.append(embedding)
        return torch.stack(embeddings, 1), routers


def _learning(config: TeacherConfig) -> Annealing | RouterGradient:
    return Annealing(config.anneal_steps) if config.routing == "annealed" else config.routing


def _check(config: TeacherConfig) -> None:
    if not 1 <= config.leads <= 12:
        raise ModelError(f"A teacher has 1 to 12 leads, not {config.leads}.")
    if not config.morphology_path and not config.rhythm_path:
        raise ModelError("The teacher needs the morphology path, the rhythm path or both; both are switched off.")
    if config.d % config.heads:
        raise ModelError(f"The teacher's width d = {config.d} does not divide into {config.heads} heads.")
    if not config.morphology_kernels or any(k < 1 or k % 2 == 0 for k in config.morphology_kernels):
        raise ModelError("morphology_kernels needs at least one expert, each with an odd kernel length.")
    for bank, n in (("morphology", len(config.morphology_kernels)), ("rhythm", config.rhythm_experts)):
        if not 1 <= config.top_k <= n:
            raise ModelError(f"top_k = {config.top_k} does not fit the {n} experts of the {bank} bank.")


def save_teacher(path: Path, model: EcgMoe, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration as one safetensors file, atomically; pretrained backbones stay in their own.

    Args:
        path: the file; its folder must exist.
        model: the teacher.
        metadata: further text entries for the file's header, such as the digest of its training configuration.
    """
    header = {**(metadata or {}), "config": msgspec.json.encode(model.config).decode()}
    write_weights(path, model.state_dict(), _FORMAT, {}, header)


def load_teacher(path: Path, *, trust_code: bool = False) -> EcgMoe:
    """The teacher of a file that `save_teacher` wrote, in evaluation mode.

    Args:
        path: the file.
        trust_code: whether the function that the file names for a pretrained backbone may be imported and called. The
            entry point of an installed package always may.

    Raises:
        ModelError: the file is absent, is no teacher, names code without `trust_code`, or does not fit its own
            configuration.
    """
    weights, header = read_weights(path, _FORMAT)
    try:
        config = msgspec.json.decode(header.get("config", "null"), type=TeacherConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path} was written by another version of this model ({error}). Train again.") from error
    if not trust_code:
        refuse_code(config.backbones, str(path))
    # Files from before the RR interval was measured have a plain head.
    config = msgspec.structs.replace(config, rr_prior=config.rr_prior and "heads.rr.0.weight" not in weights)
    specs = tuple(_found(spec, path) for spec in config.backbones)
    config = msgspec.structs.replace(config, backbones=specs)
    if all(spec.kind != "pretrained" for spec in specs):  # those are loaded as they are made
        refuse_unlike_made(lambda: EcgMoe(config), weights, path)
    refuse_damaged(weights, header, path)
    model = EcgMoe(config)
    load_exactly(model, weights, path)
    return model.eval()


def _found(spec: BackboneSpec, teacher: Path) -> BackboneSpec:
    """Where a backbone's weights are now: a pretrained one's file may have moved to the teacher's folder."""
    if spec.kind != "pretrained":
        return msgspec.structs.replace(spec, weights=None)  # they are in the teacher's file
    beside = teacher.parent / Path(str(spec.weights)).name
    there = Path(str(spec.weights)).expanduser().is_file()
    return spec if there or not beside.is_file() else msgspec.structs.replace(spec, weights=str(beside))
