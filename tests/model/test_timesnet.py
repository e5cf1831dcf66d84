from __future__ import annotations

import pytest
import torch

from ecgmoe_edge.model.backbones import COLUMNS, ROWS, Inception, build_backbones, fold, strongest_periods, unfold
from ecgmoe_edge.model.teacher_config import BackboneSpec


def wave(cycles: float, n: int = 256) -> torch.Tensor:
    return torch.sin(2.0 * torch.pi * cycles * torch.arange(n) / n)


def test_each_example_has_the_periods_of_its_own() -> None:
    x = torch.stack([wave(12) + 0.5 * wave(30), 0.5 * wave(7) + wave(19)])[:, None].expand(2, 4, 256)
    frequency, weight = strongest_periods(x, 2)
    assert frequency.tolist() == [[12, 30], [19, 7]]
    assert (weight[:, 0] > weight[:, 1]).all()
    assert torch.allclose(weight.sum(1), torch.ones(2))


def test_a_periodic_series_folds_to_equal_rows() -> None:
    picture = fold(wave(8)[None, None], torch.tensor([8.0]))[0, 0]
    assert picture.shape == (ROWS, COLUMNS)
    assert not picture[:7].any()  # 8 cycles: the rows before them are from before the series; the next is its edge
    assert (picture[9:] - picture[9]).abs().max() < 0.02
    assert (picture[9].amax() - 1.0).abs() < 0.05


@pytest.mark.parametrize("cycles", [4.0, 9.0, 15.0])
def test_unfolding_gives_the_series_back(cycles: float) -> None:
    x = wave(3)[None, None]
    again = unfold(fold(x, torch.tensor([cycles])), torch.tensor([cycles]), 256)
    assert (again - x)[..., 6:].abs().max() < 0.15  # a straight line between points of a phase grid


def test_inception_is_the_mean_of_its_convolutions() -> None:
    torch.manual_seed(0)
    inception, x = Inception(4), torch.randn(2, 4, ROWS, COLUMNS)
    each = torch.stack([convolution(x) for convolution in inception.convolutions]).mean(0)
    assert torch.allclose(inception(x), each, atol=1e-5)


def test_an_answer_does_not_depend_on_its_neighbours_in_the_batch() -> None:
    torch.manual_seed(0)
    backbone = build_backbones((BackboneSpec("timesnet", 256, 8),), 16)[0].eval()
    x = torch.randn(6, 1, 1280)
    assert torch.allclose(backbone(x)[:1], backbone(x[:1]), atol=1e-5)


def test_gradient_reaches_every_weight() -> None:
    torch.manual_seed(0)
    backbone = build_backbones((BackboneSpec("timesnet", 256, 8),), 16)[0]
    (backbone(torch.randn(4, 1, 1280)) * torch.randn(4, 16)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())
