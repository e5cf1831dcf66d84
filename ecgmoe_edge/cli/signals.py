"""Signals that end a command: Ctrl-C, SIGTERM, and SIGHUP when the terminal is closed; and one that switches."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

FORCING = (signal.SIGINT, signal.SIGTERM)  # a second one ends the process without waiting
SWITCH = signal.SIGUSR1  # switches the patient's own layer off and on
HANGUP = signal.SIGHUP  # when a terminal is closed, both the kernel and the shell may send it


def code_of(number: int) -> int:
    """The exit code of a process that a signal has ended, as in a shell.

    >>> code_of(signal.SIGTERM)
    143
    """
    return 128 + number


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """On SIGTERM and SIGHUP, leave every `with` block, as Ctrl-C does: a device is stopped, a port vanishes.

    A signal that was ignored before, as by nohup, stays ignored.
    """

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(code_of(number))

    with _handled((signal.SIGTERM, HANGUP), leave):
        yield


@contextmanager
def stopping_on_signals(
    stop: Callable[[], None], others: Mapping[signal.Signals, Callable[[], None]] | None = None
) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP calls `stop`; a second Ctrl-C or SIGTERM ends the process at once.

    Python runs a signal handler only between two bytecode instructions of the main thread, which may be inside a model
    or blocked in a write. So a thread reads the signals from a file descriptor, and calls `stop`.

    Args:
        stop: called from that thread.
        others: called from that thread for further signals.
    """

    def nothing(_: int, __: FrameType | None) -> None:
        """The thread handles the signal."""

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    actions = {int(number): action for number, action in (others or {}).items()}
    with _handled((*FORCING, HANGUP, *(others or {})), nothing) as numbers:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        watcher = threading.Thread(target=_watch, args=(reading, numbers, stop, actions), name="signals", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(writing)  # ends the thread
            watcher.join(1.0)
            os.close(reading)


def _watch(
    reading: int, numbers: tuple[int, ...], stop: Callable[[], None], others: Mapping[int, Callable[[], None]]
) -> None:
    """Runs in a thread until the other end of the pipe is closed."""
    forced = 0
    while received := os.read(reading, 64):
        for number in received:
            if number not in numbers:
                continue
            if number in others:
                others[number]()
                continue
            forced += number in FORCING
            if forced > 1:
                os._exit(code_of(number))  # a clean exit would wait for the thread whose write blocks
            stop()


@contextmanager
def _handled(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]
) -> Iterator[tuple[int, ...]]:
    """Set `handler` for these signals, except those that are ignored. Yields the handled signals."""
    handled = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield tuple(handled)
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
