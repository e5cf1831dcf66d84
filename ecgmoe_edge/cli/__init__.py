"""The command line: thin commands, one file each. Results go to stdout, words for people to stderr.

Exit codes: 0 done, 1 a gate failed, 2 usage, 3 bad input or device, 130 interrupted, 141 the reader of the output left.
"""

from __future__ import annotations

import errno
import io
import os
import sys

TYPE_CHECKING = False  # as typing's, whose import takes longer than all that stands here
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

__all__ = ["main"]

_BAD_INPUT = 3
_INTERRUPTED = 130
_NO_ROOM = " Make room there, or name another place."
_OLD_FILE_STAYS = " What was there before is unchanged."
_ADVICE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EROFS: " Name a place that can be written.",
    errno.EACCES: " Ask for permission, or name another place.",
    errno.ENOENT: " Give a path that exists.",
    errno.ELOOP: " It is a link that leads back to itself: name the file.",
    errno.ENAMETOOLONG: " Give a shorter name.",
}


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and an exit code, never in a traceback."""
    if sys.stderr is None:  # closed by the caller; a file or port opened later would stand in its place
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        sys.stderr.write(
            "error: stdout is closed, and results go there: leave it open, or send it to a file or /dev/null.\n"
        )
        sys.exit(_BAD_INPUT)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # characters that the terminal cannot show must not end the command
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _quiet_when_interrupted
    try:
        code = _run(_imported())
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:
        if not _is_interrupt(error):
            raise
        code = _INTERRUPTED  # Ctrl-C in the import of a library that makes another error of it
    try:
        sys.stdout.flush()
    except OSError as error:  # Python would end with a code of its own at the exit
        _leave_stdout()
        if not code and not isinstance(error, BrokenPipeError):
            code = _report(error, "stdout")
    sys.exit(code)


def _imported() -> Callable[[], Any]:
    """The commands. Ctrl-C ends the process at once meanwhile: an import that is cut short may say so in many lines."""
    import signal  # here, where Ctrl-C is caught already

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


def _run(app: Callable[[], Any]) -> int | str | None:
    """The exit code of the command that was typed."""
    from ecgmoe_edge.cli.output import say
    from ecgmoe_edge.errors import EcgmoeError, GateFailed
    from ecgmoe_edge.shown_text import shown

    try:
        app()
    except SystemExit as end:
        return end.code
    except EcgmoeError as error:
        say(f"error: {shown(error, lines=isinstance(error, GateFailed))}")  # a failed gate lists its beats
        return error.exit_code
    except OSError as error:  # a folder that cannot be written, a disk that is full
        if error.strerror is None:
            raise
        return _report(error, error.filename)
    return 0


def _report(error: OSError, place: object) -> int:
    """Say what the system refused and what to do; gives the exit code."""
    from ecgmoe_edge.cli.output import say
    from ecgmoe_edge.shown_text import shown

    named = f"{shown(os.fsdecode(place) if isinstance(place, bytes) else place)}: " if place else ""
    advice = _ADVICE.get(error.errno or 0, "")
    if advice == _NO_ROOM and place != "stdout":
        advice += _OLD_FILE_STAYS
    say(f"error: {named}{shown(error.strerror)}.{advice}")
    return _BAD_INPUT


def _leave_stdout() -> None:
    """Send what is still to be written to stdout nowhere: it would fail once more at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


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
