"""The student: the compact ECG mixture of experts that runs on a device. Two paths, one expert each, and a gate.

    beat ──────────> stem ──> z_morphology ──> morphology bank ──> y_morphology ─┐
                      │ mean                   (one of n experts)                ├─> fusion ──> heads
    features ────┐    v                                                          │   (LoRA per task)
    rr_sequence ─┴─> z_rhythm ───────────────> rhythm bank ──────> y_rhythm ─────┘     ^
                      └── both embeddings ──> routers, and the period-aware gate: two path weights per task

Compression converts three kinds of parts separately into integer graphs: the trunk (stem, embeddings, routers, gate),
each expert, and the tail (fusion and heads). Convolutions are Conv2d (1, k), because the int8 kernels of every runtime
support that. Normalisation is BatchNorm and not LayerNorm, because it can be folded into the layer before it.

In all shapes, b is the number of beats, w is `StudentConfig.waveform`, and d is `StudentConfig.dim`.
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
from ecgmoe_edge.model.morphology_experts import ConvBlock, morphology_expert
from ecgmoe_edge.model.shared_layers import LoRALinear, Route, route_weights
from ecgmoe_edge.model.weights_file import (
    load_exactly,
    read_configuration,
    read_weights,
    refuse_damaged,
    refuse_unlike_made,
    write_weights,
)
from ecgmoe_edge.tasks import BEAT_CLASSES, STUDENT_TASKS, TASK_CLASSES, tasks_named

_FORMAT = "ecgmoe-edge student 2"
_LARGEST, _MOST_EXPERTS = 1024, 64  # widest shipped student: 96 and 4


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student. `StudentConfig.named` gives those of the three widths."""

    width: str = "small"
    waveform: int = 16  # channels of the waveform stem; a full morphology expert has 2 and 3 times as many
    dim: int = 32  # width of an expert's output; the rhythm embedding is twice as wide
    # Fraction of the full number of channels of each morphology expert, from cheap to expensive; 0: no convolutions.
    # (1.0,) and one rhythm expert: the dense twin, a network without experts to choose from.
    morphology_widths: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    rhythm_experts: int = 4
    rank: int = 8  # LoRA rank; only the fusion block has adapters
    alpha: float = 32.0
    dropout: float = 0.2
    tasks: tuple[str, ...] = STUDENT_TASKS
    artefact_answer: bool = True  # whether the beat head has the answer that a detected peak is an artefact

    @staticmethod
    def named(width: str, **changes: Any) -> StudentConfig:
        """Return the configuration of a width.

        Args:
            width: "nano" (microcontroller), "small" (Raspberry Pi class) or "base" (Jetson class).
            changes: values of fields that differ from this width.

        Raises:
            ModelError: there is no such width or field.
        """
        if width not in _WIDTHS:
            raise ModelError(f"There is no student width {width!r}. Choose one of {', '.join(_WIDTHS)}.")
        try:
            return replace(_WIDTHS[width], **changes)
        except TypeError as error:
            raise ModelError(f"A student configuration has only the fields {', '.join(_FIELDS)}: {error}.") from error

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ModelError("A student needs at least one task.")
        for task in tasks_named(self.tasks):
            if task.name not in STUDENT_TASKS:
                raise ModelError(f"A student has no head for {task.name!r}, only for {', '.join(STUDENT_TASKS)}.")
        sizes = (self.waveform, self.dim, self.rhythm_experts, self.rank)
        if any(not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _LARGEST for size in sizes):
            raise ModelError(f"Every size of a student configuration is a whole number from 1 to {_LARGEST}.")
        _check_widths(self.morphology_widths)
        if max(len(self.morphology_widths), self.rhythm_experts) > _MOST_EXPERTS:
            raise ModelError(f"A bank of a student has at most {_MOST_EXPERTS} experts.")
        if not isinstance(self.artefact_answer, bool):
            raise ModelError("artefact_answer of a student configuration is true or false.")
        if not 0 < self.alpha <= _LARGEST or not 0 <= self.dropout < 1:
            raise ModelError(f"A student has an alpha above 0 and up to {_LARGEST}, and a dropout from 0 to below 1.")

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Classes of each task, in the order of its logits."""
        without = {} if self.artefact_answer else {"beat": BEAT_CLASSES}
        return {task: without.get(task, TASK_CLASSES[task]) for task in self.tasks}

    def dense_twin(self) -> StudentConfig:
        """Return the configuration with the same sizes and one expert per path, the full one for the morphology."""
        return replace(self, morphology_widths=(1.0,), rhythm_experts=1)


def _check_widths(widths: object) -> None:
    """Check the widths of the morphology experts, which can come from a damaged file.

    Raises:
        ModelError: they are not fractions in ascending order.
    """
    numbers = [w for w in widths if type(w) in (int, float) and 0 <= w <= 1] if isinstance(widths, tuple) else []
    if not numbers or numbers != sorted(numbers) or len(numbers) < len(widths):  # type: ignore[arg-type]
        raise ModelError(
            "morphology_widths lists at least one expert, each by its fraction of the full number of channels from 0 "
            "to 1, in ascending order."
        )


_FIELDS = tuple(field.name for field in fields(StudentConfig))
_WIDTHS = {
    "nano": StudentConfig("nano", waveform=8, dim=16, morphology_widths=(1.0, 1.0), rhythm_experts=2, rank=4),
    "small": StudentConfig("small", waveform=64, dim=64),
    "base": StudentConfig("base", waveform=80, dim=96),
}


class NormedLinear(nn.Module):
    """Linear layer and BatchNorm: (b, in_features) to (b, out_features)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)
        self.norm: nn.Module = nn.BatchNorm1d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y: Tensor = self.norm(self.linear(x))
        return y


class Trunk(nn.Module):
    """The part before the experts: stems, routers and period-aware gate."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        w, e = config.waveform, 2 * config.dim
        self.stem = ConvBlock(2, w, 7)
        # The pooling takes 8 samples to 2. It averages an odd number of integers, so that the mean is never half-way
        # between two integers, where runtimes round differently. The morphology experts do the same.
        self.sequence = nn.Sequential(
            ConvBlock(2, w, 5), ConvBlock(w, w, 3), nn.AvgPool2d((1, 5), (1, 3)), nn.Flatten()
        )
        self.from_sequence = NormedLinear(2 * w, e)
        self.from_features = NormedLinear(SHAPES[FEATURES][0], e)
        self.route_morphology = nn.Linear(w + e, len(config.morphology_widths))
        self.route_rhythm = nn.Linear(e, config.rhythm_experts)
        self.gates = nn.ModuleDict({task: nn.Linear(w + e, 2) for task in config.tasks})

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor) -> tuple[Tensor, ...]:
        """z_morphology (b, w, 1, n), z_rhythm (b, 2d), the logits of both routers, and per task a gate (b, 2)."""
        z_morphology = self.stem(beat.unsqueeze(2))
        sequence = self.sequence(rr_sequence.unsqueeze(2))
        z_rhythm = functional.relu(self.from_features(features) + self.from_sequence(sequence))
        period = torch.cat([z_morphology.mean((2, 3)), z_rhythm], 1)
        gates = [gate(period).softmax(-1) for gate in self.gates.values()]
        return z_morphology, z_rhythm, self.route_morphology(period), self.route_rhythm(z_rhythm), *gates


class RhythmExpert(nn.Module):
    """A two-layer network over the rhythm embedding."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * config.dim, config.dim)
        self.dropout: nn.Module = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, z: Tensor) -> Tensor:
        """(b, 2d) to (b, d)."""
        return functional.relu(self.out(self.dropout(functional.relu(self.hidden(z)))))


class Fusion(nn.Module):
    """Residual feed-forward block for the vector of a path. Weights are shared; each task has LoRA adapters."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        d, lora = config.dim, (config.tasks, config.rank, config.alpha)
        self.up, self.down = LoRALinear(d, 2 * d, *lora), LoRALinear(2 * d, d, *lora)

    def forward(self, x: Tensor, task: str) -> Tensor:
        """(rows, d) to (rows, d)."""
        y: Tensor = x + self.down(functional.relu(self.up(x, task)), task)
        return y


class BeatHead(nn.Module):
    """Logits of N, S, V, F and perhaps the artefact; the morphology path changes N and S together.

    If the waveform may separate S from N, a small network memorises its training patients (F1 of S .52 instead of .63).
    """

    def __init__(self, d: int, answers: int) -> None:
        super().__init__()
        self.d = d
        self.morphology = nn.Linear(d, answers - 1)  # N and S together, V, F, artefact
        self.rhythm = nn.Linear(d, answers)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors of both paths, (b, 2d), to logits (b, answers)."""
        shared = self.morphology(x[:, : self.d])
        y: Tensor = torch.cat([shared[:, :1], shared], 1) + self.rhythm(x[:, self.d :])
        return y


class Tail(nn.Module):
    """The part after the experts: fusion and heads."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.dim, self.tasks = config.dim, config.tasks
        self.fusion = Fusion(config)
        self.heads = nn.ModuleDict(
            {
                task: BeatHead(config.dim, len(names)) if task == "beat" else nn.Linear(2 * config.dim, len(names))
                for task, names in config.classes.items()
            }
        )

    def fuse(self, x: Tensor, task: str) -> Tensor:
        """Fusion block with the adapters of `task`, (rows, d) to (rows, d)."""
        y: Tensor = self.fusion(x, task)
        return y

    def forward(self, y_morphology: Tensor, y_rhythm: Tensor, *gates: Tensor) -> tuple[Tensor, ...]:
        """Logits of each task, in the order of `tasks`.

        The vectors of both paths are rows of one matrix, so that every layer is a two-dimensional matrix product.

        Args:
            y_morphology: output of the morphology expert, (b, d).
            y_rhythm: output of the rhythm expert, (b, d).
            gates: weights of the two paths for each task, (b, 2).
        """
        rows = torch.cat([y_morphology, y_rhythm], 1).reshape(-1, self.dim)
        logits = []
        for task, gate in zip(self.tasks, gates, strict=True):
            weighted = self.fuse(rows, task) * gate.reshape(-1, 1)
            logits.append(self.heads[task](weighted.reshape(-1, 2 * self.dim)))
        return tuple(logits)


class Student(nn.Module):
    """The student; see the drawing in the text of the module."""

    def __init__(self, config: StudentConfig | None = None) -> None:
        super().__init__()
        self.config = config = StudentConfig() if config is None else config
        self.tasks = config.tasks
        self.trunk = Trunk(config)
        sizes = config.waveform, config.dim, config.dropout
        self.morphology = nn.ModuleList([morphology_expert(*sizes, width) for width in config.morphology_widths])
        self.rhythm = nn.ModuleList([RhythmExpert(config) for _ in range(config.rhythm_experts)])
        self.tail = Tail(config)

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route = "hard") -> dict[str, Tensor]:
        """Logits of the tasks and of the two routers.

        Args:
            beat: window and running template divided by the R amplitude, within +-6, (b, 2, 82).
            features: scaled features, within +-4, (b, 27).
            rr_sequence: log RR ratios and their mask, (b, 2, 32).
            route: "hard" uses the expert that each router prefers, "soft" mixes all experts by their probability.

        Returns:
            Logits of each task by its name, (b, classes), and "route_morphology" and "route_rhythm", (b, experts).
        """
        return run_student(self, beat, features, rr_sequence, route)

    def each_expert(
        self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route = "hard"
    ) -> list[dict[str, Tensor]]:
        """Outputs with each morphology expert alone, in the order of the bank; see `outputs_of_each`."""
        return outputs_of_each(self, beat, features, rr_sequence, route)

    def most_parameters_per_beat(self) -> int:
        """Number of parameters used for a beat that takes the largest expert of each path, with the hard route."""
        total = sum(p.numel() for p in self.parameters())
        for bank in (self.morphology, self.rhythm):
            sizes = [sum(p.numel() for p in expert.parameters()) for expert in bank]
            total -= sum(sizes) - max(sizes)
        return total


def mix_experts(experts: Sequence[nn.Module], z: Tensor, logits: Tensor, route: Route, training: bool) -> Tensor:
    """Output of a bank of experts, (b, d).

    During training all experts run on all beats, so that their BatchNorm takes its statistics over all beats. In
    evaluation with the hard route, each expert runs only on the beats that chose it. The lowest index wins a tie, as
    with ArgMax in ONNX and TFLite.

    Args:
        experts: the experts.
        z: their input, (b, ...).
        logits: router logits, (b, experts).
        route: "soft" or "hard".
        training: whether the output is for training.
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
    return experts[0](z) if mixed is None else mixed  # an empty batch


def run_student(
    parts: Any, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route, *, training: bool | None = None
) -> dict[str, Tensor]:
    """Forward pass of a student, or of its compressed form.

    Args:
        parts: an object with `trunk`, `morphology`, `rhythm`, `tail` and `tasks` as `Student` has them.
        beat: see `Student.forward`.
        features: see `Student.forward`.
        rr_sequence: see `Student.forward`.
        route: see `Student.forward`.
        training: whether the output is for training; None takes `parts.training`.
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


def outputs_of_each(
    parts: Any, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route, *, training: bool | None = None
) -> list[dict[str, Tensor]]:
    """Outputs of a student, or of its compressed form, with each morphology expert alone.

    The training objective compares them. The trunk and the rhythm bank run once.

    Args:
        parts: see `run_student`.
        beat: see `run_student`.
        features: see `run_student`.
        rr_sequence: see `run_student`.
        route: route of the rhythm bank.
        training: see `run_student`.

    Returns:
        The outputs of `run_student` for each morphology expert, in the order of the bank. The router logits are the
        same in all.
    """
    training = bool(parts.training) if training is None else training
    z_morphology, z_rhythm, *routes_and_gates = parts.trunk(beat, features, rr_sequence)
    routes, gates = routes_and_gates[: len(ROUTES)], routes_and_gates[len(ROUTES) :]
    y_rhythm = mix_experts(parts.rhythm, z_rhythm, routes[ROUTES.index("route_rhythm")], route, training)
    n = len(parts.morphology)
    y_morphology = torch.cat([expert(z_morphology) for expert in parts.morphology])
    # The tail runs once, on the beats of all experts one after the other.
    logits = parts.tail(y_morphology, y_rhythm.repeat(n, 1), *(gate.repeat(n, 1) for gate in gates))
    answers = zip(*(task.chunk(n) for task in logits), strict=True)
    return [
        {**dict(zip(parts.tasks, answer, strict=True)), **dict(zip(ROUTES, routes, strict=True))} for answer in answers
    ]


def save_student(path: Path | str, student: Student, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration as one safetensors file, with further text entries in `metadata`."""
    write_weights(path, student.state_dict(), _FORMAT, {"config": student.config}, metadata)


def load_student(path: Path | str) -> Student:
    """Load a student that `save_student` wrote, in evaluation mode.

    Raises:
        ModelError: the file is missing, is not a student, is damaged, or does not fit its own configuration.
    """
    tensors, metadata = read_weights(path, _FORMAT)
    config = read_configuration(StudentConfig, metadata, "config", path)
    refuse_unlike_made(lambda: Student(config), tensors, path)
    refuse_damaged(tensors, metadata, path)
    student = Student(config)
    load_exactly(student, tensors, path)
    return student.eval()
