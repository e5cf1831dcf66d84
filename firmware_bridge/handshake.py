"""The handshake that starts or stops a device: commands out, replies in. Samples that arrive meanwhile are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ecgmoe_edge.firmware_bridge.items import CommandStep
from ecgmoe_edge.firmware_bridge.serial_package import serial

MAX_REPLY_BYTES = 4096  # only the last bytes since a command are searched for its reply: replies are short


def run_handshake(
    port: serial.Serial, steps: Sequence[CommandStep], received: Callable[[bytes], None], cancelled: Callable[[], bool]
) -> bool:
    """Send each command and wait for its reply.

    A missing reply does not end the handshake: the command may have worked and only its reply was lost.

    Args:
        port: the open port.
        steps: the commands in order.
        received: called with all bytes that arrive meanwhile, replies included.
        cancelled: polled while waiting; the handshake ends early once it returns True.

    Returns:
        Whether every expected reply arrived.

    Raises:
        OSError: the port has gone away or accepts no data.
    """
    answered = True
    for step in steps:
        answered &= any(_send(port, step, received, cancelled) for _ in range(step.tries))
    return answered


def _send(
    port: serial.Serial, step: CommandStep, received: Callable[[bytes], None], cancelled: Callable[[], bool]
) -> bool:
    """Send one command once. Returns whether its reply arrived, or True if none is expected."""
    if step.data:
        port.write(step.data)
    answer = b""
    deadline = time.monotonic() + step.wait_s
    while not (step.reply and step.reply in answer):
        if time.monotonic() >= deadline or cancelled():
            return not step.reply
        data = port.read(max(1, port.in_waiting))
        if data:
            received(data)
            answer = (answer + data)[-MAX_REPLY_BYTES:]
    return True
