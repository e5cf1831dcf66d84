"""Fit of the teacher: losses over the known labels of all tasks, hard routing, and load balancing of the experts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.contract import routes_by_path
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.pretrained_backbone import PretrainedBackbone
from ecgmoe_edge.model.shared_layers import Route, load_balance
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.tasks import ARTEFACT, BEAT_ANSWERS, RHYTHM_CLASSES, TASK_NAMES, Task
from ecgmoe_edge.training.augment import Augmenter, Batch
from ecgmoe_edge.training.batches import drawn_batches
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.checkpoint import tensors_digest
from ecgmoe_edge.training.config import Losses, TrainingConfig
from ecgmoe_edge.training.examples import UNKNOWN, Examples, is_known
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.loop import FitResult, Stage, run_stage
from ecgmoe_edge.training.validate import make_validator

_CPU = torch.device("cpu")
_POSSIBLE = {"N": ("N", ARTEFACT), "AF": ("N", "V", "F", ARTEFACT)}
#: Possible answers: one row per known rhythm, then one row per known beat label, and a last row (index -1) if both
#: are unknown.
_MAY_BE = torch.tensor(
    [
        *([_POSSIBLE.get(rhythm, BEAT_ANSWERS).count(name) > 0 for name in BEAT_ANSWERS] for rhythm in RHYTHM_CLASSES),
        *([name == known for name in BEAT_ANSWERS] for known in BEAT_ANSWERS),
        [True] * len(BEAT_ANSWERS),
    ]
)


def fit_teacher(
    model: EcgMoe,
    sets: ExampleSets,
    config: TrainingConfig,
    augmenter: Augmenter,
    out_dir: Path,
    *,
    device: torch.device = _CPU,
    clock: Clock | None = None,
    progress: bool = False,
) -> FitResult:
    """Fit the teacher; it ends with the weights of its best epoch.

    The loss weights of the tasks are fixed, and small for all tasks except beats. The beat is the main output in live
    use; the other tasks give the shared layers more training signal. Weights that are learned from the uncertainty of
    the tasks would favour easy tasks, such as the RR interval. A task without labels in `sets.fit` is left out.

    Args:
        model: the teacher, changed in place.
        sets: examples to fit and to validate on.
        config: the configuration of the run.
        augmenter: makes the batches.
        out_dir: folder for the files of `loop.Stage`, with the name "teacher".
        device: where the teacher runs.
        clock: time limit; None for no limit.
        progress: whether to show a progress bar on stderr.

    Raises:
        ModelError: see `loop.run_stage`.
        OutOfTime: see `loop.run_stage`.
        UsageError: no example has a label of any task.
    """
    names = trained_tasks(sets.fit)
    trained = [task for task in model.tasks if task.name in names]
    if not trained:
        raise UsageError("No example to fit on has a label of the teacher's tasks. Check [[data]] and [teacher] tasks.")
    wanted = [task.name for task in trained]
    weights = loss_weights(config.losses) | {"balance": config.fit.balance}

    def loss_of(batch: Batch, epoch: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        route: Route = "soft" if epoch < config.fit.soft_epochs else "hard"
        outputs = model(*batch.teacher_inputs(), route=route, tasks=wanted)
        parts = {task.name: labels_loss(task, outputs[task.name], batch.labels) for task in trained}
        routers = [load_balance(logits) for logits in routes_by_path(outputs).values()]
        if routers:
            parts["balance"] = torch.stack(routers).sum()
        return torch.stack([weights[name] * part for name, part in parts.items()]).sum(), parts

    def run(batch: Batch) -> Mapping[str, Tensor]:
        outputs: dict[str, Tensor] = model(*batch.teacher_inputs(), tasks=wanted)
        return outputs

    return run_stage(
        Stage(
            name="teacher",
            model=model,
            settings=config.fit,
            loss_of=loss_of,
            batches_of=drawn_batches(sets.fit, augmenter, config.draw, config.fit.batch, device),
            validate=make_validator(run, sets.validation, device),
            out_dir=out_dir,
            digest=" ".join(["teacher", config.digest(), sets.digest(), *map(tensors_digest, _frozen_networks(model))]),
            seed=config.seed,
            device=device,
            clock=clock or Clock(),
            progress=progress,
        )
    )


def _frozen_networks(model: EcgMoe) -> list[nn.Module]:
    """Return the pretrained networks: not part of the state of the model, but the result of a fit depends on them."""
    return [module.network for module in model.modules() if isinstance(module, PretrainedBackbone)]


def trained_tasks(examples: Examples) -> tuple[str, ...]:
    """Return the tasks that the examples have labels for, in the order of TASK_NAMES."""
    return tuple(name for name in TASK_NAMES if is_known(examples.labels[name]).any())


def labels_loss(task: Task, output: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of a task: `beat_loss` for beats, which also uses rhythm labels, else `task_loss`."""
    return beat_loss(output, labels) if task.loss == "beat" else task_loss(task, output, labels[task.name])


def labels_losses(task: Task, output: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Return the loss of each example, (b,): 0 without a known label; the mean over the batch is `labels_loss`."""
    if task.loss == "beat":
        losses, count = _beat_losses(output, labels)
    else:
        losses, count = _task_losses(task, output, labels[task.name])
    return losses * (len(losses) / count)


def beat_loss(output: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Return the mean of -log P(possible answers) over the beats for which not all answers are possible.

    For a labelled beat, only its label is possible, so the loss is cross entropy. If only the rhythm is annotated
    (CinC 2017: records of 30 s of two thousand patients), a detected peak in normal rhythm can only be N or an
    artefact, and a peak in atrial fibrillation anything except S, following the practice of annotators. This is
    learning with partial labels (Jin and Ghahramani, "Learning with multiple labels", NIPS 2002). In atrial
    fibrillation of held-out patients, it reduced false positive S beats from 67 to 5 per 1,000 beats.

    Args:
        output: (b, answers) logits of `BEAT_ANSWERS`, or of the beat classes if the model lacks the artefact; it does
            not learn from artefacts then.
        labels: class indices (b,) of "beat" and "rhythm", -1 if unknown.
    """
    losses, count = _beat_losses(output, labels)
    return losses.sum() / count


def _beat_losses(output: Tensor, labels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the loss of each beat, (b,), 0 if all or no classes are possible, and the number of the other beats."""
    beat, rhythm = labels["beat"], labels["rhythm"]
    rhythm = torch.where(rhythm < len(RHYTHM_CLASSES), rhythm, UNKNOWN)  # "not AF" allows every beat
    allowed = _MAY_BE.to(output.device)[torch.where(beat == UNKNOWN, rhythm, len(RHYTHM_CLASSES) + beat)]
    allowed = allowed[:, : output.shape[1]]
    labelled = ~allowed.all(1) & allowed.any(1)
    negative_log_probability = output.logsumexp(1) - output.masked_fill(~allowed, -1e4).logsumexp(1)
    return negative_log_probability * labelled, labelled.sum().clamp(min=1)


def task_loss(task: Task, output: Tensor, label: Tensor) -> Tensor:
    """Return the mean loss over the examples with a known label; zero with zero gradient if there are none.

    The loss of a classification is cross entropy; for a label that only excludes a class, it is -log of the
    probability of the other classes. The loss of a regression is the absolute error of the scaled value, whose
    gradient does not vanish for small errors (the RR interval is known to milliseconds).

    Args:
        task: the task.
        output: (b, n_outputs).
        label: (b,) class index, -1 if unknown; number of classes + index of a class that is excluded; or value in the
            task's unit, NaN if unknown.
    """
    losses, count = _task_losses(task, output, label)
    return losses.sum() / count


def _task_losses(task: Task, output: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each example, (b,), 0 without a known label, and the number of known labels."""
    known = _known(label)
    count = known.sum().clamp(min=1)  # no branch on the value of a tensor, since it would wait for the GPU
    if task.kind == "classification":
        classes = output.shape[1]
        class_losses = fn.cross_entropy(
            output, torch.where(label < classes, label, UNKNOWN), ignore_index=UNKNOWN, reduction="none"
        )
        excluded = (label - classes).clamp(min=0)[:, None]
        other_losses = output.logsumexp(1) - output.scatter(1, excluded, -1e4).logsumexp(1)
        return torch.where(label < classes, class_losses, other_losses), count
    target = torch.where(known, (label - task.offset) / task.scale, 0.0)
    return (output[:, 0] - target).abs() * known, count


def loss_weights(losses: Losses) -> dict[str, float]:
    """Return the loss weights by the name of the task."""
    return {name: getattr(losses, name) for name in losses.__struct_fields__}


def _known(label: Tensor) -> Tensor:
    return torch.isfinite(label) if label.is_floating_point() else label != UNKNOWN
