"""The compact ECG mixture of experts that runs on a device: two paths, one expert each, a gate between them.

    beat ──────────> stem ──> z_morphology ──> morphology bank ──> y_morphology ─┐
                      │ mean                   (one of n experts)                ├─> fusion ──> heads
    features ────┐    v                                                          │   (LoRA a task)
    rr_sequence ─┴─> z_rhythm ───────────────> rhythm bank ──────> y_rhythm ─────┘     ^
                      └── both embeddings ──> routers, and the period-aware gate: two path weights a task

Three parts can be cut out as they stand: the trunk (stem, embeddings, routers, gate), each expert, and the
tail (fusion and heads); compression turns each into an integer graph. Convolutions are written as Conv2d
(1, k), which is what the int8 kernels of every runtime want; there is BatchNorm where others put LayerNorm,
since it folds away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ecgmoe_edge.contract import FEATURES, ROUTES, SHAPES
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.shared_layers import LoRALinear, Route, route_weights
from ecgmoe_edge.model.weights_file import (
    load_exactly,
    read_configuration,
    read_weights,
    refuse_damaged,
    refuse_unlike_made,
    write_weights,
)
from ecgmoe_edge.tasks import BEAT_CLASSES, STUDENT_TASKS, tasks_named

_FORMAT = "ecgmoe-edge student 1"
_LARGEST, _MOST_EXPERTS = 1024, 64  # the widest student has 96 and 4


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student. `named` gives the three widths; one definition serves them all."""

    width: str = "small"
    waveform: int = 16  # channels of the waveform stem; experts have two and three times as many
    dim: int = 32  # what an expert yields; the rhythm embedding has twice as many
    morphology_experts: int = 4  # 1 in both banks: a dense net of the same cost a beat
    rhythm_experts: int = 4
    rank: int = 8  # LoRA, on the fusion block alone
    alpha: float = 32.0
    dropout: float = 0.2
    tasks: tuple[str, ...] = STUDENT_TASKS

    @staticmethod
    def named(width: str, **changes: Any) -> StudentConfig:
        """The configuration of a width: `nano` (microcontroller), `small` (Raspberry Pi class), `base`
        (Jetson class).

        Raises:
            ModelError: no width has that name, or a change names no field.
        """
        if width not in _WIDTHS:
            raise ModelError(f"There is no student width {width!r}. Choose one of {', '.join(_WIDTHS)}.")
        try:
            return replace(_WIDTHS[width], **changes)
        except TypeError as error:
            raise ModelError(f"A student configuration has the fields {', '.join(_FIELDS)}: {error}.") from error

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ModelError("A student needs at least one task.")
        for task in tasks_named(self.tasks):
            if task.name not in STUDENT_TASKS:
                raise ModelError(f"A student has no head for {task.name!r}, only for {', '.join(STUDENT_TASKS)}.")
        sizes = (self.waveform, self.dim, self.morphology_experts, self.rhythm_experts, self.rank)
        if any(not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _LARGEST for size in sizes):
            raise ModelError(f"Every size of a student configuration is a whole number from 1 to {_LARGEST}.")
        if not 1 <= max(self.morphology_experts, self.rhythm_experts) <= _MOST_EXPERTS:
            raise ModelError(f"A bank of a student has at most {_MOST_EXPERTS} experts.")
        if not 0 < self.alpha <= _LARGEST or not 0 <= self.dropout < 1:
            raise ModelError(f"A student has an alpha above 0 and up to {_LARGEST}, and a dropout from 0 to below 1.")


_FIELDS = tuple(field.name for field in fields(StudentConfig))
_WIDTHS = {
    "nano": StudentConfig("nano", waveform=8, dim=16, morphology_experts=2, rhythm_experts=2, rank=4),
    "small": StudentConfig("small", waveform=64, dim=64),
    "base": StudentConfig("base", waveform=80, dim=96),
}


class ConvBlock(nn.Module):
    """Convolution along time, BatchNorm, ReLU: (b, c_in, 1, n) to (b, c_out, 1, n / stride)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, (1, kernel), (1, stride), (0, kernel // 2), bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        return functional.relu(self.norm(self.conv(x)))


class NormedLinear(nn.Module):
    """A linear layer and BatchNorm."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.norm: nn.Module = nn.BatchNorm1d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """(b, in_features) to (b, out_features)."""
        y: Tensor = self.norm(self.linear(x))
        return y


class Trunk(nn.Module):
    """What runs for every beat before the experts: stems, routers and the period-aware gate."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        w, e = config.waveform, 2 * config.dim
        self.stem = ConvBlock(2, w, 7)
        # 8 samples to 2. A mean of an odd number of integers never lies half-way between two, where runtimes differ.
        self.sequence = nn.Sequential(
            ConvBlock(2, w, 5), ConvBlock(w, w, 3), nn.AvgPool2d((1, 5), (1, 3)), nn.Flatten()
        )
        self.from_sequence = NormedLinear(2 * w, e)
        self.from_features = NormedLinear(SHAPES[FEATURES][0], e)
        self.route_morphology = nn.Linear(w + e, config.morphology_experts)
        self.route_rhythm = nn.Linear(e, config.rhythm_experts)
        self.gates = nn.ModuleDict({task: nn.Linear(w + e, 2) for task in config.tasks})

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor) -> tuple[Tensor, ...]:
        """z_morphology (b, w, 1, 52), z_rhythm (b, 2d), the two routers' logits, then a gate (b, 2) for each
        task.
        """
        z_morphology = self.stem(beat.unsqueeze(2))
        sequence = self.sequence(rr_sequence.unsqueeze(2))
        z_rhythm = functional.relu(self.from_features(features) + self.from_sequence(sequence))
        period = torch.cat([z_morphology.mean((2, 3)), z_rhythm], 1)
        gates = [gate(period).softmax(-1) for gate in self.gates.values()]
        return z_morphology, z_rhythm, self.route_morphology(period), self.route_rhythm(z_rhythm), *gates


class MorphologyExpert(nn.Module):
    """Two convolutions over the stem's output; four pooled positions keep P, QRS, ST and T in place."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        w = config.waveform
        self.first, self.second = ConvBlock(w, 2 * w, 5), ConvBlock(2 * w, 3 * w, 5)
        self.pool = nn.AvgPool2d((1, 3))  # 13 samples to 4; odd, as above
        self.dropout: nn.Module = nn.Dropout(config.dropout)
        self.out = nn.Linear(12 * w, config.dim)

    def forward(self, z: Tensor) -> Tensor:
        """(b, w, 1, 52) to (b, d)."""
        pooled = self.pool(self.second(self.first(z))).flatten(1)
        return functional.relu(self.out(self.dropout(pooled)))


class RhythmExpert(nn.Module):
    """A small network over the rhythm embedding."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * config.dim, config.dim)
        self.dropout: nn.Module = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, z: Tensor) -> Tensor:
        """(b, 2d) to (b, d)."""
        return functional.relu(self.out(self.dropout(functional.relu(self.hidden(z)))))


class Fusion(nn.Module):
    """A residual feed-forward block for each path's vector; base weights are shared, each task has a LoRA
    adapter.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        d, lora = config.dim, (config.tasks, config.rank, config.alpha)
        self.up, self.down = LoRALinear(d, 2 * d, *lora), LoRALinear(2 * d, d, *lora)

    def forward(self, x: Tensor, task: str) -> Tensor:
        """(rows, d) to (rows, d)."""
        y: Tensor = x + self.down(functional.relu(self.up(x, task)), task)
        return y


class BeatHead(nn.Module):
    """Logits of N, S, V, F. The waveform path moves N and S together: only rhythm and features decide between
    them.

    With the waveform free to tell S from N, a small net learns its training patients instead (S F1 .52
    against .63).
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d
        self.morphology = nn.Linear(d, len(BEAT_CLASSES) - 1)  # (N and S), V, F
        self.rhythm = nn.Linear(d, len(BEAT_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """(b, 2d) to (b, 4)."""
        shared = self.morphology(x[:, : self.d])
        y: Tensor = torch.cat([shared[:, :1], shared], 1) + self.rhythm(x[:, self.d :])
        return y


class Tail(nn.Module):
    """From what the two experts yield to the logits of every task."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.dim, self.tasks = config.dim, config.tasks
        self.fusion = Fusion(config)
        self.heads = nn.ModuleDict(
            {
                task.name: BeatHead(config.dim) if task.name == "beat" else nn.Linear(2 * config.dim, task.n_outputs)
                for task in tasks_named(config.tasks)
            }
        )

    def fuse(self, x: Tensor, task: str) -> Tensor:
        """The fusion block as `task` has it, (rows, d) to (rows, d)."""
        y: Tensor = self.fusion(x, task)
        return y

    def forward(self, y_morphology: Tensor, y_rhythm: Tensor, *gates: Tensor) -> tuple[Tensor, ...]:
        """Two (b, d) and a gate (b, 2) for each task, to logits for each task in the order of `tasks`.

        Both paths' vectors go through as rows of one matrix, so that every layer is a plain two-dimensional
        product.
        """
        rows = torch.cat([y_morphology, y_rhythm], 1).reshape(-1, self.dim)
        logits = []
        for task, gate in zip(self.tasks, gates, strict=True):
            weighted = self.fuse(rows, task) * gate.reshape(-1, 1)
            logits.append(self.heads[task](weighted.reshape(-1, 2 * self.dim)))
        return tuple(logits)


class Student(nn.Module):
    """The compact model. `forward` takes what the streaming front end makes of each beat; see the module's
    drawing.
    """

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = config = StudentConfig() if config is None else config
        self.tasks = config.tasks
        self.trunk = Trunk(config)
        self.morphology = nn.ModuleList([MorphologyExpert(config) for _ in range(config.morphology_experts)])
        self.rhythm = nn.ModuleList([RhythmExpert(config) for _ in range(config.rhythm_experts)])
        self.tail = Tail(config)

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route = "hard") -> dict[str, Tensor]:
        """Logits of each task, and of the two routers.

        Args:
            beat: (b, 2, 103) window and running template, in R amplitudes, within +-6.
            features: (b, 27) scaled features, within +-4.
            rr_sequence: (b, 2, 32) log RR ratios and their mask.
            route: "hard" runs the expert that each router prefers (while training, with a straight-through
                gradient);
                "soft" mixes all experts by their probability.

        Returns:
            A (b, 4) tensor for each task by its name, "route_morphology" and "route_rhythm", (b, experts).
        """
        return run_student(self, beat, features, rr_sequence, route)

    def start_alike(self) -> None:
        """Give all experts of a bank the weights of its first, for the start of a fit.

        Under the soft route such a bank trains as one dense net whose experts part by degrees, and little is lost when
        the route turns hard. `experiments/mixture_vs_dense.py` compares it with experts that start apart; the shipped
        students start apart.
        """
        for bank in (self.morphology, self.rhythm):
            for expert in bank[1:]:
                expert.load_state_dict(bank[0].state_dict())

    def parameters_per_beat(self) -> int:
        """Parameters that one beat's hard route reads: everything but the experts that are not chosen."""
        total = sum(p.numel() for p in self.parameters())
        for bank in (self.morphology, self.rhythm):
            total -= (len(bank) - 1) * sum(p.numel() for p in bank[0].parameters())
        return total


def mix_experts(experts: Sequence[nn.Module], z: Tensor, logits: Tensor, route: Route, training: bool) -> Tensor:
    """What a bank yields for (b, ...) inputs and (b, n) router logits.

    While training, all experts run, since the router learns from those it did not choose too. Otherwise the
    hard route runs each expert on the rows that chose it: the lowest index wins a tie, as ArgMax does in ONNX
    and TFLite.
    """
    if training or route == "soft":
        weights = route_weights(logits, route, training=training)
        return torch.stack([expert(z) * weights[:, i, None] for i, expert in enumerate(experts)]).sum(0)
    chosen = logits.argmax(-1)
    mixed: Tensor | None = None
    for index, expert in enumerate(experts):
        rows = (chosen == index).nonzero()[:, 0]
        if len(rows):
            part = expert(z[rows])
            mixed = part.new_zeros(len(z), *part.shape[1:]) if mixed is None else mixed
            mixed = mixed.index_copy(0, rows, part)
    return experts[0](z) if mixed is None else mixed  # no row at all: an empty batch


def run_student(
    parts: Any,
    beat: Tensor,
    features: Tensor,
    rr_sequence: Tensor,
    route: Route,
    *,
    training: bool | None = None,
) -> dict[str, Tensor]:
    """The forward pass of anything cut like a student: `trunk`, `morphology`, `rhythm`, `tail`, `tasks`.

    `training` says whether a hard route is straight-through; without it, `parts.training` does.
    """
    training = bool(parts.training) if training is None else training
    z_morphology, z_rhythm, route_morphology, route_rhythm, *gates = parts.trunk(beat, features, rr_sequence)
    y_morphology = mix_experts(parts.morphology, z_morphology, route_morphology, route, training)
    y_rhythm = mix_experts(parts.rhythm, z_rhythm, route_rhythm, route, training)
    logits = parts.tail(y_morphology, y_rhythm, *gates)
    return {
        **dict(zip(parts.tasks, logits, strict=True)),
        **dict(zip(ROUTES, (route_morphology, route_rhythm), strict=True)),
    }


def save_student(path: Path | str, student: Student, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration as one safetensors file; `metadata` is kept beside the configuration."""
    write_weights(path, student.state_dict(), _FORMAT, {"config": student.config}, metadata)


def load_student(path: Path | str) -> Student:
    """The student of a file that `save_student` wrote, in eval mode.

    Raises:
        ModelError: the file is no student, or its configuration or a tensor is unknown, missing or of
            another shape.
    """
    tensors, metadata = read_weights(path, _FORMAT)
    config = read_configuration(StudentConfig, metadata, "config", path)
    refuse_unlike_made(lambda: Student(config), tensors, path)
    refuse_damaged(tensors, metadata, path)
    student = Student(config)
    load_exactly(student, tensors, path)
    return student.eval()
