"""The teacher's fit: masked losses of all tasks, hard routing from early on, a balanced load of the experts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.contract import routes_by_path
from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.model.pretrained_backbone import PretrainedBackbone
from ecgmoe_edge.model.routing import Route, load_balance
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.tasks import BEAT_CLASSES, RHYTHM_CLASSES, TASK_NAMES, Task
from ecgmoe_edge.training.augment import Augmenter, Batch
from ecgmoe_edge.training.batches import drawn_batches
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.checkpoint import tensors_digest
from ecgmoe_edge.training.config import Losses, TrainingConfig
from ecgmoe_edge.training.examples import UNKNOWN, Examples, is_known
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.loop import FitResult, Stage, run_stage
from ecgmoe_edge.training.validate import judge_of

_CPU = torch.device("cpu")
_POSSIBLE = {"N": ("N",), "AF": ("N", "V", "F")}
#: Which beat classes are possible: a row a rhythm, a row a beat class, and a last row (-1) where nothing is known.
_MAY_BE = torch.tensor(
    [
        *([_POSSIBLE.get(rhythm, BEAT_CLASSES).count(name) > 0 for name in BEAT_CLASSES] for rhythm in RHYTHM_CLASSES),
        *([name == known for name in BEAT_CLASSES] for known in BEAT_CLASSES),
        [True] * len(BEAT_CLASSES),
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
    """Fit the teacher; it ends with the weights of its best epoch. Files: see `loop.Stage`, with the name teacher.

    The weights of the tasks' losses are fixed and small for all but beats: what live use is about is the beat, the
    other tasks are there to give the shared parts more to learn from. Weights learned from the tasks' uncertainty
    would favour what is easy (the RR interval) over what matters. A task without a label in `sets.fit` is left out.

    Raises:
        ModelError: see `loop.run_stage`.
        OutOfTime: likewise.
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
            validate=judge_of(run, sets.validation, device),
            out_dir=out_dir,
            digest=" ".join(["teacher", config.digest(), sets.digest(), *map(tensors_digest, _frozen_networks(model))]),
            seed=config.seed,
            device=device,
            clock=clock or Clock(),
            progress=progress,
        )
    )


def _frozen_networks(model: EcgMoe) -> list[nn.Module]:
    """Pretrained networks, which are no part of the model's own tensors: a fit on top of others is another run."""
    return [module.network for module in model.modules() if isinstance(module, PretrainedBackbone)]


def trained_tasks(examples: Examples) -> tuple[str, ...]:
    """The tasks that these examples have labels of, in the order of TASK_NAMES."""
    return tuple(name for name in TASK_NAMES if is_known(examples.labels[name]).any())


def labels_loss(task: Task, output: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """`task_loss` of the task's own label; of beats also what the rhythm says where nobody has labelled them."""
    return beat_loss(output, labels) if task.loss == "beat" else task_loss(task, output, labels[task.name])


def beat_loss(output: Tensor, labels: Mapping[str, Tensor]) -> Tensor:
    """Mean of -log P(classes that a beat may be of), over the examples where that is not all of them.

    An annotated beat may be of its class alone: cross entropy. Where only the rhythm is annotated (CinC 2017: 30 s of
    each of two thousand wearers), the beats of a normal rhythm are taken as N, and those of atrial fibrillation as
    anything but S, which is what annotators call them. Partial labels after Jin and Ghahramani, "Learning with
    multiple labels", NIPS 2002. The false S in fibrillation of held-out wearers went from 67 to 5 in 1,000 beats.

    Args:
        output: (b, 4) logits of N, S, V, F.
        labels: "beat" and "rhythm", (b,) class indices or -1.
    """
    beat, rhythm = labels["beat"], labels["rhythm"]
    allowed = _MAY_BE.to(output.device)[torch.where(beat == UNKNOWN, rhythm, len(RHYTHM_CLASSES) + beat)]
    told = ~allowed.all(1)
    surprise = output.logsumexp(1) - output.masked_fill(~allowed, -1e4).logsumexp(1)
    return (surprise * told).sum() / told.sum().clamp(min=1)


def task_loss(task: Task, output: Tensor, label: Tensor) -> Tensor:
    """Mean loss over the examples whose label is known; zero, with a gradient of zero, where none is.

    Args:
        task: cross entropy for a classification. For a regression the absolute error of the scaled value, which still
            pulls where an error is a hundredth of the scale (the RR interval is known to milliseconds).
        output: (b, n_outputs).
        label: (b,) class index or -1; value in the task's unit or NaN.
    """
    known = _known(label)
    count = known.sum().clamp(min=1)  # no question is asked of a tensor here: a GPU would have to be waited for
    if task.kind == "classification":
        return fn.cross_entropy(output, label, ignore_index=UNKNOWN, reduction="sum") / count
    target = torch.where(known, (label - task.offset) / task.scale, 0.0)
    return ((output[:, 0] - target).abs() * known).sum() / count


def loss_weights(losses: Losses) -> dict[str, float]:
    """The tasks' weights by name."""
    return {name: getattr(losses, name) for name in losses.__struct_fields__}


def _known(label: Tensor) -> Tensor:
    return torch.isfinite(label) if label.is_floating_point() else label != UNKNOWN
