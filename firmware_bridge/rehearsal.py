"""A device's bytes without a port: what one of a protocol sends when it is started and given samples.

For tests and benchmarks, ours and those of whoever writes a protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.items import Encoder, Settings, WireFormat

UV_PER_LSB = 4.0
RATE = Fraction(200)  # Hz, where the user must give one


@dataclass(frozen=True)
class Rehearsal:
    """What was sent, and what it holds."""

    before: bytes  # text at boot, answers to the start commands, an introduction
    frames: tuple[bytes, ...]
    per_frame: int  # samples in a frame
    after: bytes
    values: NDArray[np.float64]  # mV (leads, n), as they were given to the device
    settings: Settings

    @property
    def stream(self) -> bytes:
        """All of it."""
        return self.before + b"".join(self.frames) + self.after


def example_settings(wire_format: WireFormat) -> Settings:
    """What the user must give, given."""
    return Settings(
        uv_per_lsb=UV_PER_LSB if "--uv-per-lsb" in wire_format.needs else None,
        rate=RATE if "--fs" in wire_format.needs else None,
    )


def rehearse(
    wire_format: WireFormat,
    samples: int,
    seed: int = 0,
    amplitude_mv: float = 1.0,
    settings: Settings | None = None,
) -> Rehearsal:
    """A started device that sends `samples` (rounded up to whole frames) of a slow random signal."""
    settings = settings or example_settings(wire_format)
    encoder = wire_format.make_encoder(settings)
    before = encoder.boot() + b"".join(encoder.hear(say.data) for say in wire_format.start) + encoder.announce()
    count = -(-samples // encoder.per_frame)
    values = _signal(len(encoder.leads), count * encoder.per_frame, seed, amplitude_mv)
    frames = _frames(encoder, values)
    return Rehearsal(before, frames, encoder.per_frame, encoder.end(), values, settings)


def _frames(encoder: Encoder, values: NDArray[np.float64]) -> tuple[bytes, ...]:
    n = encoder.per_frame
    return tuple(encoder.encode(values[:, first : first + n]) for first in range(0, values.shape[1], n))


def _signal(leads: int, n: int, seed: int, amplitude_mv: float) -> NDArray[np.float64]:
    """Smooth, different in each lead, and never constant."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    waves = [sum(np.sin(t * rng.uniform(0.01, 0.3) + rng.uniform(0, 6)) for _ in range(3)) / 3 for _ in range(leads)]
    return amplitude_mv * (np.array(waves) + rng.normal(0, 0.01, (leads, n)))
