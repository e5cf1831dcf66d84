"""Reader presence: whether a program reads the port of a virtual device."""

from __future__ import annotations

import threading
import time

from ecgmoe_edge.firmware_bridge.items import Encoder
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice

EARLY_EXIT_S = 15.0  # a reader that closes the port within this time has rejected the data or failed
STREAM_DELAY_S = 1.0  # delay from opening the port to streaming, for a device that streams without a start command


class ReaderPresence:
    """Tracks whether a program reads a virtual device's port, and answers that program's commands.

    An open port is not enough: serial libraries discard bytes that arrive while they configure the port. So a program
    counts as a reader from its start command on. If the device streams without a start command, the program counts as a
    reader `STREAM_DELAY_S` after it opened the port.

    Args:
        device: the device's end of the pseudo terminal.
        encoder: the device's side of the protocol; it answers commands.
        stopped: set when the replay ends, so that no write blocks.

    Attributes:
        new_reader: True as soon as a reader is present. The caller resets it after it has sent the stream header.
    """

    def __init__(self, device: PtyDevice, encoder: Encoder, stopped: threading.Event) -> None:
        self.new_reader = False
        self.encoder = encoder
        self._device = device
        self._stopped = stopped
        self._streams_unprompted = encoder.streaming
        self._reading = False
        self._opened_at: float | None = None
        self._left_at: float | None = None  # when the last reader left; None if a new one has come since
        self._visit_s = 0.0

    def seconds_since_early_exit(self) -> float | None:
        """Seconds since a reader left soon after it came; None if no reader did, or if another one has come since."""
        if self._left_at is None or self._visit_s > EARLY_EXIT_S:
            return None
        return time.monotonic() - self._left_at

    def poll(self) -> bool:
        """Answer pending commands. Returns whether a reader receives what is written now."""
        attached, commands = self._device.reader()
        if not attached:
            if self._opened_at is not None:
                self.encoder.streaming = self._streams_unprompted
                self._left_at = time.monotonic()
                self._visit_s = self._left_at - self._opened_at
            self._reading = False
            self._opened_at = None
            return False
        now = time.monotonic()
        if self._opened_at is None:
            self._opened_at = now
            self._left_at = None
        if commands:
            answer = self.encoder.receive(commands)
            if answer:
                self._device.write(answer, self._stopped)
        delay_over = self._streams_unprompted and now - self._opened_at >= STREAM_DELAY_S
        if not self.encoder.streaming:
            self._reading = False
        elif not self._reading and (commands or delay_over):
            self._reading = self.new_reader = True
        return self._reading
