"""Distillation: a student learns the teacher's probabilities and the labels, in float or with fake quantization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.contract import ROUTES
from ecgmoe_edge.model.routing import Route, load_balance
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.tasks import STUDENT_TASKS, tasks_named
from ecgmoe_edge.training.augment import Augmenter, Batch
from ecgmoe_edge.training.batches import drawn_batches
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.checkpoint import tensors_digest
from ecgmoe_edge.training.config import Distillation, Fit, TrainingConfig
from ecgmoe_edge.training.fit import labels_loss, loss_weights
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.loop import FitResult, Stage, run_stage
from ecgmoe_edge.training.validate import judge_of

_CPU = torch.device("cpu")

#: Two quantities of the router in each bank; a student without routers has none of these outputs.


def distil(
    student: nn.Module,
    teacher: EcgMoe,
    sets: ExampleSets,
    config: TrainingConfig,
    augmenter: Augmenter,
    out_dir: Path,
    *,
    settings: Fit,
    name: str = "student",
    tasks: tuple[str, ...] = STUDENT_TASKS,
    begun_from: str = "",
    on_epoch: Callable[[int, nn.Module], None] | None = None,
    device: torch.device = _CPU,
    clock: Clock | None = None,
    progress: bool = False,
) -> FitResult:
    """Fit a student to the teacher; it ends with the weights of its best epoch.

    One loop serves the float stage and the quantization-aware one: `student` is any module with the student's call,
    `student(beat, features, rr_sequence, route=...)`, whose `train()` and `eval()` work and whose state is tensors.
    The teacher sees the same augmented beat. Its probabilities teach every example, labelled or not.

    Args:
        student: changed in place.
        teacher: used in evaluation mode.
        sets: examples to fit and to validate on.
        config: for the draw, the loss and the seed.
        augmenter: makes the batches.
        out_dir: gets the files of `loop.Stage`.
        settings: epochs and rates of this stage (`config.distil.float_stage` or `.qat_stage`).
        name: of the stage's files.
        tasks: outputs to distil; "beat" alone for the nano student.
        begun_from: digest of the weights that the student begins with, where they are not drawn from the seed.
        on_epoch: called before each epoch (from 0), for switches such as freezing observers; must depend on the
            epoch alone, since a resumed fit calls it for the epochs that are left.
        device: where student and teacher run.
        clock: how long it may take; None for ever.
        progress: show a progress bar on stderr.

    Raises:
        ModelError: see `loop.run_stage`.
        OutOfTime: likewise.
    """
    teacher.to(device).eval()
    weights = loss_weights(config.losses) | {"balance": settings.balance}

    def loss_of(batch: Batch, epoch: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        route: Route = "soft" if epoch < settings.soft_epochs else "hard"
        with torch.no_grad():
            taught = teacher(*batch.teacher_inputs(), tasks=tasks)
        outputs = student(*batch.student_inputs(), route=route)
        parts = distillation_losses(outputs, taught, batch, config.distil, tasks)
        routers = [load_balance(outputs[router]) for router in ROUTES if router in outputs]
        if routers:
            parts["balance"] = torch.stack(routers).sum()
        return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), parts

    def run(batch: Batch) -> Mapping[str, Tensor]:
        outputs: dict[str, Tensor] = student(*batch.student_inputs(), route="hard")
        return outputs

    return run_stage(
        Stage(
            name=name,
            model=student,
            settings=settings,
            loss_of=loss_of,
            batches_of=drawn_batches(sets.fit, augmenter, config.draw, settings.batch, device),
            validate=judge_of(run, sets.validation, device),
            out_dir=out_dir,
            digest=" ".join(
                [name, config.digest(), sets.digest(), tensors_digest(teacher), ",".join(tasks), begun_from]
            ),
            seed=config.seed,
            on_epoch=on_epoch,
            device=device,
            clock=clock or Clock(),
            progress=progress,
        )
    )


def distillation_losses(
    outputs: Mapping[str, Tensor],
    taught: Mapping[str, Tensor],
    batch: Batch,
    settings: Distillation,
    tasks: tuple[str, ...],
) -> dict[str, Tensor]:
    """A task's loss: kl * KL(teacher || student) over all examples, and cross entropy over the labelled ones.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015; the divergence is scaled by the
    square of the temperature, as there.
    """
    losses = {}
    for task in tasks_named(tasks):
        heat = settings.temperature
        student = (outputs[task.name] / heat).log_softmax(1)
        teacher = (taught[task.name] / heat).log_softmax(1)
        divergence = fn.kl_div(student, teacher, log_target=True, reduction="batchmean") * heat**2
        labels = labels_loss(task, outputs[task.name], batch.labels)
        losses[task.name] = settings.kl * divergence + settings.cross_entropy * labels
    return losses
