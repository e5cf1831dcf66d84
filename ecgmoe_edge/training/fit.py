"""The teacher's fit: masked losses of all tasks, hard routing from early on, a balanced load of the experts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as fn

from ecgmoe_edge.model.routing import load_balance
from ecgmoe_edge.model.tasks import Task
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.training.augment import Augmenter, Batch
from ecgmoe_edge.training.batches import drawn_batches
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.config import Losses, TrainingConfig
from ecgmoe_edge.training.loop import FitResult, Stage, run_stage
from ecgmoe_edge.training.validate import flat_metrics, selection_score, validate


def fit_teacher(
    model: EcgMoe,
    sets: ExampleSets,
    config: TrainingConfig,
    augmenter: Augmenter,
    out_dir: Path,
    *,
    progress: bool = False,
) -> FitResult:
    """Fit the teacher; it ends with the weights of its best epoch. Files: teacher.checkpoint.safetensors, .metrics.csv.

    The weights of the tasks' losses are fixed and small for all but beats: what live use is about is the beat, the
    other tasks are there to give the shared parts more to learn from. Weights learned from the tasks' uncertainty
    would favour what is easy (the RR interval) over what matters.

    Raises:
        ModelError: see `loop.run_stage`.
    """
    trained = [task for task in model.tasks if task.trained]
    wanted = [task.name for task in trained]

    def loss_of(batch: Batch, epoch: int) -> tuple[Tensor, Mapping[str, float]]:
        route = "soft" if epoch < config.fit.soft_epochs else "hard"
        outputs = model(*batch.teacher_inputs(), route=route, tasks=wanted)
        parts = {task.name: task_loss(task, outputs[task.name], batch.labels[task.name]) for task in trained}
        parts["balance"] = load_balance(outputs["route_morphology"]) + load_balance(outputs["route_rhythm"])
        weights = loss_weights(config.losses) | {"balance": config.fit.balance}
        loss = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return loss, {name: part.item() for name, part in parts.items()}

    def run(batch: Batch) -> Mapping[str, Tensor]:
        outputs: dict[str, Tensor] = model(*batch.teacher_inputs(), tasks=("beat", "rhythm"))
        return outputs

    def judge() -> tuple[float, Mapping[str, float]]:
        reports = {name: validate(run, examples) for name, examples in sets.validation.items()}
        return selection_score(reports), flat_metrics(reports)

    return run_stage(
        Stage(
            name="teacher",
            model=model,
            settings=config.fit,
            loss_of=loss_of,
            batches_of=drawn_batches(sets.fit, augmenter, config.draw, config.fit.batch),
            validate=judge,
            out_dir=out_dir,
            digest=f"teacher {config.digest()} {len(sets.fit)}",
            seed=config.seed,
            progress=progress,
        )
    )


def task_loss(task: Task, output: Tensor, label: Tensor) -> Tensor:
    """Mean loss over the examples whose label is known; zero, with a gradient of zero, where none is.

    Args:
        task: cross entropy for a classification, Huber loss of the scaled value for a regression.
        output: (b, n_outputs).
        label: (b,) class index or -1; value in the task's unit or NaN.
    """
    known = label >= 0 if task.kind == "classification" else torch.isfinite(label)
    if not known.any():
        return output.sum() * 0.0
    if task.kind == "classification":
        return fn.cross_entropy(output[known], label[known])
    return fn.smooth_l1_loss(output[known, 0], (label[known] - task.offset) / task.scale)


def loss_weights(losses: Losses) -> dict[str, float]:
    """The tasks' weights by name."""
    return {name: getattr(losses, name) for name in losses.__struct_fields__}
