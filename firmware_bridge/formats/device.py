"""What the device's sides of the protocols share: a sampling rate, a scale, and commands that start and stop it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import rows_of, to_codes


class Device(ABC):
    """A device that a virtual Holter plays. Subclasses say what a frame is, and what else it answers.

    commands: bytes that set `streaming` and what is answered to them. The longest that matches is taken.
    """

    per_frame: int = 1
    commands: dict[bytes, tuple[bool | None, bytes]] = {}  # noqa: RUF012 - read only

    def __init__(self, rate: Fraction | int, leads: tuple[str, ...], uv_per_lsb: float) -> None:
        self.rate = Fraction(rate)
        self.leads = leads
        self.uv_per_lsb = uv_per_lsb
        self.streaming = not self.commands
        self.counter = 0
        self.clipped = 0  # samples that did not fit into a code, in whatever lead
        self._heard = b""

    @abstractmethod
    def encode(self, values: NDArray[np.float64]) -> bytes:
        """The frame of these samples, mV (leads, n); NaN where the electrode is off. Counts."""

    def codes(self, values: NDArray[np.float64], channels: int, low: int, high: int) -> NDArray[np.int64]:
        """Samples in mV (leads, n) as codes (channels, n) of low..high; missing leads and NaN are 0. Counts."""
        codes, beyond = to_codes(rows_of(values, channels), self.uv_per_lsb, low, high)
        self.clipped += beyond
        return codes

    def hear(self, data: bytes) -> bytes:
        """Obey `commands`, wherever they are cut; anything else is ignored."""
        answer = b""
        heard = self._heard + data
        while heard:
            command = max((c for c in self.commands if heard.startswith(c)), key=len, default=None)
            if command is None:
                if any(c.startswith(heard) for c in self.commands):
                    break
                heard = heard[1:]
                continue
            streaming, said = self.commands[command]
            self.streaming = self.streaming if streaming is None else streaming
            answer += said
            heard = heard[len(command) :]
        self._heard = heard
        return answer

    def boot(self) -> bytes:
        """Nothing, for most."""
        return b""

    def announce(self) -> bytes:
        """Nothing: most formats have no header."""
        return b""

    def end(self) -> bytes:
        """Nothing: most devices never end."""
        return b""
