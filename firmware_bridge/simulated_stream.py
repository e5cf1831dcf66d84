"""The byte stream of a simulated device, without a port: what it sends when it is started and given samples.

For tests and benchmarks, also those of protocols in other packages.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.items import Encoder, Settings, WireFormat

UV_PER_LSB = 4.0
RATE = Fraction(200)  # Hz, for protocols whose user must state the rate


@dataclass(frozen=True)
class SimulatedStream:
    """The bytes that were sent, and the samples in them.

    Attributes:
        preamble: boot text, replies to the start commands, stream header.
        frames: one bytes object per frame.
        per_frame: samples (per lead) in a frame.
        ending: what the device sends when the recording is over.
        values: mV, (leads, samples), as given to the device.
        settings: the settings of the simulated device.
    """

    preamble: bytes
    frames: tuple[bytes, ...]
    per_frame: int
    ending: bytes
    values: NDArray[np.float64]
    settings: Settings

    @property
    def all_bytes(self) -> bytes:
        """Preamble, frames and ending."""
        return self.preamble + b"".join(self.frames) + self.ending


def example_settings(wire_format: WireFormat) -> Settings:
    """Example values for the settings that the user of this protocol must give."""
    return Settings(
        uv_per_lsb=UV_PER_LSB if "--uv-per-lsb" in wire_format.needs else None,
        rate=RATE if "--fs" in wire_format.needs else None,
    )


def simulate(
    wire_format: WireFormat,
    samples: int,
    seed: int = 0,
    amplitude_mv: float = 1.0,
    settings: Settings | None = None,
) -> SimulatedStream:
    """Simulate a started device that sends a slow random signal.

    Args:
        wire_format: its protocol.
        samples: per lead; rounded up to whole frames.
        seed: of the random signal.
        amplitude_mv: of the signal, mV.
        settings: of the device; None: `example_settings`.

    >>> from ecgmoe_edge.firmware_bridge.protocols import get_protocol
    >>> simulate(get_protocol("cyton"), 10).values.shape
    (8, 10)
    """
    settings = settings or example_settings(wire_format)
    encoder = wire_format.make_encoder(settings)
    preamble = encoder.boot() + b"".join(encoder.receive(step.data) for step in wire_format.start) + encoder.announce()
    count = -(-samples // encoder.per_frame)
    values = _signal(len(encoder.leads), count * encoder.per_frame, seed, amplitude_mv)
    frames = _frames(encoder, values)
    return SimulatedStream(preamble, frames, encoder.per_frame, encoder.end(), values, settings)


def _frames(encoder: Encoder, values: NDArray[np.float64]) -> tuple[bytes, ...]:
    n = encoder.per_frame
    return tuple(encoder.encode(values[:, first : first + n]) for first in range(0, values.shape[1], n))


def _signal(leads: int, n: int, seed: int, amplitude_mv: float) -> NDArray[np.float64]:
    """A smooth signal that differs between leads and is never constant; mV, (leads, samples)."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    waves = [sum(np.sin(t * rng.uniform(0.01, 0.3) + rng.uniform(0, 6)) for _ in range(3)) / 3 for _ in range(leads)]
    return amplitude_mv * (np.array(waves) + rng.normal(0, 0.01, (leads, n)))
