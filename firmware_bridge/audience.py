"""Who reads a virtual device: its commands are received and answered, and no samples are sent before it can read."""

from __future__ import annotations

import threading
import time

from ecgmoe_edge.firmware_bridge.items import Encoder
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice

SHORT_STAY_S = 15.0  # a reader that leaves so soon has refused what it read, or failed
SETTLE_S = 1.0  # a reader that sends no start command gets the stream so long after it opened the port


class Audience:
    """Whether somebody reads a device's port.

    Having it open is not enough: serial libraries throw away what arrives while they are still setting the port up.
    A reader counts from its start command on, or, for a device that streams unasked, once it has had time to settle.
    """

    def __init__(self, device: PtyDevice, encoder: Encoder, stopped: threading.Event) -> None:
        self.joined = False  # a reader began to listen; whoever greets it resets this
        self.encoder = encoder
        self._device = device
        self._stopped = stopped
        self._unasked = encoder.streaming
        self._listening = False
        self._attached_at: float | None = None
        self._left_at: float | None = None  # the last reader, where no other has come since
        self._stayed_s = 0.0

    def refused_for_s(self) -> float | None:
        """How long ago a reader left that had only just come; None where none did, or another has come since."""
        if self._left_at is None or self._stayed_s > SHORT_STAY_S:
            return None
        return time.monotonic() - self._left_at

    def listening(self) -> bool:
        """Whether what is written now is read. Answers commands."""
        attached, commands = self._device.reader()
        if not attached:
            if self._attached_at is not None:
                self.encoder.streaming = self._unasked
                self._left_at = time.monotonic()
                self._stayed_s = self._left_at - self._attached_at
            self._listening = False
            self._attached_at = None
            return False
        now = time.monotonic()
        if self._attached_at is None:
            self._attached_at = now
            self._left_at = None
        if commands:
            answer = self.encoder.hear(commands)
            if answer:
                self._device.write(answer, self._stopped)
        settled = self._unasked and now - self._attached_at >= SETTLE_S
        if not self.encoder.streaming:
            self._listening = False
        elif not self._listening and (commands or settled):
            self._listening = self.joined = True
        return self._listening
