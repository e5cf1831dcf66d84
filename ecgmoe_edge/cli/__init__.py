"""The command line: thin commands, one file each. Results go to stdout, words for people to stderr.

Exit codes: 0 done, 1 a gate failed, 2 usage, 3 bad input or device, 130 interrupted, 141 the reader of the output left.
"""

from __future__ import annotations

import os
import sys

from ecgmoe_edge.cli.app import app
from ecgmoe_edge.cli.output import say
from ecgmoe_edge.errors import EcgmoeError

__all__ = ["app", "main"]

_BAD_INPUT = 3
_INTERRUPTED = 130


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence and an exit code, never in a traceback."""
    if sys.stderr is None:  # closed by the caller; a file or port opened later would stand in its place
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        say("error: stdout is closed, and results go there: leave it open, or send it to a file or /dev/null.")
        sys.exit(_BAD_INPUT)
    try:
        app()
    except EcgmoeError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except OSError as error:  # a folder that cannot be written, a disk that is full
        if error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        say(f"error: {place}{error.strerror}")
        sys.exit(_BAD_INPUT)
