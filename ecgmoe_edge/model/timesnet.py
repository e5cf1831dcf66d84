"""TimesNet: a series folded by its own strongest periods into pictures, cycles down and phases across."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.model.teacher_config import BackboneSpec

#: Cycles in the context that count as a period: 18 to 240 a minute over 10 s, what a heart does.
FEWEST, MOST = 3, 40
ROWS, COLUMNS = 16, 16  # of a picture: the newest cycles, phases of each


class TimesNet(nn.Module):
    """Wu et al., "TimesNet: Temporal 2D-Variation Modeling for General Time Series Analysis", ICLR 2023; small.

    Two deviations: each example has periods of its own (the published one takes those of the batch's mean spectrum,
    so that an answer depends on its neighbours), and a picture has a fixed size, onto which the cycles are
    interpolated (the published one cuts at whole samples and pads).
    """

    layers = 2

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        w = spec.width
        self.embed = nn.Conv1d(leads, w, 3, 1, 1)
        self.blocks = nn.ModuleList(TimesBlock(w) for _ in range(self.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(w) for _ in range(self.layers))
        self.out = nn.Linear(3 * w, d)

    def forward(self, x: Tensor) -> Tensor:
        """(b, leads, length) to (b, d)."""
        y = self.embed(x)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            y = norm((y + block(y)).transpose(1, 2)).transpose(1, 2)
        newest = y[..., -y.shape[-1] // 12 :].mean(-1)  # the beat that is asked about
        return torch.as_tensor(self.out(torch.cat([y.mean(-1), y.amax(-1), newest], 1)))


class TimesBlock(nn.Module):
    """Fold by the `top_k` strongest periods, convolve the pictures, unfold, add up by the periods' amplitudes."""

    top_k = 2

    def __init__(self, w: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(Inception(w), nn.GELU(), Inception(w))

    def forward(self, x: Tensor) -> Tensor:
        """(b, w, n) to (b, w, n)."""
        frequency, weight = strongest_periods(x, self.top_k)
        k, n = self.top_k, x.shape[-1]
        cycles = frequency.flatten()  # (b k)
        pictures = fold(x.repeat_interleave(k, 0), cycles)
        series = unfold(self.convolutions(pictures), cycles, n).reshape(len(x), k, -1, n)
        return torch.as_tensor((series * weight[:, :, None, None]).sum(1))


class Inception(nn.Module):
    """The mean of a 1x1, a 3x3 and a 5x5 convolution, run as the one 5x5 convolution that it is."""

    kernels = (1, 3, 5)

    def __init__(self, w: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(w, w, k, padding=k // 2) for k in self.kernels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, w, rows, columns) to the same."""
        widest = self.kernels[-1]
        each = [
            fn.pad(weight, [(widest - k) // 2] * 4)
            for k, weight in zip(self.kernels, (c.get_parameter("weight") for c in self.convolutions), strict=True)
        ]
        bias = torch.stack([c.get_parameter("bias") for c in self.convolutions]).mean(0)
        return fn.conv2d(x, torch.stack(each).mean(0), bias, padding=widest // 2)


def strongest_periods(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k frequencies of each example, in cycles over its length, (b, k), and their softmaxed amplitudes, (b, k).

    Args:
        x: (b, channels, n); amplitudes are the mean over the channels.
        k: how many.
    """
    amplitude = torch.fft.rfft(x.float()).abs().mean(1)[:, FEWEST : MOST + 1] / x.shape[-1] ** 0.5
    value, index = amplitude.topk(k, dim=1)
    return (index + FEWEST).to(x.dtype), value.softmax(1).to(x.dtype)


def fold(x: Tensor, cycles: Tensor) -> Tensor:
    """(b, w, n) with (b,) cycles over the n samples to pictures (b, w, ROWS, COLUMNS).

    The last row is the newest cycle; rows from before the series are zero, cycles older than ROWS are left out.
    """
    row = torch.arange(ROWS, device=x.device, dtype=x.dtype)[:, None] - ROWS
    phase = (torch.arange(COLUMNS, device=x.device, dtype=x.dtype) + 0.5) / COLUMNS
    at = 1.0 + (row + phase) / cycles[:, None, None]  # share of the series, 0 its start and 1 its end
    return fn.grid_sample(
        x[:, :, None],
        torch.stack([2.0 * at - 1.0, torch.zeros_like(at)], -1),
        padding_mode="zeros",
        align_corners=False,
    )


def unfold(pictures: Tensor, cycles: Tensor, n: int) -> Tensor:
    """Pictures (b, w, ROWS, COLUMNS) back to series (b, w, n); zero where no row reaches."""
    time = (torch.arange(n, device=pictures.device, dtype=pictures.dtype) + 0.5) / n
    cycle = ROWS - (1.0 - time) * cycles[:, None]  # (b, n) counted in rows, the phase after the point
    row = cycle.floor()
    x, y = 2.0 * (cycle - row) - 1.0, (2.0 * row + 1.0) / ROWS - 1.0
    edge = 1.0 - 1.0 / COLUMNS  # no interpolation into nothing at a row's ends
    grid = torch.stack([x.clamp(-edge, edge), y], -1)[:, None]
    return fn.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)[:, :, 0]
