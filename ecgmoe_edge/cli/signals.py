"""What ends a command from outside: Ctrl-C, a terminate signal, a terminal that was closed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

FORCING = (signal.SIGINT, signal.SIGTERM)  # a second of them does not wait for anything
HANGUP = signal.SIGHUP  # a closed terminal: kernel and shell may both send it


def code_of(number: int) -> int:
    """The exit code of a process that a signal has ended, as shells give it."""
    return 128 + number


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP leave every `with` on the way out, as Ctrl-C does: a device is stopped, a port vanishes.

    One that was ignored before, as by nohup, stays so.
    """

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(code_of(number))

    with _handled((signal.SIGTERM, HANGUP), leave):
        yield


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP calls `stop`; a second Ctrl-C or SIGTERM ends the process at once.

    At once means also while the main thread is inside a model or waits for a write: Python runs a handler only between
    two steps of its own, so the signals are read from a file descriptor by a thread. `stop` is called from there.
    """

    def nothing(_: int, __: FrameType | None) -> None:
        """The thread does what is to be done."""

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with _handled((*FORCING, HANGUP), nothing) as numbers:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watcher = threading.Thread(target=_watch, args=(reading, numbers, stop), name="signals", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(writing)  # ends the thread
            watcher.join(1.0)
            os.close(reading)


def _watch(reading: int, numbers: tuple[int, ...], stop: Callable[[], None]) -> None:
    """Runs in a thread until the pipe's other end is closed."""
    forced = 0
    while came := os.read(reading, 64):
        for number in came:
            if number not in numbers:
                continue
            forced += number in FORCING
            if forced > 1:
                os._exit(code_of(number))  # a clean exit would wait for the thread whose write blocks
            stop()


@contextmanager
def _handled(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]
) -> Iterator[tuple[int, ...]]:
    """These signals go to `handler`, but for those that are ignored; gives those that do."""
    listened = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in listened}
    try:
        yield tuple(listened)
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
