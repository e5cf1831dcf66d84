"""The common part of all simulated devices: sampling rate, scale, and commands that start and stop the stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge.formats.codes import rows_of, to_codes


class Device(ABC):
    """A simulated device, which a virtual Holter plays. Subclasses define its frames and other replies.

    Attributes:
        per_frame: samples (per lead) in a frame.
        commands: for each command, the new value of `streaming` (None: unchanged) and the reply. Of several commands
            that match, the longest is taken.
        counter: frames or samples so far.
        clipped: samples that exceeded the code range in some lead.
    """

    per_frame: int = 1
    commands: dict[bytes, tuple[bool | None, bytes]] = {}  # noqa: RUF012 - read only

    def __init__(self, rate: Fraction | int, leads: tuple[str, ...], uv_per_lsb: float) -> None:
        self.rate = Fraction(rate)
        self.leads = leads
        self.uv_per_lsb = uv_per_lsb
        self.streaming = not self.commands
        self.counter = 0
        self.clipped = 0
        self._partial = b""

    @abstractmethod
    def encode(self, values: NDArray[np.float64]) -> bytes:
        """Encode the next frame and advance the counters.

        Args:
            values: mV, (leads, samples); NaN while an electrode is off.
        """

    def codes(self, values: NDArray[np.float64], channels: int, low: int, high: int) -> NDArray[np.int64]:
        """Encode samples as codes and count clipped ones.

        Args:
            values: mV, (leads, samples); missing leads and NaN become 0.
            channels: rows of the result.
            low: lowest code; lower ones are clipped.
            high: highest code; higher ones are clipped.

        Returns:
            Codes, (channels, samples).
        """
        codes, beyond = to_codes(rows_of(values, channels), self.uv_per_lsb, low, high)
        self.clipped += beyond
        return codes

    def receive(self, data: bytes) -> bytes:
        """Process commands, even if they arrive in pieces, and return the replies. Other bytes are ignored."""
        answer = b""
        pending = self._partial + data
        while pending:
            command = max((c for c in self.commands if pending.startswith(c)), key=len, default=None)
            if command is None:
                if any(c.startswith(pending) for c in self.commands):
                    break
                pending = pending[1:]
                continue
            streaming, reply = self.commands[command]
            self.streaming = self.streaming if streaming is None else streaming
            answer += reply
            pending = pending[len(command) :]
        self._partial = pending
        return answer

    def boot(self) -> bytes:
        """No bytes at power-on, for most devices."""
        return b""

    def announce(self) -> bytes:
        """No bytes: most formats have no header."""
        return b""

    def end(self) -> bytes:
        """No bytes: most devices never end."""
        return b""
