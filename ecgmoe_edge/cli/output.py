"""Where a command's words go: results to stdout, everything meant for a person to stderr.

Both may hold names from files and devices: what a terminal would obey is written as its escape.
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
    """A line for the person at the terminal, on stderr; nothing where the terminal is gone."""
    try:
        sys.stderr.write(f"{shown(text, lines=True)}\n")
        sys.stderr.flush()
    except BrokenPipeError:  # of a reader that has left, which ends a command
        raise
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open as long as the process


def say_remarks(record: str, remarks: Sequence[Remark]) -> None:
    """What is to be known of a recording: what was assumed of it, left out, or looks wrong."""
    for remark in remarks:
        say(f"{record}: {remark.text}")


def say_missing_providers(engine: Mapping[str, Any]) -> None:
    """Say which of a bundle's execution providers this machine lacks; `engine` is what an engine's `describe` gives."""
    from ecgmoe_edge.runtime.engine import missing_providers

    missing = missing_providers(engine)
    if missing:
        used = ", ".join(engine["providers"])
        say(f"The bundle asks for {', '.join(missing)}, which is not here: the model runs on {used}.")


def result(text: str) -> None:
    """A result, on stdout. Raises OSError, naming stdout, where it cannot be written: a full disk, say."""
    _to_stdout(shown(text, lines=True))


def result_json(value: Any) -> None:
    """A result as one JSON document, on stdout; a number that JSON cannot hold (NaN) raises ValueError."""
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
    """What a command wrote: a path a line, or one JSON object of name to path, with further keys where given."""
    if as_json:
        result_json({name: str(path) for name, path in files.items()} | dict(further or {}))
    else:
        result("\n".join(shown(path) for path in files.values()))


def stopped_early(as_json: bool, out: Path, further: Mapping[str, Any] | None = None) -> None:
    """What a command says whose minutes were over before its work was done; JSON tells by `finished`."""
    say(f"The minutes are over. What was done is in {out}; the same command goes on from there.")
    if as_json:
        result_json({"finished": False, "out": str(out)} | dict(further or {}))


def pace(speed: float) -> str:
    """How fast a recording is played, in words."""
    return f"at {speed:g} times real time" if speed else "as fast as it is read"
