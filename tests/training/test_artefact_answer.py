"""The answer that a detected peak is an artefact: a student with it learns from labels, one without it from beats."""

from __future__ import annotations

import numpy as np
import torch

from ecgmoe_edge.contract import INPUTS, SHAPES
from ecgmoe_edge.model.student import Student, StudentConfig
from ecgmoe_edge.tasks import ARTEFACT, BEAT_ANSWERS
from ecgmoe_edge.training.augment import clean_batch
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.distil import distillation_losses
from ecgmoe_edge.training.examples import Examples


def test_a_student_without_the_artefact_answer_learns_only_from_beats(
    examples: Examples, tiny_config: TrainingConfig
) -> None:
    batch = clean_batch(examples, np.arange(30, dtype=np.int64))
    batch.labels["beat"][::2] = BEAT_ANSWERS.index(ARTEFACT)
    teacher = {"beat": torch.randn(30, 5)}
    answers = {"beat": teacher["beat"][:, :4].clone().requires_grad_()}
    with_it = distillation_losses(teacher, teacher, batch, tiny_config.distil, ("beat",))["beat"]
    without = distillation_losses(answers, teacher, batch, tiny_config.distil, ("beat",))["beat"]
    assert with_it[::2].min() > 0.1
    assert without[::2].abs().max() < 1e-5
    assert without[1::2].min() > 0.0


def test_a_student_learns_the_artefact_from_labels_if_its_teacher_lacks_it(
    examples: Examples, tiny_config: TrainingConfig
) -> None:
    batch = clean_batch(examples, np.arange(30, dtype=np.int64))
    batch.labels["beat"][:] = BEAT_ANSWERS.index(ARTEFACT)
    answers = torch.randn(30, 5, requires_grad=True)
    losses = distillation_losses(
        {"beat": answers}, {"beat": answers.detach()[:, :4]}, batch, tiny_config.distil, ("beat",)
    )
    losses["beat"].mean().backward()  # type: ignore[no-untyped-call]
    assert answers.grad is not None
    assert answers.grad[:, BEAT_ANSWERS.index(ARTEFACT)].max() < 0.0


def test_the_head_of_a_student_has_the_answers_of_its_configuration() -> None:
    for artefact_answer, answers in ((True, 5), (False, 4)):
        config = StudentConfig.named("nano", artefact_answer=artefact_answer)
        outputs = Student(config).eval()(*(torch.zeros(2, *SHAPES[name]) for name in INPUTS))
        assert outputs["beat"].shape == (2, answers)
        assert len(config.classes["beat"]) == answers
