"""Backbones of the teacher: networks of different kinds that each see the 10 s context at their own length.

A registry holds the kinds. `register_backbone` adds one of a user's own (for example a wrapper round a pretrained
model); its weights, a safetensors file on disk, are named in the `BackboneSpec`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.teacher_config import BackboneSpec

Factory = Callable[[BackboneSpec, int], nn.Module]
_REGISTRY: dict[str, Factory] = {}


def register_backbone(kind: str) -> Callable[[Factory], Factory]:
    """Decorator: makes `factory(spec, d) -> module` known as `kind`.

    The module maps (b, 1, spec.length), normalised by the R amplitude, to (b, d).

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
    """A registered network behind its adaptive downsampling: (b, 1, samples) of context to (b, d)."""

    def __init__(self, spec: BackboneSpec, d: int) -> None:
        super().__init__()
        if spec.kind not in _REGISTRY:
            raise ModelError(f"There is no backbone {spec.kind!r}. Known: {', '.join(backbone_kinds())}.")
        self.length = spec.length
        self.net = _REGISTRY[spec.kind](spec, d)
        self.norm = nn.LayerNorm(d)  # so that tokens of different kinds meet on one scale
        if spec.weights is not None:
            self.net.load_state_dict(_weights_from(spec.weights, self.net))

    def forward(self, context: Tensor) -> Tensor:
        """Token of this backbone, (b, d), for contexts (b, 1, samples)."""
        token: Tensor = self.norm(self.net(downsample(context, self.length)))
        return token


def downsample(context: Tensor, length: int) -> Tensor:
    """Contexts (b, 1, samples) averaged onto (b, 1, length); the mean over each cell keeps aliases down."""
    return fn.adaptive_avg_pool1d(context, length) if context.shape[-1] != length else context


def _weights_from(path: str, net: nn.Module) -> dict[str, Tensor]:
    """Tensors of a safetensors file of any maker, checked against the network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(Path(path).expanduser())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Backbone weights {path} cannot be read ({error}). Give a safetensors file.") from error
    expected = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        odd = min(set(expected.items()) ^ set(found.items()))[0]
        raise ModelError(f"Backbone weights {path} do not fit the network: {odd!r} is missing, extra or misshapen.")
    return weights


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

    def __init__(self, spec: BackboneSpec, d: int) -> None:
        super().__init__()
        w = spec.width
        self.stem = nn.Sequential(nn.Conv1d(1, w, 7, 2, 3, bias=False), nn.BatchNorm1d(w), nn.ReLU())
        self.blocks = nn.Sequential(_ResidualBlock(w, w), _ResidualBlock(w, 2 * w), _ResidualBlock(2 * w, 3 * w))
        self.out = nn.Linear(6 * w, d)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 1, length) to (b, d)."""
        y = self.blocks(self.stem(x))
        return torch.as_tensor(self.out(torch.cat([y.mean(-1), y.amax(-1)], 1)))


@register_backbone("patch_transformer")
class PatchTransformer(nn.Module):
    """Transformer over patches of the context (the MOMENT and ECG-FM kind): how far-apart parts relate."""

    patches = 20  # 0.5 s each over a 10 s context

    def __init__(self, spec: BackboneSpec, d: int) -> None:
        super().__init__()
        if spec.length % self.patches or spec.width % 4:
            raise ModelError(
                f"patch_transformer needs a length that divides into {self.patches} patches and a width of four "
                f"heads, not length {spec.length} and width {spec.width}."
            )
        w = spec.width
        self.embed = nn.Linear(spec.length // self.patches, w)
        self.position = nn.Parameter(torch.randn(1, self.patches, w) * 0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(w, 4, 2 * w, 0.1, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.out = nn.Linear(2 * w, d)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 1, length) to (b, d)."""
        y = self.embed(x.reshape(len(x), self.patches, -1)) + self.position
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

    def __init__(self, spec: BackboneSpec, d: int) -> None:
        super().__init__()
        self.trend = nn.Linear(spec.length, d)
        self.remainder = nn.Linear(spec.length, d)

    def forward(self, x: Tensor) -> Tensor:
        """(b, 1, length) to (b, d)."""
        half = self.smoothing // 2
        trend = fn.avg_pool1d(fn.pad(x, (half, half), mode="replicate"), self.smoothing, 1)
        return torch.as_tensor(self.trend(trend[:, 0]) + self.remainder((x - trend)[:, 0]))


def build_backbones(specs: tuple[BackboneSpec, ...], d: int) -> nn.ModuleList:
    """One `Backbone` a spec, in order.

    Raises:
        ModelError: no spec at all, an unknown kind, or a length and width that the kind cannot hold.
    """
    if not specs:
        raise ModelError("The teacher needs at least one backbone; list one under `backbones`.")
    return nn.ModuleList(Backbone(spec, d) for spec in specs)
