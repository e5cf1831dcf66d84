"""Fixtures: a briefly trained nano student in every stage of its compression."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor

from ecgmoe_edge.compress.qat import IntegerStudent, QatStudent
from ecgmoe_edge.contract import SHAPES
from ecgmoe_edge.model.student import Student, StudentConfig

Beats: TypeAlias = tuple[Tensor, Tensor, Tensor]


def _random_beats(n: int, seed: int = 0) -> Beats:
    g = torch.Generator().manual_seed(seed)
    beat, features, rr_sequence = (torch.randn(n, *shape, generator=g) for shape in SHAPES.values())
    return beat.clip(-6, 6), features.clip(-4, 4), rr_sequence.clip(-1.5, 1.5)


def _train(model: Student | QatStudent, steps: int, rate: float = 2e-3) -> list[float]:
    x = _random_beats(256, seed=5)
    # Each path can predict one bit of the label.
    y = (x[0][:, 0, 40:60].mean(-1) > 0).long() * 2 + (x[1][:, 0] > 0).long()
    g = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    losses = []
    for _ in range(steps):
        index = torch.randint(0, 256, (64,), generator=g)
        outputs = model(*(tensor[index] for tensor in x))
        loss = torch.stack([torch.nn.functional.cross_entropy(outputs[task], y[index]) for task in model.tasks]).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_beats() -> Callable[..., Beats]:
    """`random_beats(n, seed)` returns random student inputs for n beats."""
    return _random_beats


@pytest.fixture(scope="session")
def train() -> Callable[..., list[float]]:
    """`train(model, steps, rate)` trains the model and returns the loss of each step."""
    return _train


@pytest.fixture(scope="session")
def student() -> Student:
    torch.manual_seed(0)
    student = Student(StudentConfig.named("nano", morphology_widths=(0.0, 0.25, 1.0)))
    _train(student, 25)
    return student.eval()


@pytest.fixture(scope="session")
def calibrated(student: Student) -> QatStudent:
    qat = QatStudent(student)
    qat.calibrate([_random_beats(64, seed) for seed in (1, 2, 3)])
    return qat.to_eval()


@pytest.fixture(scope="session")
def integer(calibrated: QatStudent) -> IntegerStudent:
    return calibrated.convert()


@pytest.fixture
def qat(calibrated: QatStudent) -> QatStudent:
    return copy.deepcopy(calibrated)
