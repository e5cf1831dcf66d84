"""The morphology experts of the student, from cheap to expensive, and the convolution block that they share.

In all shapes, b is the number of beats, w is `StudentConfig.waveform`, d is `StudentConfig.dim`, and n is the length
of the stem's output (`stem_length`).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from ecgmoe_edge.contract import BEAT, SHAPES

_POSITIONS = 4  # pooled positions of an expert: P wave, QRS, ST segment and T wave stay apart
_LEAST_CHANNELS = 4  # the int8 kernels process the channels four at a time


class ConvBlock(nn.Module):
    """Convolution along time, BatchNorm and ReLU: (b, c_in, 1, n) to (b, c_out, 1, n / stride)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, (1, kernel), (1, stride), (0, kernel // 2), bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return functional.relu(self.norm(self.conv(x)))


class MorphologyExpert(nn.Module):
    """Two convolutions over the stem's output, with `width` of the full 2w and 3w channels."""

    def __init__(self, waveform: int, dim: int, dropout: float, width: float = 1.0) -> None:
        super().__init__()
        first, second = (_channels(width, full) for full in (2 * waveform, 3 * waveform))
        self.first, self.second = ConvBlock(waveform, first, 5), ConvBlock(first, second, 5)
        self.pool = _pool(_halved(_halved(stem_length())))
        self.dropout: nn.Module = nn.Dropout(dropout)
        self.out = nn.Linear(_POSITIONS * second, dim)

    def forward(self, z: Tensor) -> Tensor:
        """(b, w, 1, n) to (b, d)."""
        pooled = self.pool(self.second(self.first(z))).flatten(1)
        return functional.relu(self.out(self.dropout(pooled)))


class LightMorphologyExpert(nn.Module):
    """One linear layer over the averaged output of the stem: for beats that look like the patient's template."""

    def __init__(self, waveform: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.pool = _pool(stem_length())
        self.dropout: nn.Module = nn.Dropout(dropout)
        self.out = nn.Linear(_POSITIONS * waveform, dim)

    def forward(self, z: Tensor) -> Tensor:
        """(b, w, 1, n) to (b, d)."""
        return functional.relu(self.out(self.dropout(self.pool(z).flatten(1))))


def morphology_expert(waveform: int, dim: int, dropout: float, width: float) -> nn.Module:
    """Return an untrained morphology expert.

    Args:
        waveform: channels of the stem.
        dim: width of the expert's output.
        dropout: dropout before the last layer.
        width: fraction of the full number of channels, from 0 to 1; 0 is an expert without convolutions.
    """
    if width == 0.0:
        return LightMorphologyExpert(waveform, dim, dropout)
    return MorphologyExpert(waveform, dim, dropout, width)


def stem_length() -> int:
    """Return the length n of the output of the waveform stem, whose convolution has stride 2."""
    return _halved(SHAPES[BEAT][-1])


def _halved(length: int) -> int:
    return (length + 1) // 2  # an odd kernel with half of it as padding, and stride 2


def _channels(width: float, full: int) -> int:
    """Return `width` of the full number of channels, rounded to a multiple of `_LEAST_CHANNELS`."""
    return min(full, max(1, round(width * full / _LEAST_CHANNELS)) * _LEAST_CHANNELS) if width < 1.0 else full


def _pool(length: int) -> nn.AvgPool2d:
    """Average `length` samples to `_POSITIONS`.

    The kernel is odd: the mean of an odd number of integers is never half-way between two integers, where runtimes
    round differently.
    """
    stride = length // _POSITIONS
    kernel = length - (_POSITIONS - 1) * stride
    return nn.AvgPool2d((1, kernel - 1 + kernel % 2), (1, stride))
