"""Output of commands: results to stdout, messages to stderr.

Both may contain names from files and devices; control characters in them are escaped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecgmoe_edge.records.recording import Remark

from ecgmoe_edge.shown_text import shown, shown_in_json


def say(text: str) -> None:
    """Print a message to stderr; nothing happens if the terminal is gone."""
    try:
        sys.stderr.write(f"{shown(text, lines=True)}\n")
        sys.stderr.flush()
    except BrokenPipeError:  # the reader closed the pipe, which ends the command
        raise
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - stays open until the process ends


def say_remarks(record: str, remarks: Sequence[Remark]) -> None:
    """Print the remarks about a recording to stderr."""
    for remark in remarks:
        say(f"{record}: {remark.text}")


def say_missing_providers(engine: Mapping[str, Any]) -> None:
    """Report the execution providers of a bundle that this machine lacks.

    Args:
        engine: the output of `describe` of the engine.
    """
    from ecgmoe_edge.runtime.engine import missing_providers

    missing = missing_providers(engine)
    if missing:
        used = ", ".join(engine["providers"])
        say(f"The bundle asks for {', '.join(missing)}, which is not available here: the model runs on {used}.")


def result(text: str) -> None:
    """Print a result to stdout.

    Raises:
        OSError: stdout cannot be written, for example because the disk is full.
    """
    _to_stdout(shown(text, lines=True))


def result_json(value: Any) -> None:
    """Print a result as one JSON document to stdout.

    Raises:
        OSError: stdout cannot be written.
        ValueError: the result contains NaN or infinity.
    """
    _to_stdout(shown_in_json(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)))


def _to_stdout(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from error


def result_files(as_json: bool, further: Mapping[str, Any] | None = None, **files: Path) -> None:
    """Print the files that a command wrote: one path per line, or one JSON object with names, paths and `further`."""
    if as_json:
        result_json({name: str(path) for name, path in files.items()} | dict(further or {}))
    else:
        result("\n".join(shown(path) for path in files.values()))


def stopped_early(as_json: bool, out: Path, further: Mapping[str, Any] | None = None) -> None:
    """Report that the time limit ended the work; in JSON `finished` is false."""
    say(f"The time limit is reached. The work so far is in {out}; the same command continues it.")
    if as_json:
        result_json({"finished": False, "out": str(out)} | dict(further or {}))


def pace(speed: float) -> str:
    """The playback speed, in words."""
    return f"at {speed:g} times real time" if speed else "as fast as it is read"
