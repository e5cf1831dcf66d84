"""The command line: thin commands, one file each. Results go to stdout, words for people to stderr.

Exit codes: 0 done, 1 a gate failed, 2 usage, 3 bad input or device, 130 interrupted, 141 the reader of the output left.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # as typing's, whose import takes longer than all that stands here
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

__all__ = ["main"]

_BAD_INPUT = 3
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and an exit code, never in a traceback."""
    if sys.stderr is None:  # closed by the caller; a file or port opened later would stand in its place
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        sys.stderr.write(
            "error: stdout is closed, and results go there: leave it open, or send it to a file or /dev/null.\n"
        )
        sys.exit(_BAD_INPUT)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _quiet_when_interrupted
    try:
        _run(_imported())
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if _is_interrupt(error):  # Ctrl-C in the import of a library that makes another error of it
            sys.exit(_INTERRUPTED)
        raise


def _imported() -> Callable[[], Any]:
    """The commands. Ctrl-C ends the process at once meanwhile: an import that is cut short may say so in many lines."""
    before = signal.getsignal(signal.SIGINT)
    try:
        if before != signal.SIG_IGN:
            signal.signal(signal.SIGINT, _leave)
        from ecgmoe_edge.cli.app import app
    except ValueError:  # no signals in any thread but the first
        from ecgmoe_edge.cli.app import app
    else:
        signal.signal(signal.SIGINT, before)
    return app


def _leave(_: int, __: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


def _run(app: Callable[[], Any]) -> None:
    from ecgmoe_edge.cli.output import say
    from ecgmoe_edge.errors import EcgmoeError

    try:
        app()
    except EcgmoeError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:  # a folder that cannot be written, a disk that is full
        if error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        say(f"error: {place}{error.strerror}")
        sys.exit(_BAD_INPUT)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _quiet_when_interrupted(unraisable: Any) -> None:
    """Ctrl-C where no error can be raised, such as while an object is freed, ends the process too, without a word."""
    if unraisable.exc_type is not None and issubclass(unraisable.exc_type, KeyboardInterrupt):
        os._exit(_INTERRUPTED)
    sys.__unraisablehook__(unraisable)
