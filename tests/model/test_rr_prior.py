from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ecgmoe_edge.contract import BEAT, FEATURES, SHAPES_WITH_CONTEXT
from ecgmoe_edge.model.rr_prior import mean_rr
from ecgmoe_edge.model.teacher import EcgMoe, RRHead
from ecgmoe_edge.streaming.signal.windows import MODEL_RATE_HZ, WIDE_GRID
from ecgmoe_edge.tasks import task_named

_R = 1279 - int(WIDE_GRID[-1])


def series(mean_s: float, spread: float, seed: int, noise: float = 0.05) -> tuple[Tensor, Tensor, float]:
    """A context with a QRS at each R peak and a T wave, its RR sequence against a median 7 % off, and the mean RR."""
    g = torch.Generator().manual_seed(seed)
    rr = mean_s * (1.0 + spread * torch.randn(60, generator=g)).clamp(0.6, 1.6)
    at = _R - torch.cat([torch.zeros(1), rr.cumsum(0)]) * MODEL_RATE_HZ
    time = torch.arange(1280)
    context = noise * torch.randn(1280, generator=g)
    for r in at.tolist():
        context += torch.exp(-0.5 * ((time - r) / 2.0) ** 2) - 0.4 * torch.exp(-0.5 * ((time - r - 4) / 2.0) ** 2)
        context += 0.3 * torch.exp(-0.5 * ((time - r - 32) / 6.0) ** 2)
    inside = int((at >= 0).sum()) - 1
    sequence = torch.zeros(1, 2, 32)
    sequence[0, 0] = (rr[:32].flip(0) / (1.07 * mean_s)).log()
    sequence[0, 1] = 1.0
    return context[None, None], sequence, rr[:inside].mean().item()


@pytest.mark.parametrize("mean_s", [0.4, 0.6, 0.8, 1.1, 1.5])
@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_mean_rr_is_read_to_a_few_ms_at_any_rate_and_irregularity(mean_s: float, spread: float) -> None:
    errors = []
    for seed in range(5):
        context, sequence, truth = series(mean_s, spread, seed)
        mean, _, walked = mean_rr(context, sequence)[0].tolist()
        errors.append(abs(mean - truth))
        assert walked > 0.8
    assert sum(errors) / len(errors) < 0.005


def test_polarity_and_gain_make_no_difference() -> None:
    context, sequence, _ = series(0.8, 0.1, 1)
    assert torch.allclose(mean_rr(-3.0 * context, sequence), mean_rr(context, sequence), atol=1e-4)


def test_only_intervals_up_to_a_break_are_walked() -> None:
    context, sequence, _ = series(0.8, 0.02, 1)
    sequence[0, 1, :-4] = 0.0  # four intervals are known
    mean, _, walked = mean_rr(context, sequence)[0].tolist()
    assert mean == pytest.approx(0.8, abs=0.05)
    assert walked == pytest.approx(4 * 0.8 * MODEL_RATE_HZ / _R, abs=0.02)


def test_nothing_known_gives_zeros() -> None:
    context, sequence, _ = series(0.8, 0.02, 1)
    assert not mean_rr(context, torch.zeros_like(sequence)).any()
    assert not mean_rr(torch.zeros_like(context), torch.zeros_like(sequence)).any()


def test_an_untrained_teacher_knows_the_interval_and_without_context_only_itself() -> None:
    torch.manual_seed(0)
    model, task = EcgMoe().eval(), task_named("rr")
    context, sequence, truth = series(0.6, 0.05, 2)
    zeros = (torch.zeros(1, *SHAPES_WITH_CONTEXT[name]) for name in (BEAT, FEATURES))
    answer = model(*zeros, sequence, context, tasks=("rr",))["rr"].item() * task.scale + task.offset
    assert answer == pytest.approx(truth, abs=0.05)
    head = model.heads["rr"]
    assert isinstance(head, RRHead)
    fused = torch.randn(4, 96)
    assert torch.equal(head(fused, torch.zeros(4, 3)), head.own(fused))
