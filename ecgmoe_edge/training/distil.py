"""Distillation of a student from the probabilities of a teacher and the labels, in float or with fake quantization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.contract import ROUTES
from ecgmoe_edge.model.macs import count_macs, relative_costs
from ecgmoe_edge.model.shared_layers import Route, load_balance
from ecgmoe_edge.model.student import Student
from ecgmoe_edge.tasks import STUDENT_TASKS, tasks_named
from ecgmoe_edge.training.augment import Augmenter, Batch
from ecgmoe_edge.training.bank_loss import answering_loss, bank_loss, expected_cost
from ecgmoe_edge.training.batches import drawn_batches
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.checkpoint import tensors_digest
from ecgmoe_edge.training.config import Distillation, Fit, TrainingConfig
from ecgmoe_edge.training.fit import labels_losses, loss_weights
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.loop import FitResult, Stage, run_stage
from ecgmoe_edge.training.teachers import TeachingModel, teaching_outputs
from ecgmoe_edge.training.validate import make_validator

if TYPE_CHECKING:
    from ecgmoe_edge.compress.qat import QatStudent  # torchao needs seconds to import

_CPU = torch.device("cpu")


def distil(
    student: Student | QatStudent,
    teacher: TeachingModel,
    sets: ExampleSets,
    config: TrainingConfig,
    augmenter: Augmenter,
    out_dir: Path,
    *,
    settings: Fit,
    name: str = "student",
    tasks: tuple[str, ...] = STUDENT_TASKS,
    begun_from: str = "",
    keep_routes: bool = False,
    on_epoch: Callable[[int, nn.Module], None] | None = None,
    device: torch.device = _CPU,
    clock: Clock | None = None,
    progress: bool = False,
) -> FitResult:
    """Fit a student to the teacher; the student ends with the weights of its best epoch.

    The same function fits the float stage and the quantization-aware stage. Teacher and student get the same augmented
    beat. The teacher's probabilities are used for all examples, the labels only where they are known. If the
    morphology experts differ in cost, each of them answers every beat alone, and their router learns from their losses
    and costs (`bank_loss`). Otherwise the routed expert answers, and load balancing keeps all experts in use.

    The teacher can be another student, which gets the same inputs (self-distillation).

    Args:
        student: changed in place.
        teacher: used in evaluation mode; a teacher or a student.
        sets: examples to fit and to validate on.
        config: sampling, loss and seed.
        augmenter: makes the batches.
        out_dir: folder for the files of `loop.Stage`.
        settings: epochs and learning rate of this stage (`config.distil.float_stage` or `.qat_stage`).
        name: prefix of the names of the files.
        tasks: outputs to distil; only "beat" for the nano student.
        begun_from: digest of the initial weights of the student, if they are not random.
        keep_routes: whether the routed expert answers also if the experts differ in cost, without load balancing. The
            morphology router then keeps the routes that it begins with, apart from small changes.
        on_epoch: called with the number of each epoch (from 0) and the model before the epoch, for example to freeze
            observers. It must depend only on the epoch, since a resumed fit calls it only for the remaining epochs.
        device: where student and teacher run.
        clock: time limit; None for no limit.
        progress: whether to show a progress bar on stderr.

    Raises:
        ModelError: see `loop.run_stage`.
        OutOfTime: see `loop.run_stage`.
    """
    teacher.to(device).eval()
    weights = loss_weights(config.losses) | {"balance": settings.balance}

    experts = ",".join(f"{width:g}" for width in student.config.morphology_widths)
    macs = count_macs(replace(student.config, tasks=tasks))
    costs = relative_costs(macs.experts["morphology"])
    balanced = ROUTES if not any(costs) else ("route_rhythm",)

    def loss_of(batch: Batch, epoch: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        route: Route = "soft" if epoch < settings.soft_epochs else "hard"
        with torch.no_grad():
            targets = teaching_outputs(teacher, batch, tasks)
        every_expert = any(costs) and not keep_routes
        return (of_unequal_experts if every_expert else of_routed_experts)(batch, targets, route)

    def losses_of(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        return distillation_losses(outputs, targets, batch, config.distil, tasks)

    def of_routed_experts(
        batch: Batch, targets: Mapping[str, Tensor], route: Route
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        outputs = student(*batch.student_inputs(), route=route)
        losses = losses_of(outputs, targets, batch)
        parts = {task: of_task.mean() for task, of_task in losses.items()}
        parts["balance"] = torch.stack([load_balance(outputs[router]) for router in balanced]).sum()
        return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), parts

    def of_unequal_experts(
        batch: Batch, targets: Mapping[str, Tensor], route: Route
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        outputs = student.each_expert(*batch.student_inputs(), route=route)
        losses = [losses_of(one, targets, batch) for one in outputs]
        logits, rhythm_logits = (outputs[0][router] for router in ROUTES)
        by_task = {task: torch.stack([one[task] for one in losses], 1) for task in tasks}
        weighted = torch.stack([weights[task] * of_task for task, of_task in by_task.items()]).sum(0)
        parts = {task: answering_loss(of_task, logits) for task, of_task in by_task.items()}
        parts |= {"cost": expected_cost(logits, costs), "balance": load_balance(rhythm_logits)}
        total = bank_loss(weighted, logits, costs, config.distil.cost_weight) + weights["balance"] * parts["balance"]
        return total, parts

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
            validate=make_validator(run, sets.validation, device, macs),
            out_dir=out_dir,
            digest=" ".join(
                [name, config.digest(), sets.digest(), tensors_digest(teacher), ",".join(tasks), experts, begun_from]
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
    teacher_outputs: Mapping[str, Tensor],
    batch: Batch,
    settings: Distillation,
    tasks: tuple[str, ...],
) -> dict[str, Tensor]:
    """Return the loss of each example, (b,), by task: kl * KL(teacher || student) + cross_entropy * loss of the label.

    The divergence is multiplied by the square of the temperature, as in Hinton, Vinyals and Dean, "Distilling the
    Knowledge in a Neural Network", 2015. It is that of the answers that both models have: if one of them lacks the
    artefact, of the probabilities given that the peak is a beat. The loss of the label is that of `fit.labels_losses`.

    Args:
        outputs: logits (b, classes) of the student, by task.
        teacher_outputs: logits (b, classes) of the teacher, by task.
        batch: the labels.
        settings: the weights of both parts and the temperature.
        tasks: names of the tasks.
    """
    losses = {}
    for task in tasks_named(tasks):
        temperature = settings.temperature
        both = min(outputs[task.name].shape[1], teacher_outputs[task.name].shape[1])
        student = (outputs[task.name][:, :both] / temperature).log_softmax(1)
        teacher = (teacher_outputs[task.name][:, :both] / temperature).log_softmax(1)
        divergence = fn.kl_div(student, teacher, log_target=True, reduction="none").sum(1) * temperature**2
        labels = labels_losses(task, outputs[task.name], batch.labels)
        kl, cross_entropy = settings.weights_of(task.name)
        losses[task.name] = kl * divergence + cross_entropy * labels
    return losses
