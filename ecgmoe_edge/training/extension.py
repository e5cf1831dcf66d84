"""Extends a distilled student without changing the beats that it already answers well.

One or two parts are fitted, all other weights stay the same bit for bit:

- Unless `extension_light_expert` is false: a light morphology expert before the full ones, with its own row of the
  router. Nine beats in ten look like the patient's template and come on time. For these beats, the light expert learns
  to answer like the full one, and its row of the router learns for which beats the two answers agree.
- If the student has the rhythm task: the LoRA adapters, the gate and the head that only this task uses. They are fitted
  again, for example on more recordings than the student was distilled from.

In all shapes, b is the number of beats.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.macs import count_macs
from ecgmoe_edge.model.student import Student, mix_experts
from ecgmoe_edge.tasks import ARTEFACT, BEAT_ANSWERS, task_named
from ecgmoe_edge.training.augment import Augmenter, Batch
from ecgmoe_edge.training.batches import drawn_batches
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.fit import labels_loss, loss_weights
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.loop import FitResult, Stage, run_stage
from ecgmoe_edge.training.validate import make_validator

_CPU = torch.device("cpu")
_BEAT, _RHYTHM = "beat", "rhythm"
_ARTEFACT = BEAT_ANSWERS.index(ARTEFACT)


class ExtensionOutputs(NamedTuple):
    """Outputs of `Extension` for b beats."""

    light: dict[str, Tensor]  # logits with the light expert, (b, classes) by task; empty without one
    full: dict[str, Tensor]  # the same with the full expert that the student selects
    # Router logit of the light expert minus the largest one of the full experts, (b,); >= 0: light. None without one.
    margin: Tensor | None


class Extension(nn.Module):
    """A student with a light morphology expert, and the parts of it that are fitted.

    Only the parameters of the fitted parts require a gradient. The fixed parts stay in evaluation mode, so that their
    BatchNorm statistics do not change.

    Args:
        student: the student; it is not changed.
        light_expert: whether to add a light morphology expert; otherwise only the rhythm task is fitted.

    Raises:
        ModelError: the student has a light expert already, does not classify beats, or has nothing to fit.
    """

    def __init__(self, student: Student, *, light_expert: bool = True) -> None:
        super().__init__()
        if not light_expert and _RHYTHM not in student.tasks:
            raise ModelError(
                "The student has no rhythm task, so without a light expert there is nothing to fit. Set "
                "extension_light_expert, or give a student with this task."
            )
        if light_expert and student.config.morphology_widths[0] == 0.0:
            raise ModelError(
                "The student has a light morphology expert already. Extend the student that it was made from."
            )
        if _BEAT not in student.tasks:
            raise ModelError("The student does not classify beats, so it cannot be extended. Give one with this task.")
        extended = _with_light_expert(student) if light_expert else copy.deepcopy(student)
        self.student = extended.requires_grad_(False)
        self.light_route = nn.Linear(self.student.trunk.route_morphology.in_features, 1) if light_expert else None
        if light_expert:
            self.student.morphology[0].requires_grad_(True)
        if _RHYTHM in student.tasks:
            for parameter in parameters_of_task(self.student, _RHYTHM).values():
                parameter.requires_grad_(True)
        self.train()

    def train(self, mode: bool = True) -> Extension:
        """Switch the light expert to training or evaluation mode; the fixed parts stay in evaluation mode."""
        super().train(mode)
        self.student.eval()
        if self.light_route is not None:
            self.student.morphology[0].train(mode)
        return self

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor) -> ExtensionOutputs:
        """Outputs with the light expert and with the full expert that the student selects; see `Student.forward`."""
        student = self.student
        if self.light_route is None:
            outputs = student(beat, features, rr_sequence)
            return ExtensionOutputs(full={task: outputs[task] for task in student.tasks}, light={}, margin=None)
        light, *full = student.morphology
        z_morphology, z_rhythm, route_morphology, route_rhythm, *gates = student.trunk(beat, features, rr_sequence)
        route_full = route_morphology[:, 1:]
        y_full = mix_experts(full, z_morphology, route_full, "hard", training=False)
        y_rhythm = mix_experts(list(student.rhythm), z_rhythm, route_rhythm, "hard", training=False)
        y_morphology = torch.cat([light(z_morphology), y_full])
        logits = student.tail(y_morphology, y_rhythm.repeat(2, 1), *(gate.repeat(2, 1) for gate in gates))
        of_light, of_full = zip(*(of_task.chunk(2) for of_task in logits), strict=True)
        period = torch.cat([z_morphology.mean((2, 3)), z_rhythm], 1)  # the input of the router, as in `Trunk`
        return ExtensionOutputs(
            light=dict(zip(student.tasks, of_light, strict=True)),
            full=dict(zip(student.tasks, of_full, strict=True)),
            margin=self.light_route(period)[:, 0] - route_full.amax(1),
        )

    def merged(self) -> Student:
        """Return the extended student, in evaluation mode."""
        student = copy.deepcopy(self.student).requires_grad_(True)
        if self.light_route is not None:
            with torch.no_grad():
                student.trunk.route_morphology.weight[0] = self.light_route.weight[0]
                student.trunk.route_morphology.bias[0] = self.light_route.bias[0]
        return student.eval()


def _with_light_expert(student: Student) -> Student:
    """Return the student with an untrained light expert; its row of the router is 0 until `Extension.merged`."""
    config = replace(student.config, morphology_widths=(0.0, *student.config.morphology_widths))
    extended = Student(config)
    trunk = student.trunk.state_dict()
    for name in ("route_morphology.weight", "route_morphology.bias"):
        trunk[name] = torch.cat([torch.zeros_like(trunk[name][:1]), trunk[name]])
    extended.trunk.load_state_dict(trunk)
    extended.morphology[1:].load_state_dict(student.morphology.state_dict())
    extended.rhythm.load_state_dict(student.rhythm.state_dict())
    extended.tail.load_state_dict(student.tail.state_dict())
    return extended


def parameters_of_task(student: Student, task: str) -> dict[str, nn.Parameter]:
    """Return the parameters that only this task uses, by name: its gate, its LoRA adapters and its head."""
    layers = student.tail.fusion.up, student.tail.fusion.down
    own = {id(adapters[task]) for layer in layers for adapters in (layer.down, layer.up)}
    for module in (student.trunk.gates[task], student.tail.heads[task]):
        own |= {id(parameter) for parameter in module.parameters()}
    return {name: parameter for name, parameter in student.named_parameters() if id(parameter) in own}


def extension_loss(
    outputs: ExtensionOutputs, labels: Mapping[str, Tensor], weights: Mapping[str, float], cost: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the loss of an extension and its parts, all scalars.

    The light expert gets the divergence of its answers from those of the full expert, for each task. The rhythm task
    gets the loss of its labels. The router gets `router_loss` of the divergence of the beat answers; artefacts are left
    out of it, because their share of a training batch is not that of a recording.

    Args:
        outputs: the outputs.
        labels: labels (b,) by task.
        weights: weights of the tasks.
        cost: divergence of the beat answers at which a full expert is worth its cost.

    Returns:
        The loss, and by name: "light.<task>", "rhythm", "route", and "full", the fraction of the examples that a full
        expert answers, which is not part of the loss.
    """
    parts: dict[str, Tensor] = {}
    losses: list[Tensor] = []
    if _RHYTHM in outputs.full:
        parts[_RHYTHM] = labels_loss(task_named(_RHYTHM), outputs.full[_RHYTHM], labels)
        losses.append(weights[_RHYTHM] * parts[_RHYTHM])
    if outputs.margin is not None:
        divergences = {task: _divergence(outputs.full[task], light) for task, light in outputs.light.items()}
        for task, divergence in divergences.items():
            parts[f"light.{task}"] = divergence.mean()
            losses.append(weights[task] * parts[f"light.{task}"])
        parts["route"] = router_loss(divergences[_BEAT], outputs.margin, labels[_BEAT] != _ARTEFACT, cost)
        parts["full"] = (outputs.margin < 0).to(parts["route"].dtype).mean()
        losses.append(parts["route"])
    return torch.stack(losses).sum(), parts


def _divergence(full: Tensor, light: Tensor) -> Tensor:
    """Return KL(full || light) of each example, (b,), from logits (b, classes); only `light` gets a gradient."""
    target = full.detach().log_softmax(1)
    return fn.kl_div(light.log_softmax(1), target, log_target=True, reduction="none").sum(1)


def router_loss(divergence: Tensor, margin: Tensor, counted: Tensor, cost: float) -> Tensor:
    """Return the mean of p * divergence + (1 - p) * cost, where p = sigmoid(margin); only `margin` gets a gradient.

    The loss is smallest if a beat goes to the light expert exactly when the divergence is smaller than the cost.

    Args:
        divergence: KL(full || light) of each beat, (b,).
        margin: router logit of the light expert minus the largest one of the full experts, (b,).
        counted: whether a beat counts, (b,).
        cost: cost of a full expert.
    """
    p = margin.sigmoid()
    losses = p * divergence.detach() + (1.0 - p) * cost
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def fit_extension(
    model: Extension,
    sets: ExampleSets,
    config: TrainingConfig,
    augmenter: Augmenter,
    out_dir: Path,
    *,
    name: str,
    begun_from: str,
    device: torch.device = _CPU,
    clock: Clock | None = None,
    progress: bool = False,
) -> FitResult:
    """Fit the extension of a student; it ends with the weights of its best epoch.

    The extended student is validated as it will run, with the hard route. Without the light expert it would answer best
    and cost most. So the score of an epoch is the score of `validate` minus 100 * `extension_cost` * the fraction of
    the validation beats that a full expert answers.

    Args:
        model: changed in place.
        sets: examples to fit and to validate on.
        config: sampling, weights of the tasks, seed, and `distil.extension_stage` and `distil.extension_cost`.
        augmenter: makes the batches.
        out_dir: folder for the files of `loop.Stage`.
        name: prefix of the names of the files.
        begun_from: digest of the weights of the student that is extended.
        device: where the model runs.
        clock: time limit; None for no limit.
        progress: whether to show a progress bar on stderr.

    Raises:
        ModelError: see `loop.run_stage`.
        OutOfTime: see `loop.run_stage`.
    """
    settings, cost, weights = config.distil.extension_stage, config.distil.extension_cost, loss_weights(config.losses)
    macs = count_macs(model.student.config)

    def loss_of(batch: Batch, _: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        return extension_loss(model(*batch.student_inputs()), batch.labels, weights, cost)

    def validate() -> tuple[float, Mapping[str, float]]:
        student = model.merged()
        score, figures = make_validator(
            lambda batch: student(*batch.student_inputs(), route="hard"), sets.validation, device, macs
        )()
        if model.light_route is None:
            return score, figures
        light = [figures[f"{data}.morphology.expert0"] for data in sets.validation]
        return score - 100.0 * cost * (1.0 - sum(light) / len(light)), figures

    return run_stage(
        Stage(
            name=name,
            model=model,
            settings=settings,
            loss_of=loss_of,
            batches_of=drawn_batches(sets.fit, augmenter, config.draw, settings.batch, device),
            validate=validate,
            out_dir=out_dir,
            digest=" ".join(["extension", name, config.digest(), sets.digest(), begun_from]),
            seed=config.seed,
            device=device,
            clock=clock or Clock(),
            progress=progress,
        )
    )
