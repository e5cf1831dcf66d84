"""The command line: thin commands, one file each. Results go to stdout, words for people to stderr.

Exit codes: 0 done, 1 a gate failed, 2 usage, 3 bad input or device, 130 interrupted, 141 the reader of the output left.
"""

from __future__ import annotations

import errno
import io
import os
import sys

from ecgmoe_edge.cli.app import app
from ecgmoe_edge.cli.output import say
from ecgmoe_edge.errors import EcgmoeError, GateFailed
from ecgmoe_edge.shown_text import shown

__all__ = ["app", "main"]

_BAD_INPUT = 3
_INTERRUPTED = 130
_NO_ROOM = " Make room there, or name another place. What was there before is unchanged."
_ADVICE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EROFS: " Name a place that can be written.",
    errno.EACCES: " Ask for permission, or name another place.",
    errno.ENOENT: " Name what is there.",
    errno.ELOOP: " It is a link that leads back to itself: name the file.",
    errno.ENAMETOOLONG: " Give a shorter name.",
}


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and an exit code, never in a traceback."""
    if sys.stderr is None:  # closed by the caller; a file or port opened later would stand in its place
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        say("error: stdout is closed, and results go there: leave it open, or send it to a file or /dev/null.")
        sys.exit(_BAD_INPUT)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal's encoding lacks is no reason to fail
    code = _run()
    try:
        sys.stdout.flush()
    except OSError as error:  # Python would end with a code of its own at the exit
        _leave_stdout()
        if not code and not isinstance(error, BrokenPipeError):
            code = _said(error, "stdout")
    sys.exit(code)


def _run() -> int | str | None:
    """The exit code of the command that was typed."""
    try:
        app()
    except SystemExit as end:
        return end.code
    except EcgmoeError as error:
        say(f"error: {shown(error, lines=isinstance(error, GateFailed))}")  # a failed gate lists its beats
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:  # a folder that cannot be written, a disk that is full
        if error.strerror is None:
            raise
        return _said(error, error.filename)
    return 0


def _said(error: OSError, place: object) -> int:
    """Say what the system refused and what to do; gives the exit code."""
    named = f"{shown(os.fsdecode(place) if isinstance(place, bytes) else place)}: " if place else ""
    say(f"error: {named}{shown(error.strerror)}.{_ADVICE.get(error.errno or 0, '')}")
    return _BAD_INPUT


def _leave_stdout() -> None:
    """Send what is still to be written to stdout nowhere: it would fail once more at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
