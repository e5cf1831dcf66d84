"""The commands by name, each with the examples that its --help ends with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ecgmoe_edge import __version__
from ecgmoe_edge.cli import (
    demo,
    distill,
    evaluate,
    export,
    inspect,
    ports,
    profile,
    profiles,
    replay,
    stream,
    train,
)
from ecgmoe_edge.cli.options import FiniteNumbers
from ecgmoe_edge.cli.output import result

_READER_LEFT = 141


@contextmanager
def _quiet_without_reader() -> Iterator[None]:
    """Where the reader of the output has left, as `| head` does: no word more, and an exit code of its own."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # what is still in them would fail once more at the exit
            os.dup2(nowhere, stream.fileno())
        raise typer.Exit(_READER_LEFT) from None


class _Commands(TyperGroup):
    """The commands by name; Typer itself would end with 1 where the output's reader has left."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """As any group's: --help and --version print here."""
        with _quiet_without_reader():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """As any group's: the command that was named runs here."""
        with _quiet_without_reader():
            return super().invoke(ctx)


def _examples(*lines: str) -> str:
    # \b keeps the lines apart: help text is otherwise wrapped into one paragraph.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


app = typer.Typer(
    name="ecgmoe-edge",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        result(__version__)
        raise typer.Exit


@app.callback(epilog=_examples("ecgmoe-edge demo", "ecgmoe-edge export --profile jetson"))
def ecgmoe_edge(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """From a full-precision ECG mixture-of-experts model to a beat-by-beat monitor on a device.

    Research software, not a medical device. Results go to stdout, words to stderr. Exit codes: 0 done,
    1 a gate failed, 2 usage, 3 bad input or device, 130 interrupted, 141 the reader of the output left.
    """


for _command in (demo, train, distill, export, evaluate, stream, replay, profile, profiles, ports, inspect):
    _name = _command.__name__.rpartition(".")[2]
    _kind = getattr(_command, "COMMAND", FiniteNumbers)
    app.command(_name, cls=_kind, epilog=_examples(*_command.EXAMPLES))(getattr(_command, _name))
