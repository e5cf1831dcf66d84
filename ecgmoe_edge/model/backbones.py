"""Backbones of the teacher: networks of different kinds that each see the 10 s context at their own length.

A registry holds the kinds. `register_backbone` adds one of a user's own; the kind `pretrained` is a frozen network
from a weights file.
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
from ecgmoe_edge.model.timesnet import TimesNet
from ecgmoe_edge.streaming.signal.windows import MODEL_RATE_HZ

#: (spec, d, leads) to the network.
Factory = Callable[[BackboneSpec, int, int], nn.Module]
_REGISTRY: dict[str, Factory] = {"timesnet": TimesNet, "pretrained": PretrainedBackbone}


def register_backbone(kind: str) -> Callable[[Factory], Factory]:
    """Decorator: makes `factory(spec, d, leads) -> module` known as `kind`.

    The module maps (b, leads, spec.length), normalised by the first lead's R amplitude, to (b, d).

    Raises:
        ModelError: the kind is taken.
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
    """A registered network behind its adaptive downsampling: (b, leads, samples) of context to (b, d)."""

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        _check(spec)
        self.length, self.rate_hz = spec.length, spec.rate_hz
        self.net = _REGISTRY[spec.kind](spec, d, leads)
        self.norm = nn.LayerNorm(d)  # so that tokens of different kinds meet on one scale
        if spec.weights is not None and spec.kind != "pretrained":
            path = Path(spec.weights).expanduser()
            tensors = read_tensors(path)
            check_state(path, self.net.state_dict(), tensors)
            self.net.load_state_dict(tensors)

    def forward(self, context: Tensor) -> Tensor:
        """Token of this backbone, (b, d), for contexts (b, leads, samples)."""
        token: Tensor = self.norm(self.net(resample(context, self.length, self.rate_hz)))
        return token


def resample(context: Tensor, length: int, rate_hz: float | None = None) -> Tensor:
    """Contexts (b, leads, samples) of 128 Hz onto (b, leads, length).

    Without a rate all of the context is squeezed into the length. With one, the newest `length` samples of that rate
    are kept, zeros before them where the context is shorter. Downwards the mean over each cell keeps aliases low.
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
        raise ModelError(f"{', '.join(given)} belong to pretrained backbones and mean nothing to {spec.kind!r}.")


class _ResidualBlock(nn.Module):
    """Two convolutions round a shortcut; the first halves the length."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv1d(c_in, c_out, 5, 2, 2, bias=False), nn.BatchNorm1d(c_out), nn.ReLU())
        self.b = nn.Sequential(nn.Conv1d(c_out, c_out, 5, 1, 2, bias=False), nn.BatchNorm1d(c_out))
        self.shortcut = nn.Sequential(nn.AvgPool1d(2, ceil_mode=True), nn.Conv1d(c_in, c_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.b(self.a(x)) + self.shortcut(x))


@register_backbone("conv_residual")
class ConvResidual(nn.Module):
    """1-D residual convolution network (the Net1D kind): local shapes such as P waves anywhere in the context."""

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
    """Transformer over patches of the context (the MOMENT and ECG-FM kind): how far-apart parts relate."""

    patches = 20  # 0.5 s each over a 10 s context

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        if spec.length % self.patches or spec.width % 4:
            raise ModelError(
                f"patch_transformer needs a length that divides into {self.patches} patches and a width of four "
                f"heads, not length {spec.length} and width {spec.width}."
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
        # The newest patch holds the beat that is asked about; the mean holds the rest.
        return torch.as_tensor(self.out(torch.cat([y.mean(1), y[:, -1]], 1)))


@register_backbone("dlinear")
class DLinear(nn.Module):
    """Trend and remainder, a linear map each (Zeng et al., "Are Transformers Effective for Time Series
    Forecasting?", AAAI 2023), here to an embedding and not to a forecast.
    """

    smoothing = 25  # samples of the moving average, as published

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        self.trend = nn.Linear(leads * spec.length, d)
        self.remainder = nn.Linear(leads * spec.length, d)

    def forward(self, x: Tensor) -> Tensor:
        """(b, leads, length) to (b, d)."""
        half = self.smoothing // 2
        trend = fn.avg_pool1d(fn.pad(x, (half, half), mode="replicate"), self.smoothing, 1)
        return torch.as_tensor(self.trend(trend.flatten(1)) + self.remainder((x - trend).flatten(1)))


def build_backbones(specs: tuple[BackboneSpec, ...], d: int, leads: int = 1) -> nn.ModuleList:
    """One `Backbone` a spec, in order.

    Raises:
        ModelError: no spec at all, an unknown kind, or a length and width that the kind cannot hold.
    """
    if not specs:
        raise ModelError("The teacher needs at least one backbone; list one under `backbones`.")
    return nn.ModuleList(Backbone(spec, d, leads) for spec in specs)
