"""Backbones of the teacher: encoders of different kinds. Each sees the 10 s context downsampled to its own length.

The kinds are kept in a registry: `conv_residual`, `patch_transformer`, `dlinear` and `timesnet` are defined here,
`pretrained` is a frozen network from a weights file (`pretrained_backbone.py`), and `register_backbone` adds others.

In all shapes, b is the number of beats in the batch, n is `BackboneSpec.length`, w is `BackboneSpec.width`, and d is
the width of the teacher's tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.pretrained_backbone import PretrainedBackbone, check_state, read_tensors
from ecgmoe_edge.model.teacher_config import BackboneSpec
from ecgmoe_edge.streaming.signal.windows import MODEL_RATE_HZ

#: Builds a network from (spec, d, leads).
Factory = Callable[[BackboneSpec, int, int], nn.Module]
_REGISTRY: dict[str, Factory] = {"pretrained": PretrainedBackbone}

# TimesNet folds a series into an image with one cycle per row. Cycles of 18 to 240 a minute, in a context of 10 s:
FEWEST_CYCLES, MOST_CYCLES = 3, 40
ROWS, COLUMNS = 16, 16  # size of the image: the newest cycles, and the phases of a cycle


def register_backbone(kind: str) -> Callable[[Factory], Factory]:
    """Decorator that registers a factory of backbones, `factory(spec, d, leads) -> module`.

    The module maps contexts (b, leads, spec.length), divided by the R amplitude of the first lead, to tokens (b, d).

    Args:
        kind: the name of the kind, as `BackboneSpec.kind` gives it.

    Raises:
        ModelError: the kind is registered already.
    """

    def add(factory: Factory) -> Factory:
        if kind in _REGISTRY:
            raise ModelError(f"A backbone named {kind!r} is registered already; choose another name.")
        _REGISTRY[kind] = factory
        return factory

    return add


def backbone_kinds() -> tuple[str, ...]:
    """Names of all registered kinds."""
    return tuple(sorted(_REGISTRY))


class Backbone(nn.Module):
    """Adaptive downsampling, a registered network and a normalisation: context (b, leads, samples) to token (b, d)."""

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        _check(spec)
        self.length, self.rate_hz = spec.length, spec.rate_hz
        self.net = _REGISTRY[spec.kind](spec, d, leads)
        self.norm = nn.LayerNorm(d)  # gives the tokens of all kinds the same scale
        if spec.weights is not None and spec.kind != "pretrained":
            path = Path(spec.weights).expanduser()
            tensors = read_tensors(path)
            check_state(path, self.net.state_dict(), tensors)
            self.net.load_state_dict(tensors)

    def forward(self, context: Tensor) -> Tensor:
        """See the class; `samples` are at 128 Hz."""
        token: Tensor = self.norm(self.net(resample(context, self.length, self.rate_hz)))
        return token


def resample(context: Tensor, length: int, rate_hz: float | None = None) -> Tensor:
    """Resample contexts from (b, leads, samples) at 128 Hz to (b, leads, length).

    To a lower rate, each output sample is the mean over its interval, which reduces aliasing. To a higher rate,
    samples are interpolated linearly.

    Args:
        context: the contexts.
        length: number of output samples.
        rate_hz: sampling rate of the output. The newest `length` samples are kept; a shorter context is preceded by
            zeros. None squeezes the whole context into `length`.
    """
    samples = context.shape[-1]
    wanted = length if rate_hz is None else round(samples * rate_hz / MODEL_RATE_HZ)
    if wanted < samples:
        context = fn.adaptive_avg_pool1d(context, wanted)
    elif wanted > samples:
        context = fn.interpolate(context, wanted, mode="linear", align_corners=False)
    kept = context[..., -length:]
    return fn.pad(kept, (length - kept.shape[-1], 0))


def _check(spec: BackboneSpec) -> None:
    if spec.kind not in _REGISTRY:
        raise ModelError(f"There is no backbone {spec.kind!r}. Known: {', '.join(backbone_kinds())}.")
    if spec.length < 1 or spec.width < 1 or (spec.rate_hz is not None and spec.rate_hz <= 0):
        raise ModelError(f"Length, width and rate_hz of the backbone {spec.kind!r} must be above 0.")
    foreign = {"factory": spec.factory, "leads": spec.leads, "place": spec.place, "sha256": spec.sha256}
    given = [name for name, value in foreign.items() if value]
    if given and spec.kind != "pretrained":
        raise ModelError(f"{', '.join(given)} are for pretrained backbones only, and {spec.kind!r} is not one.")


class _ResidualBlock(nn.Module):
    """Two convolutions with a shortcut; the first halves the length: (b, c_in, n) to (b, c_out, ceil(n / 2))."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv1d(c_in, c_out, 5, 2, 2, bias=False), nn.BatchNorm1d(c_out), nn.ReLU())
        self.b = nn.Sequential(nn.Conv1d(c_out, c_out, 5, 1, 2, bias=False), nn.BatchNorm1d(c_out))
        self.shortcut = nn.Sequential(nn.AvgPool1d(2, ceil_mode=True), nn.Conv1d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.b(self.a(x)) + self.shortcut(x))


@register_backbone("conv_residual")
class ConvResidual(nn.Module):
    """1-D residual convolution network, as Net1D: finds local shapes such as P waves anywhere in the context."""

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        w = spec.width
        self.stem = nn.Sequential(nn.Conv1d(leads, w, 7, 2, 3, bias=False), nn.BatchNorm1d(w), nn.ReLU())
        self.blocks = nn.Sequential(_ResidualBlock(w, w), _ResidualBlock(w, 2 * w), _ResidualBlock(2 * w, 3 * w))
        self.out = nn.Linear(6 * w, d)

    def forward(self, x: Tensor) -> Tensor:
        """(b, leads, length) to (b, d)."""
        y = self.blocks(self.stem(x))
        return torch.as_tensor(self.out(torch.cat([y.mean(-1), y.amax(-1)], 1)))


@register_backbone("patch_transformer")
class PatchTransformer(nn.Module):
    """Transformer over patches of the context, as MOMENT and ECG-FM: relates distant parts of the context."""

    patches = 20  # in a context of 10 s, so 0.5 s each

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        if spec.length % self.patches or spec.width % 4:
            raise ModelError(
                f"patch_transformer needs a length that divides into {self.patches} patches and a width that divides "
                f"into four heads, not length {spec.length} and width {spec.width}."
            )
        w = spec.width
        self.embed = nn.Linear(leads * (spec.length // self.patches), w)
        self.position = nn.Parameter(torch.randn(1, self.patches, w) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(w, 4, 2 * w, 0.1, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.out = nn.Linear(2 * w, d)

    def forward(self, x: Tensor) -> Tensor:
        """(b, leads, length) to (b, d)."""
        b, leads, n = x.shape
        patches = x.reshape(b, leads, self.patches, n // self.patches).transpose(1, 2).flatten(2)
        y = self.embed(patches) + self.position
        for layer in self.layers:
            y = layer(y)
        # The newest patch contains the beat that is to be classified; the mean describes the whole context.
        return torch.as_tensor(self.out(torch.cat([y.mean(1), y[:, -1]], 1)))


@register_backbone("dlinear")
class DLinear(nn.Module):
    """Trend and remainder of the context, each through its own linear layer.

    After Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI 2023; here the output is an
    embedding instead of a forecast.
    """

    smoothing = 25  # samples of the moving average, as in the paper

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        self.trend = nn.Linear(leads * spec.length, d)
        self.remainder = nn.Linear(leads * spec.length, d)

    def forward(self, x: Tensor) -> Tensor:
        """(b, leads, length) to (b, d)."""
        half = self.smoothing // 2
        trend = fn.avg_pool1d(fn.pad(x, (half, half), mode="replicate"), self.smoothing, 1)
        return torch.as_tensor(self.trend(trend.flatten(1)) + self.remainder((x - trend).flatten(1)))


@register_backbone("timesnet")
class TimesNet(nn.Module):
    """Folds the context by its strongest periods into images, and convolves these: cycles down, phases across.

    A small version of Wu et al., "TimesNet: Temporal 2D-Variation Modeling for General Time Series Analysis", ICLR
    2023. Two deviations: each example is folded by its own periods (the paper takes those of the mean spectrum of the
    batch, so that an output depends on the other examples), and an image has a fixed size, onto which the cycles are
    interpolated (the paper cuts at whole samples and pads).
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
        newest = y[..., -y.shape[-1] // 12 :].mean(-1)  # contains the beat that is to be classified
        return torch.as_tensor(self.out(torch.cat([y.mean(-1), y.amax(-1), newest], 1)))


class TimesBlock(nn.Module):
    """Fold by the `top_k` strongest periods, convolve the images, unfold, and sum weighted by the amplitudes."""

    top_k = 2

    def __init__(self, w: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(Inception(w), nn.GELU(), Inception(w))

    def forward(self, x: Tensor) -> Tensor:
        """(b, w, n) to (b, w, n)."""
        k, n = self.top_k, x.shape[-1]
        cycles, weight = strongest_periods(x, k)
        cycles = cycles.flatten()  # (b * k,)
        images = fold(x.repeat_interleave(k, 0), cycles)
        series = unfold(self.convolutions(images), cycles, n).reshape(len(x), k, -1, n)
        return torch.as_tensor((series * weight[:, :, None, None]).sum(1))


class Inception(nn.Module):
    """Mean of a 1x1, a 3x3 and a 5x5 convolution; computed as one 5x5 convolution, which is equivalent."""

    kernels = (1, 3, 5)

    def __init__(self, w: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(w, w, k, padding=k // 2) for k in self.kernels)

    def forward(self, x: Tensor) -> Tensor:
        """(b, w, ROWS, COLUMNS) to the same shape."""
        widest = self.kernels[-1]
        padded = [
            fn.pad(weight, [(widest - k) // 2] * 4)
            for k, weight in zip(self.kernels, (c.get_parameter("weight") for c in self.convolutions), strict=True)
        ]
        bias = torch.stack([c.get_parameter("bias") for c in self.convolutions]).mean(0)
        return fn.conv2d(x, torch.stack(padded).mean(0), bias, padding=widest // 2)


def strongest_periods(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find the frequencies with the largest amplitudes in each example.

    Args:
        x: series, (b, w, n); the amplitudes are means over the channels.
        k: number of frequencies.

    Returns:
        The frequencies as cycles over the n samples, (b, k), and the softmax of their amplitudes, (b, k).
    """
    amplitude = torch.fft.rfft(x.float()).abs().mean(1)[:, FEWEST_CYCLES : MOST_CYCLES + 1] / x.shape[-1] ** 0.5
    value, index = amplitude.topk(k, dim=1)
    return (index + FEWEST_CYCLES).to(x.dtype), value.softmax(1).to(x.dtype)


def fold(x: Tensor, cycles: Tensor) -> Tensor:
    """Fold series into images with one cycle per row, the newest cycle last.

    Rows before the start of the series are zero. Of more than ROWS cycles, the newest are used.

    Args:
        x: series, (b, w, n).
        cycles: number of cycles in the n samples, (b,).

    Returns:
        Images, (b, w, ROWS, COLUMNS).
    """
    row = torch.arange(ROWS, device=x.device, dtype=x.dtype)[:, None] - ROWS
    phase = (torch.arange(COLUMNS, device=x.device, dtype=x.dtype) + 0.5) / COLUMNS
    at = 1.0 + (row + phase) / cycles[:, None, None]  # fraction of the series: 0 at its start, 1 at its end
    return fn.grid_sample(
        x[:, :, None],
        torch.stack([2.0 * at - 1.0, torch.zeros_like(at)], -1),
        padding_mode="zeros",
        align_corners=False,
    )


def unfold(images: Tensor, cycles: Tensor, n: int) -> Tensor:
    """Inverse of `fold`: images (b, w, ROWS, COLUMNS) to series (b, w, n), zero before the first row."""
    time = (torch.arange(n, device=images.device, dtype=images.dtype) + 0.5) / n
    cycle = ROWS - (1.0 - time) * cycles[:, None]  # (b, n): whole part is the row, fraction is the phase
    row = cycle.floor()
    x, y = 2.0 * (cycle - row) - 1.0, (2.0 * row + 1.0) / ROWS - 1.0
    edge = 1.0 - 1.0 / COLUMNS  # at both ends of a row, no interpolation with the zeros outside
    grid = torch.stack([x.clamp(-edge, edge), y], -1)[:, None]
    return fn.grid_sample(images, grid, padding_mode="zeros", align_corners=False)[:, :, 0]


def build_backbones(specs: tuple[BackboneSpec, ...], d: int, leads: int = 1) -> nn.ModuleList:
    """Build one `Backbone` per spec, in order.

    Raises:
        ModelError: there is no spec, a kind is unknown, or a length or width does not suit the kind.
    """
    if not specs:
        raise ModelError("The teacher needs at least one backbone; list one under `backbones`.")
    return nn.ModuleList(Backbone(spec, d, leads) for spec in specs)
