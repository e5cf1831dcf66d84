"""What is said to a device so that it starts or stops, and its answers; nothing that it sends meanwhile is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ecgmoe_edge.firmware_bridge.items import Say
from ecgmoe_edge.firmware_bridge.serial_package import serial

KEPT_BYTES = 4096  # of what came since a step was said: an answer is short


def converse(
    port: serial.Serial, steps: Sequence[Say], heard: Callable[[bytes], None], given_up: Callable[[], bool]
) -> bool:
    """Say each step and wait for its answer; all that comes meanwhile goes to `heard`.

    False if an answer that was waited for did not come; the steps after it are said all the same, for it may only have
    been lost. Stops early once `given_up()`. Raises OSError if the port goes away or takes nothing.
    """
    answered = True
    for step in steps:
        answered &= any(_say(port, step, heard, given_up) for _ in range(step.tries))
    return answered


def _say(port: serial.Serial, step: Say, heard: Callable[[bytes], None], given_up: Callable[[], bool]) -> bool:
    """One step, once."""
    if step.data:
        port.write(step.data)
    came = b""
    deadline = time.monotonic() + step.at_most_s
    while not (step.until and step.until in came):
        if time.monotonic() >= deadline or given_up():
            return not step.until
        data = port.read(max(1, port.in_waiting))
        if data:
            heard(data)
            came = (came + data)[-KEPT_BYTES:]
    return True
